import { computed, shallowRef } from 'vue'

import { api } from '@/api/client'
import type { Point } from '@/api/schema'
import { usePolling } from '@/composables/usePolling'
import { decimalsFor } from '@/lib/format'

const EVERY_MS = 1_000

export interface ShownPoint extends Point {
  /** Digits after the point; they only grow, so that a column does not dance. */
  decimals: number
  /** The newest usable value seen by this page; what a bad one strikes out. */
  lastGood: Point['value']
}

/** The live values of a collector, asked each second while the page is visible. */
export function usePoints(name: () => string) {
  const points = shallowRef<ShownPoint[] | null>(null)
  const memory = new Map<string, { decimals: number; lastGood: Point['value'] }>()

  function remember(point: Point): ShownPoint {
    const before = memory.get(point.series) ?? { decimals: 0, lastGood: null }
    const needed = typeof point.value === 'number' ? decimalsFor(point.value) : 0
    const now = {
      decimals: Math.max(before.decimals, needed),
      lastGood: point.value ?? before.lastGood,
    }
    memory.set(point.series, now)
    return { ...point, ...now }
  }

  const polling = usePolling(
    async (signal) => {
      const asked = name()
      const answer = await api.points(asked, signal)
      if (asked === name()) points.value = answer.map(remember)
    },
    EVERY_MS,
    () => {
      points.value = null
      memory.clear()
      return name()
    },
  )
  const devices = computed(() => new Set(points.value?.map((point) => point.device)).size)
  return { points, devices, ...polling }
}
