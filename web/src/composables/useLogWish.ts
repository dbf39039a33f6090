import { computed, onScopeDispose, ref, watch, type Ref } from 'vue'

import type { LogQuery } from '@/api/log_schema'
import type { LogLevel } from '@/api/schema'
import { useUrlText } from '@/composables/useUrlText'
import { LOG_LEVELS } from '@/lib/severity'

const TYPING_MS = 300

/** What a log view is asked for, as somebody types it. */
export interface LogFields {
  level: Ref<LogLevel>
  words: Ref<string>
  isRegex: Ref<boolean>
  /** Since when: all, a span such as 15m, or own, with from and to. */
  since: Ref<string>
  from: Ref<string>
  to: Ref<string>
}

export const SPANS = ['', '15m', '1h', '6h', '24h'] as const

/** Fields that live in the address of the page. */
export function useUrlLogFields(): LogFields {
  const level = useUrlText('level')
  const regex = useUrlText('regex')
  return {
    level: computed({
      get: () => LOG_LEVELS.find((known) => known === level.value) ?? 'DEBUG',
      set: (value) => (level.value = value === 'DEBUG' ? '' : value),
    }),
    words: useUrlText('q'),
    isRegex: computed({
      get: () => regex.value === '1',
      set: (value) => (regex.value = value ? '1' : ''),
    }),
    since: useUrlText('since'),
    from: useUrlText('from'),
    to: useUrlText('to'),
  }
}

/** Fields of a view within another page. */
export function useOwnLogFields(): LogFields {
  return {
    level: ref<LogLevel>('DEBUG'),
    words: ref(''),
    isRegex: ref(false),
    since: ref(''),
    from: ref(''),
    to: ref(''),
  }
}

/** The question that the fields make, once somebody has finished typing. */
export function useLogQuery(fields: LogFields): Readonly<Ref<LogQuery>> {
  const typed = ref(fields.words.value)
  let timer: ReturnType<typeof setTimeout> | undefined
  watch(fields.words, (words) => {
    clearTimeout(timer)
    timer = setTimeout(() => (typed.value = words), TYPING_MS)
  })
  onScopeDispose(() => clearTimeout(timer))
  return computed(() => {
    const isOwn = fields.since.value === 'own'
    return {
      level: fields.level.value,
      text: fields.isRegex.value ? '' : typed.value,
      regex: fields.isRegex.value ? typed.value : '',
      from: isOwn ? fields.from.value : fields.since.value && `-${fields.since.value}`,
      to: isOwn ? fields.to.value : '',
    }
  })
}
