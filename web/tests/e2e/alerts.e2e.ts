import { join } from 'node:path'

import { expect, test } from 'vitest'

import { OUTPUT, PASSWORD, setUp, useWorld } from './world'

/** A minute is long for those who watch a test. */
const FILES = {
  'health.toml':
    '[health]\ncheck_interval = 2\n[collectors.demo-modbus.health]\nconnection_timeout = 3\nstartup_grace = 3\n',
  'alerts.toml': '[rule.connection]\nfor_s = 1\nclear_s = 1\n',
}
const PAGES = [
  '/',
  '/collectors/demo-modbus',
  '/alerts',
  '/logs',
  '/logs?view=errors',
  '/trends?s=demo-opcua/tank1/temperature&compare=1h',
  '/config',
  '/config/demo-modbus',
  '/simulators',
  '/audit',
  '/access',
  '/system',
  '/no-such-page',
]

const world = useWorld({ files: FILES })
const { at, row, light, until, allHealthy, complaints } = world

const OPEN = '[data-testid^="alert-"][id]'
const openAlert = () => world.page.locator(OPEN).filter({ hasText: 'demo-modbus' }).first()

test('an administrator sets up and lets somebody in who may only look', async () => {
  await setUp(world)
  await row('demo-modbus').waitFor()
  await world.page.goto(`${world.installation.url}access`)
  await at('user-new').click()
  await at('user-name').fill('carol')
  await at('user-role').selectOption('viewer')
  await at('user-password').fill(PASSWORD)
  await at('user-add').click()
  await at('user-carol').waitFor()
  await world.page.goto(world.installation.url)
  await row('demo-modbus').waitFor()
  await until('all deliver', () => allHealthy('demo-modbus'))
})

test('a device that refuses is an alert, on every page', async () => {
  await world.page.goto(`${world.installation.url}simulators`)
  await at('fault').selectOption('refuse')
  await at('fault-length').selectOption('1800')
  await at('device-press1').getByTestId('fault-inject').click()
  await until('it has the fault', async () => await at('device-press1').getByTestId('fault-clear').isEnabled())
  await world.page.goto(world.installation.url)
  await until('the device light leaves "healthy"', async () => {
    return (await light('demo-modbus', 'device').getAttribute('data-state')) !== 'healthy'
  })
  await at('unacknowledged').waitFor({ timeout: 40_000 })
  await world.page.goto(`${world.installation.url}alerts`)
  await openAlert().waitFor()
  expect(await openAlert().textContent()).toContain('demo-modbus')
  await world.page.screenshot({ path: join(OUTPUT, 'alert.png') })
})

test('nobody who may only look is offered anything else, nor let do it', async () => {
  const page = await world.open()
  await page.goto(`${world.installation.url}alerts`)
  await page.getByTestId('username').fill('carol')
  await page.getByTestId('password').fill(PASSWORD)
  await page.getByTestId('password').press('Enter')
  await page.locator(OPEN).first().waitFor()
  expect(await page.getByTestId('acknowledge').count()).toBe(0)
  await page.goto(`${world.installation.url}collectors/demo-opcua`)
  await page.getByTestId('timeline').waitFor()
  expect(await page.getByTestId('action-restart').count()).toBe(0)
  const refused = await page.evaluate(async () => {
    const { csrf_token } = (await (await fetch('/api/v1/session')).json()) as { csrf_token: string }
    const headers = { 'X-CSRF-Token': csrf_token }
    return (await fetch('/api/v1/processes/demo-opcua/restart', { method: 'POST', headers })).status
  })
  expect(refused).toBe(403)
  await page.close()
  complaints.length = 0 // The browser notes the refused request.
})

test('acknowledging takes a reason and quiets it', async () => {
  await openAlert().getByTestId('acknowledge').click()
  await at('alert-reason').fill('fitter is on the way')
  await at('alert-confirm').click()
  await openAlert().getByTestId('acknowledged').waitFor()
  expect(await openAlert().textContent()).toContain('fitter is on the way')
  expect(await openAlert().getByTestId('acknowledge').count()).toBe(0)
})

test('the log tells of it, by text and by link', async () => {
  await world.page.goto(`${world.installation.url}logs?q=cannot+be+reached`)
  const line = at('log-tail').getByText('device cannot be reached').first()
  await line.waitFor()
  await at('log-tail').locator('.time').first().click()
  await at('log-detail').waitFor()
  const link = world.page.url()
  expect(link).toContain('at=')
  await world.page.goto(link)
  await at('log-detail').locator('.chosen').waitFor()
})

test('no page in trouble keeps anybody out', async () => {
  for (const path of PAGES) {
    await world.page.goto(`${world.installation.url}${path.slice(1)}`)
    await world.page.locator('h1').first().waitFor()
    await world.page.waitForTimeout(300)
    expect(await world.barriers(), path).toEqual([])
  }
})

test('on a dark phone in Chinese none does either, and nothing is cut off', async () => {
  const state = await world.page.context().storageState()
  const page = await world.open({
    storageState: state,
    locale: 'zh-CN',
    colorScheme: 'dark',
    viewport: { width: 390, height: 844 },
  })
  for (const path of PAGES) {
    await page.goto(`${world.installation.url}${path.slice(1)}`)
    await page.locator('h1').first().waitFor()
    await page.waitForTimeout(300)
    expect(await world.barriers(page), path).toEqual([])
    const [needed, there] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth])
    expect(needed, path).toBeLessThanOrEqual(there ?? 0)
  }
  await page.close()
})

test('when the device answers again, the alert is resolved and kept', async () => {
  await world.page.goto(`${world.installation.url}simulators`)
  await at('device-press1').getByTestId('fault-clear').click()
  await until('it has no fault', async () => !(await at('device-press1').getByTestId('fault-clear').isEnabled()))
  await world.page.goto(`${world.installation.url}alerts`)
  const history = at('alert-history').getByText('fitter is on the way')
  await history.waitFor()
  await until('no alert is open', async () => (await openAlert().count()) === 0, 40_000)
  expect(await history.count()).toBe(1)
  await world.page.goto(`${world.installation.url}collectors/demo-modbus`)
  await at('timeline-event').first().waitFor()
  const told = (await world.page.getByTestId('timeline-event').allTextContents()).join('\n')
  expect(told).toContain('no good transaction with press1')
})

test('the audit trail tells who did it and is whole', async () => {
  await world.page.goto(`${world.installation.url}audit?action=alert.*`)
  await at('audit-entries').waitFor()
  expect(await at('audit-entries').textContent()).toContain('fitter is on the way')
  await at('audit-verify').click()
  await at('audit-report').waitFor()
  expect(await at('audit-report').getAttribute('data-sound')).toBe('true')
})

test('the browser had nothing to complain about', () => {
  expect(complaints).toEqual([])
})
