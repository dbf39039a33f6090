/** From the state of all collectors to the short list of what is wrong, worst first. */

import type { Check, CheckType, ProcessStatus } from '@/api/schema'
import { byName } from '@/lib/order'
import {
  checkSeverity,
  isAbnormal,
  processSeverity,
  SEVERITIES,
  type Severity,
} from '@/lib/severity'

export interface Incident {
  key: string
  severity: Severity
  /** More than one when they share a cause. */
  names: string[]
  cause: Check
  /** Other checks that are abnormal for reasons of their own. */
  others: Check[]
  since: string | null
  recommendations: readonly string[]
}

const CHECK_ORDER: readonly CheckType[] = [
  'process_alive',
  'connection',
  'data_flow',
  'resource_usage',
  'log_errors',
]

/** These only say that another check of the same collector failed. */
const CONSEQUENCES = new Set([
  'report.missing',
  'report.not_readable',
  'report.starting',
  'data.not_connected',
  'resources.no_process',
])

/** One cause that hits everything is one incident, however few collectors there are. */
const COMMON_CAUSES = new Set(['process.supervisor_unreachable', 'process.node_unreachable'])
const GROUP_FROM = 4

/** The abnormal checks of a collector in the order process, device, data, without mere echoes. */
export function abnormalChecks(process: ProcessStatus): Check[] {
  const abnormal = process.health.checks
    .filter((check) => isAbnormal(checkSeverity(check)))
    .sort((a, b) => CHECK_ORDER.indexOf(a.check_type) - CHECK_ORDER.indexOf(b.check_type))
  const causes = abnormal.filter((check) => !CONSEQUENCES.has(check.code))
  return causes.length > 0 ? causes : abnormal
}

function incidentOf(process: ProcessStatus): Incident | null {
  const severity = processSeverity(process)
  if (!isAbnormal(severity)) return null
  const checks = abnormalChecks(process)
  const worst = Math.min(...checks.map((check) => SEVERITIES[checkSeverity(check)].order))
  const cause = checks.find((check) => SEVERITIES[checkSeverity(check)].order === worst)
  if (!cause) return null
  return {
    key: process.name,
    severity,
    names: [process.name],
    cause,
    others: checks.filter((check) => check !== cause),
    since: cause.since ?? process.health.since,
    recommendations: cause.recommendations,
  }
}

/** The incidents of ``processes``, worst and then oldest first; equal causes become one. */
export function incidentsOf(processes: Iterable<ProcessStatus>): Incident[] {
  const byCause = new Map<string, Incident[]>()
  for (const process of processes) {
    const incident = incidentOf(process)
    if (!incident) continue
    const cause = `${incident.severity} ${incident.cause.code} ${JSON.stringify(incident.cause.params)}`
    byCause.set(cause, [...(byCause.get(cause) ?? []), incident])
  }
  const all: Incident[] = []
  for (const [cause, group] of byCause) {
    const first = group[0]
    const common = first !== undefined && COMMON_CAUSES.has(first.cause.code)
    if (group.length >= (common ? 2 : GROUP_FROM)) all.push(merge(cause, group))
    else all.push(...group)
  }
  return all.sort(
    (a, b) =>
      SEVERITIES[a.severity].order - SEVERITIES[b.severity].order ||
      (a.since ?? '').localeCompare(b.since ?? '') ||
      byName(a.key, b.key),
  )
}

function merge(key: string, group: Incident[]): Incident {
  const [first] = group as [Incident, ...Incident[]]
  const times = group.map((incident) => incident.since).filter((since) => since !== null)
  return {
    ...first,
    key,
    names: group.flatMap((incident) => incident.names).sort(byName),
    others: [],
    since: times.length > 0 ? times.reduce((a, b) => (a < b ? a : b)) : null,
  }
}
