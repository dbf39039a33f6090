/** What may be chosen in the export dialog, and what is sensible. Pure. */

export const SPANS = [
  { key: 'shown', minutes: 0 },
  { key: '1h', minutes: 60 },
  { key: '24h', minutes: 1_440 },
  { key: '7d', minutes: 10_080 },
  { key: '30d', minutes: 43_200 },
  { key: 'own', minutes: 0 },
] as const

export type SpanKey = (typeof SPANS)[number]['key']

export const RESOLUTIONS = ['raw', '10s', '1m', '15m', '1h', '1d'] as const

export type Resolution = (typeof RESOLUTIONS)[number]

export interface Span {
  fromMs: number
  toMs: number
}

/** The server takes no more series at once. */
export const MOST_SERIES = 200

/** From this length on, one row a minute is what people want; samples can still be chosen. */
const LONG_MS = 2 * 86_400_000

export function spanOf(key: SpanKey, shown: Span, own: Span, nowMs: number): Span {
  if (key === 'shown') return shown
  if (key === 'own') return own
  const minutes = SPANS.find((known) => known.key === key)?.minutes ?? 60
  return { fromMs: nowMs - minutes * 60_000, toMs: nowMs }
}

export function sensibleResolution({ fromMs, toMs }: Span): Resolution {
  return toMs - fromMs > LONG_MS ? '1m' : 'raw'
}

/** Local time as ``<input type="datetime-local">`` has it. */
export function toField(ms: number): string {
  const local = ms - new Date(ms).getTimezoneOffset() * 60_000
  return new Date(local).toISOString().slice(0, 19)
}

/** NaN while the field is empty. */
export function fromField(text: string): number {
  return Date.parse(text)
}
