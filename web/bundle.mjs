/** Prints what the first page costs over the wire, and fails when it is too much. */

import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

const MOST_BYTES = 260_000
/** What a browser asks for before somebody sees the overview in English. */
const FIRST = ['index.html', 'src/pages/OverviewPage.vue', 'src/locales/en.json', '../control_plane/messages.en.json']

const dist = join(dirname(fileURLToPath(import.meta.url)), 'dist')
const manifest = JSON.parse(readFileSync(join(dist, '.vite', 'manifest.json'), 'utf-8'))
const files = new Set(['index.html'])

function take(key) {
  const chunk = manifest[key]
  if (!chunk) throw new Error(`the build has no ${key}`)
  if (files.has(chunk.file)) return
  files.add(chunk.file)
  for (const style of chunk.css ?? []) files.add(style)
  for (const imported of chunk.imports ?? []) take(imported)
}
FIRST.forEach(take)

const bytes = [...files].reduce((sum, file) => sum + gzipSync(readFileSync(join(dist, file))).length, 0)
const kilobytes = (count) => `${(count / 1000).toFixed(0)} kB`
process.stdout.write(`First load: ${kilobytes(bytes)} gzip in ${files.size} files, at most ${kilobytes(MOST_BYTES)}\n`)
if (bytes > MOST_BYTES) process.exit(1)
