import { onBeforeUnmount, onMounted, readonly, ref, type Ref } from 'vue'

/** A pointer that rests longer than this was left there; nobody is aiming. */
const RESTING_MS = 10_000

/** True while somebody moves the pointer over ``area``: then nothing there may change its place. */
export function usePointing(area: Readonly<Ref<HTMLElement | null>>): Readonly<Ref<boolean>> {
  const isPointing = ref(false)
  let timer: ReturnType<typeof setTimeout> | undefined

  function stop(): void {
    clearTimeout(timer)
    isPointing.value = false
  }
  function point(event: PointerEvent): void {
    clearTimeout(timer)
    isPointing.value = event.target instanceof Node && area.value?.contains(event.target) === true
    if (isPointing.value) timer = setTimeout(stop, RESTING_MS)
  }

  onMounted(() => {
    document.addEventListener('pointermove', point, { passive: true })
    document.documentElement.addEventListener('pointerleave', stop)
  })
  onBeforeUnmount(() => {
    document.removeEventListener('pointermove', point)
    document.documentElement.removeEventListener('pointerleave', stop)
    clearTimeout(timer)
  })
  return readonly(isPointing)
}
