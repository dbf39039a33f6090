import { flushPromises, type VueWrapper } from '@vue/test-utils'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { nextTick } from 'vue'

import OverviewPage from '@/pages/OverviewPage.vue'
import SetupPage from '@/pages/SetupPage.vue'
import SignInPage from '@/pages/SignInPage.vue'
import { useActionsStore } from '@/stores/actions'
import { useProcessesStore } from '@/stores/processes'
import { useSessionStore } from '@/stores/session'

import { answer, problem, requests, serve } from './fake_fetch'
import { show } from './mount'
import { collector, crashed } from './sample'

let page: VueWrapper

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  page.unmount()
  vi.useRealTimers()
})

const field = (testid: string) => page.find(`[data-testid="${testid}"]`)
const session = (values: object = {}) => ({
  authenticated: true,
  setup_required: false,
  user: { name: 'bob', role: 'operator' },
  csrf_token: 't',
  version: '0.1.0',
  ...values,
})

describe('signing in', () => {
  const submit = async () => {
    await field('username').setValue(' bob ')
    await field('password').setValue('wrong horse')
    await page.find('form').trigger('submit')
    await flushPromises()
  }

  test('sends name and password and goes on', async () => {
    serve({ 'POST /api/v1/session': answer(session()) })
    page = await show(SignInPage, {}, { path: '/sign-in?next=/collectors/a' })
    await submit()
    expect(requests[0]?.body).toEqual({ username: 'bob', password: 'wrong horse' })
    expect(page.vm.$router.currentRoute.value.fullPath).toBe('/collectors/a')
  })

  test('never leads away from this panel', async () => {
    serve({ 'POST /api/v1/session': answer(session()) })
    page = await show(SignInPage, {}, { path: '/sign-in?next=//evil.example/' })
    await submit()
    expect(page.vm.$router.currentRoute.value.fullPath).toBe('/')
  })

  test('shows why it was refused and forgets the password', async () => {
    serve({ 'POST /api/v1/session': problem(401, 'bad_credentials', 'User name or password is wrong.') })
    page = await show(SignInPage, {}, { path: '/sign-in' })
    await submit()
    expect(field('problem').text()).toBe('User name or password is wrong.')
    expect((field('password').element as HTMLInputElement).value).toBe('')
  })

  test('counts down where the server asks to wait, and then lets try again', async () => {
    serve({ 'POST /api/v1/session': problem(429, 'rate_limited', 'Wait.', { retry_after_s: 12 }) })
    page = await show(SignInPage, {}, { path: '/sign-in' })
    await submit()
    expect(field('problem').text()).toBe('Too many attempts. Try again in 12 s.')
    await vi.advanceTimersByTimeAsync(5_000)
    expect(field('problem').text()).toContain('in 7 s')
    expect(field('submit').attributes('disabled')).toBeDefined()
    await vi.advanceTimersByTimeAsync(7_500)
    expect(field('problem').exists()).toBe(false)
    expect(field('submit').attributes('disabled')).toBeUndefined()
  })
})

describe('the first account', () => {
  afterEach(() => window.history.replaceState(null, '', '/'))

  const fillIn = async (password: string, repeated: string) => {
    await field('username').setValue('admin')
    await field('password').setValue(password)
    await field('password-repeat').setValue(repeated)
  }

  test('takes the token from the address and removes it there', async () => {
    window.history.replaceState(null, '', '/setup#T0KEN')
    serve({ 'POST /api/v1/setup': answer(session({ user: { name: 'admin', role: 'admin' } })) })
    page = await show(SetupPage)
    expect(window.location.hash).toBe('')
    await fillIn('correct horse', 'correct horse')
    await page.find('form').trigger('submit')
    await flushPromises()
    expect(requests[0]?.body).toEqual({ token: 'T0KEN', username: 'admin', password: 'correct horse' })
  })

  test('needs ten characters twice', async () => {
    window.history.replaceState(null, '', '/setup#T0KEN')
    page = await show(SetupPage)
    await fillIn('short', 'shor')
    expect(page.text()).toContain('5 more characters: at least 10')
    expect(page.text()).toContain('The two passwords differ.')
    expect(field('submit').attributes('disabled')).toBeDefined()
    await fillIn('correct horse', 'correct horse')
    expect(field('submit').attributes('disabled')).toBeUndefined()
  })

  test('without a token sends to the console, where the link is', async () => {
    page = await show(SetupPage)
    expect(field('setup-no-token').text()).toContain('make run')
    expect(page.find('form').exists()).toBe(false)
  })
})

