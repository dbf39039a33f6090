/**
 * The filter language of the list of collectors.
 *
 *     state:critical protocol:modbus -name:test* score<60 (node:line2 or "boiler room")
 *
 * Terms side by side must all hold; `or` binds less than that; `-` or `not` turns the next term
 * around; a comma lists alternatives; a star stands for any letters. Bare words are looked for in
 * name, description, protocol, node and devices.
 */

import type { ProcessStatus } from '@/api/schema'
import { anywhere, FILTER_KEYS, KEY_NAMES, nearest, type FilterKey, type TextOf } from '@/lib/filter/keys'
import { FilterError, refuse, type FilterProblem } from '@/lib/filter/problem'
import { scan, type Operator, type Token, type Value } from '@/lib/filter/scan'

export type Accepts = (process: ProcessStatus) => boolean
export type ParsedFilter = { accepts: Accepts; problem: null } | { accepts: null; problem: FilterProblem }

type Pair = Extract<Token, { kind: 'pair' }>

/** Nobody writes this by hand, and a text from a link must not exhaust the stack. */
const DEEPEST = 50

const COMPARE: Readonly<Record<Operator, (a: number, b: number) => boolean>> = {
  ':': (a, b) => a === b,
  '=': (a, b) => a === b,
  '!=': (a, b) => a !== b,
  '<': (a, b) => a < b,
  '<=': (a, b) => a <= b,
  '>': (a, b) => a > b,
  '>=': (a, b) => a >= b,
}
const UNIT_S: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 }
const NUMBER = /^(\d+(?:\.\d+)?)(%|[smhd])?$/

/** Parse ``text``; never throws. An empty filter accepts all. */
export function parseFilter(text: string): ParsedFilter {
  try {
    const parser = new Parser(text)
    return { accepts: parser.whole(), problem: null }
  } catch (error) {
    if (error instanceof FilterError) return { accepts: null, problem: error.problem }
    throw error
  }
}

/** A text with more mistakes than this is no filter at all. */
const MOST_MISTAKES = 20

/** What ``text`` accepts without the terms that are wrong; of nonsense alone, everything. */
export function acceptsDespite(text: string): Accepts {
  let rest = text
  for (let tries = 0; tries <= MOST_MISTAKES; tries += 1) {
    const { accepts, problem } = parseFilter(rest)
    if (accepts) return accepts
    const { start, end } = problem
    rest = rest.slice(0, start) + ' '.repeat(end - start) + rest.slice(end)
  }
  return () => true
}

class Parser {
  private readonly text: string
  private readonly tokens: readonly Token[]
  private next = 0
  private depth = 0

  constructor(text: string) {
    this.text = text
    this.tokens = scan(text)
  }

  whole(): Accepts {
    if (this.tokens.length === 0) return () => true
    const accepts = this.either()
    const left = this.tokens[this.next]
    if (left) refuse('stray_parenthesis', left)
    return accepts
  }

  private either(): Accepts {
    const branches = [this.all()]
    while (this.take('or')) branches.push(this.all())
    return branches.length === 1 ? (branches[0] as Accepts) : (p) => branches.some((accepts) => accepts(p))
  }

  private all(): Accepts {
    const terms = [this.term()]
    for (;;) {
      const token = this.tokens[this.next]
      if (!token || token.kind === 'or' || token.kind === 'close') break
      if (token.kind === 'and') this.next += 1
      terms.push(this.term())
    }
    return terms.length === 1 ? (terms[0] as Accepts) : (p) => terms.every((accepts) => accepts(p))
  }

  private term(): Accepts {
    const token = this.tokens[this.next]
    if (!token || token.kind === 'or' || token.kind === 'and' || token.kind === 'close') this.missing(token)
    this.next += 1
    if (token.kind === 'word') return textMatch(anywhere, [token.value])
    if (token.kind === 'pair') return pairMatch(token)
    this.depth += 1
    if (this.depth > DEEPEST) refuse('too_deep', token)
    const accepts = token.kind === 'not' ? negated(this.term()) : this.closed(token)
    this.depth -= 1
    return accepts
  }

  private closed(open: Token): Accepts {
    const inner = this.either()
    if (!this.take('close')) refuse('unclosed_parenthesis', open)
    return inner
  }

