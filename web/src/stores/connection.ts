import { defineStore } from 'pinia'
import { computed, ref, shallowRef } from 'vue'

import { LiveConnection, liveUrl, type LiveOptions, type LiveState, type TopicHandler } from '@/api/live'
import { ServerClock } from '@/lib/server_clock'

type Factory = (options: LiveOptions) => LiveConnection

/** The one live connection: whether what is shown can be believed, and since when not. */
export const useConnectionStore = defineStore('connection', () => {
  const state = shallowRef<LiveState>({
    phase: 'connecting',
    lastFrameAt: null,
    retryAt: null,
    attempt: 0,
  })
  const clockOffsetMs = ref(0)
  const clock = new ServerClock()
  let connection: LiveConnection | null = null

  const isLive = computed(() => state.value.phase === 'live')
  const isLost = computed(() => state.value.phase === 'lost')
  /** Local time (ms) since which nothing new has come; null while live or before the first frame. */
  const staleSince = computed(() => (isLost.value ? state.value.lastFrameAt : null))

  function start(
    handlers: { onSessionEnded: () => void; onConnectFailed: () => void },
    topics: Record<string, TopicHandler>,
    create: Factory = (options) => new LiveConnection(options),
  ): void {
    if (connection) return
    connection = create({
      url: liveUrl,
      onState: (next) => {
        state.value = next
      },
      onServerTime: (serverMs) => {
        clock.add(serverMs, Date.now())
        clockOffsetMs.value = clock.offsetMs
      },
      ...handlers,
    })
    for (const [name, handler] of Object.entries(topics)) connection.subscribe(name, handler)
    connection.start()
  }

  function stop(): void {
    connection?.stop()
    connection = null
  }

  function retryNow(): void {
    connection?.retryNow()
  }

  return { state, clockOffsetMs, isLive, isLost, staleSince, start, stop, retryNow }
})
