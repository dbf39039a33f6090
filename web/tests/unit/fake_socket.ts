interface Sent {
  id: number
  op: string
  topic?: string
  since?: number
  epoch?: string
  features?: object
}

/** A WebSocket that does what a test says; every one made is remembered. */
export class FakeSocket {
  static made: FakeSocket[] = []
  /** Whether subscriptions are acknowledged, and if so, whether as a continuation. */
  static acks: 'fresh' | 'recovered' | null = 'fresh'

  static get last(): FakeSocket {
    const socket = FakeSocket.made.at(-1)
    if (!socket) throw new Error('no socket was made')
    return socket
  }

  onmessage: ((event: { data: string | ArrayBuffer }) => void) | null = null
  onclose: ((event: { code: number; reason: string }) => void) | null = null
  binaryType = 'blob'
  isClosed = false
  readonly sent: Sent[] = []
  private epoch = ''

  readonly url: string
  readonly protocol: string

  constructor(url: string, protocol: string) {
    this.url = url
    this.protocol = protocol
    FakeSocket.made.push(this)
  }

  send(text: string): void {
    const frame = JSON.parse(text) as Sent
    this.sent.push(frame)
    if (frame.op !== 'subscribe' || FakeSocket.acks === null) return
    const recovered = FakeSocket.acks === 'recovered'
    const { id, topic } = frame
    this.say({ id, type: 'ack', ok: true, topic, sub: `s-${topic}`, epoch: this.epoch, recovered })
  }

  close(): void {
    this.isClosed = true
  }

  say(frame: object): void {
    this.onmessage?.({ data: JSON.stringify(frame) })
  }

  hello(epoch = 'k3f9'): void {
    this.epoch = epoch
    this.say({ type: 'connection_status', event: 'hello', proto: 1, epoch, time: '2026-11-23T05:00:00Z' })
  }

  heartbeat(): void {
    this.say({ type: 'connection_status', event: 'heartbeat', time: '2026-11-23T05:00:05Z' })
  }

  end(code: number, reason = ''): void {
    this.onclose?.({ code, reason })
  }

  ops(op: string): (string | undefined)[] {
    return this.sent.filter((frame) => frame.op === op).map((frame) => frame.topic)
  }
}
