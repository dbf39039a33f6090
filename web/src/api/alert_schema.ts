/** Alerts and channels as the control plane tells them. */

import type { components } from '@/api/openapi'

type Schemas = components['schemas']

export type AlertSeverity = Schemas['AlertSeverity']
export type SubjectKind = Schemas['SubjectKind']
export type Note = Schemas['Note']
export type Alert = Schemas['AlertView']
/** ISA-18.2's words. */
export type AlarmState = Alert['alarm_state']
export type AlertList = Schemas['AlertList']
export type AlertFigures = Schemas['AlarmFigures']

export interface AlertQuery {
  severity: string
  subject: string
  before: number | null
  limit: number
}

/** A shelf; ``rule`` and ``subject`` are shell patterns. */
export type Silence = Schemas['Silence']

export type NewSilence = { duration_s: number; reason: string } & (
  { alert_id: number } | { rule: string; subject: string }
)

export type Channel = Schemas['ChannelView']
export type ChannelTest = Schemas['ChannelTest']
