import type { Frame } from './live_frames'

const RESUBSCRIBE_AFTER_ERROR_MS = 2_000

export type TopicHandler = {
  snapshot: (items: unknown[]) => void
  delta: (item: unknown) => void
  /** So much of a stream was lost before what comes next. */
  skipped?: (count: number) => void
}

/** What of a topic is wanted; everything by default. */
export interface Wanted {
  filter?: Record<string, unknown>
  tail?: number
  rate_ms?: number
}

interface Subscription {
  topic: string
  wanted: Wanted
  handler: TopicHandler
  /** The server's name for it, once acknowledged. */
  sub: string | null
  /** With ``seq`` it tells the server from where to go on. */
  epoch: string | null
  /** Sequence number of the newest frame used; null until a snapshot has come. */
  seq: number | null
}

export type Request = { op: string } & Record<string, unknown>

export interface Outlet {
  isLive: () => boolean
  /** Send a request; only while live. */
  send: (request: Request & { id: number }) => void
  nextId: () => number
}

/** What is listened to, and up to where each has been told; outlives any one connection. */
export class Subscriptions {
  private readonly all = new Set<Subscription>()
  private readonly requests = new Map<number, Subscription>()
  private readonly outlet: Outlet
  /** Counts connections, so that nothing is asked on one that has gone. */
  private connection = 0

  constructor(outlet: Outlet) {
    this.outlet = outlet
  }

  /** Keep ``handler`` supplied with a topic; returns the undo. */
  add(topic: string, handler: TopicHandler, wanted: Wanted): () => void {
    const made: Subscription = { topic, wanted, handler, sub: null, epoch: null, seq: null }
    this.all.add(made)
    if (this.outlet.isLive()) this.ask(made)
    return () => {
      this.all.delete(made)
      const isShared = [...this.all].some((each) => each.sub === made.sub)
      if (this.outlet.isLive() && made.sub !== null && !isShared) this.leave(made.sub)
    }
  }

  /** Ask for everything on a new connection. */
  resume(): void {
    this.connection += 1
    this.requests.clear()
    for (const each of this.all) {
      each.sub = null
      this.ask(each)
    }
  }

  /** Use the answer to a request. */
  settle(frame: Frame): void {
    if (frame.id === undefined || frame.id === null) {
      // The server did not read what it refused: whatever has no answer yet may be that.
      if (frame.code !== 'rate_limited') return
      for (const [id, each] of this.requests) this.askLater(each, frame, id)
      return
    }
    const asked = this.requests.get(frame.id)
    this.requests.delete(frame.id)
    if (asked === undefined) return
    if (frame.type === 'ack') this.accept(asked, frame)
    else if (frame.code !== 'forbidden' && frame.code !== 'unknown_topic') this.askLater(asked, frame)
  }

  /** Use a message of a topic. */
  receive(frame: Frame, seq: number): void {
    for (const each of this.all) {
      if (each.topic !== frame.topic || (frame.sub !== undefined && frame.sub !== each.sub)) continue
      if (frame.kind === 'snapshot') {
        each.seq = seq
        each.handler.snapshot(Array.isArray(frame.data) ? frame.data : [])
      } else if (each.seq !== null && seq > each.seq) {
        this.receiveDelta(each, each.seq, frame, seq)
      }
    }
  }

  private accept(subscription: Subscription, frame: Frame): void {
    if (!this.all.has(subscription)) {
      // It was given up before the server answered.
      if (frame.sub !== undefined && this.outlet.isLive()) this.leave(frame.sub)
      return
    }
    subscription.sub = frame.sub ?? null
    subscription.epoch = frame.epoch ?? null
    if (!frame.recovered) subscription.seq = null
  }

  /** Ask again, unless the request ``unanswered`` was answered meanwhile. */
  private askLater(subscription: Subscription, frame: Frame, unanswered?: number): void {
    const connection = this.connection
    setTimeout(
      () => {
        if (unanswered !== undefined && !this.requests.delete(unanswered)) return
        const isSame = this.connection === connection && this.outlet.isLive()
        if (isSame && this.all.has(subscription)) this.ask(subscription)
      },
      Math.max(frame.retry_ms ?? 0, RESUBSCRIBE_AFTER_ERROR_MS),
    )
  }

  private receiveDelta(subscription: Subscription, had: number, frame: Frame, seq: number): void {
    if ((frame.prev ?? seq - 1) > had) {
      // Something was lost on the way: only a new snapshot is the truth again.
      subscription.seq = null
      this.ask(subscription)
      return
    }
    subscription.seq = seq
    if (frame.skipped) subscription.handler.skipped?.(frame.skipped)
    subscription.handler.delta(frame.data)
  }

  /** Subscribe; with what is known, the server may tell only what has changed since. */
  private ask(subscription: Subscription): void {
    const { topic, wanted, seq, epoch } = subscription
    const place = seq !== null && epoch !== null ? { since: seq, epoch } : {}
    const id = this.outlet.nextId()
    this.requests.set(id, subscription)
    this.outlet.send({ id, op: 'subscribe', topic, ...wanted, ...place })
  }

  private leave(sub: string): void {
    this.outlet.send({ id: this.outlet.nextId(), op: 'unsubscribe', sub })
  }
}
