import { computed, ref, shallowRef, watch } from 'vue'

import { api } from '@/api/client'
import type { HistoryRow, Point } from '@/api/schema'
import { usePolling } from '@/composables/usePolling'
import { appendRows, cutBefore } from '@/lib/series'

export const RANGES = [
  { key: '5m', minutes: 5 },
  { key: '15m', minutes: 15 },
  { key: '1h', minutes: 60 },
  { key: '6h', minutes: 360 },
  { key: '24h', minutes: 1440 },
  { key: '7d', minutes: 10_080 },
  { key: '30d', minutes: 43_200 },
] as const

export type RangeKey = (typeof RANGES)[number]['key']

const BUCKETS = 600
const EVERY_MS = 2_000
/** Increments may not line up with the first buckets: from time to time all is asked anew. */
const WHOLE_EVERY = 60

export interface Curve {
  series: string
  rows: HistoryRow[]
  resolutionMs: number
}

/** The history of the chosen points: whole once, then what is new every two seconds. */
export function useTrend(points: () => readonly Pick<Point, 'series'>[], nowMs: () => number) {
  const range = ref<RangeKey>('5m')
  /** A stretch that the user dragged out; null while the chart follows the present. */
  const zoom = shallowRef<{ fromMs: number; toMs: number } | null>(null)
  const curves = shallowRef<Curve[]>([])
  const view = shallowRef({ fromMs: nowMs() - 5 * 60_000, toMs: nowMs() })
  let rounds = 0

  const spanMs = computed(
    () => (RANGES.find((known) => known.key === range.value)?.minutes ?? 5) * 60_000,
  )
  const chosen = computed(() => points().map((point) => point.series))
  const key = computed(() => JSON.stringify([chosen.value, range.value, zoom.value]))

  async function whole(series: string, signal: AbortSignal): Promise<Curve> {
    const { fromMs, toMs } = view.value
    const answer = await api.history(
      series,
      { from: iso(fromMs), to: zoom.value ? iso(toMs) : 'now', buckets: BUCKETS },
      signal,
    )
    return { series, rows: answer.rows, resolutionMs: answer.resolution_ms }
  }

  async function continued(curve: Curve, signal: AbortSignal): Promise<Curve> {
    const last = curve.rows.at(-1)?.[0]
    if (last === undefined) return whole(curve.series, signal)
    const fromMs = last - curve.resolutionMs
    const span = Math.max(view.value.toMs - fromMs, 1)
    const buckets = curve.resolutionMs > 0 ? Math.ceil(span / curve.resolutionMs) : BUCKETS
    const answer = await api.history(curve.series, { from: iso(fromMs), to: 'now', buckets }, signal)
    const rows = cutBefore(appendRows(curve.rows, answer.rows), view.value.fromMs)
    return { ...curve, rows }
  }

  async function load(signal: AbortSignal): Promise<void> {
    const asked = key.value
    if (zoom.value && rounds > 0) return
    view.value = zoom.value ?? { fromMs: nowMs() - spanMs.value, toMs: nowMs() }
    const isWhole = rounds % WHOLE_EVERY === 0
    const loaded = await Promise.all(
      chosen.value.map((series) => {
        const known = curves.value.find((curve) => curve.series === series)
        return isWhole || !known ? whole(series, signal) : continued(known, signal)
      }),
    )
    if (asked !== key.value) return
    curves.value = loaded
    rounds += 1
  }

  const polling = usePolling(load, EVERY_MS, () => key.value)
  watch(
    key,
    () => {
      rounds = 0
    },
    { flush: 'sync' },
  )

  return {
    range,
    zoom,
    curves,
    view,
    ...polling,
    follow: () => {
      zoom.value = null
    },
  }
}

const iso = (ms: number) => new Date(ms).toISOString()
