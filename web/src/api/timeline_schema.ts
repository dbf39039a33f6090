import type { Check, CheckType, Params } from '@/api/schema'

/** A stretch in which one check said the same. */
export interface CheckRun {
  check_type: CheckType
  from: string
  to: string
  status: Check['status']
  code: string
  params: Params
}

/** What somebody did, and what came of it. */
export interface NotedAction {
  at: string
  actor: string
  action: string
  outcome: string
  detail: string
}

export interface Timeline {
  from: string
  to: string
  /** Seconds between two recorded rounds of checks. */
  round_s: number
  runs: CheckRun[]
  /** Where the score changed; null where it is not known. */
  scores: [at: string, score: number | null][]
  /** Restarts that nobody asked for. */
  restarts: string[]
  actions: NotedAction[]
}
