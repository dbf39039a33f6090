/** Applies a unified diff that was made against exactly this text. */

const HUNK = /^@@ -(\d+)(?:,(\d+))? \+\d+(?:,\d+)? @@/

export function patched(text: string, unified: string): string {
  const old = text.split('\n')
  if (old.at(-1) === '') old.pop()
  const made: string[] = []
  let at = 0
  let isBody = false
  for (const line of unified.split('\n')) {
    const hunk = HUNK.exec(line)
    if (hunk) {
      // A hunk that only adds names the line before it.
      const start = Number(hunk[1]) - (hunk[2] === '0' ? 0 : 1)
      made.push(...old.slice(at, start))
      at = start
      isBody = true
    } else if (!isBody) continue
    else if (line.startsWith('+')) made.push(line.slice(1))
    else if (line.startsWith('-')) at += 1
    else if (line.startsWith(' ')) made.push(old[at++] ?? line.slice(1))
  }
  made.push(...old.slice(at))
  return made.length === 0 ? '' : `${made.join('\n')}\n`
}
