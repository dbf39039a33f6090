import { flushPromises, type VueWrapper } from '@vue/test-utils'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { defineComponent, h, nextTick, ref } from 'vue'

import type { FoundEntry, LogQuery } from '@/api/log_schema'
import { useLogQuery, useOwnLogFields } from '@/composables/useLogWish'
import { useLogs, type LogWish } from '@/composables/useLogs'
import { highlighted, linesOf, merged, parsePlace, patternOfKind, sourceToExtend, type LogSource } from '@/lib/log_lines'

import { answer, problem, requests, serve } from './fake_fetch'
import { show } from './mount'

const START = Date.parse('2026-11-23T05:00:00Z')
const PLAIN: LogQuery = { level: 'DEBUG', text: '', regex: '', from: '', to: '' }

/** Run ``setup`` as that of a component that shows nothing. */
const showSetup = (setup: () => void) => show(defineComponent({ setup: () => { setup(); return () => h('i') } }))

/** A line of ``name`` at second ``at``; without one where ``at`` is null. */
const entry = (name: string, at: number | null, message = `${name}${at}`): FoundEntry => ({
  cursor: `1-${at ?? 999}`,
  timestamp: at === null ? null : new Date(START + at * 1000).toISOString(),
  level: 'INFO',
  process_name: name,
  message,
  source_file: null,
  line_number: null,
  exception_info: null,
  fields: {},
})
const source = (name: string, seconds: number[], older: string | null = null, waiting = 0): LogSource => ({
  name,
  lines: linesOf(name, seconds.map((at) => entry(name, at)), NaN),
  older,
  newer: null,
  waiting,
})
const words = (sources: LogSource[]) => merged(sources).map((line) => line.message)

describe('logs put together', () => {
  test('are in the order of their times, equal times in the order of the processes', () => {
    expect(words([source('a', [1, 3, 5]), source('b', [2, 3, 4])])).toEqual(['a1', 'b2', 'a3', 'b3', 'b4', 'a5'])
  })

  test('show nothing from before what one of them has not loaded yet', () => {
    expect(words([source('a', [1, 2, 3]), source('b', [2.5, 4], '1-0')])).toEqual(['b2.5', 'a3', 'b4'])
  })

  test('ask the one for more that hides lines of the others', () => {
    expect(sourceToExtend([source('a', [1], '1-0'), source('b', [3], '1-0')])?.name).toBe('b')
    expect(sourceToExtend([source('a', [1])])).toBe(null)
  })

  test('keep outside what waits', () => {
    expect(words([source('a', [1, 2, 3], null, 2)])).toEqual(['a1'])
    expect(words([source('a', [1, 2], null, 2), source('b', [3])])).toEqual(['b3'])
  })

  test('give a line without a time that of the line before it', () => {
    const lines = linesOf('a', [entry('a', null), entry('a', 5), entry('a', null)], NaN)
    expect(lines.map(({ atMs }) => atMs - START)).toEqual([5_000, 5_000, 5_000])
  })
})

describe('what a filter found', () => {
  test('is marked, whatever characters it holds', () => {
    expect(highlighted('a+b=a+b', 'A+', '')).toEqual(['', 'a+', 'b=', 'a+', 'b'])
  })
  test('is marked by a pattern, unless JavaScript does not know it', () => {
    expect(highlighted('error 42', '', '\\d+')).toEqual(['error ', '42', ''])
    expect(highlighted('error 42', '', '(?P<n>\\d+)')).toEqual(['error 42'])
    expect(highlighted('error 42', '', '(error) (\\d+)')).toEqual(['error 42'])
  })
})

test('a kind of error is looked for with whatever numbers it says', () => {
  expect(patternOfKind('device lost (attempt 12)')).toBe('device lost \\(attempt \\d+\\)')
  expect(patternOfKind('device lost.')).toBe('device lost.')
})

test('a link to a line names its process and its place, and nothing else', () => {
  expect(parsePlace('line1:2892164-242.576f4c08')).toEqual({ name: 'line1', cursor: '2892164-242.576f4c08' })
  expect(parsePlace('line1')).toBe(null)
  expect(parsePlace('line1:<b>')).toBe(null)
})

