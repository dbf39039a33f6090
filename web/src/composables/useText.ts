import { useI18n } from 'vue-i18n'

import type { ApiError } from '@/api/client'
import type { Point } from '@/api/schema'
import { catalogue } from '@/i18n'
import {
  durationPhrase,
  elapsedPhrase,
  formatInstant,
  formatNumber,
  NO_VALUE,
  type Phrase,
} from '@/lib/format'
import { checkSentence, recommendationSentence } from '@/lib/sentences'

/** Everything that needs the language of the page: words, numbers, durations, sentences. */
export function useText() {
  const { t, te, locale } = useI18n()

  const phrase = ({ key, params }: Phrase) => t(key, params)

  return {
    t,
    te,
    locale,
    number: (value: number | null, decimals = 0) => formatNumber(value, decimals, locale.value),
    /** The value of a point without its unit. */
    valueText: (value: Point['value'], decimals: number) => {
      if (typeof value === 'boolean') return t(value ? 'value.on' : 'value.off')
      return typeof value === 'number' ? formatNumber(value, decimals, locale.value) : (value ?? NO_VALUE)
    },
    duration: (seconds: number | null) =>
      seconds === null ? NO_VALUE : phrase(durationPhrase(seconds)),
    elapsed: (ms: number) => phrase(elapsedPhrase(ms, locale.value)),
    instant: (iso: string | null, nowMs: number) =>
      iso === null ? NO_VALUE : formatInstant(Date.parse(iso), nowMs),
    reason: (check: Parameters<typeof checkSentence>[0]) => checkSentence(check, catalogue.value),
    advice: (code: string) => recommendationSentence(code, catalogue.value),
    /** The server's own words, or ours where it could not speak. */
    problem: (error: ApiError) =>
      error.detail || t(error.code === 'network' ? 'problem.network' : 'problem.http', { status: error.status }),
  }
}
