import { describe, expect, test } from 'vitest'

import type { HistoryRow } from '@/api/schema'
import { appendRows, curveTable, cutBefore, gapAfterMs } from '@/lib/series'

const row = (t: number, mean: number | null = t): HistoryRow => [t, mean, mean, mean, 1, 0]

describe('rows', () => {
  test('are continued, and the newer answer wins where both know an instant', () => {
    const merged = appendRows([row(1), row(2), row(3, 30)], [row(3, 33), row(4)])
    expect(merged.map((one) => [one[0], one[2]])).toEqual([
      [1, 1],
      [2, 2],
      [3, 33],
      [4, 4],
    ])
  })

  test('stay as they are when nothing new came', () => {
    const rows = [row(1)]
    expect(appendRows(rows, [])).toBe(rows)
  })

  test('before the window go, but for one, so that the line starts at the edge', () => {
    expect(cutBefore([row(1), row(2), row(3), row(4)], 3).map((one) => one[0])).toEqual([2, 3, 4])
    expect(cutBefore([row(1), row(2)], 9).map((one) => one[0])).toEqual([2])
  })
})

describe('a curve', () => {
  test('breaks where only bad samples are', () => {
    expect(curveTable([row(1000), row(2000, null), row(3000)], 5000)[2]).toEqual([1000, null, 3000])
  })

  test('breaks where nothing was recorded', () => {
    const [seconds, , mean] = curveTable([row(1000), row(9000)], 5000)
    expect(seconds).toEqual([1, 1.001, 9])
    expect(mean).toEqual([1000, null, 9000])
  })

  test('does not break at the usual pause of its interval or bucket', () => {
    expect(curveTable([row(0), row(10_000)], gapAfterMs(0, 10))[2]).toEqual([0, 10_000])
    expect(curveTable([row(0), row(60_000)], gapAfterMs(60_000, 1))[2]).toEqual([0, 60_000])
  })
})
