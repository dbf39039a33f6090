import { computed, shallowRef, watch } from 'vue'

import type { Alert } from '@/api/alert_schema'
import { api } from '@/api/client'
import type { ProcessStatus, RecoveryRecord } from '@/api/schema'
import { usePolling } from '@/composables/usePolling'
import { DAY_MS } from '@/lib/day'
import { useAlertsStore } from '@/stores/alerts'
import { useConnectionStore } from '@/stores/connection'
import { usePreferencesStore } from '@/stores/preferences'
import { useProcessesStore } from '@/stores/processes'

const EVERY_MS = 30_000
/** The most that the server gives at once; a day of more is told to be cut. */
const MOST_ALERTS = 500
const MOST_DECISIONS = 50

/** Alerts and recovery of the last 24 hours: asked again as soon as an alert changes. */
export function useDay() {
  const store = useAlertsStore()
  const preferences = usePreferencesStore()
  const connection = useConnectionStore()
  const collectors = useProcessesStore()
  const past = shallowRef<readonly Alert[]>([])
  const decisions = shallowRef<readonly RecoveryRecord[]>([])
  const isCut = shallowRef(false)
  // As they were when the answer came: they change a hundred times a second in a large plant.
  const processes = shallowRef<readonly ProcessStatus[]>([])
  /** The server's time of the answer, in ms. */
  const askedAt = shallowRef(0)

  const polling = usePolling(
    async (signal) => {
      const [page, recovery] = await Promise.all([
        api.pastAlerts({ severity: '', subject: '', before: null, limit: MOST_ALERTS }, signal),
        api.decisions(MOST_DECISIONS, signal),
      ])
      askedAt.value = Date.now() + connection.clockOffsetMs
      processes.value = collectors.all
      past.value = page.alerts
      decisions.value = recovery
      const oldest = page.alerts.at(-1)?.since
      isCut.value = page.next_before !== null && oldest !== undefined && Date.parse(oldest) > askedAt.value - DAY_MS
    },
    EVERY_MS,
    () => preferences.language,
  )
  watch(() => store.revision, polling.refresh)

  /** An alert that fires for longer than a day may be on no page of the past. */
  const alerts = computed(() => {
    const known = new Set(past.value.map(({ id }) => id))
    return [...past.value, ...store.open.filter(({ id }) => !known.has(id))]
  })
  return { processes, alerts, decisions, askedAt, isCut, ...polling }
}
