/** Sentences of the server's catalogue: one text for CLI, API and panel. */

import type { Check, Params } from '@/api/schema'

export type Catalogue = Readonly<Record<string, string>>

/** Replace each ``{name}`` by its parameter; an unknown one stays, so that the slip is seen. */
export function fill(text: string, params: Params): string {
  return text.replace(/\{(\w+)\}/g, (hole, name: string) => {
    const value = params[name]
    return value === undefined || value === null ? hole : String(value)
  })
}

/** The reason that a check gives, in the catalogue's language; English if it is not in there. */
export function checkSentence(
  check: Pick<Check, 'code' | 'params'> & Partial<Pick<Check, 'message'>>,
  catalogue: Catalogue,
): string {
  const text = catalogue[`check.${check.code}`]
  return text === undefined ? (check.message ?? check.code) : fill(text, check.params)
}

/** What to do about it; null when this panel is older than the server and knows no such advice. */
export function recommendationSentence(code: string, catalogue: Catalogue): string | null {
  return catalogue[`recommendation.${code}`] ?? null
}
