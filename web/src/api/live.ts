/**
 * The only WebSocket: protocol daq.v1 with reconnect, resubscribe and honest silence.
 *
 * A quiet connection is not trusted: after PING_AFTER_MS without a frame it is asked, after
 * LOST_AFTER_MS it counts as lost, because a half-open TCP connection never says so itself.
 * A server that speaks but no longer looks at the plant counts as lost to its owner, too; it is
 * kept, because another connection would tell nothing newer.
 */

export const PING_AFTER_MS = 3_000
export const LOST_AFTER_MS = 6_000
/** The server's last look at the plant may be this much older than the frame that tells it. */
export const LOOK_STOPPED_AFTER_MS = 5_000
const CONNECT_TIMEOUT_MS = 10_000
const WATCH_EVERY_MS = 500
const BACKOFF_BASE_MS = 500
const BACKOFF_MAX_MS = 30_000
/** A connection that lasted this long starts again with short waits. */
const STABLE_AFTER_MS = 30_000
const RESUBSCRIBE_AFTER_ERROR_MS = 2_000
const SUBPROTOCOL = 'daq.v1'
const CLOSE_SESSION_ENDED = 4401
const CLOSE_FORBIDDEN = 4403

export type LivePhase = 'connecting' | 'live' | 'lost' | 'ended'

export interface LiveState {
  phase: LivePhase
  /** Local time (ms) of the newest frame, or of the look it is based on if that stopped;
   * everything shown was true then. */
  lastFrameAt: number | null
  /** Local time (ms) of the next attempt while lost; null while one is under way. */
  retryAt: number | null
  attempt: number
}

export type TopicHandler = {
  snapshot: (items: unknown[]) => void
  delta: (item: unknown) => void
}

interface Frame {
  type?: string
  event?: string
  op?: string
  id?: number
  ok?: boolean
  topic?: string
  kind?: 'snapshot' | 'delta'
  seq?: number
  /** Number of the message before this one, among those for this subscription. */
  prev?: number
  ts?: number
  time?: string
  /** When the server last saw the whole plant; null: never yet. */
  observed_at?: string | null
  epoch?: string
  code?: string
  data?: unknown
}

interface Topic {
  handler: TopicHandler
  /** Sequence number of the newest frame used; null until a snapshot has come. */
  seq: number | null
}

export interface LiveOptions {
  url: () => string
  onState: (state: LiveState) => void
  /** The server's clock as told in a frame, ms since the epoch. */
  onServerTime?: (serverMs: number) => void
  /** The session ended (4401, 4403): no retry, the user must sign in. */
  onSessionEnded?: () => void
  /** A handshake failed; the browser does not say why, so the owner may ask over HTTP. */
  onConnectFailed?: () => void
  createSocket?: (url: string, protocol: string) => WebSocket
  random?: () => number
}

export class LiveConnection {
  private readonly options: LiveOptions
  private readonly topics = new Map<string, Topic>()
  private readonly requests = new Map<number, string>()
  private socket: WebSocket | null = null
  private state: LiveState = { phase: 'connecting', lastFrameAt: null, retryAt: null, attempt: 0 }
  private lookStopped = false
  /** Local time (ms) of the server's last look, once it stopped looking. */
  private lookedAt: number | null = null
  private nextId = 1
  private pinged = false
  private openedAt = 0
  private heardAt = 0
  private watchTimer: ReturnType<typeof setInterval> | undefined
  private retryTimer: ReturnType<typeof setTimeout> | undefined
  private running = false

  constructor(options: LiveOptions) {
    this.options = options
  }

  start(): void {
    if (this.running) return
    this.running = true
    this.watchTimer = setInterval(() => this.watch(), WATCH_EVERY_MS)
    window.addEventListener('online', this.wake)
    document.addEventListener('visibilitychange', this.wake)
    this.update({ attempt: 0 })
    this.connect()
  }

  stop(): void {
    this.running = false
    clearInterval(this.watchTimer)
    clearTimeout(this.retryTimer)
    window.removeEventListener('online', this.wake)
    document.removeEventListener('visibilitychange', this.wake)
    this.dropSocket()
    this.update({ phase: 'ended', retryAt: null })
  }

  /** Keep ``handler`` supplied with a topic; returns the undo. One handler a topic. */
  subscribe(name: string, handler: TopicHandler): () => void {
    this.topics.set(name, { handler, seq: null })
    if (this.state.phase === 'live') this.send('subscribe', name)
    return () => {
      if (this.topics.get(name)?.handler !== handler) return
      this.topics.delete(name)
      if (this.state.phase === 'live') this.send('unsubscribe', name)
    }
  }

  /** Try at once instead of waiting for the next attempt. */
  retryNow(): void {
    if (!this.running || this.state.phase === 'live' || this.state.retryAt === null) return
    clearTimeout(this.retryTimer)
    this.connect()
  }

  private readonly wake = (): void => {
    if (document.visibilityState === 'hidden') return
    this.watch()
    this.retryNow()
  }

  private connect(): void {
    this.dropSocket()
    this.openedAt = this.heardAt = performance.now()
    this.pinged = false
    this.update({ retryAt: null, attempt: this.state.attempt + 1 })
    if (this.state.phase === 'ended') this.update({ phase: 'connecting' })
    const create = this.options.createSocket ?? ((url, protocol) => new WebSocket(url, protocol))
    const socket = create(this.options.url(), SUBPROTOCOL)
    this.socket = socket
    socket.onmessage = (event: MessageEvent) => this.hear(String(event.data))
    socket.onclose = (event: CloseEvent) => this.lose(event.code)
  }