describe('a view of logs', () => {
  let page: VueWrapper
  let logs: ReturnType<typeof useLogs>
  const wish = ref<LogWish>({ names: ['a'], query: PLAIN, at: null })

  /** Each process holds its entries; a cursor is an index into them. */
  const books: Record<string, FoundEntry[]> = {}
  const at = (cursor: string) => Number(cursor.split('-')[1])
  const book = (name: string, count: number) => {
    books[name] = Array.from({ length: count }, (_, n) => ({ ...entry(name, n), cursor: `1-${n}` }))
  }
  const search = (name: string) => () => {
    const query = requests.at(-1)?.query ?? new URLSearchParams()
    const all = books[name] ?? []
    const limit = Number(query.get('limit'))
    const after = query.get('after')
    const before = query.get('before')
    const [from, to] = after
      ? [at(after), Math.min(all.length, at(after) + limit)]
      : [Math.max(0, at(before ?? `1-${all.length}`) - limit), at(before ?? `1-${all.length}`)]
    const body = { entries: all.slice(from, to), older: !after && from === 0 ? null : `1-${from}`, newer: `1-${to}`, complete: true, lost: false, searched_bytes: 1 }
    return answer(body)()
  }
  const tail = (name: string) => () => answer({ entries: [], cursor: `1-${books[name]?.length ?? 0}`, reset: false })()
  const server = (...names: string[]) =>
    serve(Object.fromEntries(names.flatMap((name) => [
      [`GET /api/v1/processes/${name}/logs`, tail(name)],
      [`GET /api/v1/processes/${name}/logs/search`, search(name)],
    ])))
  const open = async (values: Partial<LogWish> = {}) => {
    wish.value = { names: ['a'], query: PLAIN, at: null, ...values }
    page = await showSetup(() => { logs = useLogs(() => wish.value) })
    await flushPromises()
  }
  const shown = () => logs.lines.value.map(({ message }) => message)
  const write = (name: string, at_: number) => books[name]?.push({ ...entry(name, at_), cursor: `1-${books[name].length}` })

  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    page.unmount()
    vi.useRealTimers()
  })

  test('begins at the end, goes on with what comes, and asks for older lines when told to', async () => {
    book('a', 1000)
    server('a')
    await open()
    expect(shown()).toHaveLength(300)
    expect(shown().at(-1)).toBe('a999')
    write('a', 1000)
    await vi.advanceTimersByTimeAsync(1_100)
    expect(shown().at(-1)).toBe('a1000')
    expect(requests.at(-1)?.query.get('after')).toBe('1-1000')
    await logs.loadOlder()
    await logs.loadOlder()
    expect(shown()[0]).toBe('a0')
    expect(logs.hasOlder.value).toBe(false)
  })

  test('does not search, which is audited, where only the end is wanted', async () => {
    book('a', 3)
    server('a')
    await open()
    const searches = requests.filter(({ path }) => path.endsWith('/search'))
    expect(searches.every(({ query }) => query.has('before') || query.has('after'))).toBe(true)
  })

  test('keeps what comes outside while somebody reads, and counts it', async () => {
    book('a', 2)
    server('a')
    await open()
    logs.hold()
    write('a', 2)
    await vi.advanceTimersByTimeAsync(1_100)
    expect(shown()).toEqual(['a0', 'a1'])
    expect(logs.waiting.value).toBe(1)
    logs.follow()
    expect(shown()).toEqual(['a0', 'a1', 'a2'])
  })

  test('takes 2,000 lines a second in one round', async () => {
    book('a', 1)
    server('a')
    await open()
    for (let n = 1; n <= 2_000; n += 1) write('a', n)
    await vi.advanceTimersByTimeAsync(1_100)
    expect(shown()).toHaveLength(2_001)
  })

  test('shows the others when the log of one cannot be read, and that one once it can', async () => {
    book('a', 1)
    book('b', 1)
    server('a')
    await open({ names: ['a', 'b'] })
    expect(shown()).toEqual(['a0'])
    expect(logs.missing.value).toEqual(['b'])
    server('a', 'b')
    await vi.advanceTimersByTimeAsync(1_100)
    expect(shown()).toEqual(['a0', 'b0'])
    expect(logs.missing.value).toEqual([])
  })

  test('says what failed, and goes on after that', async () => {
    book('a', 1)
    server('a')
    await open()
    serve({ 'GET /api/v1/processes/a/logs/search': problem(503, 'storage', 'The log cannot be read.') })
    await vi.advanceTimersByTimeAsync(1_100)
    expect(logs.error.value?.detail).toBe('The log cannot be read.')
    expect(shown()).toEqual(['a0'])
    write('a', 1)
    server('a')
    await vi.advanceTimersByTimeAsync(2_100)
    expect(logs.error.value).toBe(null)
    expect(shown()).toEqual(['a0', 'a1'])
  })

  test('stands at the line of a link, without following', async () => {
    book('a', 1000)
    server('a')
    await open({ at: '1-500' })
    expect(shown()[0]).toBe('a200')
    expect(shown().at(-1)).toBe('a799')
    expect(logs.isHeld.value).toBe(true)
  })

  test('begins anew when something else is wished, not when the same is wished again', async () => {
    book('a', 2)
    server('a')
    await open()
    const before = requests.length
    wish.value = { ...wish.value, names: [...wish.value.names] }
    await flushPromises()
    expect(requests).toHaveLength(before)
    expect(shown()).toHaveLength(2)
    wish.value = { ...wish.value, query: { ...PLAIN, level: 'ERROR' } }
    await flushPromises()
    expect(requests.slice(before).map(({ query }) => query.get('level'))).toEqual(['ERROR'])
  })

  test('does not poll a range that has an end', async () => {
    book('a', 2)
    server('a')
    await open({ query: { ...PLAIN, to: '2026-11-23T05:00:01Z' } })
    const before = requests.length
    await vi.advanceTimersByTimeAsync(3_000)
    expect(requests).toHaveLength(before)
  })
})

test('a question is made of the fields once typing has ended', async () => {
  vi.useFakeTimers()
  const fields = useOwnLogFields()
  let query: ReturnType<typeof useLogQuery> | null = null
  const page = await showSetup(() => { query = useLogQuery(fields) })
  fields.words.value = 'lost'
  fields.since.value = '15m'
  await nextTick()
  expect(query).toMatchObject({ value: { ...PLAIN, from: '-15m' } })
  await vi.advanceTimersByTimeAsync(400)
  expect(query).toMatchObject({ value: { ...PLAIN, from: '-15m', text: 'lost' } })
  fields.isRegex.value = true
  await nextTick()
  expect(query).toMatchObject({ value: { ...PLAIN, from: '-15m', regex: 'lost' } })
  page.unmount()
  vi.useRealTimers()
})
