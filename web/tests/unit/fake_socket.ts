/** A WebSocket that does what a test says; every one made is remembered. */
export class FakeSocket {
  static made: FakeSocket[] = []

  static get last(): FakeSocket {
    const socket = FakeSocket.made.at(-1)
    if (!socket) throw new Error('no socket was made')
    return socket
  }

  onmessage: ((event: { data: string }) => void) | null = null
  onclose: ((event: { code: number }) => void) | null = null
  isClosed = false
  readonly sent: { id: number; op: string; topic?: string }[] = []

  readonly url: string
  readonly protocol: string

  constructor(url: string, protocol: string) {
    this.url = url
    this.protocol = protocol
    FakeSocket.made.push(this)
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text) as { id: number; op: string; topic?: string })
  }

  close(): void {
    this.isClosed = true
  }

  say(frame: object): void {
    this.onmessage?.({ data: JSON.stringify(frame) })
  }

  hello(epoch = 'k3f9'): void {
    this.say({ type: 'connection_status', event: 'hello', proto: 1, epoch, time: '2026-11-23T05:00:00Z' })
  }

  heartbeat(): void {
    this.say({ type: 'connection_status', event: 'heartbeat', time: '2026-11-23T05:00:05Z' })
  }

  end(code: number): void {
    this.onclose?.({ code })
  }

  ops(op: string): (string | undefined)[] {
    return this.sent.filter((frame) => frame.op === op).map((frame) => frame.topic)
  }
}
