import type { HistoryRow } from '@/api/schema'

export interface CurveStats {
  min: number | null
  mean: number | null
  max: number | null
  last: number | null
}

/** Smallest, mean and largest value of ``rows``, each bucket weighed by its samples. */
export function statsOf(rows: readonly HistoryRow[]): CurveStats {
  let min = Infinity
  let max = -Infinity
  let sum = 0
  let weight = 0
  let last: number | null = null
  for (const [, low, mean, high, count] of rows) {
    if (mean === null) continue
    min = Math.min(min, low ?? mean)
    max = Math.max(max, high ?? mean)
    const samples = Math.max(1, count)
    sum += mean * samples
    weight += samples
    last = mean
  }
  if (weight === 0) return { min: null, mean: null, max: null, last: null }
  return { min, mean: sum / weight, max, last }
}

/** ``rows`` as if they had happened ``ms`` later. */
export function shifted(rows: readonly HistoryRow[], ms: number): HistoryRow[] {
  return rows.map(([at, ...values]) => [at + ms, ...values] as HistoryRow)
}
