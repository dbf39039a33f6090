import { describe, expect, test } from 'vitest'

import type { Alert } from '@/api/alert_schema'
import type { RecoveryRecord } from '@/api/schema'
import type { Timeline } from '@/api/timeline_schema'
import { eventsOf, groupedEvents, lanesOf, runAt, scoreAt } from '@/lib/timeline'

const at = (seconds: number) => new Date(Date.UTC(2026, 10, 23, 5, 0, seconds)).toISOString()
const ms = (seconds: number) => Date.parse(at(seconds))
const run = (from: number, to: number, status: 'healthy' | 'warning' | 'critical', check_type: 'connection' | 'log_errors' = 'connection') =>
  ({ check_type, from: at(from), to: at(to), status, code: 'connection.ok', params: {} })

const past: Timeline = {
  from: at(0),
  to: at(100),
  round_s: 30,
  runs: [run(0, 30, 'healthy'), run(30, 50, 'critical'), run(0, 30, 'warning', 'log_errors')],
  scores: [[at(0), 100], [at(30), 20], [at(50), null]],
  restarts: [at(31)],
  actions: [{ at: at(40), actor: 'bob', action: 'process.restart', outcome: 'failed', detail: '' }],
}
const alert = { id: 7, severity: 'critical', fired_at: at(30), resolved_at: at(60) } as Alert
const decision = (id: number, action: string, outcome: string) => ({ id, at: at(35), action, outcome }) as RecoveryRecord

describe('the timeline', () => {
  test('puts everything that happened in the order of time', () => {
    const events = eventsOf(past, [alert], [decision(1, 'restart', 'done'), decision(2, 'none', 'none')], ms(0), ms(100))
    expect(events.map(({ kind }) => kind)).toEqual(['alert', 'restart', 'recovery', 'action', 'resolved'])
  })

  test('marks what failed', () => {
    const events = eventsOf(past, [], [decision(1, 'restart', 'failed')], ms(0), ms(100))
    expect(events.map(({ severity }) => severity)).toEqual(['warning', 'warning', 'warning'])
  })

  test('shows only what is within its window', () => {
    expect(eventsOf(past, [alert], [], ms(50), ms(100)).map(({ kind }) => kind)).toEqual(['resolved'])
    const lanes = lanesOf(past, ms(10), ms(40))
    expect(lanes.connection.map(({ fromMs, toMs }) => [fromMs, toMs])).toEqual([[ms(10), ms(30)], [ms(30), ms(40)]])
  })

  test('says what was judged at an instant, and nothing where nobody looked', () => {
    const { connection } = lanesOf(past, ms(0), ms(100))
    expect(runAt(connection, ms(45))?.severity).toBe('critical')
    expect(runAt(connection, ms(70))).toBe(null)
    expect([scoreAt(past, ms(10)), scoreAt(past, ms(45)), scoreAt(past, ms(60))]).toEqual([100, 20, null])
  })

  test('never calls errors in a log a fault', () => {
    expect(lanesOf(past, ms(0), ms(100)).log_errors[0]?.severity).toBe('advisory')
  })

  test('makes one mark of events that would cover each other, with the worst of them', () => {
    const events = eventsOf(past, [alert], [], ms(0), ms(100))
    const groups = groupedEvents(events, ms(0), ms(100), 0.05)
    expect(groups.map(({ events: within }) => within.length)).toEqual([2, 1, 1])
    expect(groups[0]?.severity).toBe('critical')
  })
})
