import { onScopeDispose } from 'vue'

const SEQUENCE_MS = 1_000

/** True where keys are text and not commands. */
function isTyping(event: KeyboardEvent): boolean {
  const target = event.target
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || ['INPUT', 'TEXTAREA', 'SELECT'].includes(target.tagName))
  )
}

/** Bind keys such as ``/`` or the sequence ``g o`` while the caller lives. */
export function useShortcuts(bindings: Readonly<Record<string, () => void>>): void {
  let previous = ''
  let previousAt = 0

  const onKey = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event)) return
    if (document.querySelector('[aria-modal="true"]:not([hidden])')?.checkVisibility()) return
    const sequence = event.timeStamp - previousAt < SEQUENCE_MS ? `${previous} ${event.key}` : ''
    const action = bindings[sequence] ?? bindings[event.key]
    previous = event.key
    previousAt = event.timeStamp
    if (!action) return
    event.preventDefault()
    action()
  }
  window.addEventListener('keydown', onKey)
  onScopeDispose(() => window.removeEventListener('keydown', onKey))
}
