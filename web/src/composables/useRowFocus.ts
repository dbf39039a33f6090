import type { Ref } from 'vue'

/** Move the keyboard focus from row to row; returns the step, +1 down and -1 up. */
export function useRowFocus(area: Readonly<Ref<HTMLElement | null>>): (step: 1 | -1) => void {
  return (step) => {
    const links = [...(area.value?.querySelectorAll<HTMLElement>('[role="rowheader"] a, [role="listitem"] h2 a') ?? [])]
    const row = document.activeElement?.closest('[role="row"], [role="listitem"]')
    const current = links.findIndex((link) => row?.contains(link))
    const next = current === -1 ? (step === 1 ? 0 : links.length - 1) : current + step
    links[next]?.focus()
  }
}
