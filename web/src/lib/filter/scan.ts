/** The text of a filter cut into pieces, each with its place. */

import { refuse } from '@/lib/filter/problem'

export type Operator = ':' | '=' | '!=' | '<' | '<=' | '>' | '>='

export interface Value {
  text: string
  /** Quoted: taken as it stands, so that a star is a star. */
  isQuoted: boolean
  start: number
  end: number
}

export type Token =
  | { kind: 'open' | 'close' | 'or' | 'and' | 'not'; start: number; end: number }
  | { kind: 'word'; value: Value; start: number; end: number }
  | {
      kind: 'pair'
      key: string
      operator: Operator
      values: readonly Value[]
      start: number
      end: number
    }

/** A key is letters only: `10.0.0.11:502` is an address to search for. */
const PAIR = /([A-Za-z_]+)(:|<=|>=|!=|<|>|=)/y
const PLAIN = /[^\s"()]+/y
const LISTED = /[^\s"(),]+/y
const KEYWORDS: Readonly<Record<string, 'or' | 'and' | 'not'>> = { or: 'or', and: 'and', not: 'not' }

function at(pattern: RegExp, text: string, from: number): RegExpExecArray | null {
  pattern.lastIndex = from
  return pattern.exec(text)
}

function quoted(text: string, start: number): Value {
  const close = text.indexOf('"', start + 1)
  if (close === -1) refuse('unclosed_quote', { start, end: text.length })
  return { text: text.slice(start + 1, close), isQuoted: true, start, end: close + 1 }
}

function pair(text: string, start: number, match: RegExpExecArray): Token {
  const [whole, key = '', operator = ''] = match
  const values: Value[] = []
  let end = start + whole.length
  for (;;) {
    const from = text[end] === ',' ? end + 1 : end
    if (values.length > 0 && from === end) break
    const plain = at(LISTED, text, from)
    if (text[from] === '"') values.push(quoted(text, from))
    else if (plain) values.push({ text: plain[0], isQuoted: false, start: from, end: from + plain[0].length })
    else if (values.length === 0) refuse('missing_value', { start, end: from }, { key })
    else {
      end = from
      break
    }
    end = values[values.length - 1]?.end ?? from
  }
  return { kind: 'pair', key: key.toLowerCase(), operator: operator as Operator, values, start, end }
}

function tokenAt(text: string, start: number): Token {
  const first = text[start]
  const end = start + 1
  if (first === '(') return { kind: 'open', start, end }
  if (first === ')') return { kind: 'close', start, end }
  if (first === '"') {
    const value = quoted(text, start)
    return { kind: 'word', value, start, end: value.end }
  }
  const follows = text[end]
  if (first === '-' && follows !== undefined && !/[\s)]/.test(follows)) return { kind: 'not', start, end }
  const match = at(PAIR, text, start)
  if (match) return pair(text, start, match)
  const word = at(PLAIN, text, start)?.[0] ?? ''
  const place = { start, end: start + word.length }
  const keyword = KEYWORDS[word.toLowerCase()]
  if (keyword) return { kind: keyword, ...place }
  return { kind: 'word', value: { text: word, isQuoted: false, ...place }, ...place }
}

/** Cut ``text`` into tokens; throws a FilterError. */
export function scan(text: string): Token[] {
  const tokens: Token[] = []
  let place = 0
  while (place < text.length) {
    if (/\s/.test(text[place] ?? '')) {
      place += 1
      continue
    }
    const token = tokenAt(text, place)
    tokens.push(token)
    place = token.end
  }
  return tokens
}
