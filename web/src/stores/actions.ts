import { defineStore } from 'pinia'
import { ref, shallowRef } from 'vue'

import { api, ApiError } from '@/api/client'
import type { CommandAction, CommandResult } from '@/api/schema'

/** How long a row keeps telling what an action did. */
const NOTE_MS = 60_000
/** A collector that was started on request connects and delivers within this time. */
const SETTLE_MS = 5_000

export interface ActionNote {
  action: CommandAction
  state: 'requested' | CommandResult['outcome']
  /** Local time in ms of the request or of the result. */
  at: number
  /** The server's words, empty while requested. */
  detail: string
  durationMs: number | null
  pidBefore: number | null
  pidAfter: number | null
  /** Set when the request itself was refused or lost. */
  error: ApiError | null
}

/** Start, stop and restart: what was asked, what is under way, what happened. Nothing is assumed. */
export const useActionsStore = defineStore('actions', () => {
  /** The command that waits for the user's yes. */
  const asked = shallowRef<{ name: string; action: CommandAction } | null>(null)
  const notes = ref<Record<string, ActionNote>>({})
  /** Collectors whose command succeeded so lately that they may still find their feet. */
  const settling = shallowRef<ReadonlySet<string>>(new Set())

  function ask(name: string, action: CommandAction): void {
    asked.value = { name, action }
  }

  function cancel(): void {
    asked.value = null
  }

  function isBusy(name: string): boolean {
    return notes.value[name]?.state === 'requested'
  }

  /** True while what ``name`` does is what somebody just asked for, and so is no incident. */
  function isExpected(name: string): boolean {
    const state = notes.value[name]?.state
    return state === 'requested' || (state === 'done' && settling.value.has(name))
  }

  /** Carry the command out and return what happened; failures are a result too. */
  async function run(name: string, action: CommandAction): Promise<ActionNote> {
    asked.value = null
    begin([name], action)
    const started = performance.now()
    let result: ActionNote
    try {
      const answer = await api.command(name, action)
      result = answered(action, answer)
    } catch (cause) {
      if (!(cause instanceof ApiError)) throw cause
      result = refused(action, cause, performance.now() - started)
    }
    conclude(new Map([[name, result]]))
    return result
  }

  /** Note that ``action`` was asked of ``names``. */
  function begin(names: readonly string[], action: CommandAction): void {
    const requested = names.map((name) => [name, note({ action, state: 'requested' })] as const)
    notes.value = { ...notes.value, ...Object.fromEntries(requested) }
  }

  /** Note what came of it; the rows tell it for a while. */
  function conclude(results: ReadonlyMap<string, ActionNote>): void {
    notes.value = { ...notes.value, ...Object.fromEntries(results) }
    settling.value = new Set([...settling.value, ...results.keys()])
    setTimeout(() => {
      settling.value = new Set([...settling.value].filter((known) => !results.has(known)))
    }, SETTLE_MS)
    setTimeout(() => {
      const left = Object.entries(notes.value).filter(([name, { at }]) => results.get(name)?.at !== at)
      notes.value = Object.fromEntries(left)
    }, NOTE_MS)
  }

  return { asked, notes, ask, cancel, isBusy, isExpected, run, begin, conclude }
})

/** What the server said of one collector. */
export function answered(action: CommandAction, answer: CommandResult): ActionNote {
  return note({
    action,
    state: answer.outcome,
    detail: answer.detail,
    durationMs: answer.duration_ms,
    pidBefore: answer.pid_before,
    pidAfter: answer.pid_after,
  })
}

/** A request that failed: without an answer nobody knows whether the command was carried out. */
export function refused(action: CommandAction, error: ApiError, durationMs: number | null): ActionNote {
  const state = error.code === 'network' ? 'unknown' : 'failed'
  return note({ action, state, detail: error.detail, durationMs, error })
}

function note(values: Partial<ActionNote> & Pick<ActionNote, 'action' | 'state'>): ActionNote {
  return {
    at: Date.now(),
    detail: '',
    durationMs: null,
    pidBefore: null,
    pidAfter: null,
    error: null,
    ...values,
  }
}
