/** Numbers, ages and times as text. Pure: language and clock come as arguments. */

/** A message key and its parameters; the caller's language supplies the words. */
export interface Phrase {
  key: string
  params: Record<string, number | string>
}

export const NO_VALUE = '–'

const numberFormats = new Map<string, Intl.NumberFormat>()

/** ``value`` with exactly ``decimals`` digits after the point, grouped as the language does. */
export function formatNumber(value: number | null, decimals: number, locale: string): string {
  if (value === null || !Number.isFinite(value)) return NO_VALUE
  const key = `${locale}/${decimals}`
  let format = numberFormats.get(key)
  if (!format) {
    format = new Intl.NumberFormat(locale, {
      minimumFractionDigits: decimals,
      maximumFractionDigits: decimals,
    })
    numberFormats.set(key, format)
  }
  return format.format(value)
}

/** Digits after the point that a measured value of this size deserves; 0 for whole numbers. */
export function decimalsFor(value: number): number {
  if (Number.isInteger(value)) return 0
  const size = Math.abs(value)
  if (size >= 1000) return 1
  return size >= 1 ? 2 : 3
}

/** A length of time in its two largest units; whole seconds, never negative. */
export function durationPhrase(seconds: number): Phrase {
  const total = Math.max(0, Math.floor(seconds))
  const d = Math.floor(total / 86_400)
  const h = Math.floor((total % 86_400) / 3_600)
  const m = Math.floor((total % 3_600) / 60)
  const s = total % 60
  if (d > 0) return { key: 'duration.days', params: { d, h } }
  if (h > 0) return { key: 'duration.hours', params: { h, m } }
  if (m > 0) return { key: 'duration.minutes', params: { m, s } }
  return { key: 'duration.seconds', params: { s } }
}

/** How long an action took: tenths below ten seconds, where they tell something. */
export function elapsedPhrase(milliseconds: number, locale: string): Phrase {
  const seconds = milliseconds / 1000
  if (seconds >= 10) return durationPhrase(seconds)
  return { key: 'duration.seconds', params: { s: formatNumber(seconds, 1, locale) } }
}

const BYTE_UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']

/** Bytes in the unit (power of 1000) that leaves at most three digits before the point. */
export function formatBytes(bytes: number | null, locale: string): string {
  if (bytes === null) return NO_VALUE
  let size = bytes
  let unit = 0
  while (size >= 1000 && unit < BYTE_UNITS.length - 1) {
    size /= 1000
    unit += 1
  }
  return `${formatNumber(size, unit === 0 || size >= 100 ? 0 : 1, locale)} ${BYTE_UNITS[unit]}`
}

/** Age in seconds of the instant ``iso`` at ``nowMs``; null without an instant. */
export function ageSeconds(iso: string | null, nowMs: number): number | null {
  if (iso === null) return null
  const then = Date.parse(iso)
  return Number.isNaN(then) ? null : Math.max(0, (nowMs - then) / 1000)
}

/** Publishing takes up to this long, so that a younger value never counts as overdue. */
const PUBLISHING_S = 3

/** Age (s) beyond which a value polled every ``intervalS`` is stale. */
export function staleAfterS(intervalS: number): number {
  return Math.max(2 * intervalS, PUBLISHING_S)
}

const pad = (value: number, width = 2) => String(value).padStart(width, '0')

/** Local wall-clock time, 14:03:22. */
export function formatTime(instantMs: number): string {
  const at = new Date(instantMs)
  return `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`
}

/** Local time to the millisecond, as log lines show it. */
export function formatTimeMs(instantMs: number): string {
  return `${formatTime(instantMs)}.${pad(new Date(instantMs).getMilliseconds(), 3)}`
}

/** Local date, 2026-11-23: the same in both languages, sorts as text. */
export function formatDate(instantMs: number): string {
  const at = new Date(instantMs)
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`
}

/** Local time of today, or date and time of another day. */
export function formatInstant(instantMs: number, nowMs: number): string {
  const time = formatTime(instantMs)
  const date = formatDate(instantMs)
  return date === formatDate(nowMs) ? time : `${date} ${time}`
}
