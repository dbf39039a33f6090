import { afterEach, describe, expect, test } from 'vitest'

import { KEY_NAMES } from '@/lib/filter/keys'
import { acceptsDespite, parseFilter } from '@/lib/filter/parse'
import { keepFilters, loadFilters, withFilter } from '@/lib/filter/saved'
import { suggest } from '@/lib/filter/suggest'

import { collector, crashed, silent, stopped } from './sample'

const PLANT = [
  collector('line1-modbus', { display_name: '锅炉房 2 号', health_score: 40, restart_count: 3 }),
  collector('line2-opcua', { type: 'opcua', node: 'hall2', cpu_percent: null, uptime_seconds: 7200 }),
  collector('line10-test', { type: 'mitsubishi', health_score: 59.5, uptime_seconds: 30 }),
  crashed('boiler'),
  silent('pump'),
  stopped('spare'),
]
const ALL = PLANT.map(({ name }) => name)

function names(text: string): string[] {
  const { accepts, problem } = parseFilter(text)
  if (!accepts) throw new Error(`${text}: ${JSON.stringify(problem)}`)
  return PLANT.filter(accepts).map(({ name }) => name)
}

describe('a filter', () => {
  test.each<[string, string[]]>([
    ['', ALL],
    ['   ', ALL],
    ['LINE1', ['line1-modbus', 'line10-test']],
    ['锅炉', ['line1-modbus']],
    ['10.0.0.11:502 opcua', ['line2-opcua']],
    ['line modbus', ['line1-modbus']],
    ['state:critical', ['boiler', 'pump']],
    ['state:crit,stopped', ['boiler', 'pump', 'spare']],
    ['state:EXITED', ['boiler']],
    ['-state:healthy', ['boiler', 'pump', 'spare']],
    ['not state:healthy', ['boiler', 'pump', 'spare']],
    ['state!=healthy', ['boiler', 'pump', 'spare']],
    ['protocol:opcua or protocol:mitsu', ['line2-opcua', 'line10-test']],
    ['name:line*', ['line1-modbus', 'line2-opcua', 'line10-test']],
    ['name:*test', ['line10-test']],
    ['name:l*2*a', ['line2-opcua']],
    ['name:"line*"', []],
    ['"锅炉房 2"', ['line1-modbus']],
    ['node:hall', ['line2-opcua']],
    ['device:plc1 node:hall2', ['line2-opcua']],
    ['score<60', ['line1-modbus', 'line10-test', 'boiler', 'pump']],
    ['score<60 score>=40', ['line1-modbus', 'line10-test']],
    ['score=100', ['line2-opcua']],
    ['-score<60', ['line2-opcua', 'spare']],
    ['restarts>0', ['line1-modbus']],
    ['uptime<1m', ['line10-test']],
    ['uptime>=2h', ['line2-opcua']],
    ['cpu>=0 node:hall2', []],
    ['name:line -(protocol:opcua or score<50)', ['line10-test']],
    ['boiler or pump and state:critical', ['boiler', 'pump']],
    ['line OR NOT line', ALL],
    ['- ', ['line1-modbus', 'line2-opcua', 'line10-test']],
  ])('%s', (text, expected) => {
    expect(names(text)).toEqual(expected)
  })

  test.each<[string, string, number, number]>([
    ['stat:critical', 'unknown_key', 0, 13],
    ['line constructor:x', 'unknown_key', 5, 18],
    ['state:happy', 'unknown_value', 6, 11],
    ['line state:critical,happy', 'unknown_value', 20, 25],
    ['score<many', 'not_a_number', 6, 10],
    ['score<5m', 'not_a_number', 6, 8],
    ['name<5', 'not_a_number', 0, 6],
    ['state:', 'missing_value', 0, 6],
    ['state: critical', 'missing_value', 0, 6],
    ['a "b', 'unclosed_quote', 2, 4],
    ['(a or b', 'unclosed_parenthesis', 0, 1],
    ['a )', 'stray_parenthesis', 2, 3],
    [')', 'stray_parenthesis', 0, 1],
    ['a or', 'missing_term', 2, 4],
    ['or a', 'missing_term', 0, 2],
    ['not', 'missing_term', 0, 3],
    ['()', 'missing_term', 1, 2],
  ])('that is wrong says where: %s', (text, code, start, end) => {
    expect(parseFilter(text).problem).toMatchObject({ code, start, end })
  })

  test('names what was probably meant', () => {
    expect(parseFilter('stat:critical').problem?.params).toMatchObject({ key: 'stat', meant: 'state' })
    expect(parseFilter('state:critcal').problem?.params).toMatchObject({ meant: 'critical' })
    expect(parseFilter('zzzz:1').problem?.params).toMatchObject({ meant: '' })
  })

  test.each<[string, string[]]>([
    ['protocol:opcua stat:x', ['line2-opcua']],
    ['protocol:opcua st:', ['line2-opcua']],
    ['state:happy name:line1', ['line1-modbus', 'line10-test']],
    ['name:line10 or', ['line10-test']],
    ['name:line10 "', ['line10-test']],
    ['(name:line10', ['line10-test']],
    ['stat:x', ALL],
    [')'.repeat(30), ALL],
  ])('that is wrong in part goes on with the rest: %s', (text, expected) => {
    expect(PLANT.filter(acceptsDespite(text)).map(({ name }) => name)).toEqual(expected)
  })

  test('of any depth is refused and not run out of stack', () => {
    expect(parseFilter('('.repeat(100_000)).problem?.code).toBe('too_deep')
    expect(parseFilter('-'.repeat(100_000) + 'a').problem?.code).toBe('too_deep')
  })
})

