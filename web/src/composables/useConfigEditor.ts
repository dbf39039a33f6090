import { computed, onScopeDispose, ref, shallowRef, watch } from 'vue'

import { ApiError } from '@/api/client'
import type {
  CollectorConfig,
  ConfigApplied,
  ConfigCheck,
  ConfigDraft,
  ConfigDiff,
  ConfigProblem,
  ConfigRevision,
} from '@/api/config_schema'
import { configApi } from '@/api/configs'

const TYPING_MS = 350

/** One collector file while somebody edits it: judged while typing, compared, applied, taken back. */
export function useConfigEditor(name: () => string) {
  const file = shallowRef<CollectorConfig | null>(null)
  const text = ref('')
  const check = shallowRef<ConfigCheck | null>(null)
  const difference = shallowRef<ConfigDiff | null>(null)
  const revisions = shallowRef<readonly ConfigRevision[]>([])
  const error = shallowRef<ApiError | null>(null)
  const checkError = shallowRef<ApiError | null>(null)
  const isChecking = ref(false)
  const applied = shallowRef<ConfigApplied | null>(null)
  let controller: AbortController | null = null
  let timer: ReturnType<typeof setTimeout> | undefined

  const isChanged = computed(() => file.value !== null && text.value !== file.value.text)
  const problems = computed<readonly ConfigProblem[]>(() => check.value?.problems ?? [])

  async function load(): Promise<void> {
    const asked = name()
    try {
      const [config, past] = await Promise.all([configApi.read(asked), configApi.revisions(asked)])
      if (asked !== name()) return
      file.value = config
      text.value = config.text
      check.value = config
      difference.value = null
      revisions.value = past.revisions
      error.value = null
    } catch (cause) {
      if (!(cause instanceof ApiError)) throw cause
      error.value = cause
    }
  }

  /** Judge and compare; an answer that comes too late is not heard. */
  async function judge(draft: ConfigDraft): Promise<void> {
    controller?.abort()
    const mine = new AbortController()
    controller = mine
    isChecking.value = true
    try {
      const [judged, differs] = await Promise.all([
        configApi.check(name(), draft, mine.signal),
        configApi.diff(name(), draft, mine.signal),
      ])
      check.value = judged
      difference.value = differs
      checkError.value = null
    } catch (cause) {
      if (mine.signal.aborted) return
      if (!(cause instanceof ApiError)) throw cause
      checkError.value = cause
    } finally {
      if (controller === mine) isChecking.value = false
    }
  }

  function soon(): void {
    clearTimeout(timer)
    if (!isChanged.value) {
      controller?.abort()
      isChecking.value = false
      check.value = file.value
      difference.value = null
      return
    }
    isChecking.value = true
    timer = setTimeout(() => void judge({ text: text.value }), TYPING_MS)
  }
  watch(text, soon)
  watch(name, load, { immediate: true })
  onScopeDispose(() => {
    clearTimeout(timer)
    controller?.abort()
  })

  async function apply(comment: string): Promise<void> {
    applied.value = await configApi.apply(name(), { text: text.value }, comment, file.value?.revision ?? '')
    await load()
  }
  async function rollBack(revision: string, comment: string): Promise<void> {
    applied.value = await configApi.rollBack(name(), revision, comment, file.value?.revision ?? '')
    await load()
  }
  function discard(): void {
    text.value = file.value?.text ?? ''
  }

  return {
    file, text, check, difference, revisions, error, checkError, isChecking, applied, isChanged, problems,
    load, apply, rollBack, discard,
  }
}

