import { computed, type WritableComputedRef } from 'vue'
import { useRoute, useRouter } from 'vue-router'

/** A text of the page's address, so that a view can be shared; empty where it is not there. */
export function useUrlText(key: string): WritableComputedRef<string> {
  const route = useRoute()
  const router = useRouter()
  return computed({
    get: () => (typeof route.query[key] === 'string' ? route.query[key] : ''),
    set: (value: string) => {
      void router.replace({ query: { ...route.query, [key]: value || undefined }, hash: route.hash })
    },
  })
}

/** Change several texts of the address at once; an empty one is taken out. */
export function useUrlPatch(): (texts: Readonly<Record<string, string>>) => void {
  const route = useRoute()
  const router = useRouter()
  return (texts) => {
    const put = Object.fromEntries(Object.entries(texts).map(([key, text]) => [key, text || undefined]))
    void router.replace({ query: { ...route.query, ...put }, hash: route.hash })
  }
}
