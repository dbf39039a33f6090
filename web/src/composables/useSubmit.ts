import { onScopeDispose, ref, shallowRef } from 'vue'

import { ApiError } from '@/api/client'

/** Send a form once at a time; keeps the refusal, and counts down where the server asks to wait. */
export function useSubmit(send: () => Promise<void>) {
  const isBusy = ref(false)
  const error = shallowRef<ApiError | null>(null)
  const waitS = ref(0)
  let timer: ReturnType<typeof setInterval> | undefined

  function countDown(seconds: number): void {
    clearInterval(timer)
    const until = performance.now() + seconds * 1000
    waitS.value = Math.ceil(seconds)
    timer = setInterval(() => {
      waitS.value = Math.max(0, Math.ceil((until - performance.now()) / 1000))
      if (waitS.value > 0) return
      clearInterval(timer)
      error.value = null
    }, 250)
  }

  async function submit(): Promise<void> {
    if (isBusy.value || waitS.value > 0) return
    isBusy.value = true
    error.value = null
    try {
      await send()
    } catch (cause) {
      if (!(cause instanceof ApiError)) throw cause
      error.value = cause
      if (cause.retryAfterS !== null) countDown(cause.retryAfterS)
    } finally {
      isBusy.value = false
    }
  }

  onScopeDispose(() => clearInterval(timer))
  return { submit, isBusy, error, waitS }
}
