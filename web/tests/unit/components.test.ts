import { flushPromises, type VueWrapper } from '@vue/test-utils'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'

import CollectorGrid from '@/components/collector/CollectorGrid.vue'
import CollectorRow from '@/components/collector/CollectorRow.vue'
import IncidentStrip from '@/components/collector/IncidentStrip.vue'
import OverviewHeadline from '@/components/collector/OverviewHeadline.vue'
import ScoreTerms from '@/components/collector/ScoreTerms.vue'
import AgeText from '@/components/common/AgeText.vue'
import SparkLine from '@/components/common/SparkLine.vue'
import PointRow from '@/components/detail/PointRow.vue'
import LogLine from '@/components/logs/LogLine.vue'
import ConnectionBanner from '@/components/shell/ConnectionBanner.vue'
import type { ProcessStatus } from '@/api/schema'
import { incidentsOf } from '@/lib/incidents'
import { countBySeverity } from '@/lib/order'

import { show } from './mount'
import { collector, crashed, silent, stopped } from './sample'

let page: VueWrapper | undefined

beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse('2026-11-23T05:00:01Z') })
})
afterEach(() => {
  page?.unmount()
  vi.useRealTimers()
})

const row = async (process: ProcessStatus, props: object = {}) => {
  page = await show(CollectorRow, { process, rates: [], note: undefined, mayOperate: true, ...props })
  return page
}
const find = (testid: string) => page?.find(`[data-testid="${testid}"]`)

describe('a row', () => {
  test('shows the three lights apart, each with word and state', async () => {
    await row(silent('line1'))
    expect(find('light-process')?.attributes()).toMatchObject({
      'data-state': 'healthy',
      'data-status': 'RUNNING',
    })
    expect(find('light-device')?.text()).toBe('Silent')
    expect(find('light-device')?.attributes('data-state')).toBe('critical')
    expect(find('light-device')?.attributes('title')).toContain('for 73 s, limit 60 s')
    expect(find('light-data')?.attributes('data-state')).toBe('unknown')
  })

  test('of a crash says so in the process light', async () => {
    await row(crashed('line1'))
    expect(find('collector-row-line1')?.attributes('data-severity')).toBe('critical')
    expect(find('light-process')?.attributes('data-status')).toBe('CRASHED')
  })

  test('of a stopped collector offers the start alone and marks nothing as stale', async () => {
    await row(stopped('line1'))
    expect(find('action-start')?.attributes('disabled')).toBeUndefined()
    expect(find('action-stop')?.attributes('disabled')).toBeDefined()
    expect(find('light-process')?.attributes('data-state')).toBe('stopped')
    expect(page?.find('[data-stale=true]').exists()).toBe(false)
  })

  test('asks before it acts', async () => {
    await row(collector('line1'))
    await find('action-restart')?.trigger('click')
    expect(page?.emitted('ask')).toEqual([['restart']])
  })

  test('offers nothing while a command is under way, and says what was requested', async () => {
    const note = { action: 'stop', state: 'requested', at: 0, detail: '', durationMs: null, pidBefore: null, pidAfter: null, error: null }
    await row(collector('line1'), { note })
    expect(find('action-stop')?.attributes('disabled')).toBeDefined()
    expect(page?.text()).toContain('Stop requested')
  })

  test('offers no actions to a viewer', async () => {
    await row(collector('line1'), { mayOperate: false })
    expect(find('action-stop')?.exists()).toBe(false)
  })

  test('marks the last value as stale beyond two intervals, since when it is told', async () => {
    await row(collector('line1', { last_data_time: '2026-11-23T04:59:50Z' }))
    const age = page?.find('[data-stale=true]')
    expect(age?.text()).toContain('11 s')
    expect(age?.attributes('title')).toBe('stale since 12:59:50')
  })

  test('speaks Chinese as well', async () => {
    page = await show(
      CollectorRow,
      { process: silent('line1'), rates: [], note: undefined, mayOperate: true },
      { language: 'zh-CN' },
    )
    expect(find('light-device')?.text()).toBe('无应答')
  })
})

