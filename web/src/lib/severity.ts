/**
 * The one table from a state to its shape, colour, word and place in a list.
 *
 * Grey is normal: only the four abnormal severities have a colour, and none speaks by colour alone.
 */

import type {
  Check,
  CheckType,
  HealthStatus,
  LogLevel,
  ProcessState,
  ProcessStatus,
  Quality,
} from '@/api/schema'

export type Severity =
  'critical' | 'unknown' | 'warning' | 'advisory' | 'healthy' | 'stopped'

export type Shape = 'square' | 'diamond' | 'triangle' | 'disc' | 'dot' | 'ring'

interface SeverityLook {
  shape: Shape
  /** CSS custom properties of styles/tokens.css: the shape's colour and that of text beside it. */
  colour: string
  textColour: string
  word: string
  /** Lower comes first in every list. Blind is worse than a warning. */
  order: number
}

export const SEVERITIES: Readonly<Record<Severity, SeverityLook>> = {
  critical: look('square', 'critical', 'severity.critical', 0),
  unknown: look('diamond', 'unknown', 'severity.unknown', 1),
  warning: look('triangle', 'warning', 'severity.warning', 2),
  advisory: look('disc', 'advisory', 'severity.advisory', 3),
  healthy: look('dot', 'healthy', 'severity.healthy', 4),
  stopped: look('ring', 'stopped', 'severity.stopped', 5),
}

export const SEVERITY_ORDER = (Object.keys(SEVERITIES) as Severity[]).sort(
  (a, b) => SEVERITIES[a].order - SEVERITIES[b].order,
)

function look(shape: Shape, token: string, word: string, order: number): SeverityLook {
  return { shape, colour: `--sev-${token}`, textColour: `--sev-${token}-text`, word, order }
}

/** Neither fault nor blindness: nothing an operator has to do. */
export function isAbnormal(severity: Severity): boolean {
  return SEVERITIES[severity].order < SEVERITIES.healthy.order
}

/** Errors in a log are a hint, never a fault by themselves. */
export function checkSeverity(check: Pick<Check, 'check_type' | 'status'>): Severity {
  if (check.check_type === 'log_errors' && check.status === 'warning') return 'advisory'
  return check.status
}

/** The severity of a whole collector: the server's word, unless hints are all that speaks. */
export function processSeverity(process: Pick<ProcessStatus, 'health'>): Severity {
  const status: HealthStatus = process.health.status
  if (status !== 'warning') return status
  const worst = process.health.checks.reduce(
    (order, check) => Math.min(order, SEVERITIES[checkSeverity(check)].order),
    SEVERITIES.healthy.order,
  )
  return worst === SEVERITIES.advisory.order ? 'advisory' : 'warning'
}

export type Light = 'process' | 'device' | 'data'

export const LIGHT_CHECKS: Readonly<Record<Light, CheckType>> = {
  process: 'process_alive',
  device: 'connection',
  data: 'data_flow',
}

export interface LightState {
  severity: Severity
  word: string
  check: Check | null
}

/** Check codes that a light can say more exactly than its status does. */
const LIGHT_WORDS: Readonly<Record<string, string>> = {
  'process.frozen': 'light.process.frozen',
  'process.heartbeat_late': 'light.process.late',
  'process.heartbeat_stale': 'light.process.silent',
  'process.no_heartbeat': 'light.process.silent',
  'process.starting': 'light.process.STARTING',
  'process.restarting': 'light.process.STARTING',
  'report.starting': 'light.process.STARTING',
  'process.bad_config': 'light.process.bad_config',
  'process.not_known': 'light.process.not_known',
  'process.fatal': 'light.process.fatal',
  'process.backoff': 'light.process.backoff',
  'connection.no_devices': 'light.device.none',
  'connection.connecting': 'light.device.connecting',
  'connection.lost': 'light.device.lost',
  'connection.slow': 'light.device.slow',
  'connection.silent': 'light.device.silent',
  'data.stale': 'light.data.stale',
  'data.late': 'light.data.late',
  'data.rate_low': 'light.data.low',
}

/** What one of the three lights of a collector shows. They are never merged. */
export function lightOf(process: ProcessStatus, light: Light): LightState {
  const check = process.health.checks.find((c) => c.check_type === LIGHT_CHECKS[light]) ?? null
  if (process.health.status === 'stopped') {
    const word = light === 'process' ? `light.process.${process.status}` : 'light.off'
    return { severity: 'stopped', word, check }
  }
  const severity = check ? checkSeverity(check) : 'unknown'
  const exact = check && check.status !== 'healthy' ? LIGHT_WORDS[check.code] : undefined
  if (exact !== undefined) return { severity, word: exact, check }
  const word = light === 'process' ? `light.process.${process.status}` : `light.${light}.${severity}`
  return { severity, word, check }
}

export const LOG_SEVERITY: Readonly<Record<LogLevel, Severity | null>> = {
  DEBUG: null,
  INFO: null,
  WARNING: 'warning',
  ERROR: 'critical',
  CRITICAL: 'critical',
}

export const LOG_LEVELS: readonly LogLevel[] = ['DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL']

/** A lost link makes a hundred points bad; the device light cries, the points only say unknown. */
const QUALITY_SEVERITY: Readonly<Record<Quality, Severity>> = {
  good: 'healthy',
  uncertain: 'advisory',
  bad_comm: 'unknown',
  bad_timeout: 'unknown',
  bad_config: 'warning',
  bad_device: 'warning',
  bad_range: 'warning',
  stale: 'unknown',
  init: 'unknown',
}

export function qualitySeverity(quality: Quality): Severity {
  return QUALITY_SEVERITY[quality]
}

/** A service beside the collectors has no checks: its process is all that is judged. */
export const SERVICE_SEVERITY: Readonly<Record<ProcessState, Severity>> = {
  RUNNING: 'healthy',
  STARTING: 'warning',
  STOPPING: 'warning',
  STOPPED: 'stopped',
  CRASHED: 'critical',
  UNKNOWN: 'unknown',
}
