import { defineStore } from 'pinia'
import { computed, ref, shallowRef } from 'vue'

import type { Alert } from '@/api/alert_schema'
import { api, ApiError } from '@/api/client'

/** Told this often at most, a burst of alerts costs a request each time and not one an alert. */
const GATHER_MS = 250

/**
 * Open alerts as the server last told them, in the language of the page.
 *
 * The live channel only says that something has changed; the words come over HTTP.
 */
export const useAlertsStore = defineStore('alerts', () => {
  const open = shallowRef<readonly Alert[]>([])
  /** What is wrong, but not yet for long enough to alert. */
  const pending = shallowRef<readonly Alert[]>([])
  const problems = shallowRef<readonly string[]>([])
  const isLoaded = ref(false)
  const error = shallowRef<ApiError | null>(null)
  /** Local time (ms) of the newest answer. */
  const loadedAt = ref<number | null>(null)
  /** Counts what the live channel told, so that pages can ask for what depends on it. */
  const revision = ref(0)

  let isAsking = false
  let isWanted = false
  let timer: ReturnType<typeof setTimeout> | undefined
  let generation = 0

  const unacknowledged = computed(
    () => open.value.filter((alert) => alert.alarm_state === 'active_unacknowledged').length,
  )

  /** Ask now; while an answer is under way, once more after it. */
  async function load(): Promise<void> {
    isWanted = true
    if (isAsking) return
    isAsking = true
    try {
      while (isWanted) {
        isWanted = false
        await ask(generation)
      }
    } finally {
      isAsking = false
    }
  }

  async function ask(mine: number): Promise<void> {
    try {
      const list = await api.openAlerts()
      if (mine !== generation) return
      open.value = list.alerts
      pending.value = list.pending
      problems.value = list.problems
      isLoaded.value = true
      loadedAt.value = Date.now()
      error.value = null
    } catch (cause) {
      if (!(cause instanceof ApiError)) throw cause
      if (mine === generation) error.value = cause
    }
  }

  /** The live channel said that an alert changed. */
  function changed(): void {
    timer ??= setTimeout(() => {
      timer = undefined
      revision.value += 1
      void load()
    }, GATHER_MS)
  }

  function reset(): void {
    generation += 1
    isWanted = false
    clearTimeout(timer)
    timer = undefined
    open.value = pending.value = []
    problems.value = []
    isLoaded.value = false
    loadedAt.value = null
    error.value = null
  }

  return { open, pending, problems, isLoaded, error, loadedAt, revision, unacknowledged, load, changed, reset }
})
