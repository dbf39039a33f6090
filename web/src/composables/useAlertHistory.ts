import { computed, onScopeDispose, ref, shallowRef, watch } from 'vue'
import { useRoute, useRouter } from 'vue-router'

import type { Alert } from '@/api/alert_schema'
import { api, ApiError } from '@/api/client'
import { alertMatches } from '@/lib/alerts'

const PAGE = 50
/** More than the server gives at once is loaded page by page and then left as it is. */
const MOST_AT_ONCE = 500
const TYPING_MS = 300

/** Alerts of the past, newest first, a page at a time; the filters live in the URL. */
export function useAlertHistory() {
  const route = useRoute()
  const router = useRouter()
  const loaded = shallowRef<readonly Alert[]>([])
  const nextBefore = ref<number | null>(null)
  const isFirst = ref(true)
  const isBusy = ref(false)
  const error = shallowRef<ApiError | null>(null)
  let controller: AbortController | null = null
  let timer: ReturnType<typeof setTimeout> | undefined

  function filterOf(key: string) {
    return computed({
      get: () => (typeof route.query[key] === 'string' ? route.query[key] : ''),
      set: (value: string) => {
        void router.replace({ query: { ...route.query, [key]: value || undefined }, hash: route.hash })
      },
    })
  }
  const filter = { severity: filterOf('severity'), subject: filterOf('subject'), text: filterOf('q') }
  const isFiltered = computed(() => Object.values(filter).some((each) => each.value !== ''))
  const shown = computed(() => loaded.value.filter((alert) => alertMatches(alert, filter.text.value)))

  async function ask(before: number | null, limit: number): Promise<void> {
    controller?.abort()
    const mine = new AbortController()
    controller = mine
    isBusy.value = true
    try {
      const query = { severity: filter.severity.value, subject: filter.subject.value.trim(), before, limit }
      const page = await api.pastAlerts(query, mine.signal)
      loaded.value = before === null ? page.alerts : [...loaded.value, ...page.alerts]
      nextBefore.value = page.next_before
      error.value = null
    } catch (cause) {
      if (mine.signal.aborted) return
      if (!(cause instanceof ApiError)) throw cause
      error.value = cause
    } finally {
      if (controller === mine) {
        controller = null
        isBusy.value = false
        isFirst.value = false
      }
    }
  }

  /** Ask again for what is shown. */
  async function refresh(): Promise<void> {
    if (loaded.value.length <= MOST_AT_ONCE) await ask(null, Math.max(PAGE, loaded.value.length))
  }
  async function older(): Promise<void> {
    await ask(nextBefore.value, PAGE)
  }
  function clear(): void {
    void router.replace({ query: {}, hash: route.hash })
  }

  watch([filter.severity, filter.subject], () => {
    clearTimeout(timer)
    timer = setTimeout(() => void ask(null, PAGE), TYPING_MS)
  })
  void ask(null, PAGE)
  onScopeDispose(() => {
    clearTimeout(timer)
    controller?.abort()
  })
  return { filter, isFiltered, loaded, shown, nextBefore, isFirst, isBusy, error, refresh, older, clear }
}
