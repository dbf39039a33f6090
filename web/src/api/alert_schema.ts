/** Alerts and channels as the control plane tells them. */

import type { Params } from '@/api/schema'

export type AlertSeverity = 'critical' | 'warning' | 'advisory'

/** ISA-18.2's words. */
export type AlarmState =
  'active_unacknowledged' | 'active_acknowledged' | 'returned_unacknowledged' | 'normal' | 'shelved'

export type SubjectKind = 'process' | 'node' | 'gateway' | 'store' | 'installation'

/** What a person said, and when. */
export interface Note {
  by: string
  at: string
  reason: string
}

export interface Alert {
  id: number
  rule: string
  fingerprint: string
  severity: AlertSeverity
  subject: { kind: SubjectKind; name: string }
  state: 'pending' | 'firing' | 'acknowledged' | 'shelved' | 'resolved'
  alarm_state: AlarmState
  since: string
  fired_at: string | null
  last_change: string
  resolved_at: string | null
  count: number
  code: string
  params: Params
  evidence: Readonly<Record<string, unknown>>
  /** Collectors that this alert also speaks for. */
  members: readonly string[]
  flapping: boolean
  acknowledged: Note | null
  shelved_until: string | null
  /** Why it ended; null while open. */
  ended: 'returned' | 'stopped' | 'maintenance' | 'removed' | 'disabled' | null
  /** In the language of the request. */
  title: string
  message: string
  ending: string
}

export interface AlertList {
  alerts: Alert[]
  next_before: number | null
  pending: Alert[]
  problems: string[]
}

export interface AlertFigures {
  open: Record<AlertSeverity, number>
  unacknowledged: number
  shelved: number
  standing: number
  chattering: string[]
  in_10_min: number
  in_1_h: number
  in_24_h: number
  peak_in_10_min: number
  flood: boolean
}

export interface AlertQuery {
  severity: string
  subject: string
  before: number | null
  limit: number
}

/** A shelf; ``rule`` and ``subject`` are shell patterns. */
export interface Silence {
  id: number
  rule: string
  subject: string
  alert_id: number | null
  until: string
  note: Note
}

export type NewSilence = { duration_s: number; reason: string } & (
  { alert_id: number } | { rule: string; subject: string }
)

export interface Channel {
  name: string
  kind: string
  enabled: boolean
  min_severity: AlertSeverity
  delay_s: number
  group_s: number
  language: string
  target: string
  queued: number
  last_error: string | null
}

export interface ChannelTest {
  channel: string
  target: string
  duration_ms: number
}
