/** Collector files: their texts, what is wrong in them, what they were. */

import type { components } from '@/api/openapi'

type Schemas = components['schemas']

export type ConfigProblem = Schemas['ConfigProblemView']

/** What a TOML value can be, as JSON. */
export type TomlValue = string | number | boolean | null | TomlValue[] | { [key: string]: TomlValue }
export type TomlTable = { [key: string]: TomlValue }

/** A document is any JSON to the API; to the panel it is what TOML can say. */
type WithDocument<T extends { document: unknown }> = Omit<T, 'document'> & { document: TomlTable | null }

export type ConfigCheck = WithDocument<Schemas['ConfigCheck']>
/** Where secrets are ``masked``, the text cannot be applied as it is. */
export type CollectorConfig = WithDocument<Schemas['CollectorConfig']>
export type CollectorSummary = Schemas['CollectorSummary']

/** Exactly one of both. */
export type ConfigDraft = { text: string } | { document: TomlTable }

export type ConfigDifference = Omit<Schemas['DifferenceView'], 'old' | 'new'> & {
  old: TomlValue
  new: TomlValue
}
export type ConfigDiff = Omit<Schemas['ConfigDiff'], 'differences'> & { differences: ConfigDifference[] }
export type ConfigApplied = Schemas['ConfigApplied']
export type ConfigRevision = Schemas['ConfigRevision']
export type RevisionList = Schemas['RevisionList']
export type PointChange = Omit<Schemas['PointChangeView'], 'old' | 'new'> & {
  old: TomlTable
  new: TomlTable
}
export type PointsImported = Omit<Schemas['PointsImported'], 'changes'> & { changes: PointChange[] }
