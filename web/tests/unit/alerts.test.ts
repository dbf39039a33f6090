import { flushPromises, type VueWrapper } from '@vue/test-utils'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { nextTick } from 'vue'

import type { Alert, Silence } from '@/api/alert_schema'
import AlertLink from '@/components/alerts/AlertLink.vue'
import ChannelTable from '@/components/system/ChannelTable.vue'
import { alertFor, alertMatches, asPattern, bySeverity, placeOf, shelfOf } from '@/lib/alerts'
import AlertsPage from '@/pages/AlertsPage.vue'
import { useAlertsStore } from '@/stores/alerts'
import { useSessionStore } from '@/stores/session'

import { answer, problem, requests, serve } from './fake_fetch'
import { show } from './mount'

let page: VueWrapper | undefined
beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse('2026-11-23T05:00:01Z') })
})
afterEach(() => {
  page?.unmount()
  page = undefined
  vi.useRealTimers()
})

const alert = (id: number, values: Partial<Alert> = {}): Alert => ({
  id,
  rule: 'connection',
  fingerprint: `f${id}`,
  severity: 'critical',
  subject: { kind: 'process', name: 'line1' },
  state: 'firing',
  alarm_state: 'active_unacknowledged',
  since: '2026-11-23T04:59:00Z',
  fired_at: '2026-11-23T04:59:00Z',
  last_change: '2026-11-23T04:59:00Z',
  resolved_at: null,
  count: 1,
  value: null,
  threshold: null,
  advice: [],
  code: 'check.connection.silent',
  params: {},
  evidence: { recommendations: ['check_device'] },
  members: [],
  flapping: false,
  acknowledged: null,
  shelved_until: null,
  ended: null,
  title: 'connection',
  message: 'no good transaction for 73 s, limit 60 s',
  ending: '',
  ...values,
})
const note = { by: 'bob', at: '2026-11-23T04:59:30Z', reason: 'on my way' }
const shelf: Silence = {
  id: 3,
  rule: '*',
  subject: '*',
  alert_id: 1,
  until: '2026-11-23T06:00:00Z',
  note: { ...note, reason: 'rebuilding' },
}
const list = (alerts: Alert[], values: object = {}) => ({
  alerts,
  next_before: null,
  pending: [],
  problems: [],
  ...values,
})
const FIGURES = {
  open: { critical: 1, warning: 0, advisory: 0 },
  unacknowledged: 1,
  shelved: 0,
  standing: 0,
  chattering: [],
  in_10_min: 12,
  in_1_h: 13,
  in_24_h: 14,
  peak_in_10_min: 12,
  flood: true,
}
const session = (role: string) =>
  answer({ authenticated: true, setup_required: false, user: { name: 'bob', role }, csrf_token: 't', version: '1' })

interface Served {
  alerts?: Alert[]
  body?: object
  silences?: Silence[]
  role?: string
  path?: string
  more?: Parameters<typeof serve>[0]
}
const open = async ({ alerts = [], body = {}, silences = [], role = 'operator', path = '/alerts', more = {} }: Served) => {
  serve({
    'GET /api/v1/session': session(role),
    'GET /api/v1/alerts': answer(list(alerts, body)),
    'GET /api/v1/alerts/figures': answer(FIGURES),
    'GET /api/v1/silences': answer({ silences }),
    ...more,
  })
  page = await show(AlertsPage, {}, { path })
  await useSessionStore().load()
  await useAlertsStore().load()
  await flushPromises()
}
const find = (testid: string) => document.querySelector<HTMLElement>(`[data-testid="${testid}"]`)
const click = async (testid: string) => {
  find(testid)?.click()
  await flushPromises()
}
const fill = async (testid: string, text: string, event = 'input') => {
  const field = find(testid) as HTMLInputElement
  field.value = text
  field.dispatchEvent(new Event(event))
  await nextTick()
}
const send = async () => {
  document.querySelector('#alert-form')?.dispatchEvent(new Event('submit', { cancelable: true }))
  await flushPromises()
}
const sent = (method: string) => requests.find((request) => request.method === method)

describe('alerts', () => {
  test('are grouped by severity, the most urgent first', () => {
    const groups = bySeverity([alert(1, { severity: 'advisory' }), alert(2), alert(3)])
    expect(groups.map(({ severity, alerts }) => [severity, alerts.map(({ id }) => id)])).toEqual([
      ['critical', [2, 3]],
      ['advisory', [1]],
    ])
  })

  test('speak for their collector and for their members', () => {
    const node = alert(2, { subject: { kind: 'node', name: 'line1' }, members: ['line2'] })
    expect(alertFor([node], ['line1'])).toBeNull()
    expect(alertFor([node], ['line2'])?.id).toBe(2)
    expect(alertFor([alert(1), node], ['line2', 'line1'])?.id).toBe(1)
  })

  test('lead to what they are about', () => {
    expect(placeOf(alert(1))).toBe('/collectors/line1')
    expect(placeOf(alert(1, { subject: { kind: 'store', name: 'embedded' } }))).toBe('/system')
  })

  test('know the shelf that was made for just them', () => {
    const wide = { ...shelf, alert_id: null, rule: '*', subject: 'line*' }
    const exact = { ...wide, id: 9, rule: 'connection', subject: 'line1' }
    expect(shelfOf(alert(1), [wide])).toBeNull()
    expect(shelfOf(alert(1), [wide, exact])?.id).toBe(9)
    expect(shelfOf(alert(1), [exact, shelf])?.id).toBe(3)
    expect(asPattern('a[1]*?')).toBe('a[[]1][*][?]')
  })

  test('are found by every word of a text', () => {
    expect(alertMatches(alert(1), 'LINE1 transaction')).toBe(true)
    expect(alertMatches(alert(1), 'line1 boiler')).toBe(false)
  })
})

