/** Everything that happened to one collector, made ready for one axis of time. */

import type { Alert } from '@/api/alert_schema'
import type { RecoveryRecord } from '@/api/schema'
import type { CheckRun, NotedAction, Timeline } from '@/api/timeline_schema'
import { checkSeverity, SEVERITIES, type Severity } from '@/lib/severity'

export type EventKind = 'alert' | 'resolved' | 'restart' | 'action' | 'recovery'

export interface TimelineEvent {
  id: string
  kind: EventKind
  atMs: number
  severity: Severity | null
  alert?: Alert
  action?: NotedAction
  recovery?: RecoveryRecord
}

export interface LaneRun {
  fromMs: number
  toMs: number
  severity: Severity
  run: CheckRun
}

/** The checks in the order in which they are read: the three lights, then the rest. */
export const LANES = ['process_alive', 'connection', 'data_flow', 'resource_usage', 'log_errors'] as const

export type Lane = (typeof LANES)[number]

const outcomeSeverity = (outcome: string): Severity | null =>
  outcome === 'failed' || outcome === 'denied' ? 'warning' : null

/** All events within the window, oldest first. */
export function eventsOf(
  timeline: Timeline | null,
  alerts: readonly Alert[],
  decisions: readonly RecoveryRecord[],
  fromMs: number,
  toMs: number,
): TimelineEvent[] {
  const all: TimelineEvent[] = [
    ...alerts.flatMap((alert): TimelineEvent[] => [
      ...(alert.fired_at === null
        ? []
        : [{ id: `a${alert.id}`, kind: 'alert' as const, atMs: Date.parse(alert.fired_at), severity: alert.severity, alert }]),
      ...(alert.resolved_at === null
        ? []
        : [{ id: `r${alert.id}`, kind: 'resolved' as const, atMs: Date.parse(alert.resolved_at), severity: null, alert }]),
    ]),
    ...decisions
      .filter(({ action, outcome }) => action !== 'no_action' && outcome !== 'none')
      .map((recovery) => ({
        id: `d${recovery.id}`,
        kind: 'recovery' as const,
        atMs: Date.parse(recovery.at),
        severity: outcomeSeverity(recovery.outcome),
        recovery,
      })),
    ...(timeline?.restarts ?? []).map((at) => ({
      id: `s${at}`,
      kind: 'restart' as const,
      atMs: Date.parse(at),
      severity: 'warning' as const,
    })),
    // What recovery did is told by its decisions, with the cause.
    ...(timeline?.actions ?? []).filter(({ actor }) => actor !== 'recovery').map((action, index) => ({
      id: `u${action.at}/${index}`,
      kind: 'action' as const,
      atMs: Date.parse(action.at),
      severity: outcomeSeverity(action.outcome),
      action,
    })),
  ]
  return all
    .filter(({ atMs }) => atMs >= fromMs && atMs <= toMs)
    .sort((a, b) => a.atMs - b.atMs || a.id.localeCompare(b.id))
}

/** The runs of each lane that touch the window, cut to it. */
export function lanesOf(timeline: Timeline | null, fromMs: number, toMs: number): Record<Lane, LaneRun[]> {
  const lanes: Record<Lane, LaneRun[]> = {
    process_alive: [], connection: [], data_flow: [], resource_usage: [], log_errors: [],
  }
  for (const run of timeline?.runs ?? []) {
    const from = Math.max(fromMs, Date.parse(run.from))
    const to = Math.min(toMs, Date.parse(run.to))
    if (to <= from) continue
    lanes[run.check_type].push({ fromMs: from, toMs: to, severity: checkSeverity(run), run })
  }
  return lanes
}

/** What a lane said at an instant, or null where nobody looked. */
export function runAt(lane: readonly LaneRun[], ms: number): LaneRun | null {
  return lane.find((run) => run.fromMs <= ms && ms <= run.toMs) ?? null
}

/** The score at an instant; null where it is not known. */
export function scoreAt(timeline: Timeline | null, ms: number): number | null {
  let score: number | null = null
  for (const [at, value] of timeline?.scores ?? []) {
    if (Date.parse(at) > ms) break
    score = value
  }
  return score
}

export interface EventGroup {
  /** Where it stands, as a share of the window. */
  share: number
  events: TimelineEvent[]
  /** The worst of them; null if none is abnormal. */
  severity: Severity | null
}

/** Events that would cover each other, as one mark. ``least`` is a share of the window. */
export function groupedEvents(
  events: readonly TimelineEvent[],
  fromMs: number,
  toMs: number,
  least: number,
): EventGroup[] {
  const groups: EventGroup[] = []
  for (const event of events) {
    const share = (event.atMs - fromMs) / Math.max(1, toMs - fromMs)
    const last = groups.at(-1)
    if (last && share - last.share < least) {
      last.events.push(event)
      last.severity = worse(last.severity, event.severity)
    } else groups.push({ share, events: [event], severity: event.severity })
  }
  return groups
}

function worse(a: Severity | null, b: Severity | null): Severity | null {
  if (a === null || b === null) return a ?? b
  return SEVERITIES[a].order <= SEVERITIES[b].order ? a : b
}
