import { describe, expect, test } from 'vitest'

import english from '@/locales/en.json'
import chinese from '@/locales/zh-CN.json'

const sources = import.meta.glob('../../src/**/*.{ts,vue}', {
  query: '?raw',
  import: 'default',
  eager: true,
}) as Record<string, string>

function flatten(messages: object, prefix = ''): Map<string, string> {
  return new Map(
    Object.entries(messages).flatMap(([key, value]) =>
      typeof value === 'string'
        ? [[`${prefix}${key}`, value] as const]
        : [...flatten(value as object, `${prefix}${key}.`)],
    ),
  )
}

const en = flatten(english)
const zh = flatten(chinese)
const holes = (text: string) => [...new Set(text.match(/\{\w+\}/g) ?? [])].sort()
const code = Object.entries(sources)

/** Keys written out, as in t('a.b'), and starts of composed ones, as in t(`a.${b}`). */
function usedKeys(text: string): string[] {
  return [...text.matchAll(/\bt\(\s*'([\w.-]+)'/g)].map((match) => match[1] ?? '')
}
function usedPatterns(text: string): RegExp[] {
  return [...text.matchAll(/\bt\(\s*`([^`]+)`/g)].map((match) => {
    const pattern = (match[1] ?? '').split(/\$\{[^}]+\}/).map(escape)
    return new RegExp(`^${pattern.join('[\\w.-]+')}$`)
  })
}
const escape = (text: string) => text.replaceAll('.', '\\.')

describe('the languages', () => {
  test('have the same keys', () => {
    expect([...zh.keys()].sort()).toEqual([...en.keys()].sort())
  })

  test('leave no text empty', () => {
    expect([...en, ...zh].filter(([, text]) => text.trim() === '')).toEqual([])
  })

  test('name the same parameters', () => {
    const different = [...en].filter(([key, text]) => `${holes(text)}` !== `${holes(zh.get(key) ?? '')}`)
    expect(different).toEqual([])
  })
})

describe('the sources', () => {
  test('use only keys that exist', () => {
    const missing = code.flatMap(([file, text]) =>
      usedKeys(text).filter((key) => !en.has(key)).map((key) => `${file}: ${key}`),
    )
    expect(missing).toEqual([])
  })

  test('compose only keys of which at least one exists', () => {
    const known = [...en.keys()]
    const missing = code.flatMap(([file, text]) =>
      usedPatterns(text)
        .filter((pattern) => !known.some((key) => pattern.test(key)))
        .map((pattern) => `${file}: ${pattern}`),
    )
    expect(missing).toEqual([])
  })

  test('use every key, so that nobody translates what nobody sees', () => {
    const all = code.map(([, text]) => text).join('\n')
    const patterns = code.flatMap(([, text]) => usedPatterns(text))
    const unused = [...en.keys()].filter(
      (key) => !all.includes(`'${key}'`) && !patterns.some((pattern) => pattern.test(key)),
    )
    expect(unused.filter((key) => !/^(duration|light)\./.test(key))).toEqual([])
  })

  test('hold no Chinese text outside the locale files', () => {
    const allowed = /PreferenceButtons\.vue$/
    const offenders = code.filter(([file, text]) => /[\u4e00-\u9fff]/.test(text) && !allowed.test(file))
    expect(offenders.map(([file]) => file)).toEqual([])
  })

  test('show no words that are not in the locale files', () => {
    const offenders = code.flatMap(([file, text]) => {
      if (!file.endsWith('.vue')) return []
      const template = text.slice(text.indexOf('<template>'), text.lastIndexOf('</template>'))
      const attributes = [...template.matchAll(/\s(?:title|placeholder|aria-label|alt|label)="([^"]*[A-Za-z]{2}[^"]*)"/g)]
      // What is left without tags, comments and expressions; an attribute may hold a >.
      const words = template
        .replace(/<!--[\s\S]*?-->/g, '')
        .replace(/\{\{[\s\S]*?\}\}/g, '')
        .replace(/<\/?[a-zA-Z](?:"[^"]*"|[^">])*>/g, ' ')
        .match(/[A-Za-z]{2,}/g)
      return [...(words ?? []), ...attributes.map((match) => match[1])].map((word) => `${file}: ${word}`)
    })
    expect(offenders.filter((each) => !/: (MB|kB|ms)$/.test(each))).toEqual([])
  })

  test('never put raw HTML into the page', () => {
    expect(code.filter(([, text]) => /v-html|innerHTML/.test(text)).map(([file]) => file)).toEqual([])
  })
})
