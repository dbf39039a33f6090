/** Order of the collectors: severity first, and nothing jumps while somebody points at it. */

import type { ProcessStatus } from '@/api/schema'
import { processSeverity, SEVERITIES, type Severity } from '@/lib/severity'

/** Compares names with numbers as numbers: line2 before line10. */
export const byName = new Intl.Collator('en', { numeric: true }).compare

/** Names by severity and then by name. */
export function sortedNames(processes: Iterable<ProcessStatus>): string[] {
  return [...processes]
    .map((process) => ({ name: process.name, order: SEVERITIES[processSeverity(process)].order }))
    .sort((a, b) => a.order - b.order || byName(a.name, b.name))
    .map((entry) => entry.name)
}

/** ``shown`` without those that are gone, and with new ones of ``wanted`` at the end. */
export function heldOrder(shown: readonly string[], wanted: readonly string[]): string[] {
  const alive = new Set(wanted)
  const known = new Set(shown)
  return [...shown.filter((name) => alive.has(name)), ...wanted.filter((name) => !known.has(name))]
}

/** True when every word of ``text`` occurs in name, display name, type or an endpoint. */
export function matchesText(process: ProcessStatus, text: string): boolean {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean)
  if (words.length === 0) return true
  const endpoints = process.devices.map((d) => `${d.device_id} ${d.device_ip}:${d.device_port}`)
  const where = [process.name, process.display_name, process.type, ...endpoints]
    .join(' ')
    .toLowerCase()
  return words.every((word) => where.includes(word))
}

/** How many collectors there are of each severity. */
export function countBySeverity(processes: Iterable<ProcessStatus>): Record<Severity, number> {
  const counts = { critical: 0, unknown: 0, warning: 0, advisory: 0, healthy: 0, stopped: 0 }
  for (const process of processes) counts[processSeverity(process)] += 1
  return counts
}
