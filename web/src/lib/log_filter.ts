import type { LogEntry, LogLevel } from '@/api/schema'
import { LOG_LEVELS } from '@/lib/severity'

/** True for a line of at least ``level`` that holds ``text`` in its message, facts or exception. */
export function acceptsLine(line: LogEntry, level: LogLevel, text: string): boolean {
  if (LOG_LEVELS.indexOf(line.level) < LOG_LEVELS.indexOf(level)) return false
  if (text === '') return true
  const all = `${line.message} ${JSON.stringify(line.fields)} ${line.exception_info ?? ''}`
  return all.toLowerCase().includes(text.toLowerCase())
}
