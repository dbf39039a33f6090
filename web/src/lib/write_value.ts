/** What somebody typed as the new value of a point. */

import type { Point } from '@/api/schema'
import { decimalsFor } from '@/lib/format'

export type ValueKind = 'number' | 'boolean' | 'string'

export const VALUE_KINDS: readonly ValueKind[] = ['number', 'boolean', 'string']

/** Of which kind a point is as far as its values tell; null until it had one. */
export function kindOf(value: Point['value']): ValueKind | null {
  if (value === null) return null
  return typeof value as ValueKind
}

export type Typed =
  | { value: number | boolean | string; problem: null }
  | { value: null; problem: 'not_a_number' | 'too_long' }

/** The value that ``text`` means; a decimal comma is refused, because it could be a thousand's. */
export function typedValue(text: string, kind: ValueKind): Typed {
  if (kind === 'boolean') return { value: text === 'true', problem: null }
  if (kind === 'string') return { value: text, problem: null }
  const trimmed = text.trim()
  const value = Number(trimmed)
  if (trimmed === '' || !Number.isFinite(value)) return { value: null, problem: 'not_a_number' }
  if (/^[+-]?\d+$/.test(trimmed) && !Number.isSafeInteger(value)) return { value: null, problem: 'too_long' }
  return { value, problem: null }
}

/** As many decimals as ``value`` has been given, at least those that its size deserves. */
export function decimalsOf(value: Point['value'], text: string, atLeast: number): number {
  if (typeof value !== 'number') return 0
  const given = /\.(\d+)$/.exec(text.trim())?.[1]?.length ?? 0
  return Math.min(Math.max(atLeast, given, decimalsFor(value)), 12)
}
