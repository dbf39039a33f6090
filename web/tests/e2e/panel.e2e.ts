import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { OUTPUT, PASSWORD, setUp, USER, useWorld } from './world'

const COLLECTORS = ['demo-modbus', 'demo-opcua', 'demo-mitsubishi']

const world = useWorld()
const { at, row, light, until, allHealthy, complaints } = world

const processOf = (name: string): Promise<{ pid: number; restart_count: number }> =>
  world.page.evaluate(async (path) => (await fetch(path)).json(), `/api/v1/processes/${name}`)

test('the set-up link makes the first user and opens the overview', async () => {
  await setUp(world)
  for (const name of COLLECTORS) await row(name).waitFor()
  expect(world.page.url()).not.toContain('#')
})

test('three collectors of three protocols deliver', async () => {
  for (const name of COLLECTORS) {
    await until(`${name} is all healthy`, () => allHealthy(name))
    await until(`${name} has a data rate`, async () => {
      return Number(await row(name).getByTestId('data-rate').textContent()) > 0
    })
  }
})

test('a collector page shows values that move and a trend', async () => {
  await world.page.goto(`${world.installation.url}collectors/demo-modbus`)
  const value = at('value-system_pressure')
  await value.waitFor()
  const first = await value.textContent()
  await until('the pressure moves', async () => (await value.textContent()) !== first)
  await at('value-tonnage').click() // The first point is chosen already.
  const trend = at('trend')
  await until('the trend has samples', async () => {
    return Number(await trend.getAttribute('data-samples')) >= 3
  })
  await until('the log is there', async () => {
    return ((await at('log-tail').textContent()) ?? '').includes('device answers')
  })
})

test('the history of the chart is saved as a file', async () => {
  await at('export').click()
  const [file] = await Promise.all([world.page.waitForEvent('download'), at('export-start').click()])
  expect(file.suggestedFilename()).toMatch(/^demo-modbus_.*\.csv$/)
  const lines = readFileSync(await file.path(), 'utf-8').trim().split('\r\n')
  expect(lines[0]).toContain('time (UTC)')
  expect(lines.length).toBeGreaterThan(3)
  await until('it is done', async () => (await at('export-state').getAttribute('data-state')) === 'done')
  await world.page.keyboard.press('Escape')
})

test('the system page accounts for every record', async () => {
  await world.page.goto(`${world.installation.url}system`)
  await until('it balances', async () => {
    return (await at('storage-balance').getAttribute('data-state')) === 'healthy'
  })
  expect(await at('store-embedded').textContent()).toContain('embedded')
  await world.page.goto(`${world.installation.url}collectors/demo-modbus`)
})

test('a killed collector is seen down, then up, and its values move again', async () => {
  await world.page.goto(world.installation.url)
  await until('all healthy before', () => allHealthy('demo-modbus'))
  const before = await processOf('demo-modbus')
  process.kill(before.pid, 'SIGKILL')
  await until(
    'the process light leaves "healthy"',
    async () => (await light('demo-modbus', 'process').getAttribute('data-state')) !== 'healthy',
    10_000,
  )
  await until('all healthy after', () => allHealthy('demo-modbus'))
  const after = await processOf('demo-modbus')
  expect(after.pid).not.toBe(before.pid)
  expect(after.restart_count).toBe(before.restart_count + 1)
  await world.page.goto(`${world.installation.url}collectors/demo-modbus`)
  const value = at('value-system_pressure')
  await value.waitFor()
  const first = await value.textContent()
  await until('values move again', async () => (await value.textContent()) !== first)
})

test('a restart by click says what it will do and what it did', async () => {
  await world.page.goto(world.installation.url)
  await until('all healthy before', () => allHealthy('demo-opcua'))
  const before = await processOf('demo-opcua')
  await row('demo-opcua').hover()
  await row('demo-opcua').getByTestId('action-restart').click()
  await at('confirm').click()
  await until('a new process', async () => (await processOf('demo-opcua')).pid !== before.pid)
  await until('all healthy after', () => allHealthy('demo-opcua'))
  expect((await processOf('demo-opcua')).restart_count).toBe(before.restart_count)
})

test('a server that falls silent is told by the banner, and so is its return', async () => {
  const system = await world.page.evaluate(async () => (await fetch('/api/v1/system')).json())
  const server = system.services.find((s: { name: string }) => s.name === 'control-plane')
  // The worker serves; supervisord knows its master. Both are frozen and thawed.
  const { execFileSync } = await import('node:child_process')
  const pids = [
    server.pid,
    ...execFileSync('ps', ['-o', 'pid=', '--ppid', String(server.pid)])
      .toString()
      .trim()
      .split(/\s+/)
      .map(Number),
  ]
  for (const pid of pids) process.kill(pid, 'SIGSTOP')
  try {
    await at('connection-banner').waitFor({ timeout: 20_000 })
    await world.page.screenshot({ path: join(OUTPUT, 'connection-lost.png') })
  } finally {
    for (const pid of pids) process.kill(pid, 'SIGCONT')
  }
  await at('connection-banner').waitFor({ state: 'detached', timeout: 40_000 })
  await until('live again', () => allHealthy('demo-modbus'))
  complaints.length = 0 // The browser notes the connection that was cut.
})

test('the panel speaks Chinese', async () => {
  await at('language').click()
  const choice = world.page.getByRole('menuitem', { name: '中文' })
  if (await choice.count()) await choice.click()
  await until('Chinese words', async () => {
    return ((await world.page.textContent('body')) ?? '').includes('采集器')
  })
  await world.page.screenshot({ path: join(OUTPUT, 'overview-zh.png') })
})

test('signing out ends the session, and a wrong password is refused in words', async () => {
  await at('user-menu').click().catch(() => undefined)
  await at('sign-out').click()
  await at('username').fill(USER)
  await at('password').fill('not my password')
  await at('submit').click()
  await at('problem').waitFor()
  complaints.length = 0 // The browser notes the refused request.
  await at('password').fill(PASSWORD)
  await at('password').press('Enter')
  await row('demo-modbus').waitFor()
})

test('the browser had nothing to complain about', () => {
  expect(complaints).toEqual([])
})
