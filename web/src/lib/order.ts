/** Order of the collectors: severity first, and nothing jumps while somebody points at it. */

import type { ProcessStatus } from '@/api/schema'
import { processSeverity, SEVERITIES, type Severity } from '@/lib/severity'

/** Compares names with numbers as numbers: line2 before line10. */
export const byName = new Intl.Collator('en', { numeric: true }).compare

/** Places of names in the alphabet: comparing texts is dear, and names change seldom. */
let places: ReadonlyMap<string, number> = new Map()

function placesOf(processes: readonly ProcessStatus[]): ReadonlyMap<string, number> {
  const isKnown =
    places.size === processes.length && processes.every(({ name }) => places.has(name))
  if (!isKnown) {
    const names = processes.map(({ name }) => name).sort(byName)
    places = new Map(names.map((name, place) => [name, place]))
  }
  return places
}

/** Names by severity and then by name. */
export function sortedNames(processes: Iterable<ProcessStatus>): string[] {
  const all = [...processes]
  const placeOf = placesOf(all)
  return all
    .map(({ name, health }) => ({
      name,
      key: SEVERITIES[processSeverity({ health })].order * all.length + (placeOf.get(name) ?? 0),
    }))
    .sort((a, b) => a.key - b.key)
    .map(({ name }) => name)
}

/** ``before`` if ``next`` says the same: then nothing that depends on it is done again. */
export function kept<T>(before: T[] | undefined, next: T[]): T[] {
  const isSame = before?.length === next.length && next.every((each, index) => each === before[index])
  return isSame ? before : next
}

/** ``shown`` without those that are gone, and with new ones of ``wanted`` at the end. */
export function heldOrder(shown: readonly string[], wanted: readonly string[]): string[] {
  const alive = new Set(wanted)
  const known = new Set(shown)
  return [...shown.filter((name) => alive.has(name)), ...wanted.filter((name) => !known.has(name))]
}

/** How many collectors there are of each severity. */
export function countBySeverity(processes: Iterable<ProcessStatus>): Record<Severity, number> {
  const counts = { critical: 0, unknown: 0, warning: 0, advisory: 0, healthy: 0, stopped: 0 }
  for (const process of processes) counts[processSeverity(process)] += 1
  return counts
}
