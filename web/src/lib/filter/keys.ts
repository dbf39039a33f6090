/** What a filter can ask of a collector: one table of keys, for the parser and for suggestions. */

import type { ProcessStatus } from '@/api/schema'
import { processSeverity, SEVERITY_ORDER } from '@/lib/severity'

/** Words of a text key; a filter looks for a part of any of them. */
export type TextOf = (process: ProcessStatus) => readonly string[]
/** Null where there is none: then no comparison holds. */
export type NumberOf = (process: ProcessStatus) => number | null

export type FilterKey =
  | { kind: 'text'; of: TextOf }
  | { kind: 'choice'; of: TextOf; choices: readonly string[] }
  | { kind: 'number'; of: NumberOf; isDuration?: boolean }

const STATES = [
  ...SEVERITY_ORDER,
  'running',
  'starting',
  'stopping',
  'crashed',
  'backoff',
  'fatal',
  'exited',
] as const

export const FILTER_KEYS: Readonly<Record<string, FilterKey>> = {
  name: { kind: 'text', of: (process) => [process.name, process.display_name] },
  node: { kind: 'text', of: (process) => [process.node] },
  device: {
    kind: 'text',
    of: ({ devices }) => devices.flatMap((d) => [d.device_id, `${d.device_ip}:${d.device_port}`]),
  },
  state: { kind: 'choice', choices: STATES, of: statesOf },
  protocol: { kind: 'choice', choices: ['modbus', 'opcua', 'mitsubishi'], of: ({ type }) => [type] },
  score: { kind: 'number', of: ({ health_score }) => health_score },
  rate: { kind: 'number', of: ({ data_collection_rate }) => data_collection_rate },
  cpu: { kind: 'number', of: ({ cpu_percent }) => cpu_percent },
  memory: { kind: 'number', of: ({ memory_mb }) => memory_mb },
  restarts: { kind: 'number', of: ({ restart_count }) => restart_count },
  errors: { kind: 'number', of: ({ error_count_24h }) => error_count_24h },
  uptime: { kind: 'number', of: ({ uptime_seconds }) => uptime_seconds, isDuration: true },
}

export const KEY_NAMES = Object.keys(FILTER_KEYS)

/** The judgement, the design document's state and supervisord's own: all are called states. */
function statesOf(process: ProcessStatus): string[] {
  const known: string[] = [processSeverity(process), process.status, process.supervisor_state]
  return known.map((state) => state.toLowerCase())
}

/** All that a bare word is looked for in. */
export const anywhere: TextOf = (process) => [
  process.name,
  process.display_name,
  process.type,
  process.node,
  ...process.devices.map((d) => `${d.device_id} ${d.device_ip}:${d.device_port}`),
]

/** The member of ``known`` that ``word`` may have been meant to be, or an empty string. */
export function nearest(word: string, known: readonly string[]): string {
  const start = known.find((each) => each.startsWith(word.slice(0, 3)))
  const scored = known.map((each) => ({ each, far: distance(word, each) })).sort((a, b) => a.far - b.far)
  const [best] = scored
  return best && best.far <= 2 ? best.each : (start ?? '')
}

/** Letters to change, add or drop (Levenshtein, 1966). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const changed = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(changed, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}
