import { createPinia, setActivePinia } from 'pinia'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'

import { configureClient } from '@/api/client'
import { LiveConnection } from '@/api/live'
import type { Session } from '@/api/schema'
import { useActionsStore } from '@/stores/actions'
import { useConnectionStore } from '@/stores/connection'
import { usePreferencesStore } from '@/stores/preferences'
import { useProcessesStore } from '@/stores/processes'
import { useSessionStore } from '@/stores/session'

import { FakeSocket } from './fake_socket'
import { answer, problem, requests, serve } from './fake_fetch'
import { collector, crashed } from './sample'

const SIGNED_IN: Session = {
  authenticated: true,
  setup_required: false,
  user: { name: 'bob', role: 'operator' },
  csrf_token: 'token-1',
  version: '0.1.0',
}

beforeEach(() => {
  setActivePinia(createPinia())
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
  localStorage.clear()
})

describe('the collectors', () => {
  test('are the snapshot, then its changes, gathered for one repaint', () => {
    const store = useProcessesStore()
    store.applySnapshot([collector('a'), collector('b')])
    store.applyDelta(crashed('a'))
    store.applyDelta(collector('c'))
    store.applyDelta({ name: 'b', removed: true })
    expect(store.byName.get('a')?.status).toBe('RUNNING')
    vi.advanceTimersByTime(100)
    expect([...store.byName.keys()]).toEqual(['a', 'c'])
    expect(store.byName.get('a')?.status).toBe('CRASHED')
  })

  test('keep the objects that did not change, so that their rows are not drawn again', () => {
    const store = useProcessesStore()
    store.applySnapshot([collector('a'), collector('b')])
    const before = store.byName.get('b')
    store.applyDelta(crashed('a'))
    store.flush()
    expect(store.byName.get('b')).toBe(before)
  })

  test('of a new snapshot replace all, also changes that still wait', () => {
    const store = useProcessesStore()
    store.applySnapshot([collector('a')])
    store.applyDelta(crashed('a'))
    store.applySnapshot([collector('b')])
    vi.advanceTimersByTime(100)
    expect([...store.byName.keys()]).toEqual(['b'])
  })

  test('told over HTTP never overwrite what the live connection said', async () => {
    serve({ 'GET /api/v1/processes': answer({ processes: [crashed('a')], supervisor: {}, observed_at: '' }) })
    const store = useProcessesStore()
    const loading = store.load()
    store.applySnapshot([collector('a')])
    await loading
    expect(store.byName.get('a')?.status).toBe('RUNNING')
  })

  test('have two minutes of rate, unknown while nothing is known', () => {
    const store = useProcessesStore()
    store.applySnapshot([collector('a', { data_collection_rate: 5 })])
    store.recordRates(true)
    store.recordRates(false)
    expect(store.rates.get('a')).toEqual([5, null])
    for (let i = 0; i < 100; i += 1) store.recordRates(true)
    expect(store.rates.get('a')).toHaveLength(60)
  })
})

describe('the session', () => {
  test('sends its token with every change, and its language with every request', async () => {
    const store = useSessionStore()
    configureClient({ csrfToken: () => store.csrfToken, language: () => 'zh-CN', onSignedOut: store.forget })
    serve({
      'POST /api/v1/session': answer(SIGNED_IN),
      'DELETE /api/v1/session': answer(undefined, 204),
    })
    await store.signIn('bob', 'secret')
    await store.signOut()
    const [signIn, signOut] = requests
    expect(signIn?.headers['X-CSRF-Token']).toBeUndefined()
    expect(signOut?.headers['X-CSRF-Token']).toBe('token-1')
    expect(signOut?.headers['Accept-Language']).toBe('zh-CN')
    expect(store.isAuthenticated).toBe(false)
    expect(store.ended).toBe(false)
  })

  test('that the server ended is said to have ended', async () => {
    const store = useSessionStore()
    configureClient({ csrfToken: () => null, language: () => 'en', onSignedOut: store.forget })
    serve({
      'GET /api/v1/session': answer(SIGNED_IN),
      'GET /api/v1/processes': problem(401, 'not_authenticated', 'Sign in first.'),
    })
    await store.load()
    await expect(useProcessesStore().load()).rejects.toMatchObject({ code: 'not_authenticated' })
    expect(store.isAuthenticated).toBe(false)
    expect(store.ended).toBe(true)
  })

  test('of a viewer may look and not act', async () => {
    const store = useSessionStore()
    serve({ 'GET /api/v1/session': answer({ ...SIGNED_IN, user: { name: 'carol', role: 'viewer' } }) })
    await store.load()
    expect(store.mayOperate).toBe(false)
  })
})

