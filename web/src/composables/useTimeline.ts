import { shallowRef, watch } from 'vue'

import type { Alert } from '@/api/alert_schema'
import { api } from '@/api/client'
import type { RecoveryRecord } from '@/api/schema'
import type { Timeline } from '@/api/timeline_schema'
import { usePolling } from '@/composables/usePolling'

const EVERY_MS = 10_000
const MOST_ALERTS = 100
/** Asked a little beyond the window, so that what begins before it is there too. */
const SLACK_MS = 120_000

/** What is known of the past of a collector, for the window that a chart shows. */
export function useTimeline(
  name: () => string,
  spanMs: () => number,
  view: () => { fromMs: number; toMs: number },
  revision: () => number,
) {
  const timeline = shallowRef<Timeline | null>(null)
  const alerts = shallowRef<readonly Alert[]>([])
  const decisions = shallowRef<readonly RecoveryRecord[]>([])

  const polling = usePolling(
    async (signal) => {
      const asked = name()
      const { fromMs, toMs } = view()
      const query = { severity: '', subject: asked, before: null, limit: MOST_ALERTS }
      const [past, fired, recovery] = await Promise.all([
        api.timeline(asked, new Date(fromMs - SLACK_MS).toISOString(), new Date(toMs).toISOString(), signal),
        api.pastAlerts(query, signal),
        api.recovery(asked, signal),
      ])
      if (asked !== name()) return
      timeline.value = past
      alerts.value = fired.alerts
      decisions.value = recovery.past
    },
    EVERY_MS,
    () => `${name()} ${spanMs()}`,
  )
  watch(revision, polling.refresh)
  return { timeline, alerts, decisions, ...polling }
}
