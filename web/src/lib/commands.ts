/** Which commands make sense for a collector, and which command or place answers an advice. */

import type { CommandAction, ProcessStatus } from '@/api/schema'

export const ACTIONS: readonly CommandAction[] = ['start', 'stop', 'restart']

/** True when supervisord could carry ``action`` out and it would change something. */
export function canRun(process: ProcessStatus, action: CommandAction): boolean {
  switch (action) {
    case 'start':
      return ['STOPPED', 'CRASHED', 'UNKNOWN'].includes(process.status)
    case 'stop':
      // Also of a crashed one: it says that its absence is wanted.
      return process.desired === 'run' && process.status !== 'STOPPING'
    case 'restart':
      return ['RUNNING', 'STARTING', 'CRASHED', 'UNKNOWN'].includes(process.status)
  }
}

type Remedy = { action: CommandAction } | { anchor: 'log' | 'points' | 'devices' }

const REMEDIES: Readonly<Record<string, Remedy>> = {
  restart: { action: 'restart' },
  reset_connection: { action: 'restart' },
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
