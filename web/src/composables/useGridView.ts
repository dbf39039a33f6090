import { computed, type WritableComputedRef } from 'vue'
import { useRoute, useRouter } from 'vue-router'

export const GRID_VIEWS = ['table', 'cards'] as const
export type GridView = (typeof GRID_VIEWS)[number]

const KEY = 'daqplane.view'

/** How the collectors are shown: as the address says, else as last chosen in this browser. */
export function useGridView(): WritableComputedRef<GridView> {
  const route = useRoute()
  const router = useRouter()
  return computed({
    get: () => known(route.query['view']) ?? remembered(),
    set: (view: GridView) => {
      try {
        localStorage.setItem(KEY, view)
      } catch {
        // The address has it anyway.
      }
      void router.replace({ query: { ...route.query, view }, hash: route.hash })
    },
  })
}

const known = (value: unknown) => GRID_VIEWS.find((view) => view === value)

function remembered(): GridView {
  try {
    return known(localStorage.getItem(KEY)) ?? 'table'
  } catch {
    return 'table'
  }
}