/** The same numbers at each run (mulberry32). */
function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

const PIECES = [...KEY_NAMES, 'or', 'not', 'and', '-', '(', ')', '"', ':', '<', '>=', ',', '*', ' ', ' ', '60', 'line', 'critical', '锅']

describe('whatever is typed', () => {
  const next = random(7)
  const pick = <T>(from: readonly T[]): T => from[Math.floor(next() * from.length)] as T
  const texts = Array.from({ length: 3000 }, () =>
    Array.from({ length: Math.floor(next() * 12) }, () => pick(PIECES)).join(''),
  )

  test('is a filter or a problem inside the text, never an exception', () => {
    let good = 0
    for (const text of texts) {
      const { accepts, problem } = parseFilter(text)
      if (accepts) good += 1
      else {
        expect(problem.start).toBeGreaterThanOrEqual(0)
        expect(problem.end).toBeLessThanOrEqual(text.length)
        expect(problem.start).toBeLessThan(problem.end)
      }
    }
    expect(good).toBeGreaterThan(100)
  })

  test('keeps the laws of not, or and double negation', () => {
    const good = texts.filter((text) => text.trim() && parseFilter(text).accepts)
    for (const text of good.slice(0, 300)) {
      const found = names(text)
      expect(names(`-(${text})`)).toEqual(ALL.filter((name) => !found.includes(name)))
      expect(names(`not not (${text})`)).toEqual(found)
      expect(names(`(${text}) or -(${text})`)).toEqual(ALL)
      expect(names(`(${text}) -(${text})`)).toEqual([])
    }
  })

  test('gets suggestions that begin with what stands there', () => {
    for (const text of texts) {
      for (const { text: offered, start, end } of suggest(text, text.length, { nodes: ['local'], collectors: ALL })) {
        expect(offered.toLowerCase().startsWith(text.slice(start, end).toLowerCase())).toBe(true)
      }
    }
  })
})

describe('suggestions', () => {
  const at = (text: string) =>
    suggest(text, text.length, { nodes: ['local', 'hall2'], collectors: ALL }).map((each) => each.text)

  test.each<[string, string[]]>([
    ['st', ['state:']],
    ['line -pro', ['protocol:']],
    ['sc', ['score>']],
    ['state:cr', ['critical', 'crashed']],
    ['state:critical,wa', ['warning']],
    ['node:h', ['hall2']],
    ['name:li', ['line1-modbus', 'line2-opcua', 'line10-test']],
    ['"st', []],
    ['score>', []],
    ['line ', []],
  ])('after %s', (text, expected) => {
    expect(at(text)).toEqual(expected)
  })

  test('of an empty filter are all keys', () => {
    expect(at('')).toHaveLength(KEY_NAMES.length)
  })
})

describe('saved filters', () => {
  afterEach(() => localStorage.clear())

  test('come back, one of a name', () => {
    const first = withFilter([], { name: 'night', text: 'state:critical' })
    keepFilters(withFilter(first, { name: 'night', text: 'score<60' }))
    expect(loadFilters()).toEqual([{ name: 'night', text: 'score<60' }])
  })

  test('that cannot be read are none', () => {
    localStorage.setItem('daqplane.filters', '[{"name": 1}, "x", {"name": "a", "text": "b"}]')
    expect(loadFilters()).toEqual([{ name: 'a', text: 'b' }])
    localStorage.setItem('daqplane.filters', '{')
    expect(loadFilters()).toEqual([])
  })
})
