/** What of a TOML document a form can show: plain values, and lists of tables of plain values. */

import type { TomlTable, TomlValue } from '@/api/config_schema'

export type Plain = string | number | boolean

export function isPlain(value: TomlValue | undefined): value is Plain {
  return ['string', 'number', 'boolean'].includes(typeof value)
}

export function isTable(value: TomlValue | undefined): value is TomlTable {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A list whose entries are tables, at least one of them. */
export function isTableList(value: TomlValue | undefined): value is TomlTable[] {
  return Array.isArray(value) && value.length > 0 && value.every(isTable)
}

/** Tables of plain values only: they fit into the rows of a sheet. */
export function isSheet(value: TomlValue | undefined): value is TomlTable[] {
  return isTableList(value) && value.every((row) => Object.values(row).every(isPlain)) && value.length > 1
}

/** The columns of a sheet, in the order in which they first appear. */
export function columnsOf(rows: readonly TomlTable[]): string[] {
  return [...new Set(rows.flatMap((row) => Object.keys(row)))]
}

/** ``text`` as the kind of value that was there; the text itself where it is no such value. */
export function typed(text: string, like: TomlValue | undefined): Plain {
  if (typeof like === 'number' && text.trim() !== '' && Number.isFinite(Number(text))) return Number(text)
  return text
}

/** The document with ``value`` at ``path``; without a value the key is taken out. */
export function withValue(
  document: TomlValue,
  path: readonly (string | number)[],
  value: TomlValue | undefined,
): TomlValue {
  const [key, ...rest] = path
  if (key === undefined) return value ?? null
  if (Array.isArray(document)) {
    const list = [...document]
    if (rest.length === 0 && value === undefined) list.splice(Number(key), 1)
    else list[Number(key)] = withValue(list[Number(key)] ?? null, rest, value)
    return list
  }
  const table: TomlTable = isTable(document) ? { ...document } : {}
  if (rest.length === 0 && value === undefined) Reflect.deleteProperty(table, String(key))
  else table[String(key)] = withValue(table[String(key)] ?? null, rest, value)
  return table
}
