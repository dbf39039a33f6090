import { describe, expect, test } from 'vitest'

import { canRun, remedyFor } from '@/lib/commands'
import { visibleText } from '@/lib/control_chars'
import { ServerClock } from '@/lib/server_clock'

import { collector, crashed, stopped } from './sample'

describe('log text', () => {
  test('shows ANSI sequences and control characters instead of obeying them', () => {
    expect(visibleText('\u001b[31mred\u001b[0m \u0007')).toBe('\\x1b[31mred\\x1b[0m \\x07')
  })

  test('shows characters that turn the direction of reading', () => {
    expect(visibleText('user\u202etxt.exe')).toBe('user\\u202etxt.exe')
  })

  test('keeps tabs, line ends and every other script', () => {
    expect(visibleText('a\tb\n设备 °C')).toBe('a\tb\n设备 °C')
  })
})

describe('the clock of the server', () => {
  test('is estimated by the frame that travelled fastest', () => {
    const clock = new ServerClock()
    clock.add(10_000, 4_900)
    clock.add(11_000, 5_750)
    expect(clock.offsetMs).toBe(5_250)
  })

  test('is followed when it is changed', () => {
    const clock = new ServerClock()
    clock.add(90_000, 0)
    for (let i = 0; i < 20; i += 1) clock.add(1_000, 0)
    expect(clock.offsetMs).toBe(1_000)
  })
})

describe('a command', () => {
  test('is offered where it would change something', () => {
    const offered = (process: Parameters<typeof canRun>[0]) =>
      (['start', 'stop', 'restart'] as const).filter((action) => canRun(process, action))
    expect(offered(collector('a'))).toEqual(['stop', 'restart'])
    expect(offered(stopped('a'))).toEqual(['start'])
    expect(offered(crashed('a'))).toEqual(['start', 'stop', 'restart'])
    expect(offered(collector('a', { status: 'STOPPING' }))).toEqual([])
  })

  test('answers an advice where there is one that does', () => {
    expect(remedyFor('restart')).toEqual({ action: 'restart' })
    expect(remedyFor('read_log')).toEqual({ anchor: 'log' })
    expect(remedyFor('lengthen_interval')).toBeNull()
  })
})
