/** Collector files: their texts, what is wrong in them, what they were. */

export interface ConfigProblem {
  key: string
  /** Counted from 1; null where it is about no line. */
  line: number | null
  code: string
  message: string
  remedy: string
}

/** What a TOML value can be, as JSON. */
export type TomlValue = string | number | boolean | null | TomlValue[] | { [key: string]: TomlValue }
export type TomlTable = { [key: string]: TomlValue }

export interface ConfigCheck {
  name: string
  revision: string
  valid: boolean
  protocol: string | null
  devices: number
  points: number
  problems: ConfigProblem[]
  /** What the text says; null if it is no TOML. */
  document: TomlTable | null
}

export interface CollectorConfig extends ConfigCheck {
  text: string
  /** Secrets are hidden from this user: the text cannot be applied as it is. */
  masked: boolean
}

export interface CollectorSummary {
  name: string
  display_name: string
  protocol: string | null
  revision: string | null
  valid: boolean
  problems: number
  devices: number
  points: number
}

/** Exactly one of both. */
export type ConfigDraft = { text: string } | { document: TomlTable }

export interface ConfigDifference {
  key: string
  kind: 'added' | 'removed' | 'changed'
  old: TomlValue
  new: TomlValue
}

export interface ConfigDiff {
  old_revision: string
  new_revision: string
  /** The usual text of a diff; empty if the texts are the same. */
  unified: string
  differences: ConfigDifference[]
  problems: ConfigProblem[]
}

export interface ConfigApplied {
  name: string
  revision: string
  outcome: 'added' | 'changed' | 'reloaded' | 'not_reloaded' | 'stopped'
  message: string
}

export interface ConfigRevision {
  id: number
  collector: string
  revision: string
  at: string
  origin: string
  actor: string
  comment: string
  size_bytes: number
}

export interface RevisionList {
  revisions: ConfigRevision[]
  current: string | null
  next_before: number | null
}

export interface PointChange {
  kind: 'added' | 'changed' | 'removed'
  point: string
  old: TomlTable
  new: TomlTable
}

export interface PointsImported {
  changes: PointChange[]
  revision: string
  applied: ConfigApplied | null
}
