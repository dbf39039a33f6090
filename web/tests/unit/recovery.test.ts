import { flushPromises, type VueWrapper } from '@vue/test-utils'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'

import type { RecoveryRecord, RecoveryState } from '@/api/schema'
import RecoveryPanel from '@/components/detail/RecoveryPanel.vue'

import { answer, problem, requests, serve } from './fake_fetch'
import { show } from './mount'

let page: VueWrapper
beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse('2026-11-23T05:00:01Z') })
})
afterEach(() => {
  page.unmount()
  vi.useRealTimers()
})

const FROZEN: RecoveryState = {
  process: 'press',
  rule: 'frozen',
  category: null,
  wanted: 'restart_process',
  attempt: 1,
  facts: {},
  cause: 'it exists but does nothing',
  action: 'no_action',
  action_text: 'nothing',
  guard: 'cooldown',
  reason: 'the last action is too recent; 12 s to go',
  circuit: 'closed',
  factor: 1,
  maintenance: null,
}
const ROW: RecoveryRecord = {
  ...FROZEN,
  id: 7,
  at: '2026-11-23T04:59:00Z',
  action: 'restart_process',
  action_text: 'restart the process',
  guard: null,
  reason: '',
  outcome: 'done',
  detail: '',
}
const open = async (state: RecoveryState, past: RecoveryRecord[] = [], mayOperate = true) => {
  serve({
    'GET /api/v1/recovery': answer({ collectors: [state], dry_run: false }),
    'GET /api/v1/recovery/decisions': answer({ decisions: past }),
    'POST /api/v1/maintenance': answer({}),
    'DELETE /api/v1/maintenance/press': problem(404, 'unknown_process', 'Nobody is called press.'),
  })
  page = await show(RecoveryPanel, { name: 'press', mayOperate })
  await flushPromises()
  return page
}
const find = (testid: string) => page.find(`[data-testid="${testid}"]`)

test('says why nothing is done', async () => {
  await open(FROZEN, [ROW])
  expect(find('recovery-now').text()).toBe(
    'it exists but does nothing → nothing (the last action is too recent; 12 s to go)',
  )
  expect(page.find('tbody').text()).toContain('restart the process')
  expect(page.find('tbody').text()).toContain('done')
})

test('is short where nothing is wrong', async () => {
  await open({ ...FROZEN, rule: 'fine', cause: 'nothing is wrong', guard: null, reason: '' })
  expect(find('recovery-now').text()).toBe('Nothing to do: nothing is wrong')
})

test('begins maintenance with an end and a reason', async () => {
  await open(FROZEN)
  await find('maintenance-begin').trigger('click')
  await find('maintenance-minutes').setValue(45)
  await find('maintenance-reason').setValue(' new valve ')
  await page.find('form').trigger('submit')
  await flushPromises()
  const sent = requests.find((request) => request.method === 'POST')
  expect(sent?.body).toEqual({ process: 'press', minutes: 45, reason: 'new valve' })
  expect(page.find('form').exists()).toBe(false)
})

test('shows who maintains it until when, and a refusal to end that', async () => {
  const window = {
    process: 'press',
    until: '2026-11-23T06:00:00Z',
    actor: 'alice',
    reason: 'new valve',
  }
  await open({ ...FROZEN, maintenance: window })
  expect(find('maintenance').text()).toContain('alice: new valve')
  await find('maintenance-end').trigger('click')
  await flushPromises()
  expect(page.find('[role="alert"]').text()).toContain('Nobody is called press.')
})

test('offers nothing to a viewer', async () => {
  await open(FROZEN, [], false)
  expect(page.findAll('button')).toHaveLength(0)
})
