/** What could stand where somebody is typing a filter. */

import { FILTER_KEYS, KEY_NAMES } from '@/lib/filter/keys'

export interface Suggestion {
  /** What stands there afterwards. */
  text: string
  /** The part of the filter that it takes the place of. */
  start: number
  end: number
}

const MOST = 8

/** Suggestions for the word before ``caret``; ``names`` are nodes and collectors that there are. */
export function suggest(
  text: string,
  caret: number,
  names: { nodes: readonly string[]; collectors: readonly string[] },
): Suggestion[] {
  const before = text.slice(0, caret)
  const open = /(?:^|[\s(])-?([^\s()"]*)$/.exec(before)?.[1]
  if (open === undefined) return []
  const pair = /^([A-Za-z_]+)(?::|!?=)(?:[^,]*,)*([^,]*)$/.exec(open)
  const typed = (pair ? (pair[2] ?? '') : open).toLowerCase()
  const start = caret - typed.length
  const offered = pair ? valuesOf((pair[1] ?? '').toLowerCase(), names) : KEY_NAMES.map(keyText)
  if (!pair && typed === '' && text.trim() !== '') return []
  return offered
    .filter((each) => each.toLowerCase().startsWith(typed) && each.toLowerCase() !== typed)
    .slice(0, pair || typed !== '' ? MOST : offered.length)
    .map((each) => ({ text: each, start, end: caret }))
}

const keyText = (key: string) => (FILTER_KEYS[key]?.kind === 'number' ? `${key}>` : `${key}:`)

function valuesOf(key: string, names: { nodes: readonly string[]; collectors: readonly string[] }): readonly string[] {
  const known = Object.hasOwn(FILTER_KEYS, key) ? FILTER_KEYS[key] : undefined
  if (known?.kind === 'choice') return known.choices
  if (key === 'node') return names.nodes
  return key === 'name' ? names.collectors : []
}
