import { computed, shallowRef, watch, type ComputedRef, type Ref } from 'vue'

import { heldOrder } from '@/lib/order'

/**
 * The order to show: ``wanted``, except while ``isHeld``, when rows keep their place.
 *
 * ``isWaiting`` tells that another order is ready for when the pointer leaves.
 */
export function useStableOrder(
  wanted: ComputedRef<string[]>,
  isHeld: Readonly<Ref<boolean>>,
): { order: Ref<string[]>; isWaiting: ComputedRef<boolean> } {
  const order = shallowRef<string[]>([])
  watch(
    [wanted, isHeld],
    ([next, held]) => {
      order.value = held ? heldOrder(order.value, next) : next
    },
    { immediate: true },
  )
  const isWaiting = computed(
    () => isHeld.value && wanted.value.some((name, index) => order.value[index] !== name),
  )
  return { order, isWaiting }
}