test('the grid keeps the order it is given and mentions every collector', async () => {
  page = await show(CollectorGrid, {
    processes: [crashed('b'), collector('a')],
    rates: new Map(),
    notes: {},
    mayOperate: true,
    isStale: true,
  })
  const names = page.findAll('[role=rowheader] a').map((link) => link.text())
  expect(names).toEqual(['b', 'a'])
  expect(page.classes()).toContain('stale')
})

describe('an age', () => {
  test('ticks each second', async () => {
    page = await show(AgeText, { at: '2026-11-23T05:00:00Z' })
    await vi.advanceTimersByTimeAsync(5_000)
    expect(page.text()).toBe('6 s')
  })

  test('of nothing is a dash', async () => {
    page = await show(AgeText, { at: null })
    expect(page.text()).toBe('–')
  })
})

describe('the score', () => {
  test('explains itself term by term', async () => {
    page = await show(ScoreTerms, { process: silent('a') })
    const terms = page.findAll('li').map((term) => term.text())
    expect(terms[0]).toContain('−50')
    expect(terms[0]).toContain('for 73 s, limit 60 s')
    expect(terms[1]).toContain('−30')
  })

  test('says why it is lower than its terms', async () => {
    const process = silent('a')
    page = await show(ScoreTerms, { process: { ...process, health_score: 15 } })
    expect(page.text()).toContain('Limited to 15')
  })
})

describe('the top of the overview', () => {
  const headline = async (processes: ProcessStatus[], props: object = {}) => {
    const counts = countBySeverity(processes)
    const incidents = incidentsOf(processes)
    const needy = incidents.length
    const worst = incidents[0]?.severity ?? null
    page = await show(OverviewHeadline, { counts, needy, worst, oldest: null, staleSince: null, isLost: false, ...props })
    return page.find('h1').text()
  }

  test('is quiet when all is well', async () => {
    expect(await headline([collector('a'), collector('b')])).toBe('All 2 collectors deliver data')
    expect(page?.classes()).toContain('quiet')
  })

  test('counts what needs somebody, but not what was stopped on purpose', async () => {
    expect(await headline([crashed('a'), collector('b'), stopped('c')])).toBe(
      '1 of 3 collectors needs attention',
    )
  })

  test('claims nothing about now when the connection is lost', async () => {
    const staleSince = Date.parse('2026-11-23T04:59:00Z')
    expect(await headline([collector('a')], { isLost: true, staleSince })).toBe('State as of 12:59:00')
  })
})

describe('the incidents', () => {
  const strip = async (processes: ProcessStatus[], props: object = {}) => {
    page = await show(IncidentStrip, {
      incidents: incidentsOf(processes),
      mayOperate: true,
      isStale: false,
      isHeld: false,
      ...props,
    })
  }

  test('push nothing aside while somebody aims at what is below', async () => {
    await strip([])
    await page?.setProps({ isHeld: true })
    await page?.setProps({ incidents: incidentsOf([crashed('line1')]) })
    expect(find('incidents')?.exists()).toBe(false)
    expect(page?.find('[aria-live]').text()).toContain('line1')
    await page?.setProps({ isHeld: false })
    expect(find('incidents')?.text()).toContain('line1')
  })

  test('say which, since when, why and what to do', async () => {
    await strip([silent('line1')])
    const text = page?.text()
    expect(text).toContain('line1')
    expect(text).toContain('since 12:45:00, for 15 min 1 s')
    expect(text).toContain('no good transaction with plc1 (10.0.0.11:502) for 73 s, limit 60 s')
    expect(page?.find('a[href="/collectors/line1#devices"]').text()).toContain('Check power, cable')
  })

  test('offer the command that helps', async () => {
    await strip([crashed('line1')])
    await page?.findAll('button').find((button) => button.text() === 'Restart the collector')?.trigger('click')
    expect(page?.emitted('ask')).toEqual([['line1', 'restart']])
  })

  test('let a viewer read and not act', async () => {
    await strip([crashed('line1')], { mayOperate: false })
    expect(page?.find('button').attributes('disabled')).toBeDefined()
  })

  test('are short until somebody wants all', async () => {
    await strip(Array.from({ length: 8 }, (_, i) => crashed(`c${i}`, `process.kind${i}`)))
    expect(page?.findAll('[data-severity]')).toHaveLength(5)
    await page?.find('button.all').trigger('click')
    expect(page?.findAll('[data-severity]')).toHaveLength(8)
  })

  test('tell screen readers what comes and goes, not the ages that tick', async () => {
    await strip([silent('line1')])
    expect(page?.find('[aria-live]').text()).toBe('line1: critical')
  })
})

