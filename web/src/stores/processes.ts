import { defineStore } from 'pinia'
import { computed, ref, shallowRef } from 'vue'

import { api } from '@/api/client'
import type { ProcessDelta, ProcessStatus } from '@/api/schema'

/** Deltas are gathered this long, so that a thousand collectors cost one repaint and not a thousand. */
const FLUSH_MS = 100
const RATE_EVERY_MS = 2_000
const RATE_SAMPLES = 60

/** All collectors as last told: a snapshot, then changes. */
export const useProcessesStore = defineStore('processes', () => {
  const byName = shallowRef<ReadonlyMap<string, ProcessStatus>>(new Map())
  /** True once a snapshot has come: before that an empty list means nothing. */
  const isLoaded = ref(false)
  /** Data rate of the last two minutes by collector; null where it was not known. */
  const rates = shallowRef<ReadonlyMap<string, readonly (number | null)[]>>(new Map())

  const pending = new Map<string, ProcessDelta>()
  let flushTimer: ReturnType<typeof setTimeout> | undefined
  let rateTimer: ReturnType<typeof setInterval> | undefined

  const all = computed(() => [...byName.value.values()])

  function applySnapshot(items: readonly ProcessStatus[]): void {
    clearTimeout(flushTimer)
    flushTimer = undefined
    pending.clear()
    byName.value = new Map(items.map((item) => [item.name, item]))
    isLoaded.value = true
  }

  function applyDelta(delta: ProcessDelta): void {
    pending.set(delta.name, delta)
    flushTimer ??= setTimeout(flush, FLUSH_MS)
  }

  function flush(): void {
    clearTimeout(flushTimer)
    flushTimer = undefined
    if (pending.size === 0) return
    const next = new Map(byName.value)
    for (const [name, delta] of pending) {
      if ('removed' in delta) next.delete(name)
      else next.set(name, delta)
    }
    pending.clear()
    byName.value = next
  }

  /** Ask over HTTP: the first paint need not wait for the live connection. */
  async function load(): Promise<void> {
    const list = await api.processes()
    if (!isLoaded.value) applySnapshot(list.processes)
  }

  function recordRates(isKnown: boolean): void {
    const next = new Map<string, readonly (number | null)[]>()
    for (const process of byName.value.values()) {
      const before = rates.value.get(process.name) ?? []
      const rate = isKnown ? process.data_collection_rate : null
      next.set(process.name, [...before.slice(1 - RATE_SAMPLES), rate])
    }
    rates.value = next
  }

  /** Note every collector's rate every two seconds; ``isKnown`` tells whether it can be believed. */
  function startRecording(isKnown: () => boolean): void {
    rateTimer ??= setInterval(() => recordRates(isKnown()), RATE_EVERY_MS)
  }

  function reset(): void {
    clearInterval(rateTimer)
    rateTimer = undefined
    applySnapshot([])
    isLoaded.value = false
    rates.value = new Map()
  }

  return {
    byName,
    all,
    isLoaded,
    rates,
    applySnapshot,
    applyDelta,
    flush,
    load,
    recordRates,
    startRecording,
    reset,
  }
})
