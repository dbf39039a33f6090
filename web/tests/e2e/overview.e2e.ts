import { join } from 'node:path'

import { expect, test } from 'vitest'

import { OUTPUT, PASSWORD, setUp, useWorld } from './world'

const COLLECTORS = ['demo-modbus', 'demo-opcua', 'demo-mitsubishi']

const world = useWorld()
const { at, row, until, allHealthy, complaints } = world

const processOf = (name: string): Promise<{ pid: number | null; status: string }> =>
  world.page.evaluate(async (path) => (await fetch(path)).json(), `/api/v1/processes/${name}`)
const shown = () => world.page.locator('[data-testid^="collector-row-"]').count()
const shot = (name: string) => world.page.screenshot({ path: join(OUTPUT, `${name}.png`) })

test('three collectors deliver', async () => {
  await setUp(world)
  for (const name of COLLECTORS) await until(`${name} is all healthy`, () => allHealthy(name))
  expect(await world.barriers()).toEqual([])
})

test('a filter is completed by keys, kept in the address and told where it is wrong', async () => {
  await world.page.keyboard.press('/')
  await world.page.keyboard.type('pro')
  await at('filter-offers').waitFor()
  await shot('filter-offers')
  expect(await world.barriers()).toEqual([])
  await world.page.keyboard.press('ArrowDown')
  await world.page.keyboard.press('Enter')
  await world.page.keyboard.type('opc')
  await until('one collector is left', async () => (await shown()) === 1)
  expect(new URL(world.page.url()).searchParams.get('q')).toBe('protocol:opc')
  await world.page.keyboard.type(' stat:x')
  await until('the mistake is told', async () =>
    ((await at('filter-problem').textContent()) ?? '').includes('at character 14'),
  )
  expect(await shown()).toBe(1)
  await shot('filter-problem')
  expect(await world.barriers()).toEqual([])
  await at('filter').fill('')
  await until('all are back', async () => (await shown()) === 3)
  await at('filter').blur()
})

test('cards show the same, and the choice is in the address', async () => {
  await at('view-cards').click()
  await at('cards').waitFor()
  expect(await shown()).toBe(3)
  expect(new URL(world.page.url()).searchParams.get('view')).toBe('cards')
  await shot('cards')
  expect(await world.barriers()).toEqual([])
  await at('view-table').click()
  await world.page.getByRole('table', { name: 'Collectors' }).waitFor()
})

test('many are restarted by one command that shows how far it has come', async () => {
  const before = await Promise.all(COLLECTORS.map(processOf))
  await world.page.keyboard.press('j')
  await world.page.keyboard.press('x')
  await until('one is selected', async () => ((await at('bulk-bar').textContent()) ?? '').includes('1 selected'))
  await at('select-shown').check()
  await at('bulk-restart').click()
  await at('bulk-confirm').waitFor()
  await shot('bulk-preview')
  expect(await world.barriers()).toEqual([])
  await at('bulk-confirm').click()
  await until('all are done', async () => (await at('bulk-progress').getAttribute('data-state')) === 'done')
  await shot('bulk-done')
  expect(await world.barriers()).toEqual([])
  await until('all are new processes', async () => {
    const after = await Promise.all(COLLECTORS.map(processOf))
    return after.every(({ pid }, index) => pid !== null && pid !== before[index]?.pid)
  })
  await at('bulk-close').click()
})

test('a stop skips who is stopped already, and is undone by one click', async () => {
  for (const [expected, name] of [['2', 'demo-opcua'], ['3', 'demo-modbus']] as const) {
    await at('bulk-clear').click()
    await row(name).getByTestId('select').check()
    if (expected === '3') await at('select-all').click()
    await at('bulk-stop').click()
    if (expected === '3') expect(await at('bulk-skipped').textContent()).toContain('demo-opcua')
    await at('bulk-confirm').click()
    await until('it is done', async () => (await at('bulk-progress').getAttribute('data-state')) === 'done')
    if (expected === '2') await at('bulk-close').click()
  }
  await until('all are down', async () => (await processOf('demo-mitsubishi')).status === 'STOPPED')
  await at('bulk-undo').click()
  await at('bulk-confirm').click()
  await until('two run again', async () => (await at('bulk-progress').getAttribute('data-state')) === 'done')
  await until('what was undone runs', async () => (await processOf('demo-mitsubishi')).status === 'RUNNING')
  expect((await processOf('demo-opcua')).status).toBe('STOPPED')
  await at('bulk-close').click()
})

test('the day tells what happened', async () => {
  await at('day').waitFor()
  await until('events are read', async () => (await at('events').textContent())?.includes('Loading') === false)
  expect(await world.barriers()).toEqual([])
})

test('a viewer sees the same and can act on nothing', async () => {
  const status = await world.page.evaluate(async (password) => {
    const session = (await (await fetch('/api/v1/session')).json()) as { csrf_token: string }
    const answer = await fetch('/api/v1/users', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-CSRF-Token': session.csrf_token },
      body: JSON.stringify({ name: 'carol', password, role: 'viewer' }),
    })
    return answer.status
  }, PASSWORD)
  expect(status).toBeLessThan(300)
  const page = await world.open()
  await page.goto(world.installation.url)
  await page.getByTestId('username').fill('carol')
  await page.getByTestId('password').fill(PASSWORD)
  await page.getByTestId('password').press('Enter')
  await page.getByTestId('collector-row-demo-modbus').waitFor()
  expect(await page.locator('input[type=checkbox], [data-testid^=action-]').count()).toBe(0)
  expect(await world.barriers(page)).toEqual([])
  await page.close()
})

test('the browser had nothing to complain about', () => {
  expect(complaints).toEqual([])
})
