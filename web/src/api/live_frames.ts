/** Frames of the live channel, protocol daq.v1 (docs/live.md). */

/** First byte of a compressed frame; raw deflate of the text follows. */
const ZIP_VERSION = 1

export interface Frame {
  type?: string
  event?: string
  op?: string
  /** Of the request; null in an error about one that was not read. */
  id?: number | null
  ok?: boolean
  topic?: string
  /** The server's name of a subscription. */
  sub?: string
  kind?: 'snapshot' | 'delta'
  seq?: number
  /** Number of the message before this one, among those for this subscription. */
  prev?: number
  /** Of a stream: how much was lost just before this message. */
  skipped?: number
  /** Whether the server knew from where to go on. */
  recovered?: boolean
  ts?: number
  time?: string
  /** When the server last saw the whole plant; null: never yet. */
  observed_at?: string | null
  epoch?: string
  code?: string
  retry_ms?: number
  data?: unknown
}

/** The messages of one frame; none if it is no frame. */
export function parseFrames(text: string): Frame[] {
  try {
    const value: unknown = JSON.parse(text)
    return (Array.isArray(value) ? value : [value]).filter(isFrame)
  } catch {
    return []
  }
}

function isFrame(value: unknown): value is Frame {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export const canUnzip = typeof DecompressionStream === 'function'

/** The text of a compressed frame; fails if it is none. */
export async function unzip(data: ArrayBuffer): Promise<string> {
  if (new Uint8Array(data)[0] !== ZIP_VERSION) throw new Error('a binary frame of another version')
  const stream = new Blob([data.slice(1)]).stream().pipeThrough(new DecompressionStream('deflate-raw'))
  return new Response(stream).text()
}

/** For how long a server that stops asks to be left alone; null if it does not say. */
export function askedWaitMs(reason: string): number | null {
  const wait = parseFrames(reason)[0]?.retry_ms
  return typeof wait === 'number' && wait >= 0 && wait <= 60_000 ? wait : null
}
