/** Alerts: which one speaks of a collector, where they lead, how they are grouped. */

import type { Alert, AlertSeverity, Silence } from '@/api/alert_schema'

/** The most urgent first, as the server sorts them. */
export const ALERT_SEVERITIES: readonly AlertSeverity[] = ['critical', 'warning', 'advisory']

export interface AlertGroup {
  severity: AlertSeverity
  alerts: Alert[]
}

/** ``alerts`` by severity, in their order; shelved ones keep their severity. */
export function bySeverity(alerts: readonly Alert[]): AlertGroup[] {
  return ALERT_SEVERITIES.map((severity) => ({
    severity,
    alerts: alerts.filter((alert) => alert.severity === severity),
  })).filter((group) => group.alerts.length > 0)
}

/** Whether an alert is about the collector ``name``, or speaks for it. */
export function speaksFor(alert: Alert, name: string): boolean {
  return (alert.subject.kind === 'process' && alert.subject.name === name) || alert.members.includes(name)
}

/** The first of ``alerts`` that speaks for one of ``names``; the most urgent comes first. */
export function alertFor(alerts: readonly Alert[], names: readonly string[]): Alert | null {
  return alerts.find((alert) => names.some((name) => speaksFor(alert, name))) ?? null
}

/** The page that shows what an alert is about. */
export function placeOf({ subject }: Alert): string {
  return subject.kind === 'process' ? `/collectors/${encodeURIComponent(subject.name)}` : '/system'
}

/** The shelf made for exactly this alert, or for its rule and subject; others cover more than it. */
export function shelfOf(alert: Alert, shelves: readonly Silence[]): Silence | null {
  return (
    shelves.find((shelf) => shelf.alert_id === alert.id) ??
    shelves.find(
      (shelf) =>
        shelf.alert_id === null &&
        shelf.rule === alert.rule &&
        shelf.subject === asPattern(alert.subject.name),
    ) ??
    null
  )
}

/** A shell pattern that means ``name`` and nothing else. */
export function asPattern(name: string): string {
  return name.replace(/[*?[]/g, '[$&]')
}

/** True when every word of ``text`` occurs in what an alert says or is about. */
export function alertMatches(alert: Alert, text: string): boolean {
  const said = [alert.title, alert.message, alert.subject.name, alert.rule, ...alert.members]
  const where = [...said, alert.acknowledged?.reason ?? '', alert.ending].join(' ').toLowerCase()
  return text.toLowerCase().split(/\s+/).every((word) => where.includes(word))
}
