/** What the log routes take and answer: search, context, errors by kind. */

import type { components } from '@/api/openapi'
import type { LogLevel } from '@/api/schema'

type Schemas = components['schemas']

/** Which lines are wanted; an empty text asks nothing. Times are ISO, or relative such as -15m. */
export interface LogQuery {
  level: LogLevel
  text: string
  regex: string
  from: string
  to: string
}

/** A line and its place, which stays the same through rotations. */
export type FoundEntry = Schemas['FoundLine']
export type LogSearchPage = Schemas['LogSearchPage']

/** From which place on, and in which direction, a page is wanted. */
export interface LogPlace {
  before?: string
  after?: string
}

export type LogAround = Schemas['LogSurroundings']
export type LogErrorGroup = Schemas['ErrorGroup']
export type LogErrors = Schemas['LogErrors']
