import { ref, shallowRef } from 'vue'

import { api } from '@/api/client'
import type { LogEntry } from '@/api/schema'
import { usePolling } from '@/composables/usePolling'

const EVERY_MS = 1_000
const TAIL = 200
export const CAP = 2_000

export interface LogLine extends LogEntry {
  /** Counts lines on this page; the key of a row. */
  id: number
}

/** The newest lines of a log. While it is held, lines wait outside, so that nothing moves. */
export function useLogTail(name: () => string) {
  const lines = shallowRef<LogLine[]>([])
  const waiting = shallowRef<LogLine[]>([])
  const isHeld = ref(false)
  let cursor: string | null = null
  let nextId = 1

  const polling = usePolling(
    async (signal) => {
      const asked = name()
      const page = await api.logs(asked, TAIL, cursor, signal)
      if (asked !== name()) return
      cursor = page.cursor
      take(page.entries.map((entry) => ({ ...entry, id: nextId++ })))
    },
    EVERY_MS,
    () => {
      cursor = null
      lines.value = []
      waiting.value = []
      return name()
    },
  )

  function take(entries: LogLine[]): void {
    if (entries.length === 0) return
    if (isHeld.value) waiting.value = [...waiting.value, ...entries].slice(-CAP)
    else lines.value = [...lines.value, ...entries].slice(-CAP)
  }

  function hold(): void {
    isHeld.value = true
  }

  /** Show what has come meanwhile and follow again. */
  function follow(): void {
    isHeld.value = false
    const held = waiting.value
    waiting.value = []
    take(held)
  }

  return { lines, waiting, isHeld, hold, follow, ...polling }
}
