/** The last 24 hours of all collectors: who gave most trouble, and what happened. */

import type { Alert } from '@/api/alert_schema'
import type { ProcessStatus, RecoveryRecord } from '@/api/schema'
import { byName } from '@/lib/order'
import type { Severity } from '@/lib/severity'

export const DAY_MS = 24 * 3_600_000

export interface Offender {
  name: string
  /** How long a critical alert lasted, overlaps counted once. */
  downMs: number
  alerts: number
  restarts: number
}

export interface DayEvent {
  id: string
  atMs: number
  kind: 'alert' | 'resolved' | 'acknowledged' | 'recovery'
  severity: Severity | null
  alert?: Alert
  recovery?: RecoveryRecord
}

/** Collectors with any trouble since a day, longest down first, then most alerts and restarts. */
export function offendersOf(
  processes: readonly ProcessStatus[],
  alerts: readonly Alert[],
  nowMs: number,
): Offender[] {
  const told = new Map<string, Alert[]>()
  for (const alert of alerts) {
    if (alert.fired_at === null || endOf(alert, nowMs) <= nowMs - DAY_MS) continue
    const subject = alert.subject.kind === 'process' ? [alert.subject.name] : []
    for (const name of new Set([...subject, ...alert.members])) told.set(name, [...(told.get(name) ?? []), alert])
  }
  return processes
    .map(({ name, restart_count }) => {
      const own = told.get(name) ?? []
      return { name, downMs: downMs(own, nowMs), alerts: own.length, restarts: restart_count }
    })
    .filter(({ alerts: count, restarts }) => count > 0 || restarts > 0)
    .sort(
      (a, b) =>
        b.downMs - a.downMs || b.alerts - a.alerts || b.restarts - a.restarts || byName(a.name, b.name),
    )
}

const endOf = (alert: Alert, nowMs: number) =>
  alert.resolved_at === null ? nowMs : Date.parse(alert.resolved_at)

function downMs(alerts: readonly Alert[], nowMs: number): number {
  const spans = alerts
    .filter(({ severity }) => severity === 'critical')
    .map((alert) => [Math.max(Date.parse(alert.since), nowMs - DAY_MS), endOf(alert, nowMs)] as const)
    .sort(([a], [b]) => a - b)
  let sum = 0
  let until = 0
  for (const [from, to] of spans) {
    sum += Math.max(0, to - Math.max(from, until))
    until = Math.max(until, to)
  }
  return sum
}

/** What happened since a day, newest first; what recovery only thought about is left out. */
export function dayEvents(
  alerts: readonly Alert[],
  decisions: readonly RecoveryRecord[],
  nowMs: number,
): DayEvent[] {
  const events = alerts.flatMap((alert) => [
    at(alert.fired_at, { id: `a${alert.id}`, kind: 'alert', severity: alert.severity, alert }),
    at(alert.resolved_at, { id: `r${alert.id}`, kind: 'resolved', severity: null, alert }),
    at(alert.acknowledged?.at ?? null, { id: `k${alert.id}`, kind: 'acknowledged', severity: null, alert }),
  ])
  for (const recovery of decisions) {
    if (recovery.guard !== null || ['no_action', 'alert_operator'].includes(recovery.action)) continue
    events.push(at(recovery.at, { id: `d${recovery.id}`, kind: 'recovery', severity: null, recovery }))
  }
  return events
    .filter((event) => event !== null)
    .filter(({ atMs }) => atMs > nowMs - DAY_MS)
    .sort((a, b) => b.atMs - a.atMs || a.id.localeCompare(b.id))
}

function at(iso: string | null, event: Omit<DayEvent, 'atMs'>): DayEvent | null {
  return iso === null ? null : { ...event, atMs: Date.parse(iso) }
}