  private dropSocket(): void {
    const socket = this.socket
    if (!socket) return
    this.socket = null
    // Closing a dead connection can take minutes; it must not speak to us any more.
    socket.onmessage = socket.onclose = null
    socket.close()
  }

  private lose(code: number | null): void {
    const wasLive = this.state.phase === 'live'
    const wasStable = wasLive && performance.now() - this.openedAt > STABLE_AFTER_MS
    this.dropSocket()
    this.requests.clear()
    if (code === CLOSE_SESSION_ENDED || code === CLOSE_FORBIDDEN) {
      this.stop()
      this.options.onSessionEnded?.()
      return
    }
    const attempt = wasStable ? 0 : this.state.attempt
    const ceiling = Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** Math.min(Math.max(attempt - 1, 0), 10))
    const wait = ceiling * (this.options.random ?? Math.random)()
    this.update({ phase: 'lost', retryAt: Date.now() + wait, attempt })
    this.retryTimer = setTimeout(() => this.connect(), wait)
    if (!wasLive) this.options.onConnectFailed?.()
  }

  private watch(): void {
    if (!this.socket) return
    const silent = performance.now() - this.heardAt
    const limit = this.state.phase === 'live' ? LOST_AFTER_MS : CONNECT_TIMEOUT_MS
    if (silent >= limit) {
      this.lose(null)
    } else if (silent >= PING_AFTER_MS && this.state.phase === 'live' && !this.pinged) {
      this.pinged = true
      this.send('ping')
    }
  }

  private hear(text: string): void {
    this.heardAt = performance.now()
    this.pinged = false
    this.state = { ...this.state, lastFrameAt: Date.now() }
    const frame = parseFrame(text)
    if (!frame) return
    const serverMs = frame.ts ?? (frame.time ? Date.parse(frame.time) : NaN)
    if (Number.isFinite(serverMs)) this.options.onServerTime?.(serverMs)
    this.judgeLook(frame)
    if (frame.type === 'connection_status' && frame.event === 'hello') this.greet()
    else if (frame.type === 'ack' || frame.type === 'error') this.settle(frame)
    else if (frame.topic !== undefined && frame.seq !== undefined) this.receive(frame)
    this.report()
  }

  private judgeLook(frame: Frame): void {
    if (frame.event === 'hello') this.lookStopped = false
    if (frame.observed_at === undefined || frame.time === undefined) return
    const age = frame.observed_at === null ? Infinity : Date.parse(frame.time) - Date.parse(frame.observed_at)
    this.lookStopped = age > LOOK_STOPPED_AFTER_MS
    this.lookedAt = Number.isFinite(age) ? Date.now() - age : null
  }

  private greet(): void {
    this.state = { ...this.state, phase: 'live', retryAt: null }
    for (const [name, topic] of this.topics) {
      topic.seq = null
      this.send('subscribe', name)
    }
  }

  private settle(frame: Frame): void {
    const topic = frame.id === undefined ? undefined : this.requests.get(frame.id)
    if (frame.id !== undefined) this.requests.delete(frame.id)
    if (frame.type !== 'error' || topic === undefined || !this.topics.has(topic)) return
    if (frame.code === 'forbidden' || frame.code === 'unknown_topic') return
    const socket = this.socket
    setTimeout(() => {
      if (this.socket === socket && this.topics.has(topic)) this.send('subscribe', topic)
    }, RESUBSCRIBE_AFTER_ERROR_MS)
  }

  private receive(frame: Frame): void {
    const topic = this.topics.get(frame.topic ?? '')
    if (!topic || frame.seq === undefined) return
    if (frame.kind === 'snapshot') {
      topic.seq = frame.seq
      topic.handler.snapshot(Array.isArray(frame.data) ? frame.data : [])
    } else if (topic.seq === null || frame.seq <= topic.seq) {
      return
    } else if ((frame.prev ?? frame.seq - 1) <= topic.seq) {
      topic.seq = frame.seq
      topic.handler.delta(frame.data)
    } else {
      // Something was lost on the way: only a new snapshot is the truth again.
      topic.seq = null
      this.send('subscribe', frame.topic)
    }
  }

  private send(op: string, topic?: string): void {
    const id = this.nextId++
    if (topic !== undefined && op === 'subscribe') this.requests.set(id, topic)
    this.socket?.send(JSON.stringify(topic === undefined ? { id, op } : { id, op, topic }))
  }

  private update(change: Partial<LiveState>): void {
    this.state = { ...this.state, ...change }
    this.report()
  }

  private report(): void {
    if (!this.lookStopped) return this.options.onState(this.state)
    const phase = this.state.phase === 'live' ? 'lost' : this.state.phase
    this.options.onState({ ...this.state, phase, lastFrameAt: this.lookedAt })
  }
}

function parseFrame(text: string): Frame | null {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : null
  } catch {
    return null
  }
}

/** The address of the live endpoint of the server that delivered this page. */
export function liveUrl(): string {
  const scheme = window.location.protocol === 'https:' ? 'wss:' : 'ws:'
  return `${scheme}//${window.location.host}/ws`
}
