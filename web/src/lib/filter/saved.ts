/** Filters that somebody gave a name, kept in this browser. */

export interface SavedFilter {
  name: string
  text: string
}

const KEY = 'daqplane.filters'
const MOST = 20

export function loadFilters(): SavedFilter[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEY) ?? '[]')
    return Array.isArray(kept) ? kept.filter(isSaved).slice(0, MOST) : []
  } catch {
    return []
  }
}

/** ``filters`` with ``added`` in place of one of the same name; the oldest go beyond the limit. */
export function withFilter(filters: readonly SavedFilter[], added: SavedFilter): SavedFilter[] {
  return [...filters.filter(({ name }) => name !== added.name), added].slice(-MOST)
}

export function keepFilters(filters: readonly SavedFilter[]): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(filters))
  } catch {
    // A browser without storage keeps them until the page is closed.
  }
}

function isSaved(value: unknown): value is SavedFilter {
  if (typeof value !== 'object' || value === null) return false
  const { name, text } = value as Record<string, unknown>
  return typeof name === 'string' && typeof text === 'string' && name !== ''
}
