import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'

import { LiveConnection, LOST_AFTER_MS, PING_AFTER_MS, type LiveState } from '@/api/live'

import { FakeSocket } from './fake_socket'

const TOPIC = 'process_status'

let states: LiveState[]
let ended: number
let failed: number
let jitter: number
let snapshots: unknown[][]
let deltas: unknown[]
let connection: LiveConnection

const state = () => states.at(-1)
const frame = (kind: 'snapshot' | 'delta', seq: number, data: unknown) =>
  FakeSocket.last.say({ type: 'process_status_update', topic: TOPIC, kind, seq, ts: 1, data })

beforeEach(() => {
  vi.useFakeTimers()
  FakeSocket.made = []
  FakeSocket.acks = 'fresh'
  states = []
  snapshots = []
  deltas = []
  ended = 0
  failed = 0
  jitter = 1
  connection = new LiveConnection({
    url: () => 'ws://panel/ws',
    onState: (next) => states.push(next),
    onSessionEnded: () => (ended += 1),
    onConnectFailed: () => (failed += 1),
    createSocket: (url, protocol) => new FakeSocket(url, protocol) as unknown as WebSocket,
    random: () => jitter,
  })
  connection.subscribe(TOPIC, {
    snapshot: (items) => snapshots.push(items),
    delta: (item) => deltas.push(item),
  })
  connection.start()
})

afterEach(() => {
  connection.stop()
  vi.useRealTimers()
})

describe('a connection', () => {
  test('speaks daq.v1, and subscribes once the server has said hello', () => {
    expect(FakeSocket.last.protocol).toBe('daq.v1')
    expect(FakeSocket.last.sent).toEqual([])
    FakeSocket.last.hello()
    expect(FakeSocket.last.ops('subscribe')).toEqual([TOPIC])
    expect(state()?.phase).toBe('live')
  })

  test('delivers a snapshot and then its changes', () => {
    FakeSocket.last.hello()
    frame('snapshot', 830, [{ name: 'a' }])
    frame('delta', 831, { name: 'b' })
    expect(snapshots).toEqual([[{ name: 'a' }]])
    expect(deltas).toEqual([{ name: 'b' }])
  })

  test('wants frames together and compressed', async () => {
    FakeSocket.last.hello()
    expect(FakeSocket.last.sent[0]).toMatchObject({ op: 'hello', features: { batch: true, zip: true } })
    const frames = [1, 2].map((seq) => ({ topic: TOPIC, kind: 'snapshot', seq, data: [seq] }))
    const plain = new Blob([JSON.stringify(frames)]).stream()
    const zipped = new Response(plain.pipeThrough(new CompressionStream('deflate-raw')))
    const data = new Uint8Array([1, ...new Uint8Array(await zipped.arrayBuffer())]).buffer
    FakeSocket.last.onmessage?.({ data })
    FakeSocket.last.say({ topic: TOPIC, kind: 'delta', seq: 3, prev: 2, data: 3 })
    expect(snapshots).toEqual([])
    await vi.waitFor(() => expect(deltas).toEqual([3]))
    expect(snapshots).toEqual([[1], [2]])
  })

  test('is lost when a compressed frame cannot be read', async () => {
    FakeSocket.last.hello()
    FakeSocket.last.onmessage?.({ data: new Uint8Array([1, 255, 255]).buffer })
    await vi.waitFor(() => expect(state()?.phase).toBe('lost'))
  })

  test('survives text that is no frame', () => {
    FakeSocket.last.hello()
    FakeSocket.last.onmessage?.({ data: 'not json' })
    FakeSocket.last.onmessage?.({ data: '[1]' })
    expect(state()?.phase).toBe('live')
  })
})

