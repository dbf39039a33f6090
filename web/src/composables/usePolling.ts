import { onScopeDispose, ref, shallowRef, watch, type Ref } from 'vue'

import { ApiError } from '@/api/client'

const SLOWEST_MS = 10_000

interface Polling {
  /** The newest failure; null as soon as one call succeeds. */
  error: Readonly<Ref<ApiError | null>>
  /** True until the first answer, good or bad. */
  isFirst: Readonly<Ref<boolean>>
  /** Call now and go on from there. */
  refresh: () => void
}

/**
 * Call ``task`` every ``everyMs`` while the page is visible, never twice at once.
 *
 * Failures slow it down to a call every ten seconds. ``key`` restarts it from the beginning.
 */
export function usePolling(
  task: (signal: AbortSignal) => Promise<void>,
  everyMs: number,
  key: () => unknown = () => null,
): Polling {
  const error = shallowRef<ApiError | null>(null)
  const isFirst = ref(true)
  let timer: ReturnType<typeof setTimeout> | undefined
  let controller: AbortController | null = null
  let failures = 0

  async function run(): Promise<void> {
    clearTimeout(timer)
    controller?.abort()
    if (document.visibilityState === 'hidden') return
    const mine = new AbortController()
    controller = mine
    try {
      await task(mine.signal)
      failures = 0
      error.value = null
    } catch (cause) {
      if (mine.signal.aborted) return
      if (!(cause instanceof ApiError)) throw cause
      failures += 1
      error.value = cause
    } finally {
      if (controller === mine) {
        controller = null
        isFirst.value = false
        const wait = Math.min(everyMs * 2 ** failures, Math.max(SLOWEST_MS, everyMs))
        timer = setTimeout(() => void run(), wait)
      }
    }
  }

  const onVisibility = () => {
    if (document.visibilityState === 'visible') void run()
  }
  document.addEventListener('visibilitychange', onVisibility)
  watch(
    key,
    () => {
      isFirst.value = true
      error.value = null
      void run()
    },
    { immediate: true },
  )
  onScopeDispose(() => {
    document.removeEventListener('visibilitychange', onVisibility)
    clearTimeout(timer)
    const last = controller
    controller = null
    last?.abort()
  })
  return { error, isFirst, refresh: () => void run() }
}
