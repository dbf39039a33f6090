/** The audit trail, users, sessions and tokens. */

import type { components } from '@/api/openapi'

type Schemas = components['schemas']

export type AuditEntry = Schemas['AuditEntryView']
export type AuditPage = Schemas['AuditPage']

/** Empty texts ask nothing; ``action`` may end in ``*``. */
export interface AuditQuery {
  actor: string
  action: string
  target: string
  outcome: string
  start: string
  end: string
}

export type ChainProblem = Schemas['ChainProblemView']
/** What a check of the whole trail found. */
export type ChainReport = Schemas['ChainView']
export type UserAccount = Schemas['UserView']
export type NewUser = Schemas['NewUser']
export type UserChange = Schemas['UserChange']
export type UserSession = Schemas['SessionView']
export type ApiToken = Schemas['TokenView']
/** ``token`` is told this once. */
export type NewToken = Schemas['TokenCreated']
