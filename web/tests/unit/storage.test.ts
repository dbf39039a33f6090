import type { VueWrapper } from '@vue/test-utils'
import { afterEach, describe, expect, test } from 'vitest'

import type { Ledger, StorageState } from '@/api/schema'
import StorageTable from '@/components/system/StorageTable.vue'

import { show } from './mount'

let page: VueWrapper

afterEach(() => {
  page.unmount()
})

const ledger = (facts: Partial<Ledger> = {}): Ledger => ({
  collector: 'line1', store: 'embedded', records_in: 36, records_stored: 30, records_queued: 4,
  records_dropped: 2, records_dead: 0, records_missing: 0, samples_stored: 12_345, samples_dropped: 0,
  samples_dead: 0, queued_bytes: 2_000, lag_s: 0.5, last_error: null, ...facts,
})
const storage = (facts: Partial<StorageState> = {}): StorageState => ({
  age_s: 0.4, records_missing: 0, count: 1, ledgers: [ledger()],
  stores: [{ name: 'embedded', url: 'embedded:', error: null, retry_in_s: 0, total: ledger() }],
  ...facts,
})
const balance = () => page.get('[data-testid="storage-balance"]')

describe('the ledger', () => {
  test('shows each store with its counts, and no collector that is in order', async () => {
    page = await show(StorageTable, { storage: storage() })
    const cells = page.findAll('[data-testid="store-embedded"] td').map((cell) => cell.text())
    expect(cells.slice(1)).toEqual(['36', '30', '4', '2', '0', '12,345', '2.0 kB', '0.5s', 'embedded:'])
    expect(page.findAll('tbody tr')).toHaveLength(1)
    expect(balance().attributes('data-state')).toBe('healthy')
  })

  test('names the collector whose records do not balance', async () => {
    const odd = ledger({ records_missing: 7 })
    page = await show(StorageTable, { storage: storage({ records_missing: 7, ledgers: [odd] }) })
    expect(balance().text()).toContain('7')
    expect(balance().attributes('data-state')).toBe('critical')
    expect(page.find('[data-testid="ledger-line1-embedded"]').exists()).toBe(true)
  })

  test('names a store that takes nothing and a collector that it is behind with', async () => {
    const late = ledger({ lag_s: 61 })
    const stores = [{ name: 'vm', url: 'vm:', error: 'connection refused', retry_in_s: 3, total: late }]
    page = await show(StorageTable, { storage: storage({ stores, ledgers: [late] }) }, { language: 'zh-CN' })
    expect(page.get('[data-testid="store-vm"]').text()).toContain('connection refused')
    expect(page.find('[data-testid="ledger-line1-embedded"]').exists()).toBe(true)
  })

  test.each([null, 60])('claims nothing while the historian is silent (%s)', async (age_s) => {
    page = await show(StorageTable, { storage: storage({ age_s }) })
    expect(balance().attributes('data-state')).toBe('unknown')
  })
})
