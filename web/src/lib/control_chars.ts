/** Log text is shown, never obeyed: control characters become visible escapes. */

const NAMES: Readonly<Record<string, string>> = { '\t': '\t', '\n': '\n', '\r': '\\r' }

/** ``text`` with ANSI sequences and other control characters written as ``\x1b`` and the like. */
export function visibleText(text: string): string {
  // Bidirectional overrides are in the list because they can make a line read as something else.
  // eslint-disable-next-line no-control-regex -- control characters are what this is about
  return text.replace(/[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, (char) => {
    const code = char.charCodeAt(0)
    const escape =
      code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16)}`
    return NAMES[char] ?? escape
  })
}
