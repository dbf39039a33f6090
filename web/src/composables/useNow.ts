import { computed, readonly, ref, type ComputedRef } from 'vue'

import { useConnectionStore } from '@/stores/connection'

// One timer for the whole page: everything that shows an age ticks together.
const localNow = ref(Date.now())
let timer: ReturnType<typeof setInterval> | undefined

function startTicking(): void {
  timer ??= setInterval(() => {
    localNow.value = Date.now()
  }, 1_000)
}

/** Local time in ms, renewed each second. */
export function useLocalNow() {
  startTicking()
  return readonly(localNow)
}

/** The server's time in ms, renewed each second: the clock for every age that the server told. */
export function useNow(): ComputedRef<number> {
  startTicking()
  const connection = useConnectionStore()
  return computed(() => localNow.value + connection.clockOffsetMs)
}
