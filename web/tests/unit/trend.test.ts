import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { effectScope, ref, type EffectScope } from 'vue'

import type { HistoryRow, Point } from '@/api/schema'
import { useTrend } from '@/composables/useTrend'

import { answer, requests, serve } from './fake_fetch'

const START = Date.parse('2026-11-23T05:00:00Z')

let scope: EffectScope

beforeEach(() => {
  vi.useFakeTimers({ now: START })
  scope = effectScope()
})
afterEach(() => {
  scope.stop()
  vi.useRealTimers()
})

const point = (series: string) => ({ series, interval_s: 1 }) as Point
const row = (secondsAgo: number): HistoryRow => [START - secondsAgo * 1000, 1, 1, 1, 1, 0]
const history = (rows: HistoryRow[], resolution_ms = 0) =>
  serve({ 'GET /api/v1/history': answer({ series: 'a', unit: '', from: '', to: '', resolution_ms, columns: [], rows }) })

async function trend(series: string[]) {
  const chosen = ref(series)
  const result = scope.run(() =>
    useTrend(
      () => chosen.value.map(point),
      () => Date.now(),
    ),
  )
  if (!result) throw new Error('the scope is over')
  await vi.advanceTimersByTimeAsync(1)
  return { ...result, chosen }
}

describe('a trend', () => {
  test('asks for its whole range once', async () => {
    history([row(20), row(10)])
    const { curves } = await trend(['a'])
    expect(requests).toHaveLength(1)
    expect(Date.parse(requests[0]?.query.get('from') ?? '')).toBe(START - 5 * 60_000)
    expect(requests[0]?.query.get('to')).toBe('now')
    expect(curves.value[0]?.rows).toHaveLength(2)
  })

  test('then asks only for what is newer, and appends it', async () => {
    history([row(20), row(10)])
    const { curves, view } = await trend(['a'])
    history([row(10), [START + 1_000, 2, 2, 2, 1, 0]])
    await vi.advanceTimersByTimeAsync(2_000)
    expect(Date.parse(requests[0]?.query.get('from') ?? '')).toBe(START - 10_000)
    expect(curves.value[0]?.rows.map((one) => one[0] - START)).toEqual([-20_000, -10_000, 1_000])
    expect(view.value.toMs).toBeGreaterThan(START)
  })

  test('continues buckets with buckets of the same width', async () => {
    history([row(120), row(60)], 60_000)
    await trend(['a'])
    history([row(60)], 60_000)
    await vi.advanceTimersByTimeAsync(2_000)
    expect(Date.parse(requests[0]?.query.get('from') ?? '')).toBe(START - 120_000)
    expect(requests[0]?.query.get('buckets')).toBe('3')
  })

  test('asks for a new range as a whole', async () => {
    history([row(10)])
    const { range } = await trend(['a'])
    history([row(3000)])
    range.value = '1h'
    await vi.advanceTimersByTimeAsync(1)
    expect(Date.parse(requests[0]?.query.get('from') ?? '')).toBe(START - 3_600_000 + 1)
  })

  test('rests on a stretch that somebody zoomed into, until it follows again', async () => {
    history([row(10)])
    const { zoom, view, follow } = await trend(['a'])
    history([row(100)])
    zoom.value = { fromMs: START - 120_000, toMs: START - 60_000 }
    await vi.advanceTimersByTimeAsync(20_000)
    expect(requests).toHaveLength(1)
    expect(requests[0]?.query.get('to')).toBe('2026-11-23T04:59:00.000Z')
    expect(view.value).toEqual({ fromMs: START - 120_000, toMs: START - 60_000 })
    follow()
    await vi.advanceTimersByTimeAsync(1)
    expect(requests.at(-1)?.query.get('to')).toBe('now')
  })

  test('keeps the curves it has when one is added', async () => {
    history([row(10)])
    const { curves, chosen } = await trend(['a'])
    chosen.value = ['a', 'b']
    await vi.advanceTimersByTimeAsync(1)
    expect(curves.value.map((curve) => curve.series)).toEqual(['a', 'b'])
  })
})
