/** History rows made ready for a chart: appended, cut, with gaps where nothing good is known. */

import type { HistoryRow } from '@/api/schema'

/** Columns of one curve for uPlot: seconds, and null where the line must break. */
export type CurveTable = [number[], (number | null)[], (number | null)[], (number | null)[]]

/** ``rows`` continued by ``newer``; where both know an instant, the newer answer wins. */
export function appendRows(rows: HistoryRow[], newer: HistoryRow[]): HistoryRow[] {
  const first = newer[0]
  if (first === undefined) return rows
  let end = rows.length
  while (end > 0 && (rows[end - 1]?.[0] ?? 0) >= first[0]) end -= 1
  return [...rows.slice(0, end), ...newer]
}

/** Rows from ``fromMs`` on, and one before, so that the line starts at the edge. */
export function cutBefore(rows: HistoryRow[], fromMs: number): HistoryRow[] {
  const start = rows.findIndex((row) => row[0] >= fromMs)
  if (start === -1) return rows.slice(-1)
  return start <= 1 ? rows : rows.slice(start - 1)
}

/** The longest pause (ms) between two rows that is still one line. */
export function gapAfterMs(resolutionMs: number, intervalS: number): number {
  return Math.max(2.5 * resolutionMs, 3.5 * intervalS * 1000)
}

/** ``rows`` as columns min, mean, max over seconds; a pause or a bad row breaks the line. */
export function curveTable(rows: readonly HistoryRow[], gapMs: number): CurveTable {
  const table: CurveTable = [[], [], [], []]
  const push = (t: number, min: number | null, mean: number | null, max: number | null) => {
    table[0].push(t / 1000)
    table[1].push(min)
    table[2].push(mean)
    table[3].push(max)
  }
  let previous: number | null = null
  for (const [t, min, mean, max] of rows) {
    if (previous !== null && t - previous > gapMs) push(previous + 1, null, null, null)
    push(t, mean === null ? null : min, mean, mean === null ? null : max)
    previous = t
  }
  return table
}