  private take(kind: Token['kind']): boolean {
    if (this.tokens[this.next]?.kind !== kind) return false
    this.next += 1
    return true
  }

  private missing(token: Token | undefined): never {
    if (token?.kind === 'close' && this.depth === 0) refuse('stray_parenthesis', token)
    const before = this.tokens[this.next - 1]
    const place = token ?? before ?? { start: 0, end: this.text.length }
    refuse('missing_term', place, { word: this.text.slice(place.start, place.end) })
  }
}

const negated =
  (accepts: Accepts): Accepts =>
  (process) =>
    !accepts(process)

function pairMatch(pair: Pair): Accepts {
  const key = Object.hasOwn(FILTER_KEYS, pair.key) ? FILTER_KEYS[pair.key] : undefined
  if (!key) {
    const meant = nearest(pair.key, KEY_NAMES)
    refuse('unknown_key', pair, { key: pair.key, meant, known: KEY_NAMES.join(', ') })
  }
  if (key.kind === 'number') return numberMatch(pair, key)
  if (pair.operator !== ':' && pair.operator !== '=' && pair.operator !== '!=') {
    refuse('not_a_number', pair, { key: pair.key, value: pair.operator })
  }
  const accepts = key.kind === 'choice' ? choiceMatch(pair, key) : textMatch(key.of, pair.values)
  return pair.operator === '!=' ? negated(accepts) : accepts
}

function numberMatch(pair: Pair, key: FilterKey & { kind: 'number' }): Accepts {
  const compare = COMPARE[pair.operator]
  const limits = pair.values.map((value) => {
    const [, figures, unit = ''] = NUMBER.exec(value.text) ?? []
    const factor = key.isDuration ? (UNIT_S[unit || 's'] ?? null) : unit === '' || unit === '%' ? 1 : null
    if (figures === undefined || factor === null) {
      refuse('not_a_number', value, { key: pair.key, value: value.text })
    }
    return Number(figures) * factor
  })
  return (process) => {
    const number = key.of(process)
    return number !== null && limits.some((limit) => compare(number, limit))
  }
}

function choiceMatch(pair: Pair, key: FilterKey & { kind: 'choice' }): Accepts {
  const wanted = new Set(
    pair.values.flatMap((value) => {
      const word = value.text.toLowerCase()
      if (key.choices.includes(word)) return [word]
      const begun = key.choices.filter((choice) => choice.startsWith(word))
      if (begun.length > 0) return begun
      const meant = nearest(word, key.choices)
      refuse('unknown_value', value, { key: pair.key, value: value.text, meant, known: key.choices.join(', ') })
    }),
  )
  return (process) => key.of(process).some((state) => wanted.has(state))
}

function textMatch(of: TextOf, values: readonly Value[]): Accepts {
  const tests = values.map(textTest)
  return (process) => lowered(of, process).some((text) => tests.some((test) => test(text)))
}

function textTest({ text, isQuoted }: Value): (where: string) => boolean {
  const wanted = text.toLowerCase()
  if (isQuoted || !wanted.includes('*')) return (where) => where.includes(wanted)
  const parts = wanted.split('*')
  return (where) => holdsParts(where, parts)
}

/** True when ``where`` is the parts in order with anything between; linear, whatever the stars. */
function holdsParts(where: string, parts: readonly string[]): boolean {
  const first = parts[0] ?? ''
  const last = parts[parts.length - 1] ?? ''
  if (!where.startsWith(first) || where.length < first.length + last.length) return false
  let from = first.length
  const until = where.length - last.length
  for (const part of parts.slice(1, -1)) {
    const found = where.indexOf(part, from)
    if (found === -1 || found + part.length > until) return false
    from = found + part.length
  }
  return where.endsWith(last)
}

/** A collector that did not change is the same object: its words are made small only once. */
const known = new WeakMap<ProcessStatus, Map<TextOf, readonly string[]>>()

function lowered(of: TextOf, process: ProcessStatus): readonly string[] {
  let texts = known.get(process)
  if (!texts) known.set(process, (texts = new Map()))
  let words = texts.get(of)
  if (!words) texts.set(of, (words = of(process).map((text) => text.toLowerCase())))
  return words
}
