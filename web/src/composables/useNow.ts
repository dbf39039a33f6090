import { computed, onScopeDispose, readonly, ref, type ComputedRef } from 'vue'

import { useConnectionStore } from '@/stores/connection'

const EVERY_MS = 1_000

// One timer for the whole page: everything that shows an age ticks together.
const localNow = ref(Date.now())
let users = 0
let timer: ReturnType<typeof setInterval> | undefined

/** Local time in ms, renewed each second while anybody looks. */
export function useLocalNow() {
  if (users === 0) {
    localNow.value = Date.now()
    timer = setInterval(() => {
      localNow.value = Date.now()
    }, EVERY_MS)
  }
  users += 1
  onScopeDispose(() => {
    users -= 1
    if (users === 0) clearInterval(timer)
  })
  return readonly(localNow)
}

/** The server's time in ms, renewed each second: the clock for every age that the server told. */
export function useNow(): ComputedRef<number> {
  const now = useLocalNow()
  const connection = useConnectionStore()
  return computed(() => now.value + connection.clockOffsetMs)
}
