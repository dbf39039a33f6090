import { expect, test } from 'vitest'
import { computed, nextTick, ref } from 'vue'

import { useStableOrder } from '@/composables/useStableOrder'
import { countBySeverity, heldOrder, sortedNames } from '@/lib/order'

import { collector, crashed, silent, stopped } from './sample'

test('the worst comes first, names count numbers as numbers, stopped comes last', () => {
  const names = sortedNames([stopped('a'), collector('line10'), collector('line2'), crashed('z')])
  expect(names).toEqual(['z', 'line2', 'line10', 'a'])
})

test('a held order keeps places, drops the dead and appends the new', () => {
  expect(heldOrder(['a', 'b', 'c'], ['d', 'c', 'a'])).toEqual(['a', 'c', 'd'])
})

test('rows do not jump while somebody points at them, and settle afterwards', async () => {
  const wanted = ref(['a', 'b'])
  const isHeld = ref(false)
  const { order, isWaiting } = useStableOrder(
    computed(() => wanted.value),
    isHeld,
  )
  isHeld.value = true
  wanted.value = ['b', 'a']
  await nextTick()
  expect(order.value).toEqual(['a', 'b'])
  expect(isWaiting.value).toBe(true)
  isHeld.value = false
  await nextTick()
  expect(order.value).toEqual(['b', 'a'])
  expect(isWaiting.value).toBe(false)
})

test('collectors are counted by severity', () => {
  const counts = countBySeverity([crashed('a'), silent('b'), collector('c'), stopped('d')])
  expect(counts).toEqual({ critical: 2, unknown: 0, warning: 0, advisory: 0, healthy: 1, stopped: 1 })
})
