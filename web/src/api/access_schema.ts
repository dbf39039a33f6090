/** The audit trail, users, sessions and tokens. */

import type { Role } from '@/api/schema'

export interface AuditEntry {
  id: number
  at: string
  actor: string
  origin: string
  action: string
  target: string
  outcome: string
  detail: string
}

export interface AuditPage {
  entries: AuditEntry[]
  next_before: number | null
}

/** Empty texts ask nothing; ``action`` may end in ``*``. */
export interface AuditQuery {
  actor: string
  action: string
  target: string
  outcome: string
  start: string
  end: string
}

export interface ChainProblem {
  code: string
  first_id: number
  last_id: number
}

/** What a check of the whole trail found. */
export interface ChainReport {
  sound: boolean
  entries: number
  first_id: number
  last_id: number
  problems: ChainProblem[]
  problem_count: number
  anchors: number
  anchored_id: number
  anchored_at: string | null
  /** Sealed, but had somebody cut more from the end, nothing would show it. */
  unanchored: number
}

export interface UserAccount {
  name: string
  role: Role
  created_at: string
  disabled_at: string | null
}

export interface NewUser {
  name: string
  role: Role
  password: string
}

export interface UserChange {
  role?: Role
  disabled?: boolean
  password?: string
}

export interface UserSession {
  id: string
  user: string
  role: Role
  origin: string
  user_agent: string
  created_at: string
  last_used_at: string
  current: boolean
}

export interface ApiToken {
  name: string
  role: Role
  created_at: string
  created_by: string
  expires_at: string | null
  last_used_at: string | null
  expired: boolean
}

/** ``token`` is told this once. */
export interface NewToken {
  name: string
  role: Role
  expires_at: string | null
  token: string
}