describe('the sequence', () => {
  beforeEach(() => {
    FakeSocket.last.hello()
    frame('snapshot', 830, [])
  })

  test('with a gap asks for a new snapshot and uses no change until it has come', () => {
    frame('delta', 832, { name: 'too new' })
    frame('delta', 833, { name: 'too new' })
    expect(deltas).toEqual([])
    expect(FakeSocket.last.ops('subscribe')).toEqual([TOPIC, TOPIC])
    frame('snapshot', 834, [{ name: 'a' }])
    frame('delta', 835, { name: 'b' })
    expect(snapshots).toHaveLength(2)
    expect(deltas).toEqual([{ name: 'b' }])
  })

  test('that repeats itself changes nothing', () => {
    frame('delta', 831, { name: 'a' })
    frame('delta', 831, { name: 'a' })
    frame('delta', 830, { name: 'old' })
    expect(deltas).toEqual([{ name: 'a' }])
    expect(FakeSocket.last.ops('subscribe')).toEqual([TOPIC])
  })

  test('begins anew after a reconnect, also when the numbers go back', () => {
    FakeSocket.last.end(1001)
    vi.advanceTimersByTime(1_000)
    FakeSocket.last.hello('other')
    expect(FakeSocket.last.ops('subscribe')).toEqual([TOPIC])
    frame('delta', 831, { name: 'of the old epoch' })
    frame('snapshot', 3, [])
    frame('delta', 4, { name: 'b' })
    expect(deltas).toEqual([{ name: 'b' }])
  })

  test('refused by the server is asked for again a little later', () => {
    FakeSocket.acks = null
    frame('delta', 832, { name: 'too new' })
    const { id } = FakeSocket.last.sent.at(-1) ?? {}
    FakeSocket.last.say({ id, type: 'error', ok: false, code: 'rate_limited', retry_ms: 3_000 })
    vi.advanceTimersByTime(2_500)
    expect(FakeSocket.last.ops('subscribe')).toHaveLength(2)
    vi.advanceTimersByTime(500)
    expect(FakeSocket.last.ops('subscribe')).toHaveLength(3)
  })

  test('is asked for again when the server refused it unread, and only if it did', () => {
    FakeSocket.acks = null
    frame('delta', 832, { name: 'too new' })
    const refusal = { id: null, type: 'error', ok: false, code: 'rate_limited', retry_ms: 1_000 }
    FakeSocket.last.say(refusal)
    FakeSocket.last.say(refusal)
    vi.advanceTimersByTime(2_500)
    expect(FakeSocket.last.ops('subscribe')).toHaveLength(3)
    FakeSocket.last.say(refusal)
    const { id } = FakeSocket.last.sent.at(-1) ?? {}
    FakeSocket.last.say({ id, type: 'ack', ok: true, topic: TOPIC, sub: 's', epoch: 'k3f9' })
    vi.advanceTimersByTime(2_500)
    expect(FakeSocket.last.ops('subscribe')).toHaveLength(3)
  })

  test('has no gap where the server left out what was overtaken', () => {
    const { type, topic, ts } = { type: 'process_status_update', topic: TOPIC, ts: 1 }
    const sub = `s-${TOPIC}`
    const delta = (seq: number, prev: number) => ({ type, topic, ts, sub, kind: 'delta', seq, prev, data: seq })
    FakeSocket.last.say([delta(835, 830), delta(840, 835)])
    FakeSocket.last.say({ ...delta(841, 840), sub: 'of-another-filter' })
    expect(deltas).toEqual([835, 840])
    expect(FakeSocket.last.ops('subscribe')).toEqual([TOPIC])
  })

  test('goes on after a reconnect where the server knows the place', () => {
    FakeSocket.last.end(1006)
    FakeSocket.acks = 'recovered'
    vi.advanceTimersByTime(1_000)
    FakeSocket.last.hello()
    expect(FakeSocket.last.sent.at(-1)).toMatchObject({ op: 'subscribe', since: 830, epoch: 'k3f9' })
    frame('delta', 831, { name: 'missed' })
    expect(deltas).toEqual([{ name: 'missed' }])
    expect(snapshots).toHaveLength(1)
  })
})

describe('silence', () => {
  beforeEach(() => FakeSocket.last.hello())

  test('of three seconds makes it ask once', () => {
    vi.advanceTimersByTime(PING_AFTER_MS - 500)
    expect(FakeSocket.last.ops('ping')).toHaveLength(0)
    vi.advanceTimersByTime(1_500)
    expect(FakeSocket.last.ops('ping')).toHaveLength(1)
  })

  test('that ends in time is no loss', () => {
    vi.advanceTimersByTime(PING_AFTER_MS + 500)
    FakeSocket.last.say({ id: 2, type: 'pong', time: '2026-11-23T05:00:04Z' })
    vi.advanceTimersByTime(PING_AFTER_MS)
    expect(state()?.phase).toBe('live')
  })

  test('of six seconds is a loss, stale since the last frame', () => {
    vi.advanceTimersByTime(2_000)
    FakeSocket.last.heartbeat()
    const heardAt = Date.now()
    const socket = FakeSocket.last
    vi.advanceTimersByTime(LOST_AFTER_MS)
    expect(state()).toMatchObject({ phase: 'lost', lastFrameAt: heardAt })
    expect(socket.isClosed).toBe(true)
  })

  test('on a socket that still opens is given ten seconds', () => {
    FakeSocket.last.end(1006)
    vi.advanceTimersByTime(1_000)
    const opening = FakeSocket.last
    vi.advanceTimersByTime(9_000)
    expect(opening.isClosed).toBe(false)
    vi.advanceTimersByTime(1_500)
    expect(opening.isClosed).toBe(true)
  })
})

