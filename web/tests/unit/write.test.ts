import { flushPromises, type DOMWrapper, type VueWrapper } from '@vue/test-utils'
import { afterEach, describe, expect, test } from 'vitest'
import { nextTick } from 'vue'

import PointTable from '@/components/detail/PointTable.vue'
import WriteDialog from '@/components/detail/WriteDialog.vue'
import type { ShownPoint } from '@/composables/usePoints'
import { decimalsOf, typedValue } from '@/lib/write_value'

import { answer, problem, requests, serve } from './fake_fetch'
import { show } from './mount'

let page: VueWrapper | undefined
afterEach(() => {
  page?.unmount()
  page = undefined
})

const SETPOINT: ShownPoint = {
  series: 'line1/press1/setpoint',
  device: 'press1',
  name: 'setpoint',
  unit: 'bar',
  address: 'holding:4',
  description: '',
  interval_s: 1,
  writable: true,
  value: 12.5,
  quality: 'good',
  code: 0,
  source_at: null,
  received_at: null,
  decimals: 1,
  lastGood: 12.5,
}

// The dialog is teleported to the body.
const find = (testid: string) => document.querySelector<HTMLElement>(`[data-testid="${testid}"]`)
const type = async (text: string) => {
  const field = find('write-value') as HTMLInputElement | HTMLSelectElement
  field.value = text
  field.dispatchEvent(new Event(field.tagName === 'SELECT' ? 'change' : 'input'))
  await nextTick()
}
const press = async (testid: string) => {
  find(testid)?.click()
  await flushPromises()
}
const send = async () => {
  document.querySelector('#write-form')?.dispatchEvent(new Event('submit', { cancelable: true }))
  await nextTick()
}
const path = 'POST /api/v1/processes/line1/write'
const result = (values: object) => answer({ detail: '', value: null, duration_ms: 120, ...values })
const open = async (point: ShownPoint = SETPOINT) => {
  page = await show(WriteDialog, { collector: 'line1', point })
  await nextTick()
}

describe('what is typed', () => {
  test.each([
    ['12.50', 'number', 12.5],
    [' -3 ', 'number', -3],
    ['1e3', 'number', 1000],
    ['true', 'boolean', true],
    ['false', 'boolean', false],
    [' as it is ', 'string', ' as it is '],
  ] as const)('%j as %s is %j', (text, kind, value) => {
    expect(typedValue(text, kind)).toEqual({ value, problem: null })
  })

  test.each(['', ' ', '1,5', 'twelve', '1e999'])('%j is no number', (text) => {
    expect(typedValue(text, 'number').problem).toBe('not_a_number')
  })

  test('is refused where the browser would change its last digits', () => {
    expect(typedValue('9007199254740993', 'number').problem).toBe('too_long')
  })

  test('is shown with all its decimals', () => {
    expect(decimalsOf(0.12345, '0.12345', 1)).toBe(5)
    expect(decimalsOf(true, 'true', 1)).toBe(0)
  })
})

describe('writing a value', () => {
  test('asks once more, sends it and shows what the device gives back', async () => {
    serve({ [path]: result({ outcome: 'done', value: 13.25 }) })
    await open()
    expect(find('write-present')?.textContent).toBe('12.5 bar')
    await type('13.25')
    await send()
    expect(find('write-sure')?.textContent).toContain('Write 13.25 bar to line1/press1/setpoint? It is 12.5 bar now.')
    expect(requests).toEqual([])
    await press('write-now')
    expect(requests[0]?.body).toEqual({ device: 'press1', point: 'setpoint', value: 13.25 })
    expect(find('write-result')?.textContent).toContain('Written in 0.1 s')
    expect(find('write-given-back')?.textContent).toBe('13.25 bar')
  })

  test('does not go on with what is no number', async () => {
    await open()
    await type('1,5')
    expect(find('write-next')?.hasAttribute('disabled')).toBe(true)
    await send()
    expect(find('write-sure')).toBeNull()
  })

  test('offers the other state of a switch', async () => {
    serve({ [path]: result({ outcome: 'done', value: false }) })
    await open({ ...SETPOINT, unit: '', value: true })
    await send()
    await press('write-now')
    expect(requests[0]?.body).toMatchObject({ value: false })
    expect(find('write-given-back')?.textContent).toBe('OFF')
  })

  test('asks for the kind of a point that was never read', async () => {
    await open({ ...SETPOINT, value: null, lastGood: null })
    expect(find('write-kind')).not.toBeNull()
  })

  test.each(['refused', 'failed', 'unknown'])('says why it was %s', async (outcome) => {
    serve({ [path]: result({ outcome, detail: "The value lies outside the point's clamp." }) })
    await open()
    await type('99')
    await send()
    await press('write-now')
    expect(find('write-result')?.dataset['outcome']).toBe(outcome)
    expect(find('write-result')?.textContent).toContain("outside the point's clamp")
    expect(find('write-given-back')).toBeNull()
  })

  test('shows a refusal of the server and lets try again', async () => {
    serve({ [path]: problem(409, 'not_running', 'line1 does not run.') })
    await open()
    await type('13')
    await send()
    await press('write-now')
    expect(find('problem')?.textContent).toContain('line1 does not run.')
    expect(find('write-now')?.hasAttribute('disabled')).toBe(false)
  })
})

describe('the points', () => {
  const table = async (mayOperate: boolean): Promise<DOMWrapper<Element>[]> => {
    page = await show(PointTable, {
      points: [SETPOINT, { ...SETPOINT, series: 'x', name: 'level', writable: false }],
      error: null,
      selected: [],
      hasDevices: false,
      isRunning: true,
      mayOperate,
    })
    return page.findAll('[data-testid^=write-]')
  }

  test('have a button where they can be written, which leaves the trend alone', async () => {
    const buttons = await table(true)
    expect(buttons.map((button) => button.attributes('aria-label'))).toEqual(['Write a value to setpoint'])
    await buttons[0]?.trigger('click')
    expect(page?.emitted('write')).toEqual([[SETPOINT.series]])
    expect(page?.emitted('toggle')).toBeUndefined()
  })

  test('offer no write to a viewer', async () => {
    expect(await table(false)).toEqual([])
  })
})
