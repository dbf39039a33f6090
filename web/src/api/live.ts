import { askedWaitMs, canUnzip, parseFrames, unzip, type Frame } from './live_frames'
import { Subscriptions, type Request, type TopicHandler, type Wanted } from './live_subscriptions'

export type { TopicHandler, Wanted } from './live_subscriptions'

/**
 * The only WebSocket: protocol daq.v1 with reconnect, resume and honest silence.
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
/** A server that starts again is back within seconds; so is everybody, but not all at once. */
const BACKOFF_SOON_MS = 3_000
const BACKOFF_MAX_MS = 30_000
/** Lost for longer than this, the waits grow to BACKOFF_MAX_MS. */
const SOON_FOR_MS = 60_000
/** A connection that lasted this long starts again with short waits. */
const STABLE_AFTER_MS = 30_000
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
  private readonly subscriptions = new Subscriptions({
    isLive: () => this.state.phase === 'live',
    send: (request) => this.send(request),
    nextId: () => this.nextId++,
  })
  private socket: WebSocket | null = null
  private state: LiveState = { phase: 'connecting', lastFrameAt: null, retryAt: null, attempt: 0 }
  private lookStopped = false
  /** Local time (ms) of the server's last look, once it stopped looking. */
  private lookedAt: number | null = null
  private nextId = 1
  private pinged = false
  private openedAt = 0
  /** Local time (monotonic ms) since when there is no connection. */
  private lostAt = 0
  private heardAt = 0
  private watchTimer: ReturnType<typeof setInterval> | undefined
  private retryTimer: ReturnType<typeof setTimeout> | undefined
  private running = false
  /** Frames that are being unzipped; those after them wait, so that none overtakes another. */
  private unzipping = 0
  private unzipped: Promise<void> = Promise.resolve()

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

  /** Keep ``handler`` supplied with a topic; returns the undo. */
  subscribe(topic: string, handler: TopicHandler, wanted: Wanted = {}): () => void {
    return this.subscriptions.add(topic, handler, wanted)
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
    this.unzipping = 0
    this.unzipped = Promise.resolve()
    this.update({ retryAt: null, attempt: this.state.attempt + 1 })
    if (this.state.phase === 'ended') this.update({ phase: 'connecting' })
    const create = this.options.createSocket ?? ((url, protocol) => new WebSocket(url, protocol))
    const socket = create(this.options.url(), SUBPROTOCOL)
    this.socket = socket
    socket.binaryType = 'arraybuffer'
    socket.onmessage = (event: MessageEvent<string | ArrayBuffer>) => this.take(event.data, socket)
    socket.onclose = (event: CloseEvent) => this.lose(event.code, event.reason)
  }

  private dropSocket(): void {
    const socket = this.socket
    if (!socket) return
    this.socket = null
    // Closing a dead connection can take minutes; it must not speak to us any more.
    socket.onmessage = socket.onclose = null
    socket.close()
  }

  private lose(code: number | null, reason = ''): void {
    const wasLive = this.state.phase === 'live'
    if (wasLive) this.lostAt = performance.now()
    const wasStable = wasLive && performance.now() - this.openedAt > STABLE_AFTER_MS
    this.dropSocket()
    if (code === CLOSE_SESSION_ENDED || code === CLOSE_FORBIDDEN) {
      this.stop()
      this.options.onSessionEnded?.()
      return
    }
    const attempt = wasStable ? 0 : this.state.attempt
    const wait = askedWaitMs(reason) ?? this.ceiling(attempt) * (this.options.random ?? Math.random)()
    this.update({ phase: 'lost', retryAt: Date.now() + wait, attempt })
    this.retryTimer = setTimeout(() => this.connect(), wait)
    if (!wasLive) this.options.onConnectFailed?.()
  }

  /** The longest wait before an attempt; the wait is anything up to it, so that clients spread. */
  private ceiling(attempt: number): number {
    const longest = performance.now() - this.lostAt < SOON_FOR_MS ? BACKOFF_SOON_MS : BACKOFF_MAX_MS
    return Math.min(longest, BACKOFF_BASE_MS * 2 ** Math.min(Math.max(attempt - 1, 0), 10))
  }

  private watch(): void {
    if (!this.socket) return
    const silent = performance.now() - this.heardAt
    const limit = this.state.phase === 'live' ? LOST_AFTER_MS : CONNECT_TIMEOUT_MS
    if (silent >= limit) {
      this.lose(null)
    } else if (silent >= PING_AFTER_MS && this.state.phase === 'live' && !this.pinged) {
      this.pinged = true
      this.send({ op: 'ping' })
    }
  }

  private take(data: string | ArrayBuffer, socket: WebSocket): void {
    this.heardAt = performance.now()
    if (typeof data === 'string' && this.unzipping === 0) return this.hear(data)
    this.unzipping += 1
    const text = typeof data === 'string' ? Promise.resolve(data) : unzip(data)
    this.unzipped = Promise.all([text, this.unzipped]).then(
      ([ready]) => {
        if (this.socket !== socket) return
        this.unzipping -= 1
        this.hear(ready)
      },
      () => this.socket === socket && this.lose(null),
    ) as Promise<void>
  }

  private hear(text: string): void {
    this.heardAt = performance.now()
    this.pinged = false
    this.state = { ...this.state, lastFrameAt: Date.now() }
    for (const frame of parseFrames(text)) this.use(frame)
    this.report()
  }

  private use(frame: Frame): void {
    // Not of messages: they may have waited, or be of before the connection was cut.
    const serverMs = frame.time ? Date.parse(frame.time) : NaN
    if (Number.isFinite(serverMs)) this.options.onServerTime?.(serverMs)
    this.judgeLook(frame)
    if (frame.type === 'connection_status' && frame.event === 'hello') this.greet()
    else if (frame.type === 'ack' || frame.type === 'error') this.subscriptions.settle(frame)
    else if (frame.topic !== undefined && frame.seq !== undefined) {
      this.subscriptions.receive(frame, frame.seq)
    }
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
    this.send({ op: 'hello', features: { batch: true, zip: canUnzip } })
    this.subscriptions.resume()
  }

  private send(request: Request): void {
    this.socket?.send(JSON.stringify({ id: this.nextId++, ...request }))
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

/** The address of the live endpoint of the server that delivered this page. */
export function liveUrl(): string {
  const scheme = window.location.protocol === 'https:' ? 'wss:' : 'ws:'
  return `${scheme}//${window.location.host}/ws`
}
