/** Commands for many collectors: what will happen, and how far it has come. */

import type { ProcessStatus } from '@/api/schema'
import { canRun, type ACTIONS } from '@/lib/commands'

export type BulkAction = (typeof ACTIONS)[number]

/** Why a command leaves a collector alone. */
export type SkipReason = 'gone' | 'running' | 'stopped' | 'changing' | 'busy'

export interface BulkPreview {
  will: ProcessStatus[]
  /** By reason, each with the names in the order given. */
  skipped: ReadonlyMap<SkipReason, string[]>
  /** Good values a second that stop coming meanwhile; zero for a start. */
  rate: number
}

type Known = ReadonlyMap<string, ProcessStatus>

/** From here on a stop or restart wants more than a click. */
export const TYPED_FROM = 4

export function previewOf(
  action: BulkAction,
  names: Iterable<string>,
  known: Known,
  isBusy: (name: string) => boolean,
): BulkPreview {
  const will: ProcessStatus[] = []
  const skipped = new Map<SkipReason, string[]>()
  for (const name of names) {
    const process = known.get(name)
    const reason = process ? skipReason(action, process, isBusy(name)) : 'gone'
    if (process && reason === null) will.push(process)
    else if (reason !== null) skipped.set(reason, [...(skipped.get(reason) ?? []), name])
  }
  const rate = action === 'start' ? 0 : will.reduce((sum, each) => sum + each.data_collection_rate, 0)
  return { will, skipped, rate }
}

function skipReason(action: BulkAction, process: ProcessStatus, isBusy: boolean): SkipReason | null {
  if (isBusy) return 'busy'
  if (canRun(process, action)) return null
  if (process.status === 'STARTING' || process.status === 'STOPPING') return 'changing'
  return process.status === 'RUNNING' ? 'running' : 'stopped'
}

/** True once what is told live of ``process`` is what ``action`` was to bring about. */
export function hasArrived(
  action: BulkAction,
  pidBefore: number | null,
  process: ProcessStatus | undefined,
): boolean {
  if (!process) return false
  if (action === 'stop') return process.pid === null
  if (process.status !== 'RUNNING') return false
  return action === 'start' || process.pid !== pidBefore
}