describe('the open alerts', () => {
  test('say what, where, since when and what to do', async () => {
    await open({ alerts: [alert(1, { count: 3, evidence: { last_error: 'timed out' } })] })
    const text = find('alert-1')?.textContent
    expect(page?.find('h1').text()).toBe('1 open alert')
    expect(text).toContain('critical · active, unacknowledged')
    expect(text).toContain('since 12:59:00, for 1 min 1 s')
    expect(text).toContain('no good transaction for 73 s, limit 60 s')
    expect(text).toContain('occurred 3 times')
    expect(text).toContain('Last error: timed out')
    expect(page?.find('a[href="/collectors/line1"]').exists()).toBe(true)
  })

  test('say that there are none, and what is not old enough', async () => {
    await open({ body: { pending: [alert(0, { state: 'pending' })] } })
    expect(page?.find('h1').text()).toBe('No open alerts')
    expect(find('pending')?.textContent).toContain('line1 · connection')
  })

  test('are acknowledged with a reason; only the server changes what is shown', async () => {
    await open({ alerts: [alert(1)], more: { 'POST /api/v1/alerts/1/acknowledge': answer(alert(1)) } })
    await click('acknowledge')
    await fill('alert-reason', ' on my way ')
    await send()
    expect(sent('POST')?.body).toEqual({ reason: 'on my way' })
    expect(find('alert-1')?.dataset['state']).toBe('active_unacknowledged')
    const known = { state: 'acknowledged', alarm_state: 'active_acknowledged', acknowledged: note } as const
    serve({ 'GET /api/v1/alerts': answer(list([alert(1, known)])) })
    await useAlertsStore().load()
    await nextTick()
    expect(find('acknowledged')?.textContent?.trim()).toBe('Acknowledged by bob at 12:59:30: on my way')
    expect(find('acknowledge')).toBeNull()
  })

  test('are shelved for a time, alone or with those to come', async () => {
    await open({ alerts: [alert(1)], more: { 'POST /api/v1/silences': answer(shelf, 201) } })
    await click('shelve')
    await fill('shelve-scope', 'rule', 'change')
    await fill('alert-reason', 'rebuilding')
    await send()
    expect(sent('POST')?.body).toEqual({
      rule: 'connection',
      subject: 'line1',
      duration_s: 3600,
      reason: 'rebuilding',
    })
  })

  test('keep the dialog and say why when it was refused', async () => {
    const refusal = problem(403, 'not_permitted', 'You may not do that.')
    await open({ alerts: [alert(1)], more: { 'POST /api/v1/alerts/1/acknowledge': refusal } })
    await click('acknowledge')
    await send()
    expect(find('problem')?.textContent).toContain('You may not do that.')
  })

  test('come back from a shelf that somebody ends', async () => {
    const shelved = { state: 'shelved', alarm_state: 'shelved', shelved_until: shelf.until } as const
    await open({
      alerts: [alert(1, shelved)],
      silences: [shelf],
      more: { 'DELETE /api/v1/silences/3': answer(undefined, 204) },
    })
    expect(find('shelved')?.textContent?.trim()).toBe('Shelved until 14:00:00: rebuilding')
    expect(find('shelf-3')?.textContent).toContain('bob')
    await click('unshelve')
    expect(sent('DELETE')?.path).toBe('/api/v1/silences/3')
  })

  test('let a viewer read and not act', async () => {
    await open({ alerts: [alert(1)], silences: [shelf], role: 'viewer' })
    expect(find('alert-1')).not.toBeNull()
    for (const id of ['acknowledge', 'shelve', 'shelf-end']) expect(find(id)).toBeNull()
  })

  test('neither come nor go while somebody points at them', async () => {
    await open({ alerts: [alert(1)] })
    find('alert-1')?.dispatchEvent(new PointerEvent('pointermove', { bubbles: true }))
    serve({ 'GET /api/v1/alerts': answer(list([alert(2), alert(1)])) })
    await useAlertsStore().load()
    await nextTick()
    expect(find('alert-2')).toBeNull()
    expect(page?.text()).toContain('List held')
    expect(page?.find('h1').text()).toBe('2 open alerts')
    await vi.advanceTimersByTimeAsync(11_000)
    expect(find('alert-2')).not.toBeNull()
  })

  test('are called old when they cannot be asked for', async () => {
    await open({ alerts: [alert(1)] })
    serve({})
    await useAlertsStore().load()
    await nextTick()
    expect(page?.find('h1').text()).toBe('Alerts as of 13:00:01')
    expect(page?.text()).toContain('The server does not answer.')
  })

  test('tell a flood in words', async () => {
    await open({})
    expect(find('alarm-figures')?.textContent).toContain('Alarm flood')
    expect(find('figure-in_10_min')?.textContent?.trim()).toBe('12')
  })
})

