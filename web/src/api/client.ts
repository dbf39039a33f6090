/** The only place that talks HTTP. Every failure becomes an ApiError with a stable code. */

import type {
  Alert,
  AlertFigures,
  AlertList,
  AlertQuery,
  Channel,
  ChannelTest,
  NewSilence,
  Silence,
} from '@/api/alert_schema'
import type {
  LogAround,
  LogErrors,
  LogPlace,
  LogQuery,
  LogSearchPage,
} from '@/api/log_schema'
import type {
  CommandAction,
  CommandResult,
  ExportProgress,
  ExportQuery,
  History,
  LogPage,
  Maintenance,
  NodeList,
  Point,
  Problem,
  ProcessList,
  ProcessStatus,
  Recovery,
  RecoveryRecord,
  Session,
  StorageState,
  SystemState,
  WriteResult,
} from '@/api/schema'
import type { Timeline } from '@/api/timeline_schema'

/** What the server, or the lack of one, answered. ``code`` is stable; ``detail`` is for people. */
export class ApiError extends Error {
  readonly status: number
  readonly code: string
  readonly detail: string
  readonly extra: Readonly<Record<string, unknown>>

  constructor(problem: Problem) {
    super(problem.detail || problem.title)
    this.name = 'ApiError'
    this.status = problem.status
    this.code = problem.code
    this.detail = problem.detail
    this.extra = problem
  }

  /** Seconds to wait before the next try, where the server says so. */
  get retryAfterS(): number | null {
    const seconds = this.extra['retry_after_s']
    return typeof seconds === 'number' ? seconds : null
  }
}

interface ClientContext {
  csrfToken: () => string | null
  language: () => string
  /** Called when a request that needs a session found none. */
  onSignedOut: () => void
}

let context: ClientContext = { csrfToken: () => null, language: () => 'en', onSignedOut: () => {} }

/** Tell the client where token and language come from; called once at the start. */
export function configureClient(values: ClientContext): void {
  context = values
}

interface RequestOptions {
  method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Sent as JSON. */
  body?: unknown
  /** Sent as it is; its type is in the headers. */
  raw?: Blob
  headers?: Readonly<Record<string, string>>
  signal?: AbortSignal | undefined
}

/** For the modules of this folder: one request, its answer or an ApiError. */
export async function request<T>(path: string, options: RequestOptions = {}): Promise<T> {
  const response = await send(path, options)
  return (response.status === 204 ? undefined : await response.json()) as T
}

async function send(path: string, options: RequestOptions): Promise<Response> {
  const method = options.method ?? 'GET'
  const headers: Record<string, string> = {
    Accept: 'application/json',
    'Accept-Language': context.language(),
    ...options.headers,
  }
  const csrf = context.csrfToken()
  if (method !== 'GET' && csrf) headers['X-CSRF-Token'] = csrf
  if (options.body !== undefined) headers['Content-Type'] = 'application/json'
  let response: Response
  try {
    response = await fetch(path, {
      method,
      headers,
      body: options.raw ?? (options.body === undefined ? null : JSON.stringify(options.body)),
      signal: options.signal ?? null,
      credentials: 'same-origin',
      cache: 'no-store',
    })
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error
    throw new ApiError(plainProblem(0, 'network'))
  }
  if (!response.ok) {
    const error = new ApiError(await readProblem(response))
    if (error.code === 'not_authenticated') context.onSignedOut()
    throw error
  }
  return response
}

/** A file as the server sends it; a connection that is cut on the way gives no file at all. */
async function download(path: string, signal: AbortSignal): Promise<{ name: string; content: Blob }> {
  const response = await send(path, { signal })
  const named = /filename="([^"]+)"/.exec(response.headers.get('Content-Disposition') ?? '')
  try {
    return { name: named?.[1] ?? 'export', content: await response.blob() }
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error
    throw new ApiError(plainProblem(0, 'network'))
  }
}

async function readProblem(response: Response): Promise<Problem> {
  const kind = response.headers.get('Content-Type') ?? ''
  if (!kind.includes('json')) return plainProblem(response.status, 'http')
  try {
    const body = (await response.json()) as Partial<Problem>
    return { ...plainProblem(response.status, 'http'), ...body }
  } catch {
    return plainProblem(response.status, 'http')
  }
}

/** A problem in words that the panel must supply itself: the detail stays empty. */
function plainProblem(status: number, code: string): Problem {
  return { type: 'about:blank', title: code, status, detail: '', code }
}

/** The part of an address that asks for lines of a log. */
function logQuery(query: LogQuery): URLSearchParams {
  const plain = query.level === 'DEBUG' ? { ...query, level: '' } : query
  return new URLSearchParams(Object.entries(plain).filter(([, value]) => value !== ''))
}

const processPath = (name: string) => `/api/v1/processes/${encodeURIComponent(name)}`

