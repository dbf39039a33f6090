import { expect, test } from 'vitest'

import type { HistoryRow } from '@/api/schema'
import { shifted, statsOf } from '@/lib/curve_stats'

const row = (t: number, min: number | null, mean: number | null, max: number | null, count: number): HistoryRow => [t, min, mean, max, count, 0]

test('a mean weighs each bucket by its samples', () => {
  expect(statsOf([row(0, 1, 2, 3, 1), row(1, 5, 6, 7, 3)])).toEqual({ min: 1, mean: 5, max: 7, last: 6 })
})

test('buckets without a good value count for nothing', () => {
  expect(statsOf([row(0, 1, 2, 3, 1), row(1, null, null, null, 0)])).toEqual({ min: 1, mean: 2, max: 3, last: 2 })
  expect(statsOf([])).toEqual({ min: null, mean: null, max: null, last: null })
})

test('an earlier time is laid over the present', () => {
  expect(shifted([row(5, 1, 2, 3, 1)], 100)).toEqual([row(105, 1, 2, 3, 1)])
})
