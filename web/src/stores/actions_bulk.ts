import { defineStore } from 'pinia'
import { computed, shallowRef } from 'vue'

import { api, ApiError } from '@/api/client'
import type { BulkAction } from '@/lib/bulk'
import { answered, refused, useActionsStore, type ActionNote } from '@/stores/actions'
import { useProcessesStore } from '@/stores/processes'

/** So many go in one request: a few answers on the way, and no request that lasts for minutes. */
const CHUNK = 500

export interface BulkJob {
  action: BulkAction
  /** Process ids as they were when the job began, by name. */
  pids: ReadonlyMap<string, number | null>
  /** What the server said so far. */
  results: ReadonlyMap<string, ActionNote>
  isRunning: boolean
}

/** Which collectors are selected, and the command for many that is asked, under way or done. */
export const useBulkStore = defineStore('bulk', () => {
  const actions = useActionsStore()
  const processes = useProcessesStore()

  const selected = shallowRef<ReadonlySet<string>>(new Set())
  const asked = shallowRef<{ action: BulkAction; names: readonly string[] } | null>(null)
  const job = shallowRef<BulkJob | null>(null)
  let anchor: string | null = null

  const failed = computed(() =>
    [...(job.value?.results ?? [])].filter(([, { state }]) => state !== 'done').map(([name]) => name),
  )

  function toggle(name: string): void {
    const next = new Set(selected.value)
    if (!next.delete(name)) next.add(name)
    selected.value = next
    anchor = name
  }

  /** Select from the last one that was toggled to ``name``, in the order that is shown. */
  function extendTo(name: string, order: readonly string[]): void {
    const from = anchor === null ? -1 : order.indexOf(anchor)
    const to = order.indexOf(name)
    if (from === -1 || to === -1) return toggle(name)
    selected.value = new Set([...selected.value, ...order.slice(Math.min(from, to), Math.max(from, to) + 1)])
  }

  function select(names: Iterable<string>): void {
    selected.value = new Set(names)
    anchor = null
  }

  function ask(action: BulkAction, names: Iterable<string>): void {
    asked.value = { action, names: [...names] }
  }

  function cancel(): void {
    asked.value = null
  }

  function forget(): void {
    if (!job.value?.isRunning) job.value = null
  }

  /** Carry ``action`` out; one that fails fails alone, and all results are kept. */
  async function run(action: BulkAction, names: readonly string[]): Promise<void> {
    asked.value = null
    const pids = new Map(names.map((name) => [name, processes.byName.get(name)?.pid ?? null]))
    job.value = { action, pids, results: new Map(), isRunning: true }
    actions.begin(names, action)
    for (let from = 0; from < names.length; from += CHUNK) {
      const results = await send(action, names.slice(from, from + CHUNK))
      actions.conclude(results)
      job.value = { ...job.value, results: new Map([...job.value.results, ...results]) }
    }
    job.value = { ...job.value, isRunning: false }
  }

  async function send(action: BulkAction, names: readonly string[]): Promise<Map<string, ActionNote>> {
    const began = performance.now()
    try {
      const results = await api.bulk(action, names)
      return new Map(results.map((result) => [result.process, answered(action, result)]))
    } catch (cause) {
      if (!(cause instanceof ApiError)) throw cause
      const note = refused(action, cause, performance.now() - began)
      return new Map(names.map((name) => [name, note]))
    }
  }

  function reset(): void {
    selected.value = new Set()
    asked.value = null
    job.value = null
    anchor = null
  }

  return { selected, asked, job, failed, toggle, extendTo, select, ask, cancel, forget, run, reset }
})