describe('a point', () => {
  const point = { series: 'a/plc1/T', device: 'plc1', name: 'T', unit: '°C', address: 'holding:1', description: '', interval_s: 1, value: 18.25, quality: 'good', code: 0, source_at: null, received_at: '2026-11-23T05:00:00Z', decimals: 2, lastGood: 18.25 }
  const pointRow = async (values: object) => {
    page = await show(PointRow, { point: { ...point, ...values }, curve: 0, hasDevice: false, isRunning: true })
  }

  test('shows its value with its unit', async () => {
    await pointRow({})
    expect(find('value-T')?.text()).toBe('18.25°C')
    expect(find('value-T')?.attributes('data-value')).toBe('18.25')
  })

  test('of bad quality strikes the last good value and gives the reason', async () => {
    await pointRow({ value: null, quality: 'bad_device', code: 2 })
    const struck = page?.find('s')
    expect(struck?.text()).toBe('18.25')
    expect(struck?.attributes('title')).toBe('The device answered with an error. (device code 2)')
    expect(page?.find('.quality').text()).toBe('device error')
  })

  test('that never had a good value shows a dash and no unit', async () => {
    await pointRow({ value: null, lastGood: null, quality: 'init' })
    expect(find('value-T')?.text()).toBe('–')
  })

  test('that is a bit reads ON or OFF', async () => {
    await pointRow({ value: false, lastGood: false, unit: '' })
    expect(find('value-T')?.text()).toBe('OFF')
  })
})

test('a log line shows markup and control characters as text', async () => {
  page = await show(LogLine, {
    line: { id: 'a:1-0', cursor: '1-0', atMs: 0, timestamp: '2026-11-23T05:00:00.120Z', level: 'ERROR', process_name: 'a', message: '<b>x</b> \u001b[31m', source_file: 'a.py', line_number: 3, exception_info: 'Traceback', fields: { attempt: 2, device: 'plc1' } },
  })
  expect(page.find('b').exists()).toBe(false)
  expect(page.text()).toContain('<b>x</b> \\x1b[31m')
  expect(page.text()).toContain('device=plc1')
  expect(page.text()).toContain('13:00:00.120')
  expect(page.find('details').text()).toContain('Traceback')
})

test('the sparkline breaks where the rate was not known', async () => {
  page = await show(SparkLine, { values: [10, 10, null, 10], expected: 10 })
  expect(page.find('.line').attributes('d')?.match(/M/g)).toHaveLength(2)
})

describe('the banner', () => {
  test('tells since when values are stale and when the next try is', async () => {
    const now = Date.now()
    page = await show(ConnectionBanner, {
      state: { phase: 'lost', lastFrameAt: now - 39_000, retryAt: now + 4_000, attempt: 3 },
    })
    expect(page.text()).toContain('Values are stale since 12:59:22')
    expect(page.text()).toContain('Next try in 4 s')
    await vi.advanceTimersByTimeAsync(2_000)
    expect(page.text()).toContain('Next try in 2 s')
    await page.find('button').trigger('click')
    expect(page.emitted('retry')).toHaveLength(1)
  })

  test('offers no retry while one is under way', async () => {
    page = await show(ConnectionBanner, {
      state: { phase: 'lost', lastFrameAt: null, retryAt: null, attempt: 3 },
    })
    await flushPromises()
    expect(page.find('button').attributes('disabled')).toBeDefined()
    expect(page.text()).toContain('No connection to the server yet')
  })
})
