import { expect, test } from 'vitest'

import english from '@server-messages/messages.en.json'
import chinese from '@server-messages/messages.zh-CN.json'

import { checkSentence, fill, recommendationSentence } from '@/lib/sentences'

import { check, silent } from './sample'

test('parameters take the place of their names', () => {
  expect(fill('no value for {age_s} s, limit {limit_s} s', { age_s: 73, limit_s: 60 })).toBe(
    'no value for 73 s, limit 60 s',
  )
})

test('a parameter that is missing stays visible', () => {
  expect(fill('{rate} of {expected}', { rate: 0 })).toBe('0 of {expected}')
})

test('a check speaks the language of the catalogue', () => {
  const lost = silent('a').health.checks[1]
  if (!lost) throw new Error('the sample has no connection check')
  expect(checkSentence(lost, english)).toBe(lost.message)
  expect(checkSentence(lost, chinese)).toContain('10.0.0.11:502')
  expect(checkSentence(lost, chinese)).toContain('73')
})

test('a check newer than this panel falls back to the words of the server', () => {
  const fresh = check('data_flow', { code: 'data.of_the_future', message: 'something new' })
  expect(checkSentence(fresh, chinese)).toBe('something new')
})

test('an advice newer than this panel is left out', () => {
  expect(recommendationSentence('restart', english)).toBe('Restart the collector')
  expect(recommendationSentence('pray', english)).toBeNull()
})
