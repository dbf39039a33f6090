/** What the log routes take and answer: search, context, errors by kind. */

import type { LogEntry, LogLevel, Params } from '@/api/schema'

/** Which lines are wanted; an empty text asks nothing. Times are ISO, or relative such as -15m. */
export interface LogQuery {
  level: LogLevel
  text: string
  regex: string
  from: string
  to: string
}

/** A line and its place, which stays the same through rotations. */
export interface FoundEntry extends LogEntry {
  cursor: string
}

export interface LogSearchPage {
  entries: FoundEntry[]
  older: string | null
  newer: string | null
  /** False when the time for one page was up before the page was full. */
  complete: boolean
  /** The place that was asked for is in no file any more. */
  lost: boolean
  searched_bytes: number
}

/** From which place on, and in which direction, a page is wanted. */
export interface LogPlace {
  before?: string
  after?: string
}

export interface LogAround {
  entries: FoundEntry[]
  lost: boolean
}

interface LogError {
  error_type: string
  error_message: string
  timestamp: string | null
  process_name: string
  severity: string
  context: Params
  suggested_action: string
  fingerprint: string
}

export interface LogErrorGroup {
  newest: LogError
  count: number
  first_at: string | null
  last_at: string | null
}

export interface LogErrors {
  errors: LogErrorGroup[]
  complete: boolean
}
