import type { VueWrapper } from '@vue/test-utils'
import { afterEach, describe, expect, test, vi } from 'vitest'

import CollectorGrid from '@/components/collector/CollectorGrid.vue'

import { show } from './mount'
import { collector } from './sample'

let page: VueWrapper
afterEach(() => page.unmount())

const grid = async (count: number) => {
  const processes = Array.from({ length: count }, (_, i) => collector(`line${i}`))
  page = await show(CollectorGrid, { processes, rates: new Map(), notes: {}, mayOperate: true, isStale: false })
}
const names = () => page.findAll('[role=rowheader] a').map((link) => link.text())

describe('the rows of the grid', () => {
  test('are all drawn while they are few', async () => {
    await grid(100)
    expect(names()).toHaveLength(100)
  })

  test('are only drawn near the window when they are many, and their number is told', async () => {
    await grid(2_000)
    expect(names().length).toBeLessThan(80)
    expect(names()[0]).toBe('line0')
    expect(page.attributes('aria-rowcount')).toBe('2001')
  })

  test('follow the scrolling page', async () => {
    await grid(2_000)
    const group = page.find('[role=rowgroup]').element
    vi.spyOn(group, 'getBoundingClientRect').mockReturnValue({ top: -48 * 1_000 } as DOMRect)
    window.dispatchEvent(new Event('scroll'))
    await vi.waitFor(
      () => {
        expect(names()).toContain('line1000')
      },
      { timeout: 4_000 },
    )
    expect(names()).not.toContain('line0')
    const row = page.find('[data-testid=collector-row-line1000]')
    expect(row.attributes('aria-rowindex')).toBe('1002')
  })
})