describe('an action', () => {
  const done = {
    process: 'a',
    action: 'restart',
    outcome: 'done',
    detail: 'process 12 runs',
    duration_ms: 3200,
    pid_before: 11,
    pid_after: 12,
  }

  test('is requested until the result has come, and nothing is assumed before', async () => {
    serve({ 'POST /api/v1/processes/a/restart': answer(done) })
    const store = useActionsStore()
    store.ask('a', 'restart')
    const running = store.run('a', 'restart')
    expect(store.asked).toBeNull()
    expect(store.isBusy('a')).toBe(true)
    const note = await running
    expect(note).toMatchObject({ state: 'done', durationMs: 3200, pidBefore: 11, pidAfter: 12 })
    expect(store.isBusy('a')).toBe(false)
  })

  test('that the server refuses has failed, with its reason', async () => {
    serve({ 'POST /api/v1/processes/a/stop': problem(409, 'busy', 'Another command is still under way.') })
    const note = await useActionsStore().run('a', 'stop')
    expect(note.state).toBe('failed')
    expect(note.error?.detail).toBe('Another command is still under way.')
  })

  test('without an answer has an unknown outcome', async () => {
    serve({})
    const note = await useActionsStore().run('a', 'stop')
    expect(note.state).toBe('unknown')
    expect(note.error?.code).toBe('network')
  })

  test('is remembered on its row for a minute', async () => {
    serve({ 'POST /api/v1/processes/a/restart': answer(done) })
    const store = useActionsStore()
    await store.run('a', 'restart')
    vi.advanceTimersByTime(59_000)
    expect(store.notes['a']).toBeDefined()
    vi.advanceTimersByTime(2_000)
    expect(store.notes['a']).toBeUndefined()
  })
})

describe('the connection', () => {
  test('tells since when values are stale, and how far the clock of the server is off', () => {
    FakeSocket.made = []
    vi.setSystemTime('2026-11-23T05:00:07Z')
    const store = useConnectionStore()
    store.start({ onSessionEnded: () => undefined, onConnectFailed: () => undefined }, {}, (options) => {
      const createSocket = (url: string, protocol: string) => new FakeSocket(url, protocol) as never
      return new LiveConnection({ ...options, createSocket })
    })
    FakeSocket.last.hello()
    expect(store.isLive).toBe(true)
    expect(store.clockOffsetMs).toBe(-7_000)
    expect(store.staleSince).toBeNull()
    vi.advanceTimersByTime(7_000)
    expect(store.isLost).toBe(true)
    expect(store.staleSince).toBe(Date.parse('2026-11-23T05:00:07Z'))
    store.stop()
  })
})

describe('the preferences', () => {
  test('are the browser’s until somebody chooses, and are remembered', async () => {
    vi.spyOn(navigator, 'languages', 'get').mockReturnValue(['fr', 'zh-TW', 'en'])
    const store = usePreferencesStore()
    expect(store.language).toBe('zh-CN')
    store.language = 'en'
    store.theme = 'dark'
    await Promise.resolve()
    setActivePinia(createPinia())
    const next = usePreferencesStore()
    expect([next.language, next.theme, next.isDark]).toEqual(['en', 'dark', true])
    expect(document.documentElement.dataset['theme']).toBe('dark')
  })

  test('that cannot be read are as if never made', () => {
    localStorage.setItem('daqplane.preferences', '{broken')
    expect(usePreferencesStore().theme).toBe('system')
  })
})
