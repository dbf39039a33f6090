import { computed, onScopeDispose, ref, shallowRef, watch } from 'vue'

import { api, ApiError } from '@/api/client'
import type { LogPlace, LogQuery, LogSearchPage } from '@/api/log_schema'
import { usePolling } from '@/composables/usePolling'
import { linesOf, merged, sourceToExtend, type LogLine, type LogSource } from '@/lib/log_lines'

const EVERY_MS = 1_000
const FIRST = 300
const PAGE = 500
/** Pages of one round: more than this a second is shown by the next round. */
const MOST_PAGES = 5
/** Lines that may wait while somebody reads; those that come later wait at the server. */
const MOST_WAITING = 20_000
/** Lines kept in the page; the oldest give way while it follows. */
export const CAP = 100_000

export interface LogWish {
  names: readonly string[]
  query: LogQuery
  /** A line to stand at, instead of the end. */
  at: string | null
}

const asksNothing = (query: LogQuery) =>
  query.level === 'DEBUG' && !query.text && !query.regex && !query.from && !query.to

/** The lines of some logs by one filter: the newest first, older ones on demand, new ones as they come. */
export function useLogs(wish: () => LogWish) {
  const lines = shallowRef<readonly LogLine[]>([])
  const waiting = ref(0)
  const isHeld = ref(false)
  const isExtending = ref(false)
  /** Bytes searched so far for a filter that has found too little yet; null when done. */
  const searchedBytes = ref<number | null>(null)
  /** Processes whose log cannot be read, while those of others can. */
  const missing = shallowRef<readonly string[]>([])
  const olderError = shallowRef<ApiError | null>(null)
  let sources: LogSource[] = []
  let older: AbortController | null = null
  const hasOlder = ref(false)

  function publish(): void {
    lines.value = merged(sources)
    waiting.value = sources.reduce((sum, source) => sum + source.waiting, 0)
    hasOlder.value = sources.some((source) => source.older !== null)
  }

  const ask = (name: string, place: LogPlace, limit: number, signal: AbortSignal) =>
    api.searchLogs(name, wish().query, place, limit, signal)

  async function open(name: string, signal: AbortSignal): Promise<LogSource> {
    const { at, query } = wish()
    if (at !== null) return around(name, at, signal)
    // Looking at the end of a log is no search: it is asked for by its place.
    const end = asksNothing(query) ? (await api.logs(name, 1, null, signal)).cursor : null
    const page = await ask(name, end === null ? {} : { before: end }, FIRST, signal)
    return sourceOf(name, page, page.newer)
  }

  async function around(name: string, at: string, signal: AbortSignal): Promise<LogSource> {
    const [before, after] = await Promise.all([
      ask(name, { before: at }, FIRST, signal),
      ask(name, { after: at }, FIRST, signal),
    ])
    const source = sourceOf(name, before, after.newer)
    source.lines = linesOf(name, [...before.entries, ...after.entries], NaN)
    return source
  }

  function sourceOf(name: string, page: LogSearchPage, newer: string | null): LogSource {
    const lines_ = linesOf(name, page.entries, NaN)
    return { name, lines: lines_, waiting: 0, older: page.older, newer }
  }

  async function continued(source: LogSource, signal: AbortSignal): Promise<void> {
    if (source.waiting > MOST_WAITING) return
    for (let round = 0; round < MOST_PAGES; round += 1) {
      const place: LogPlace = source.newer === null ? {} : { after: source.newer }
      const page = await ask(source.name, place, PAGE, signal)
      const added = linesOf(source.name, page.entries, source.lines.at(-1)?.atMs ?? NaN)
      if (page.lost && added[0]) added[0].isAfterGap = true
      source.newer = page.newer
      take(source, added)
      if (page.entries.length < PAGE) return
    }
  }

  function take(source: LogSource, added: readonly LogLine[]): void {
    if (added.length === 0) return
    source.lines = [...source.lines, ...added]
    if (isHeld.value) source.waiting += added.length
    else if (source.lines.length > CAP) {
      source.lines = source.lines.slice(-CAP)
      source.older ??= source.lines[0]?.cursor ?? null
    }
  }

  async function load(signal: AbortSignal): Promise<void> {
    const known = [...sources]
    const closed = wish().names.filter((name) => !known.some((source) => source.name === name))
    const [opened] = await Promise.all([
      Promise.allSettled(closed.map((name) => open(name, signal))),
      ...(wish().query.to ? [] : known.map((source) => continued(source, signal))),
    ])
    signal.throwIfAborted()
    sources = [...known, ...opened.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))]
    missing.value = closed.filter((_, index) => opened[index]?.status === 'rejected')
    publish()
    const failed = opened.find((each) => each.status === 'rejected')
    if (failed && sources.length === 0) throw failed.reason
  }

  const key = computed(() => JSON.stringify(wish()))
  function reset(): void {
    older?.abort()
    older = null
    isExtending.value = false
    sources = []
    missing.value = []
    olderError.value = null
    isHeld.value = wish().at !== null
    searchedBytes.value = null
    publish()
  }
  // Before the polling, which then asks for what is wished now.
  watch(key, reset, { immediate: true, flush: 'sync' })
  const polling = usePolling(load, EVERY_MS, () => key.value)

  /** Ask for older lines until there are some more to show, or the beginning is reached. */
  async function loadOlder(): Promise<void> {
    if (older !== null) return
    const mine = new AbortController()
    older = mine
    isExtending.value = true
    olderError.value = null
    const shown = lines.value.length
    try {
      let source: LogSource | null
      while (lines.value.length <= shown && (source = sourceToExtend(sources)) && source.older !== null) {
        const page = await ask(source.name, { before: source.older }, PAGE, mine.signal)
        mine.signal.throwIfAborted()
        source.lines = [...linesOf(source.name, page.entries, NaN), ...source.lines]
        source.older = page.lost ? null : page.older
        searchedBytes.value = page.complete ? null : (searchedBytes.value ?? 0) + page.searched_bytes
        publish()
      }
    } catch (cause) {
      if (mine.signal.aborted) return
      if (!(cause instanceof ApiError)) throw cause
      olderError.value = cause
    } finally {
      if (older === mine) {
        older = null
        isExtending.value = false
        searchedBytes.value = null
      }
    }
  }
  onScopeDispose(() => older?.abort())

  function hold(): void {
    isHeld.value = true
  }

  /** Show what has come meanwhile and follow again. */
  function follow(): void {
    isHeld.value = false
    for (const source of sources) source.waiting = 0
    publish()
  }

  const isFollowing = computed(() => !isHeld.value && !wish().query.to)
  return { lines, waiting, isHeld, isFollowing, hold, follow, hasOlder, isExtending, searchedBytes, missing, olderError, loadOlder, ...polling }
}
