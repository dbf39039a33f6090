import { describe, expect, test } from 'vitest'

import { patched } from '@/lib/patch'
import { columnsOf, isSheet, typed, withValue } from '@/lib/toml_form'

describe('a unified diff', () => {
  const text = 'a = 1\nb = 2\nc = 3\nd = 4\ne = 5\n'

  test('makes the text that it was made for', () => {
    const unified = '--- old\n+++ new\n@@ -1,3 +1,3 @@\n a = 1\n-b = 2\n+b = 7\n c = 3\n@@ -5 +5,2 @@\n e = 5\n+f = 6\n'
    expect(patched(text, unified)).toBe('a = 1\nb = 7\nc = 3\nd = 4\ne = 5\nf = 6\n')
  })

  test('that only adds puts it after the line that it names', () => {
    expect(patched(text, '--- o\n+++ n\n@@ -2,0 +3 @@\n+x = 1\n')).toBe('a = 1\nb = 2\nx = 1\nc = 3\nd = 4\ne = 5\n')
  })

  test('that says nothing changes nothing', () => {
    expect(patched(text, '')).toBe(text)
  })

  test('keeps lines that look like the head of a diff', () => {
    expect(patched('-- x\na\n', '--- o\n+++ n\n@@ -1,2 +1 @@\n--- x\n a\n')).toBe('a\n')
  })
})

describe('a form of a document', () => {
  const document = { name: 'line1', devices: [{ id: 'd1', points: [{ name: 'a' }, { name: 'b', scale: 2 }] }] }

  test('changes one place and nothing else', () => {
    expect(withValue(document, ['devices', 0, 'points', 1, 'scale'], 3)).toEqual({
      name: 'line1',
      devices: [{ id: 'd1', points: [{ name: 'a' }, { name: 'b', scale: 3 }] }],
    })
    expect(document.devices[0]?.points[1]?.scale).toBe(2)
  })

  test('adds and removes rows and keys', () => {
    expect(withValue({ a: [{ n: 1 }] }, ['a', 1], { n: 2 })).toEqual({ a: [{ n: 1 }, { n: 2 }] })
    expect(withValue({ a: [{ n: 1 }, { n: 2 }] }, ['a', 0], undefined)).toEqual({ a: [{ n: 2 }] })
    expect(withValue({ a: 1, b: 2 }, ['a'], undefined)).toEqual({ b: 2 })
  })

  test('shows lists of flat tables as sheets', () => {
    const points = document.devices[0]?.points ?? []
    expect(isSheet(points)).toBe(true)
    expect(isSheet([{ a: [1] }, { a: [2] }])).toBe(false)
    expect(columnsOf(points)).toEqual(['name', 'scale'])
  })

  test('keeps numbers numbers, and what is no number as it was typed', () => {
    expect([typed('2.5', 1), typed('x', 1), typed('7', 'text'), typed('', 1)]).toEqual([2.5, 'x', '7', ''])
  })
})
