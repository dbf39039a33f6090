import { computed, onBeforeUnmount, onMounted, ref, watch, type Ref } from 'vue'

/** Up to here all rows are drawn: then the browser can search, print and jump as usual. */
const USUALLY_ALL = 100
/** Rows drawn beyond each edge of the window, so that scrolling and the keyboard find them there. */
const SPARE_ROWS = 12
const USUAL_ROW_PX = 48

/** Which rows of a long list of equal height are worth drawing, as the page is scrolled now. */
export function useRowWindow(
  rows: Readonly<Ref<HTMLElement | null>>,
  count: () => number,
  { allUpTo = USUALLY_ALL, spare = SPARE_ROWS } = {},
) {
  const rowPx = ref(USUAL_ROW_PX)
  const above = ref(0)
  const fitting = ref(allUpTo)
  let frame = 0

  function look(): void {
    frame = 0
    const element = rows.value
    if (!element || count() <= allUpTo) return
    const row = element.querySelector<HTMLElement>('[aria-rowindex], [data-line]')
    if (row && row.offsetHeight > 0) rowPx.value = row.offsetHeight
    above.value = Math.floor(Math.max(0, -element.getBoundingClientRect().top) / rowPx.value)
    fitting.value = Math.ceil(window.innerHeight / rowPx.value)
  }
  function lookSoon(): void {
    frame ||= requestAnimationFrame(look)
  }

  const isWhole = computed(() => count() <= allUpTo)
  const start = computed(() =>
    isWhole.value ? 0 : Math.max(0, Math.min(above.value, count()) - spare),
  )
  const end = computed(() =>
    isWhole.value ? count() : Math.min(count(), above.value + fitting.value + spare),
  )

  onMounted(() => {
    window.addEventListener('scroll', lookSoon, { passive: true })
    window.addEventListener('resize', lookSoon)
    look()
  })
  onBeforeUnmount(() => {
    window.removeEventListener('scroll', lookSoon)
    window.removeEventListener('resize', lookSoon)
    cancelAnimationFrame(frame)
  })
  watch(count, look, { flush: 'post' })

  return {
    isWhole,
    start,
    end,
    beforePx: computed(() => start.value * rowPx.value),
    afterPx: computed(() => (count() - end.value) * rowPx.value),
  }
}
