import { flushPromises } from '@vue/test-utils'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'

import type { Alert } from '@/api/alert_schema'
import DayPanel from '@/components/overview/DayPanel.vue'
import { dayEvents, offendersOf } from '@/lib/day'
import { useProcessesStore } from '@/stores/processes'

import { answer, problem, serve } from './fake_fetch'
import { show } from './mount'
import { collector } from './sample'

const NOW = Date.parse('2026-11-23T12:00:00Z')

function alert(id: number, name: string, values: Partial<Alert> = {}): Alert {
  return {
    id,
    rule: 'process_down',
    fingerprint: `f${id}`,
    severity: 'critical',
    subject: { kind: 'process', name },
    state: 'resolved',
    since: '2026-11-23T10:00:00Z',
    fired_at: '2026-11-23T10:00:10Z',
    last_change: '2026-11-23T10:00:10Z',
    resolved_at: '2026-11-23T10:30:00Z',
    count: 1,
    value: null,
    threshold: null,
    code: 'process_down',
    params: {},
    evidence: {},
    members: [],
    flapping: false,
    acknowledged: null,
    shelved_until: null,
    ended: null,
    alarm_state: 'normal',
    title: 'Process down',
    message: `${name} is down`,
    advice: [],
    ending: '',
    ...values,
  }
}

const recovery = (id: number, values: object = {}) =>
  ({ id, process: 'b', at: '2026-11-23T11:00:00Z', action: 'restart_process', guard: null, action_text: 'restart', cause: 'no data', ...values }) as never

describe('the most trouble', () => {
  const plant = [collector('a'), collector('b', { restart_count: 2 }), collector('c'), collector('d')]

  test('is the longest time down, overlaps counted once and cut to a day', () => {
    const alerts = [
      alert(1, 'a'),
      alert(2, 'a', { since: '2026-11-23T10:15:00Z', resolved_at: '2026-11-23T10:45:00Z' }),
      alert(3, 'c', { since: '2026-11-20T00:00:00Z', resolved_at: null }),
    ]
    expect(offendersOf(plant, alerts, NOW)).toEqual([
      { name: 'c', downMs: 24 * 3_600_000, alerts: 1, restarts: 0 },
      { name: 'a', downMs: 45 * 60_000, alerts: 2, restarts: 0 },
      { name: 'b', downMs: 0, alerts: 0, restarts: 2 },
    ])
  })

  test('counts warnings without time down, members of a group, and nothing older than a day', () => {
    const alerts = [
      alert(1, 'a', { severity: 'warning' }),
      alert(2, 'hall2', { subject: { kind: 'node', name: 'hall2' }, members: ['d', 'a'] }),
      alert(3, 'c', { since: '2026-11-20T00:00:00Z', resolved_at: '2026-11-20T01:00:00Z' }),
    ]
    expect(offendersOf(plant, alerts, NOW).map(({ name, alerts: n }) => [name, n])).toEqual([
      ['a', 2],
      ['d', 1],
      ['b', 0],
    ])
  })
})

test('events are alerts, their ends, who acknowledged, and what recovery did; newest first', () => {
  const noted = { by: 'bob', at: '2026-11-23T10:05:00Z', reason: '' }
  const events = dayEvents(
    [alert(1, 'a', { acknowledged: noted }), alert(2, 'c', { fired_at: '2026-11-20T10:00:10Z', resolved_at: null })],
    [recovery(7), recovery(8, { guard: 'cooldown' }), recovery(9, { action: 'no_action' })],
    NOW,
  )
  expect(events.map(({ id }) => id)).toEqual(['d7', 'r1', 'k1', 'a1'])
})

describe('the panel of the day', () => {
  beforeEach(() => {
    vi.useFakeTimers({ now: NOW })
  })
  afterEach(() => {
    vi.useRealTimers()
    localStorage.clear()
  })
  const past = (alerts: Alert[]) => ({ alerts, returned: [], pending: [], problems: [], next_before: null })

  test('leads to collectors and alerts', async () => {
    serve({
      'GET /api/v1/alerts': answer(past([alert(1, 'a')])),
      'GET /api/v1/recovery/decisions': answer({ decisions: [recovery(7)] }),
    })
    const page = await show(DayPanel, { missingSince: null })
    useProcessesStore().applySnapshot([collector('a')])
    await flushPromises()
    expect(page.find('[data-testid=offenders]').text()).toContain('30 min')
    expect(page.findAll('[data-testid=event]').map((event) => event.find('a').attributes('href'))).toEqual([
      '/collectors/b',
      '/alerts#alert-1',
      '/alerts#alert-1',
    ])
    page.unmount()
  })

  test('says that nothing happened, that it cannot be read, and since when nothing is heard', async () => {
    serve({
      'GET /api/v1/alerts': answer(past([])),
      'GET /api/v1/recovery/decisions': answer({ decisions: [] }),
    })
    const page = await show(DayPanel, { missingSince: null })
    await flushPromises()
    expect(page.text()).toContain('Nothing happened in 24 hours.')
    await page.setProps({ missingSince: NOW })
    expect(page.text()).toContain('Nothing heard since')
    await page.setProps({ missingSince: null })
    serve({ 'GET /api/v1/alerts': problem(500, 'internal', 'broken') })
    await vi.advanceTimersByTimeAsync(31_000)
    await flushPromises()
    expect(page.text()).toContain('The events cannot be read')
    page.unmount()
  })
})