describe('the overview', () => {
  const overview = async (path = '/') => {
    serve({ 'GET /api/v1/session': answer(session()) })
    page = await show(OverviewPage, {}, { path })
    await useSessionStore().load()
    useProcessesStore().applySnapshot([collector('line1'), collector('line2'), crashed('boiler')])
    await nextTick()
  }
  const names = () => page.findAll('[role=rowheader] a').map((link) => link.text())

  test('shows the shape of what comes while nothing is known', async () => {
    page = await show(OverviewPage)
    expect(page.text()).toContain('Loading')
    expect(page.find('[role=table]').exists()).toBe(false)
  })

  test('puts the crash first, in the headline, the incidents and the grid', async () => {
    await overview()
    expect(page.find('h1').text()).toBe('1 of 3 collectors needs attention')
    expect(field('incidents').text()).toContain('boiler')
    expect(names()).toEqual(['boiler', 'line1', 'line2'])
  })

  test('takes its filters from the address', async () => {
    await overview('/?q=line&state=healthy,critical')
    expect(names()).toEqual(['line1', 'line2'])
  })

  test('writes its filters to the address', async () => {
    await overview()
    await field('filter').setValue('line2')
    await flushPromises()
    expect(page.vm.$router.currentRoute.value.query).toEqual({ q: 'line2' })
    expect(names()).toEqual(['line2'])
  })

  test('says what is wrong with a filter once typing pauses, and goes on with the rest of it', async () => {
    await overview()
    await field('filter').setValue('name:line* stat:critical')
    await flushPromises()
    expect(field('filter-problem').text()).toBe('')
    expect(names()).toEqual(['line1', 'line2'])
    await vi.advanceTimersByTimeAsync(1_000)
    expect(field('filter-problem').text()).toContain('There is no key "stat" (at character 12). Did you mean state?')
  })

  test('completes a filter by keys alone', async () => {
    await overview()
    await field('filter').setValue('st')
    await flushPromises()
    expect(field('filter-offers').text()).toContain('state:')
    await field('filter').trigger('keydown', { key: 'Down' })
    await field('filter').trigger('keydown', { key: 'Enter' })
    await flushPromises()
    expect((field('filter').element as HTMLInputElement).value).toBe('state:')
    await field('filter').trigger('keydown', { key: 'Down' })
    await field('filter').trigger('keydown', { key: 'Enter' })
    await flushPromises()
    expect(names()).toEqual(['boiler'])
  })

  test('keeps a filter under a name', async () => {
    await overview('/?q=line2')
    await field('saved-filters').trigger('click')
    await field('filter-name').setValue('mine')
    await field('filter-save').trigger('submit')
    await field('filter').setValue('')
    await flushPromises()
    expect(names()).toHaveLength(3)
    await field('saved-mine').trigger('click')
    await flushPromises()
    expect(names()).toEqual(['line2'])
    localStorage.clear()
  })

  test('shows cards where the address asks for them, and remembers the choice', async () => {
    await overview('/?view=cards')
    const cards = () => page.findAll('[role=listitem] h2').map((name) => name.text())
    expect(cards()).toEqual(['boiler', 'line1', 'line2'])
    expect(page.find('[role=table]').exists()).toBe(false)
    window.dispatchEvent(new KeyboardEvent('keydown', { key: 'j' }))
    expect(document.activeElement?.textContent?.trim()).toBe('boiler')
    await field('view-table').trigger('click')
    await flushPromises()
    expect(page.vm.$router.currentRoute.value.query).toEqual({ view: 'table' })
    await field('view-cards').trigger('click')
    page.unmount()
    await overview()
    expect(cards()).toHaveLength(3)
    localStorage.clear()
  })

  test('says so when no collector matches, and offers the way back', async () => {
    await overview('/?q=nothing')
    expect(page.text()).toContain('No collector matches the filter.')
  })

  test('moves from row to row by key', async () => {
    await overview()
    const press = (key: string) => window.dispatchEvent(new KeyboardEvent('keydown', { key }))
    press('j')
    press('j')
    expect(document.activeElement?.textContent?.trim()).toBe('line1')
    press('k')
    expect(document.activeElement?.textContent?.trim()).toBe('boiler')
    press('/')
    expect(document.activeElement).toBe(field('filter').element)
  })

  test('does not call it an incident when a collector does what somebody asked for', async () => {
    await overview()
    let respond: (response: Response) => void = () => undefined
    vi.stubGlobal('fetch', () => new Promise<Response>((resolve) => (respond = resolve)))
    const run = useActionsStore().run('boiler', 'restart')
    await nextTick()
    expect(field('incidents').exists()).toBe(false)
    expect(page.find('[data-testid=collector-row-boiler]').text()).toContain('Restart requested')
    respond(problem(500, 'internal', 'no')())
    await run
    await nextTick()
    expect(field('incidents').text()).toContain('boiler')
  })

  test('keeps rows in place while a pointer moves on them, not while it rests there', async () => {
    await overview()
    const point = () =>
      page.find('[data-testid=collector-row-line1]').element.dispatchEvent(
        new PointerEvent('pointermove', { bubbles: true }),
      )
    point()
    useProcessesStore().applySnapshot([collector('line1'), crashed('line2'), collector('boiler')])
    await nextTick()
    expect(names()).toEqual(['boiler', 'line1', 'line2'])
    expect(page.text()).toContain('Order held')
    await vi.advanceTimersByTimeAsync(9_000)
    point()
    await vi.advanceTimersByTimeAsync(9_000)
    expect(names()).toEqual(['boiler', 'line1', 'line2'])
    await vi.advanceTimersByTimeAsync(2_000)
    expect(names()).toEqual(['line2', 'boiler', 'line1'])
  })

  test('asks before a command is given', async () => {
    await overview()
    await page.find('[data-testid=collector-row-line1] [data-testid=action-stop]').trigger('click')
    expect(useActionsStore().asked).toEqual({ name: 'line1', action: 'stop' })
  })

  test('tells what to do when there is no collector at all', async () => {
    page = await show(OverviewPage)
    useProcessesStore().applySnapshot([])
    await nextTick()
    expect(page.text()).toContain('daqplane apply FILE')
  })
})
