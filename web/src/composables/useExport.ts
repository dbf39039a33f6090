import { onScopeDispose, readonly, ref, shallowRef } from 'vue'

import { api, ApiError } from '@/api/client'
import type { ExportQuery } from '@/api/schema'
import { saveFile } from '@/lib/save_file'

const EVERY_MS = 400

export type ExportState = 'idle' | 'running' | 'done' | 'failed' | 'cancelled'

/** One export at a time: begun, watched, saved or cancelled. */
export function useExport() {
  const state = ref<ExportState>('idle')
  const fraction = ref(0)
  const rows = ref(0)
  const error = shallowRef<ApiError | null>(null)
  let controller: AbortController | null = null
  let id = ''

  async function begin(query: Omit<ExportQuery, 'id'>): Promise<void> {
    const mine = new AbortController()
    controller = mine
    id = randomId()
    state.value = 'running'
    fraction.value = rows.value = 0
    error.value = null
    const watching = setInterval(() => void look(mine.signal), EVERY_MS)
    try {
      const file = await api.exportHistory({ ...query, id }, mine.signal)
      await look(mine.signal)
      saveFile(file.name, file.content)
      state.value = 'done'
    } catch (cause) {
      if (mine.signal.aborted) {
        state.value = 'cancelled'
      } else {
        if (!(cause instanceof ApiError)) throw cause
        error.value = cause
        state.value = 'failed'
      }
    } finally {
      clearInterval(watching)
    }
  }

  /** The file comes whether or not this can be told. */
  async function look(signal: AbortSignal): Promise<void> {
    try {
      const seen = await api.exportProgress(id, signal)
      if (signal.aborted) return
      fraction.value = Math.max(fraction.value, seen.fraction)
      rows.value = Math.max(rows.value, seen.rows)
    } catch (cause) {
      if (!signal.aborted && !(cause instanceof ApiError)) throw cause
    }
  }

  /** End it here and on the server, which may still be writing. */
  function cancel(): void {
    if (state.value !== 'running') return
    controller?.abort()
    api.cancelExport(id).catch(() => {
      // It ends there anyway as soon as nobody reads on.
    })
  }

  onScopeDispose(cancel)
  return {
    state: readonly(state),
    fraction: readonly(fraction),
    rows: readonly(rows),
    error,
    begin,
    cancel,
    reset: () => {
      state.value = 'idle'
    },
  }
}

/** crypto.randomUUID() exists only where the page came by HTTPS or from this machine. */
function randomId(): string {
  return [...crypto.getRandomValues(new Uint8Array(12))]
    .map((byte) => byte.toString(16).padStart(2, '0'))
    .join('')
}
