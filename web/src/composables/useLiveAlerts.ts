import { onScopeDispose, watch } from 'vue'

import { useAlertsStore } from '@/stores/alerts'
import { useConnectionStore } from '@/stores/connection'
import { usePreferencesStore } from '@/stores/preferences'
import { useSessionStore } from '@/stores/session'

const EVERY_MS = 5_000
/** While live, only figures inside the sentences can be older than this. */
const LIVE_EVERY_MS = 15_000

/** Keep the open alerts fresh while somebody is signed in: told by the live channel, else asked. */
export function useLiveAlerts(): void {
  const session = useSessionStore()
  const connection = useConnectionStore()
  const preferences = usePreferencesStore()
  const alerts = useAlertsStore()

  const age = () => Date.now() - (alerts.loadedAt ?? 0)
  const timer = setInterval(() => {
    if (!session.isAuthenticated || document.visibilityState === 'hidden') return
    if (!connection.isLive || age() >= LIVE_EVERY_MS) void alerts.load()
  }, EVERY_MS)
  onScopeDispose(() => clearInterval(timer))

  watch(
    [() => session.isAuthenticated, () => preferences.language],
    ([isIn]) => {
      if (isIn) void alerts.load()
      else alerts.reset()
    },
    { immediate: true },
  )
}
