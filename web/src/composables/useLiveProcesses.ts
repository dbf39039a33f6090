import { watch } from 'vue'

import { ApiError } from '@/api/client'
import type { ProcessDelta, ProcessStatus } from '@/api/schema'
import { useAlertsStore } from '@/stores/alerts'
import { useConnectionStore } from '@/stores/connection'
import { useProcessesStore } from '@/stores/processes'
import { useSessionStore } from '@/stores/session'

/** Keep the collectors live, and hear of alerts, while somebody is signed in. */
export function useLiveProcesses(): void {
  const session = useSessionStore()
  const connection = useConnectionStore()
  const processes = useProcessesStore()
  const alerts = useAlertsStore()

  /** A handshake was refused: perhaps because the session is gone. */
  async function checkSession(): Promise<void> {
    try {
      await session.load()
    } catch (error) {
      // The server is away; the live connection goes on trying.
      if (!(error instanceof ApiError)) throw error
    }
  }

  watch(
    () => session.isAuthenticated,
    (isIn) => {
      if (!isIn) {
        connection.stop()
        processes.reset()
        return
      }
      processes.startRecording(() => connection.isLive)
      processes.load().catch(() => undefined)
      connection.start(
        { onSessionEnded: () => session.forget(), onConnectFailed: () => void checkSession() },
        {
          process_status: {
            snapshot: (items) => processes.applySnapshot(items as ProcessStatus[]),
            delta: (item) => processes.applyDelta(item as ProcessDelta),
          },
          error_alerts: { snapshot: () => alerts.changed(), delta: () => alerts.changed() },
        },
      )
    },
    { immediate: true },
  )
}