describe('a server that no longer looks at the plant', () => {
  const beat = (time: string, observed_at: string | null) =>
    FakeSocket.last.say({ type: 'connection_status', event: 'heartbeat', time, observed_at })

  beforeEach(() => FakeSocket.last.hello())

  test('makes what is shown stale since its last look, without a new connection', () => {
    beat('2026-11-23T05:00:20Z', '2026-11-23T05:00:14Z')
    expect(state()).toMatchObject({ phase: 'lost', lastFrameAt: Date.now() - 6_000, retryAt: null })
    connection.retryNow()
    vi.advanceTimersByTime(1_000)
    FakeSocket.last.say({ id: 2, type: 'pong' })
    expect(state()?.phase).toBe('lost')
    expect(FakeSocket.made).toHaveLength(1)
  })

  test('is believed again as soon as it looks', () => {
    beat('2026-11-23T05:00:20Z', '2026-11-23T05:00:14Z')
    beat('2026-11-23T05:00:25Z', '2026-11-23T05:00:24Z')
    expect(state()).toMatchObject({ phase: 'live', lastFrameAt: Date.now() })
  })

  test('may be five seconds late', () => {
    beat('2026-11-23T05:00:20Z', '2026-11-23T05:00:15Z')
    expect(state()?.phase).toBe('live')
  })

  test('and never has, leaves nothing to believe', () => {
    beat('2026-11-23T05:00:20Z', null)
    expect(state()).toMatchObject({ phase: 'lost', lastFrameAt: null })
  })
})

describe('a lost connection', () => {
  const waits = () => (state()?.retryAt ?? 0) - Date.now()

  test('comes back with waits that double up to three seconds, and to thirty after a minute', () => {
    FakeSocket.last.hello()
    const seen: number[] = []
    for (let attempt = 0; attempt < 26; attempt += 1) {
      FakeSocket.last.end(1006)
      seen.push(waits())
      vi.advanceTimersByTime(waits())
    }
    expect(seen.slice(0, 5)).toEqual([500, 1000, 2000, 3000, 3000])
    expect(seen.slice(-3)).toEqual([30_000, 30_000, 30_000])
  })

  test('waits as long as a server asks that stops', () => {
    FakeSocket.last.hello()
    FakeSocket.last.end(1001, '{"retry_ms": 1234}')
    expect(waits()).toBe(1234)
    vi.advanceTimersByTime(1_234)
    FakeSocket.last.end(1001, 'no number')
    expect(waits()).toBe(1000)
  })

  test('waits anything between nothing and the full time, so that clients spread', () => {
    jitter = 0.25
    FakeSocket.last.end(1006)
    expect(waits()).toBe(125)
  })

  test('after a long stable time starts with short waits again', () => {
    for (let attempt = 0; attempt < 5; attempt += 1) {
      FakeSocket.last.end(1006)
      vi.advanceTimersByTime(waits())
    }
    FakeSocket.last.hello()
    for (let second = 0; second < 31; second += 1) {
      vi.advanceTimersByTime(1_000)
      FakeSocket.last.heartbeat()
    }
    FakeSocket.last.end(1001)
    expect(waits()).toBe(500)
  })

  test('is tried at once when the user asks or the network is back', () => {
    FakeSocket.last.end(1006)
    connection.retryNow()
    expect(FakeSocket.made).toHaveLength(2)
    FakeSocket.last.end(1006)
    window.dispatchEvent(new Event('online'))
    expect(FakeSocket.made).toHaveLength(3)
    vi.advanceTimersByTime(5_000)
    expect(FakeSocket.made).toHaveLength(3)
  })

  test('stays lost until the server has said hello again', () => {
    FakeSocket.last.hello()
    FakeSocket.last.end(1006)
    vi.advanceTimersByTime(1_000)
    expect(state()).toMatchObject({ phase: 'lost', retryAt: null })
    FakeSocket.last.hello()
    expect(state()?.phase).toBe('live')
  })

  test('tells its owner when the handshake failed, who may find the session gone', () => {
    FakeSocket.last.end(1006)
    expect(failed).toBe(1)
    vi.advanceTimersByTime(1_000)
    FakeSocket.last.hello()
    FakeSocket.last.end(1006)
    expect(failed).toBe(1)
  })
})

describe('an ended session', () => {
  test.each([4401, 4403])('told by close code %i is not tried again', (code) => {
    FakeSocket.last.hello()
    FakeSocket.last.end(code)
    vi.advanceTimersByTime(60_000)
    expect(ended).toBe(1)
    expect(FakeSocket.made).toHaveLength(1)
    expect(state()?.phase).toBe('ended')
  })

  test('can be followed by a new one', () => {
    FakeSocket.last.hello()
    FakeSocket.last.end(4401)
    connection.start()
    FakeSocket.last.hello()
    expect(state()?.phase).toBe('live')
    expect(FakeSocket.last.ops('subscribe')).toEqual([TOPIC])
  })
})
