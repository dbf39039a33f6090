import { describe, expect, test } from 'vitest'

import { abnormalChecks, incidentsOf } from '@/lib/incidents'

import { check, collector, crashed, health, silent, stopped } from './sample'

describe('the incidents', () => {
  test('are none while all collectors deliver or are stopped on purpose', () => {
    expect(incidentsOf([collector('a'), stopped('b')])).toEqual([])
  })

  test('come worst first and then oldest first', () => {
    const late = check('data_flow', { status: 'warning', code: 'data.late', penalty: 20 })
    const warned = collector('a', { health: health('warning', late) })
    const names = incidentsOf([warned, silent('b'), crashed('c')]).map((one) => one.names[0])
    expect(names).toEqual(['c', 'b', 'a'])
  })

  test('name the cause and keep its echoes quiet', () => {
    expect(abnormalChecks(crashed('a')).map((one) => one.code)).toEqual(['process.exited'])
    expect(abnormalChecks(silent('a')).map((one) => one.code)).toEqual(['connection.silent'])
  })

  test('mention a second fault that has a reason of its own', () => {
    const errors = check('log_errors', { status: 'warning', code: 'log.errors', penalty: 5 })
    const process = silent('a')
    const checks = process.health.checks.map((one) => (one.check_type === 'log_errors' ? errors : one))
    const [incident] = incidentsOf([{ ...process, health: { ...process.health, checks } }])
    expect(incident?.cause.code).toBe('connection.silent')
    expect(incident?.others.map((one) => one.code)).toEqual(['log.errors'])
  })

  test('of one common cause are one, so that a flood stays readable', () => {
    const flood = ['line10', 'line9', 'line2', 'line1'].map((name) => crashed(name))
    const incidents = incidentsOf(flood)
    expect(incidents).toHaveLength(1)
    expect(incidents[0]?.names).toEqual(['line1', 'line2', 'line9', 'line10'])
  })

  test('of two collectors with the same fault stay two', () => {
    expect(incidentsOf([crashed('a'), crashed('b')])).toHaveLength(2)
  })

  test('of a supervisord that is away are one, however few collectors there are', () => {
    const blind = check('process_alive', {
      status: 'unknown',
      code: 'process.supervisor_unreachable',
      since: '2026-11-23T04:30:00Z',
    })
    const both = ['a', 'b'].map((name) => collector(name, { health: health('unknown', blind) }))
    expect(incidentsOf(both).map((one) => one.names)).toEqual([['a', 'b']])
  })

  test('begin when the first of a common cause began', () => {
    const blind = (since: string) =>
      check('process_alive', { status: 'unknown', code: 'process.supervisor_unreachable', since })
    const [incident] = incidentsOf([
      collector('a', { health: health('unknown', blind('2026-11-23T04:31:00Z')) }),
      collector('b', { health: health('unknown', blind('2026-11-23T04:30:00Z')) }),
    ])
    expect(incident?.since).toBe('2026-11-23T04:30:00Z')
  })
})
