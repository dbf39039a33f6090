import { computed } from 'vue'
import { useRoute, useRouter } from 'vue-router'

import type { ProcessStatus } from '@/api/schema'
import { acceptsDespite, parseFilter } from '@/lib/filter/parse'
import { processSeverity, SEVERITY_ORDER, type Severity } from '@/lib/severity'

/** Text and state filter of the grid; they live in the URL, so that a view can be shared. */
export function useCollectorFilter() {
  const route = useRoute()
  const router = useRouter()

  function put(query: Record<string, string | undefined>): void {
    void router.replace({ query: { ...route.query, ...query }, hash: route.hash })
  }

  const text = computed({
    get: () => (typeof route.query['q'] === 'string' ? route.query['q'] : ''),
    set: (value: string) => put({ q: value || undefined }),
  })
  const states = computed<Severity[]>(() => {
    const wanted = typeof route.query['state'] === 'string' ? route.query['state'].split(',') : []
    return SEVERITY_ORDER.filter((severity) => wanted.includes(severity))
  })

  function toggle(severity: Severity): void {
    const next = states.value.includes(severity)
      ? states.value.filter((known) => known !== severity)
      : [...states.value, severity]
    put({ state: next.join(',') || undefined })
  }

  function clear(): void {
    put({ q: undefined, state: undefined })
  }

  const parsed = computed(() => parseFilter(text.value))
  /** What is wrong with the text; then what is right in it counts. */
  const problem = computed(() => parsed.value.problem)
  const matches = computed(() => parsed.value.accepts ?? acceptsDespite(text.value))

  const accepts = (process: ProcessStatus) =>
    (states.value.length === 0 || states.value.includes(processSeverity(process))) &&
    matches.value(process)

  return { text, states, problem, toggle, clear, accepts }
}
