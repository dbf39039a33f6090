import { flushPromises, type VueWrapper } from '@vue/test-utils'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'

import ExportDialog from '@/components/detail/ExportDialog.vue'
import { fromField, sensibleResolution, spanOf, toField } from '@/lib/export_form'
import type { Language } from '@/stores/preferences'

import { answer, problem, requests, serve } from './fake_fetch'
import { show } from './mount'

const NOW = Date.parse('2026-11-23T05:00:00Z')
const SHOWN = { fromMs: NOW - 300_000, toMs: NOW }
const PATH = '/api/v1/history/export'

let page: VueWrapper
let saved: string[]

beforeEach(() => {
  vi.useFakeTimers({ now: NOW })
  saved = []
  vi.stubGlobal('URL', Object.assign(URL, { createObjectURL: () => 'blob:x', revokeObjectURL: () => {} }))
  vi.spyOn(HTMLAnchorElement.prototype, 'click').mockImplementation(function (this: HTMLAnchorElement) {
    saved.push(this.download)
  })
})
afterEach(() => {
  page.unmount()
  vi.useRealTimers()
})

async function open(language: Language = 'en', all = ['a/b/c', 'a/b/d']) {
  page = await show(ExportDialog, { modelValue: false, chosen: ['a/b/c'], all, shown: SHOWN }, { language })
  await page.setProps({ modelValue: true })
  await flushPromises()
}

const find = <T extends HTMLElement>(id: string) => document.querySelector<T>(`[data-testid="${id}"]`)
const state = () => find('export-state')?.dataset['state']
const asked = (method = 'GET', tail = '') =>
  requests.filter((one) => one.method === method && one.path.startsWith(PATH) && one.path.endsWith(tail))

async function choose(id: string, value: string) {
  const field = find<HTMLSelectElement>(id)
  if (!field) throw new Error(id)
  field.value = value
  field.dispatchEvent(new Event(field.tagName === 'SELECT' ? 'change' : 'input'))
  await flushPromises()
}

async function start() {
  document.querySelector('form')?.dispatchEvent(new Event('submit', { cancelable: true }))
  await flushPromises()
}

/** A server that begins to answer and goes on only when told. */
function slowServer(progress: object) {
  let finish: (response: Response) => void = () => {}
  const file = new Promise<Response>((done) => {
    finish = done
  })
  serve({})
  vi.stubGlobal('fetch', (input: string, init: RequestInit = {}) => {
    const url = new URL(input, 'http://panel')
    requests.push({
      method: init.method ?? 'GET', path: url.pathname, query: url.searchParams, headers: {}, body: null,
    })
    if (init.method === 'DELETE') return Promise.resolve(new Response(null, { status: 204 }))
    if (url.pathname !== PATH) return Promise.resolve(answer(progress)())
    return new Promise((done, failed) => {
      void file.then(done)
      init.signal?.addEventListener('abort', () => {
        failed(new DOMException('', 'AbortError'))
      })
    })
  })
  const named = { headers: { 'Content-Disposition': 'attachment; filename="line1.csv"' } }
  return () => {
    finish(new Response('x', named))
  }
}

describe('the export', () => {
  test('asks for what the chart shows and saves the file under its name', async () => {
    const finish = slowServer({ state: 'running', fraction: 0.42, rows: 1234 })
    await open()
    await start()
    const query = asked()[0]?.query
    expect(query?.getAll('series')).toEqual(['a/b/c'])
    expect(Date.parse(query?.get('from') ?? '')).toBe(SHOWN.fromMs)
    expect(query?.get('zone')).toBe('Asia/Shanghai')
    expect(query?.get('id')).toMatch(/^[0-9a-f]{24}$/)
    await vi.advanceTimersByTimeAsync(500)
    expect(find<HTMLProgressElement>('export-progress')?.getAttribute('value')).toBe('0.42')
    expect(find('export-state')?.textContent).toContain('1,234 rows')
    finish()
    await vi.advanceTimersByTimeAsync(1)
    await flushPromises()
    expect(state()).toBe('done')
    expect(saved).toEqual(['line1.csv'])
  })

  test('takes all points, another range, form and resolution', async () => {
    slowServer({ state: 'running', fraction: 0, rows: 0 })
    await open('zh-CN')
    await choose('export-scope', 'all')
    await choose('export-span', '7d')
    expect(find<HTMLSelectElement>('export-resolution')?.value).toBe('1m')
    await choose('export-resolution', '15m')
    await choose('export-format', 'xlsx')
    await start()
    const query = asked()[0]?.query
    expect(query?.getAll('series')).toEqual(['a/b/c', 'a/b/d'])
    expect([query?.get('format'), query?.get('resolution')]).toEqual(['xlsx', '15m'])
    expect(Date.parse(query?.get('from') ?? '')).toBe(NOW - 7 * 86_400_000)
  })

  test('cancelled, ends on the server too and saves nothing', async () => {
    slowServer({ state: 'running', fraction: 0.1, rows: 10 })
    await open()
    await start()
    find<HTMLButtonElement>('export-cancel')?.click()
    await flushPromises()
    expect(state()).toBe('cancelled')
    expect(asked('DELETE', asked()[0]?.query.get('id') ?? '?')).toHaveLength(1)
    expect(saved).toEqual([])
  })

  test('refused, shows the words of the server', async () => {
    serve({ [`GET ${PATH}`]: problem(422, 'export_too_large', 'These are more than 200000 rows.') })
    await open()
    await start()
    expect(state()).toBe('failed')
    expect(find('problem')?.textContent).toContain('more than 200000 rows')
    expect(saved).toEqual([])
  })

  test('cut off on the way, saves no half file', async () => {
    const cut = new Response(new ReadableStream({ start: (stream) => stream.error(new TypeError('cut')) }))
    serve({ [`GET ${PATH}`]: () => cut })
    await open()
    await start()
    expect(state()).toBe('failed')
    expect(saved).toEqual([])
  })

  test('needs points, not too many, and a range that ends after it begins', async () => {
    serve({})
    const many = Array.from({ length: 201 }, (_, n) => `a/b/${n}`)
    await open('en', many)
    expect(document.querySelector<HTMLOptionElement>('option[value="all"]')?.disabled).toBe(true)
    await choose('export-span', 'own')
    expect(find<HTMLButtonElement>('export-start')?.disabled).toBe(false)
    await choose('export-to', find<HTMLInputElement>('export-from')?.value ?? '')
    expect(find<HTMLButtonElement>('export-start')?.disabled).toBe(true)
  })
})

describe('the form', () => {
  test('turns local time into instants and back', () => {
    expect(toField(NOW)).toBe('2026-11-23T13:00:00')
    expect(fromField('2026-11-23T13:00:00')).toBe(NOW)
  })

  test('suggests buckets for long ranges', () => {
    const own = { fromMs: Number.NaN, toMs: Number.NaN }
    expect(sensibleResolution(spanOf('24h', SHOWN, own, NOW))).toBe('raw')
    expect(sensibleResolution(spanOf('30d', SHOWN, own, NOW))).toBe('1m')
    expect(spanOf('shown', SHOWN, own, NOW)).toEqual(SHOWN)
  })
})
