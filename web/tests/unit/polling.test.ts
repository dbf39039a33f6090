import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { effectScope, ref, type EffectScope } from 'vue'

import { ApiError } from '@/api/client'
import { usePolling } from '@/composables/usePolling'

let scope: EffectScope

beforeEach(() => {
  vi.useFakeTimers()
  scope = effectScope()
})
afterEach(() => {
  scope.stop()
  vi.useRealTimers()
})

const run = <T>(setup: () => T): T => {
  const result = scope.run(setup)
  if (result === undefined) throw new Error('the scope is over')
  return result
}
const refusal = () => new ApiError({ type: '', title: '', status: 503, detail: 'no', code: 'x' })

describe('polling', () => {
  test('calls at once and then again each interval', async () => {
    const task = vi.fn(() => Promise.resolve())
    run(() => usePolling(task, 1_000))
    await vi.advanceTimersByTimeAsync(3_100)
    expect(task).toHaveBeenCalledTimes(4)
  })

  test('never calls while a call is under way', async () => {
    const task = vi.fn(() => new Promise<void>((done) => setTimeout(done, 5_000)))
    run(() => usePolling(task, 1_000))
    await vi.advanceTimersByTimeAsync(4_900)
    expect(task).toHaveBeenCalledTimes(1)
  })

  test('slows down while it fails, keeps the reason, and recovers', async () => {
    let isAway = true
    const task = vi.fn(() => (isAway ? Promise.reject(refusal()) : Promise.resolve()))
    const { error } = run(() => usePolling(task, 1_000))
    await vi.advanceTimersByTimeAsync(10)
    expect(error.value?.detail).toBe('no')
    await vi.advanceTimersByTimeAsync(30_000)
    expect(task.mock.calls.length).toBeLessThan(7)
    isAway = false
    await vi.advanceTimersByTimeAsync(10_000)
    expect(error.value).toBeNull()
  })

  test('stops with its page and drops the call that is under way', async () => {
    let signal: AbortSignal | undefined
    const task = vi.fn((given: AbortSignal) => {
      signal = given
      return new Promise<void>(() => undefined)
    })
    run(() => usePolling(task, 1_000))
    scope.stop()
    expect(signal?.aborted).toBe(true)
    await vi.advanceTimersByTimeAsync(5_000)
    expect(task).toHaveBeenCalledTimes(1)
  })

  test('begins anew when what it is about changes', async () => {
    const about = ref('a')
    const seen: string[] = []
    const task = () => {
      seen.push(about.value)
      return Promise.resolve()
    }
    const { isFirst } = run(() => usePolling(task, 60_000, () => about.value))
    await vi.advanceTimersByTimeAsync(10)
    expect(isFirst.value).toBe(false)
    about.value = 'b'
    await vi.advanceTimersByTimeAsync(10)
    expect(seen).toEqual(['a', 'b'])
  })

  test('rests while nobody sees the page, and is fresh when somebody does', async () => {
    const visible = vi.spyOn(document, 'visibilityState', 'get')
    const task = vi.fn(() => Promise.resolve())
    run(() => usePolling(task, 1_000))
    await vi.advanceTimersByTimeAsync(10)
    visible.mockReturnValue('hidden')
    await vi.advanceTimersByTimeAsync(10_000)
    expect(task).toHaveBeenCalledTimes(1)
    visible.mockReturnValue('visible')
    document.dispatchEvent(new Event('visibilitychange'))
    expect(task).toHaveBeenCalledTimes(2)
  })
})
