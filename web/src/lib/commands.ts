/** Which commands make sense for a collector, and which command or place answers an advice. */

import type { CommandAction, ProcessStatus } from '@/api/schema'

/** Those that every collector has a button for. */
export const ACTIONS = ['start', 'stop', 'restart'] as const

/** True when supervisord could carry ``action`` out and it would change something. */
export function canRun(process: ProcessStatus, action: CommandAction): boolean {
  switch (action) {
    case 'start':
      return ['STOPPED', 'CRASHED', 'UNKNOWN'].includes(process.status)
    case 'stop':
      // Also of a crashed one: it says that its absence is wanted.
      return process.desired === 'run' && process.status !== 'STOPPING'
    case 'reset-connection':
      return process.status === 'RUNNING'
    case 'restart':
      return ['RUNNING', 'STARTING', 'CRASHED', 'UNKNOWN'].includes(process.status)
  }
}

type Remedy = { action: CommandAction } | { anchor: 'log' | 'points' | 'devices' }

const REMEDIES: Readonly<Record<string, Remedy>> = {
  restart: { action: 'restart' },
  reset_connection: { action: 'reset-connection' },
  start: { action: 'start' },
  fix_config: { anchor: 'log' },
  read_log: { anchor: 'log' },
  check_points: { anchor: 'points' },
  check_device: { anchor: 'devices' },
}

/** The button that helps with an advice, if the panel has one. */
export function remedyFor(recommendation: string): Remedy | null {
  return REMEDIES[recommendation] ?? null
}
