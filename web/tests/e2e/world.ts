import { mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

import { chromium, type Browser, type Locator, type Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll } from 'vitest'

import { Installation, type Options } from './installation'

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium'
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf-8')

export const OUTPUT = join(import.meta.dirname, 'output')
export const USER = 'alice'
export const PASSWORD = 'three wise press lines'

/** One installation and one browser page, for the tests of one file. */
export interface World {
  installation: Installation
  browser: Browser
  page: Page
  /** Errors in the console and of scripts, violations of the content security policy included. */
  complaints: string[]
  at: (id: string) => Locator
  row: (name: string) => Locator
  light: (name: string, which: string) => Locator
  until: (what: string, holds: () => Promise<boolean>, deadlineMs?: number) => Promise<void>
  allHealthy: (name: string) => Promise<boolean>
  /** A page of another person's browser. */
  open: (options?: Parameters<Browser['newPage']>[0]) => Promise<Page>
  /** What axe finds on the present page. */
  barriers: (page?: Page) => Promise<string[]>
}

export function useWorld(options: Options = {}): World {
  const world = { complaints: [] as string[] } as World
  world.at = (id) => world.page.getByTestId(id)
  world.row = (name) => world.at(`collector-row-${name}`)
  world.light = (name, which) => world.row(name).getByTestId(`light-${which}`)
  world.until = async (what, holds, deadlineMs = 30_000) => {
    const end = Date.now() + deadlineMs
    while (!(await holds())) {
      if (Date.now() > end) throw new Error(`not within ${deadlineMs} ms: ${what}`)
      await world.page.waitForTimeout(50)
    }
  }
  world.allHealthy = async (name) => {
    const lights = ['process', 'device', 'data'].map((which) => world.light(name, which))
    const states = await Promise.all(lights.map((light) => light.getAttribute('data-state')))
    return states.every((state) => state === 'healthy')
  }
  world.open = async (values = {}) => {
    const page = await world.browser.newPage({ locale: 'en-GB', viewport: { width: 1400, height: 900 }, ...values })
    page.on('pageerror', (error) => world.complaints.push(String(error)))
    page.on('console', (message) => {
      if (message.type() === 'error') world.complaints.push(message.text())
    })
    return page
  }
  world.barriers = async (page = world.page) => {
    await page.evaluate(AXE)
    return page.evaluate(async () => {
      const { axe } = window as unknown as { axe: { run: (root: Document) => Promise<{ violations: Finding[] }> } }
      interface Finding { id: string; nodes: { target: string[] }[] }
      // A button amid its change of colour has a contrast that nobody gets to read.
      const passing = document.getAnimations().filter((each) => each.effect?.getTiming().iterations !== Infinity)
      await Promise.allSettled(passing.map((each) => each.finished))
      const { violations } = await axe.run(document)
      return violations.flatMap(({ id, nodes }) => nodes.map(({ target }) => `${id}: ${target.join(' ')}`))
    })
  }

  beforeAll(async () => {
    mkdirSync(OUTPUT, { recursive: true })
    world.installation = await Installation.start(options)
    world.browser = await chromium.launch({
      executablePath: CHROMIUM,
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    })
    world.page = await world.open()
  })
  afterAll(async () => {
    await world.browser?.close()
    await world.installation?.stop()
  })
  afterEach(async (context) => {
    if (context.task.result?.state !== 'fail') return
    await world.page.screenshot({ path: join(OUTPUT, `${context.task.name.replace(/\W+/g, '-')}.png`) })
  })
  return world
}

/** Make the first user by the link that the console printed. */
export async function setUp(world: World): Promise<void> {
  await world.page.goto(world.installation.setupLink)
  await world.at('username').fill(USER)
  await world.at('password').fill(PASSWORD)
  await world.at('password-repeat').fill(PASSWORD)
  await world.at('password-repeat').press('Enter')
  await world.at('user-menu').waitFor()
}