export const api = {
  session: () => request<Session>('/api/v1/session'),
  signIn: (username: string, password: string) =>
    request<Session>('/api/v1/session', { method: 'POST', body: { username, password } }),
  signOut: () => request<undefined>('/api/v1/session', { method: 'DELETE' }),
  setup: (token: string, username: string, password: string) =>
    request<Session>('/api/v1/setup', { method: 'POST', body: { token, username, password } }),
  processes: () => request<ProcessList>('/api/v1/processes'),
  process: (name: string) => request<ProcessStatus>(processPath(name)),
  command: (name: string, action: CommandAction) =>
    request<CommandResult>(`${processPath(name)}/${action}`, { method: 'POST' }),
  /** One result for each name, whatever came of the others; 2,000 names at most. */
  bulk: async (action: CommandAction, names: readonly string[]) =>
    (await request<{ results: CommandResult[] }>('/api/v1/processes:bulk', { method: 'POST', body: { action, names } }))
      .results,
  recovery: async (name: string, signal?: AbortSignal) => {
    const query = new URLSearchParams({ process: name })
    const [present, past] = await Promise.all([
      request<Recovery>(`/api/v1/recovery?${query}`, { signal }),
      request<{ decisions: RecoveryRecord[] }>(`/api/v1/recovery/decisions?${query}&limit=50`, { signal }),
    ])
    return { state: present.collectors[0] ?? null, isDryRun: present.dry_run, past: past.decisions }
  },
  decisions: async (limit: number, signal?: AbortSignal) =>
    (await request<{ decisions: RecoveryRecord[] }>(`/api/v1/recovery/decisions?limit=${limit}`, { signal })).decisions,
  beginMaintenance: (process: string, minutes: number, reason: string) =>
    request<Maintenance>('/api/v1/maintenance', { method: 'POST', body: { process, minutes, reason } }),
  endMaintenance: (process: string) =>
    request<undefined>(`/api/v1/maintenance/${encodeURIComponent(process)}`, { method: 'DELETE' }),
  timeline: (name: string, from: string, to: string, signal?: AbortSignal) =>
    request<Timeline>(`${processPath(name)}/timeline?${new URLSearchParams({ from, to })}`, { signal }),
  logs: (name: string, tail: number, cursor: string | null, signal?: AbortSignal) => {
    const query = new URLSearchParams({ tail: String(tail) })
    if (cursor !== null) query.set('cursor', cursor)
    return request<LogPage>(`${processPath(name)}/logs?${query}`, { signal })
  },
  searchLogs: (
    name: string,
    query: LogQuery,
    place: LogPlace,
    limit: number,
    signal?: AbortSignal,
  ) => {
    const asked = logQuery(query)
    for (const [key, cursor] of Object.entries(place)) asked.set(key, cursor)
    asked.set('limit', String(limit))
    return request<LogSearchPage>(`${processPath(name)}/logs/search?${asked}`, { signal })
  },
  logAround: (name: string, at: string, context: number, signal?: AbortSignal) =>
    request<LogAround>(`${processPath(name)}/logs/around?${new URLSearchParams({ at, context: String(context) })}`, { signal }),
  /** The address of a file: the browser saves it while it comes, whatever its size. */
  logFile: (name: string, query: LogQuery, format: 'text' | 'jsonl') => {
    const asked = logQuery(query)
    asked.set('format', format)
    return `${processPath(name)}/logs/download?${asked}`
  },
  logErrors: (name: string, from: string, signal?: AbortSignal) =>
    request<LogErrors>(`${processPath(name)}/errors?${new URLSearchParams({ from })}`, { signal }),
  points: async (name: string, signal?: AbortSignal) =>
    (await request<{ points: Point[] }>(`${processPath(name)}/points`, { signal })).points,
  write: (name: string, device: string, point: string, value: number | boolean | string) =>
    request<WriteResult>(`${processPath(name)}/write`, { method: 'POST', body: { device, point, value } }),
  history: (
    series: string,
    range: { from: string; to: string; buckets: number },
    signal?: AbortSignal,
  ) => {
    const query = new URLSearchParams({
      series,
      from: range.from,
      to: range.to,
      buckets: String(range.buckets),
    })
    return request<History>(`/api/v1/history?${query}`, { signal })
  },
  exportHistory: ({ series, ...rest }: ExportQuery, signal: AbortSignal) => {
    const query = new URLSearchParams(rest)
    for (const each of series) query.append('series', each)
    return download(`/api/v1/history/export?${query}`, signal)
  },
  exportProgress: (id: string, signal?: AbortSignal) =>
    request<ExportProgress>(`/api/v1/history/export/${id}`, { signal }),
  cancelExport: (id: string) =>
    request<undefined>(`/api/v1/history/export/${id}`, { method: 'DELETE' }),
  openAlerts: (signal?: AbortSignal) => request<AlertList>('/api/v1/alerts', { signal }),
  pastAlerts: ({ severity, subject, before, limit }: AlertQuery, signal?: AbortSignal) => {
    const query = new URLSearchParams({ state: 'all', limit: String(limit) })
    if (severity) query.set('severity', severity)
    if (subject) query.set('subject', subject)
    if (before !== null) query.set('before', String(before))
    return request<AlertList>(`/api/v1/alerts?${query}`, { signal })
  },
  alertFigures: (signal?: AbortSignal) => request<AlertFigures>('/api/v1/alerts/figures', { signal }),
  acknowledge: (id: number, reason: string) =>
    request<Alert>(`/api/v1/alerts/${id}/acknowledge`, { method: 'POST', body: { reason } }),
  silences: async (signal?: AbortSignal) =>
    (await request<{ silences: Silence[] }>('/api/v1/silences', { signal })).silences,
  shelve: (silence: NewSilence) => request<Silence>('/api/v1/silences', { method: 'POST', body: silence }),
  unshelve: (id: number) => request<undefined>(`/api/v1/silences/${id}`, { method: 'DELETE' }),
  channels: (signal?: AbortSignal) =>
    request<{ channels: Channel[]; problems: string[] }>('/api/v1/channels', { signal }),
  testChannel: (name: string) =>
    request<ChannelTest>(`/api/v1/channels/${encodeURIComponent(name)}/test`, { method: 'POST' }),
  nodes: (signal?: AbortSignal) => request<NodeList>('/api/v1/nodes', { signal }),
  system: (signal?: AbortSignal) => request<SystemState>('/api/v1/system', { signal }),
  storage: (signal?: AbortSignal) =>
    request<StorageState>('/api/v1/system/storage?limit=20', { signal }),
}
