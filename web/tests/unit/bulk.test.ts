import { flushPromises, type VueWrapper } from '@vue/test-utils'
import { createPinia, setActivePinia } from 'pinia'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { nextTick } from 'vue'

import OverviewPage from '@/pages/OverviewPage.vue'
import { hasArrived, previewOf } from '@/lib/bulk'
import { useActionsStore } from '@/stores/actions'
import { useBulkStore } from '@/stores/actions_bulk'
import { useProcessesStore } from '@/stores/processes'
import { useSessionStore } from '@/stores/session'

import { answer, problem, requests, serve } from './fake_fetch'
import { show } from './mount'
import { collector, crashed, stopped } from './sample'

const result = (process: string, outcome: string, detail = '') => ({
  process,
  action: 'stop',
  outcome,
  detail,
  duration_ms: 1200,
  pid_before: 4711,
  pid_after: null,
})
const BULK = 'POST /api/v1/processes:bulk'
const LINES = ['line1', 'line2', 'line3', 'line4', 'line5']

beforeEach(() => {
  setActivePinia(createPinia())
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

describe('a preview', () => {
  const known = new Map(
    [collector('a'), collector('b', { status: 'STOPPING' }), stopped('c'), crashed('d')].map((p) => [p.name, p]),
  )
  const names = ['a', 'b', 'c', 'd', 'e']
  const preview = (action: 'start' | 'stop' | 'restart', busy: string[] = []) => {
    const { will, skipped, rate } = previewOf(action, names, known, (name) => busy.includes(name))
    return { will: will.map(({ name }) => name), skipped: Object.fromEntries(skipped), rate }
  }

  test('says who is stopped, who is skipped and why, and what it costs', () => {
    expect(preview('stop')).toEqual({
      will: ['a', 'd'],
      skipped: { changing: ['b'], stopped: ['c'], gone: ['e'] },
      rate: 99.6,
    })
  })

  test('of a start leaves alone what runs', () => {
    expect(preview('start')).toEqual({
      will: ['c', 'd'],
      skipped: { running: ['a'], changing: ['b'], gone: ['e'] },
      rate: 0,
    })
  })

  test('leaves alone what another command is busy with', () => {
    expect(preview('restart', ['a']).skipped).toMatchObject({ busy: ['a'] })
  })
})

test('a command has arrived when what is told live is what it was to bring about', () => {
  const running = collector('a', { pid: 2 })
  expect(hasArrived('restart', 1, running)).toBe(true)
  expect(hasArrived('restart', 2, running)).toBe(false)
  expect(hasArrived('start', null, running)).toBe(true)
  expect(hasArrived('stop', 2, running)).toBe(false)
  expect(hasArrived('stop', 2, stopped('a'))).toBe(true)
  expect(hasArrived('stop', 2, undefined)).toBe(false)
})

describe('a selection', () => {
  test('reaches with shift from the last one to here, in the order shown', () => {
    const bulk = useBulkStore()
    bulk.toggle('c')
    bulk.extendTo('a', ['d', 'c', 'b', 'a'])
    expect([...bulk.selected]).toEqual(['c', 'b', 'a'])
    bulk.toggle('b')
    expect([...bulk.selected]).toEqual(['c', 'a'])
  })

  test('with shift and no beginning is a single one', () => {
    const bulk = useBulkStore()
    bulk.extendTo('a', ['a', 'b'])
    expect([...bulk.selected]).toEqual(['a'])
  })
})

describe('a command for many', () => {
  test('keeps each result, and says which are to be tried again', async () => {
    serve({ [BULK]: answer({ results: [result('a', 'done'), result('b', 'failed', 'busy')] }) })
    const bulk = useBulkStore()
    const running = bulk.run('stop', ['a', 'b'])
    expect(useActionsStore().isBusy('a')).toBe(true)
    expect(bulk.job?.isRunning).toBe(true)
    await running
    expect(requests[0]?.body).toEqual({ action: 'stop', names: ['a', 'b'] })
    expect(bulk.job).toMatchObject({ isRunning: false, action: 'stop' })
    expect(bulk.failed).toEqual(['b'])
    expect(useActionsStore().notes['b']).toMatchObject({ state: 'failed', detail: 'busy' })
    vi.advanceTimersByTime(61_000)
    expect(useActionsStore().notes).toEqual({})
  })

  test('that the server refuses has failed for all, without an answer nobody knows', async () => {
    const bulk = useBulkStore()
    serve({ [BULK]: problem(403, 'not_permitted', 'Not for you.') })
    await bulk.run('stop', ['a', 'b'])
    expect([...(bulk.job?.results.values() ?? [])].map(({ state }) => state)).toEqual(['failed', 'failed'])
    serve({})
    await bulk.run('stop', ['a'])
    expect(bulk.job?.results.get('a')?.state).toBe('unknown')
    expect(bulk.failed).toEqual(['a'])
  })

  test('goes in parts that a server takes', async () => {
    serve({ [BULK]: answer({ results: [] }) })
    await useBulkStore().run('start', Array.from({ length: 1_200 }, (_, n) => `line${n}`))
    expect(requests.map(({ body }) => (body as { names: string[] }).names.length)).toEqual([500, 500, 200])
  })
})

describe('on the page', () => {
  let page: VueWrapper
  afterEach(() => page.unmount())

  const open = async (role = 'operator') => {
    const session = { authenticated: true, setup_required: false, user: { name: 'bob', role }, csrf_token: 't', version: '0' }
    serve({
      'GET /api/v1/session': answer(session),
      [BULK]: answer({ results: LINES.map((name) => result(name, name === 'line3' ? 'failed' : 'done')) }),
    })
    page = await show(OverviewPage)
    await useSessionStore().load()
    useProcessesStore().applySnapshot([...LINES.map((name) => collector(name)), stopped('spare')])
    await nextTick()
  }
  const at = (testid: string) => page.find(`[data-testid="${testid}"]`)
  const inDialog = (testid: string) => document.querySelector<HTMLElement>(`[data-testid="${testid}"]`)

  test('many are stopped only after their number was typed, and what failed can be tried again', async () => {
    await open()
    await at('select-shown').setValue(true)
    await at('bulk-stop').trigger('click')
    await flushPromises()
    expect(inDialog('bulk-skipped')?.textContent).toContain('1 skipped: stopped already')
    expect(inDialog('bulk-confirm')?.textContent?.trim()).toBe('Stop 5')
    expect((inDialog('bulk-confirm') as HTMLButtonElement).disabled).toBe(true)
    const typed = inDialog('bulk-typed') as HTMLInputElement
    typed.value = '5'
    typed.dispatchEvent(new Event('input'))
    await nextTick()
    inDialog('bulk-preview')?.dispatchEvent(new Event('submit'))
    await flushPromises()
    expect(inDialog('bulk-progress')?.textContent).toContain('4 of 5 done, 1 not')
    inDialog('bulk-retry')?.click()
    await flushPromises()
    expect(inDialog('bulk-confirm')?.textContent?.trim()).toBe('Stop it')
  })

  test('the key x selects the row that has the focus', async () => {
    await open()
    const press = (key: string) => window.dispatchEvent(new KeyboardEvent('keydown', { key }))
    press('j')
    press('x')
    await nextTick()
    expect(at('bulk-bar').text()).toContain('1 selected')
    expect(at('collector-row-line1').classes()).toContain('selected')
  })

  test('a viewer has nothing to select with', async () => {
    await open('viewer')
    const press = (key: string) => window.dispatchEvent(new KeyboardEvent('keydown', { key }))
    press('j')
    press('x')
    await nextTick()
    expect(page.find('input[type=checkbox]').exists()).toBe(false)
    expect(at('bulk-bar').exists()).toBe(false)
  })
})
