import { expect, test } from 'vitest'

import { setUp, useWorld } from './world'

const world = useWorld()
const { at, row, until, allHealthy, complaints } = world

const state = () => at('config-state').getAttribute('data-state')

/** Write at the end of the text. */
async function write(text: string): Promise<void> {
  const content = world.page.locator('.cm-content')
  await content.click()
  await world.page.keyboard.press('Control+End')
  await world.page.keyboard.insertText(text)
}

test('a mistake is told at its line and cannot be applied', async () => {
  await setUp(world)
  await row('demo-modbus').waitFor()
  await until('it delivers', () => allHealthy('demo-modbus'))
  await world.page.goto(`${world.installation.url}config`)
  await at('config-demo-modbus').getByRole('link').click()
  await world.page.locator('.cm-line').first().waitFor()
  await write('\n[[devices.points]]\nname = "spare"\naddress = "nowhere:1"\n')
  await until('it is refused', async () => (await state()) === 'refused')
  expect(await world.page.textContent('.problems')).toContain('nowhere:1')
  expect(await at('config-apply').isDisabled()).toBe(true)
  expect(await world.barriers()).toEqual([])
})

test('a change is shown as a difference, applied with a reason, and in use at once', async () => {
  await at('config-discard').click()
  await until('it is as before', async () => (await state()) === 'same')
  await write('\n[[devices.points]]\nname = "spare"\naddress = "holding:100"\ntype = "uint32"\ngroup = "slow"\n')
  await until('it can be applied', async () => (await state()) === 'ready')
  expect(await at('config-diff').first().textContent()).toContain('"spare"')
  await at('config-apply').click()
  await at('config-comment').fill('a spare point')
  await at('config-confirm').click()
  await at('config-applied').waitFor()
  await world.page.goto(`${world.installation.url}collectors/demo-modbus`)
  const value = at('value-spare')
  await until('the new point has a value', async () => {
    return (await value.count()) === 1 && (await value.getAttribute('data-quality')) === 'good'
  })
})

test('the form changes the text and leaves the rest as it was', async () => {
  await world.page.goto(`${world.installation.url}config/demo-modbus?view=form`)
  await world.page.getByLabel('display_name').fill('Press line one')
  await world.page.getByLabel('display_name').press('Tab')
  await until('it can be applied', async () => (await state()) === 'ready')
  const difference = (await at('config-diff').first().textContent()) ?? ''
  expect(difference).toContain('display_name = "Press line one"')
  expect(await world.barriers()).toEqual([])
  await at('config-discard').click()
})

test('an earlier text is brought back', async () => {
  const revisions = at('config-revisions')
  expect(await revisions.textContent()).toContain('a spare point')
  await at('roll-back').first().click()
  await at('config-confirm').click()
  await at('config-applied').waitFor()
  await world.page.goto(`${world.installation.url}collectors/demo-modbus`)
  await at('value-tonnage').waitFor()
  await until('the point is gone', async () => (await at('value-spare').count()) === 0)
})

test('the browser had nothing to complain about', () => {
  expect(complaints).toEqual([])
})
