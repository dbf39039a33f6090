import { afterEach, vi } from 'vitest'

/** Answers by method and path; a path that is not in the table is a server that is away. */
type Answers = Record<string, () => Response>

export interface SeenRequest {
  method: string
  path: string
  query: URLSearchParams
  headers: Record<string, string>
  body: unknown
}

export const requests: SeenRequest[] = []

export function answer(body: unknown, status = 200): () => Response {
  const text = body === undefined ? null : JSON.stringify(body)
  return () => new Response(text, { status, headers: { 'Content-Type': 'application/json' } })
}

export function problem(status: number, code: string, detail: string, extra: object = {}): () => Response {
  const body = JSON.stringify({ type: 'about:blank', title: code, status, code, detail, ...extra })
  const headers = { 'Content-Type': 'application/problem+json' }
  return () => new Response(body, { status, headers })
}

export function serve(answers: Answers): void {
  requests.length = 0
  vi.stubGlobal('fetch', (input: string, init: RequestInit = {}) => {
    const url = new URL(input, 'http://panel')
    const method = init.method ?? 'GET'
    requests.push({
      method,
      path: url.pathname,
      query: url.searchParams,
      headers: init.headers as Record<string, string>,
      body: typeof init.body === 'string' ? (JSON.parse(init.body) as unknown) : null,
    })
    const respond = answers[`${method} ${url.pathname}`]
    return respond ? Promise.resolve(respond()) : Promise.reject(new TypeError('fetch failed'))
  })
}

afterEach(() => {
  vi.unstubAllGlobals()
})
