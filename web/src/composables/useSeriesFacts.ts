import { shallowRef, watch } from 'vue'

import { api, ApiError } from '@/api/client'
import type { Point } from '@/api/schema'
import type { ShownPoint } from '@/composables/usePoints'
import { decimalsFor } from '@/lib/format'

/** What is known of the points of some collectors, asked once each; null where nothing could be. */
export function useSeriesFacts(collectors: () => readonly string[]) {
  const facts = shallowRef<ReadonlyMap<string, readonly ShownPoint[] | null>>(new Map())
  const asked = new Set<string>()

  const shown = (point: Point): ShownPoint => ({
    ...point,
    decimals: typeof point.value === 'number' ? decimalsFor(point.value) : 0,
    lastGood: point.value,
  })

  async function ask(name: string): Promise<void> {
    let points: readonly ShownPoint[] | null = null
    try {
      points = (await api.points(name)).map(shown)
    } catch (cause) {
      if (!(cause instanceof ApiError)) throw cause
      asked.delete(name)
    }
    facts.value = new Map(facts.value).set(name, points)
  }

  watch(
    collectors,
    (names) => {
      for (const name of names) {
        if (asked.has(name)) continue
        asked.add(name)
        void ask(name)
      }
    },
    { immediate: true },
  )
  return facts
}
