/** Lines of several logs put together in the order of their times. */

import type { FoundEntry } from '@/api/log_schema'

export interface LogLine extends FoundEntry {
  /** One line of one process: the key of a row, and its address in a link. */
  id: string
  /** Its time, or that of the line before it where it carries none. */
  atMs: number
  /** What stood before it is kept no more. */
  isAfterGap?: boolean
}

/** One process's share of the view. */
export interface LogSource {
  name: string
  lines: LogLine[]
  /** Newest lines that came while somebody reads; they are shown later. */
  waiting: number
  /** From where older lines go on; null at the beginning of the log. */
  older: string | null
  newer: string | null
}

/** Entries as lines of ``name``; ``beforeMs`` is the time of the line before the first. */
export function linesOf(name: string, entries: readonly FoundEntry[], beforeMs: number): LogLine[] {
  const firstTimed = entries.find((entry) => entry.timestamp !== null)?.timestamp
  let atMs = Number.isNaN(beforeMs) && firstTimed ? Date.parse(firstTimed) : beforeMs
  return entries.map((entry) => {
    if (entry.timestamp !== null) atMs = Date.parse(entry.timestamp)
    return { ...entry, id: `${name}:${entry.cursor}`, atMs: Number.isNaN(atMs) ? 0 : atMs }
  })
}

const shownOf = (source: LogSource) =>
  source.waiting === 0 ? source.lines : source.lines.slice(0, -source.waiting || undefined)

/** The time before which some process may have lines that are not loaded; -Infinity if none has. */
export function frontierMs(sources: readonly LogSource[]): number {
  return sources.reduce((newest, source) => {
    if (source.older === null) return newest
    return Math.max(newest, source.lines[0]?.atMs ?? -Infinity)
  }, -Infinity)
}

/** All that may be shown without a hole, by time; lines of one process keep their order. */
export function merged(sources: readonly LogSource[]): LogLine[] {
  const [only] = sources
  if (only && sources.length === 1) return shownOf(only)
  const from = frontierMs(sources)
  const all = sources.flatMap((source) => shownOf(source).filter((line) => line.atMs >= from))
  // Stable: equal times stay in the order of the processes.
  return all.sort((a, b) => a.atMs - b.atMs)
}

/** The process to ask next for older lines: the one that hides those of the others. */
export function sourceToExtend(sources: readonly LogSource[]): LogSource | null {
  const extensible = sources.filter((source) => source.older !== null)
  const first = (source: LogSource) => source.lines[0]?.atMs ?? Infinity
  return extensible.reduce<LogSource | null>(
    (chosen, source) => (chosen === null || first(source) > first(chosen) ? source : chosen),
    null,
  )
}

/** ``text`` in pieces, every second of which is what the filter found. */
export function highlighted(text: string, words: string, regex: string): string[] {
  const pattern = words ? escaped(words) : regex
  if (!pattern) return [text]
  try {
    const pieces = text.split(new RegExp(`(${pattern})`, 'i'))
    // A pattern with groups of its own would mix up the order.
    return /\((?!\?)/.test(pattern.replaceAll('\\(', '')) ? [text] : pieces
  } catch {
    // RE2 knows what JavaScript does not; the server found the line, that is enough.
    return [text]
  }
}

const escaped = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')

/** A pattern for all lines that say the same with other numbers; the message itself if it has none. */
export function patternOfKind(message: string): string {
  return /\d/.test(message) ? escaped(message).replace(/\d+/g, '\\d+') : message
}

/** The parts of a link to one line, or null for anything else. */
export function parsePlace(text: string): { name: string; cursor: string } | null {
  const found = /^([^:]+):([0-9a-f.-]+)$/.exec(text)
  return found?.[1] && found[2] ? { name: found[1], cursor: found[2] } : null
}
