import { describe, expect, test } from 'vitest'

import {
  ageSeconds,
  decimalsFor,
  durationPhrase,
  elapsedPhrase,
  formatBytes,
  formatInstant,
  formatNumber,
  formatTimeMs,
  NO_VALUE,
  staleAfterS,
} from '@/lib/format'

describe('numbers', () => {
  test('keep their decimals fixed, so that a column lines up', () => {
    expect(formatNumber(50, 1, 'en')).toBe('50.0')
    expect(formatNumber(49.96, 1, 'zh-CN')).toBe('50.0')
    expect(formatNumber(1248.6, 1, 'en')).toBe('1,248.6')
  })

  test('that do not exist are a dash and never a zero', () => {
    expect(formatNumber(null, 1, 'en')).toBe(NO_VALUE)
    expect(formatNumber(Number.NaN, 1, 'en')).toBe(NO_VALUE)
  })

  test('of measured values get the digits that their size deserves', () => {
    expect([3, 0.4821, 12.3456, 48123.4].map(decimalsFor)).toEqual([0, 3, 2, 1])
  })
})

describe('durations', () => {
  test('show their two largest units', () => {
    expect(durationPhrase(0.4)).toEqual({ key: 'duration.seconds', params: { s: 0 } })
    expect(durationPhrase(73)).toEqual({ key: 'duration.minutes', params: { m: 1, s: 13 } })
    expect(durationPhrase(3_600)).toEqual({ key: 'duration.hours', params: { h: 1, m: 0 } })
    expect(durationPhrase(90_061)).toEqual({ key: 'duration.days', params: { d: 1, h: 1 } })
  })

  test('are never negative', () => {
    expect(durationPhrase(-5).params).toEqual({ s: 0 })
  })

  test('of actions show tenths while these tell something', () => {
    expect(elapsedPhrase(3_240, 'en').params).toEqual({ s: '3.2' })
    expect(elapsedPhrase(12_900, 'en').params).toEqual({ s: 12 })
  })
})

describe('ages', () => {
  const now = Date.parse('2026-11-23T05:00:10Z')

  test('count from the instant to now', () => {
    expect(ageSeconds('2026-11-23T05:00:00Z', now)).toBe(10)
  })

  test('of nothing are unknown, and of the future are zero', () => {
    expect(ageSeconds(null, now)).toBeNull()
    expect(ageSeconds('not a time', now)).toBeNull()
    expect(ageSeconds('2026-11-23T05:00:12Z', now)).toBe(0)
  })

  test('are stale beyond two intervals, but not within the time that publishing takes', () => {
    expect(staleAfterS(10)).toBe(20)
    expect(staleAfterS(0.2)).toBe(3)
  })
})

describe('times', () => {
  const instant = Date.parse('2026-11-23T05:03:22.045Z')

  test('are local, with the date only on another day', () => {
    expect(formatInstant(instant, instant)).toBe('13:03:22')
    expect(formatInstant(instant, instant + 86_400_000)).toBe('2026-11-23 13:03:22')
  })

  test('of log lines go down to the millisecond', () => {
    expect(formatTimeMs(instant)).toBe('13:03:22.045')
  })
})

test('bytes come in the unit that people read', () => {
  expect(formatBytes(null, 'en')).toBe(NO_VALUE)
  expect(formatBytes(512, 'en')).toBe('512 B')
  expect(formatBytes(18.24e9, 'en')).toBe('18.2 GB')
})
