import { expect, test } from 'vitest'

import { api, ApiError } from '@/api/client'

import { answer, problem, requests, serve } from './fake_fetch'

const failure = async (call: Promise<unknown>): Promise<ApiError> => {
  const error = await call.then(
    () => null,
    (cause: unknown) => cause,
  )
  if (!(error instanceof ApiError)) throw new Error('the call did not fail as an ApiError')
  return error
}

test('a problem keeps its code, its words and its extra facts', async () => {
  serve({
    'POST /api/v1/session': problem(429, 'rate_limited', 'Too many attempts.', { retry_after_s: 12 }),
  })
  const error = await failure(api.signIn('bob', 'x'))
  expect(error).toMatchObject({ status: 429, code: 'rate_limited', detail: 'Too many attempts.' })
  expect(error.retryAfterS).toBe(12)
})

test('a server that is away is a problem of its own', async () => {
  serve({})
  expect(await failure(api.processes())).toMatchObject({ status: 0, code: 'network' })
})

test('an error page of something in between is not mistaken for a problem', async () => {
  serve({ 'GET /api/v1/system': () => new Response('<h1>502</h1>', { status: 502 }) })
  expect(await failure(api.system())).toMatchObject({ status: 502, code: 'http', detail: '' })
})

test('names are escaped in paths, and cursors in queries', async () => {
  serve({ 'GET /api/v1/processes/a%2Fb/logs': answer({ entries: [], cursor: 'x', reset: false }) })
  await api.logs('a/b', 200, '9:1=&')
  expect(requests[0]?.query.get('cursor')).toBe('9:1=&')
  expect(requests[0]?.query.get('tail')).toBe('200')
})
