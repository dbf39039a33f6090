import type { components } from '@/api/openapi'

type Schemas = components['schemas']

/** A stretch in which one check said the same. */
export type CheckRun = Schemas['RunView']
/** What somebody did, and what came of it. */
export type NotedAction = Schemas['ActionView']
export type Timeline = Schemas['Timeline']