describe('the history', () => {
  const over = alert(7, {
    state: 'resolved',
    alarm_state: 'returned_unacknowledged',
    resolved_at: '2026-11-23T04:59:45Z',
    ended: 'returned',
  })

  test('takes its filters from the address and asks the server for them', async () => {
    await open({ alerts: [over], path: '/alerts?severity=critical&subject=line1' })
    const asked = requests.find(({ query }) => query.get('state') === 'all')
    expect(asked?.query.get('severity')).toBe('critical')
    expect(asked?.query.get('subject')).toBe('line1')
    expect(find('past-7')?.textContent).toContain('45 s')
  })

  test('goes back page by page', async () => {
    await open({ alerts: [over], body: { next_before: 7 } })
    serve({ 'GET /api/v1/alerts': answer(list([alert(5)])) })
    await click('history-older')
    expect(requests[0]?.query.get('before')).toBe('7')
    expect(find('past-7')).not.toBeNull()
    expect(find('past-5')).not.toBeNull()
    expect(find('history-older')).toBeNull()
  })

  test('filters what is loaded by text and says when nothing is left', async () => {
    await open({ alerts: [over], path: '/alerts?q=boiler' })
    expect(find('past-7')).toBeNull()
    expect(find('alert-history')?.textContent).toContain('No alert matches the filter.')
  })
})

describe('the store of alerts', () => {
  test('asks once for a burst of changes', async () => {
    await open({ alerts: [alert(1)] })
    requests.length = 0
    for (let i = 0; i < 50; i++) useAlertsStore().changed()
    await vi.advanceTimersByTimeAsync(300)
    expect(requests.filter(({ path, query }) => path === '/api/v1/alerts' && !query.has('state'))).toHaveLength(1)
  })

  test('forgets an answer that comes after signing out', async () => {
    await open({})
    const store = useAlertsStore()
    serve({ 'GET /api/v1/alerts': answer(list([alert(1)])) })
    const loading = store.load()
    store.reset()
    await loading
    expect(store.open).toEqual([])
    expect(store.isLoaded).toBe(false)
  })

  test('counts those that nobody has acknowledged', async () => {
    await open({ alerts: [alert(1), alert(2, { alarm_state: 'shelved' })] })
    expect(useAlertsStore().unacknowledged).toBe(1)
  })
})

test('a collector leads to its alert, and to none where there is none', async () => {
  serve({ 'GET /api/v1/alerts': answer(list([alert(4)])) })
  page = await show(AlertLink, { names: ['line1'] })
  expect(page.find('a').exists()).toBe(false)
  await useAlertsStore().load()
  await nextTick()
  expect(page.find('a').attributes('href')).toBe('/alerts#alert-4')
})

describe('the channels', () => {
  const channel = {
    name: 'hook',
    kind: 'webhook',
    enabled: true,
    min_severity: 'warning',
    delay_s: 0,
    group_s: 10,
    language: 'en',
    target: 'http://10.0.0.9/…',
    queued: 2,
    last_error: 'HTTP 500',
  }
  const table = async (channels: object[], test: () => Response = answer({}), role = 'operator') => {
    serve({
      'GET /api/v1/session': session(role),
      'GET /api/v1/channels': answer({ channels, problems: ['line 3: no such kind'] }),
      'POST /api/v1/channels/hook/test': test,
    })
    page = await show(ChannelTable)
    await useSessionStore().load()
    await flushPromises()
  }

  test('show queue, newest error and what is wrong in their file', async () => {
    await table([channel])
    expect(find('channel-hook')?.textContent).toContain('HTTP 500')
    expect(page?.find('[role=alert]').text()).toContain('line 3: no such kind')
  })

  test('say what a test did', async () => {
    await table([channel], answer({ channel: 'hook', target: 'http://10.0.0.9/…', duration_ms: 42 }))
    await click('channel-test')
    expect(find('channel-outcome')?.textContent?.trim()).toBe('Test sent to http://10.0.0.9/… in 0.0 s')
  })

  test('show the real error of a test', async () => {
    await table([channel], problem(502, 'notify_failed', 'hook: HTTP 418: teapot'))
    await click('channel-test')
    expect(find('channel-outcome')?.dataset['state']).toBe('failed')
    expect(find('channel-outcome')?.textContent).toContain('HTTP 418: teapot')
  })

  test('offer no test to a viewer, and say what to do when there are none', async () => {
    await table([channel], answer({}), 'viewer')
    expect(find('channel-test')).toBeNull()
    page?.unmount()
    await table([])
    expect(page?.text()).toContain('channels.toml')
  })
})
