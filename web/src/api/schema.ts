/**
 * The panel's names for what the control plane sends; the shapes come from its own description,
 * see `make openapi`. Times are ISO 8601 UTC.
 */

import type { components } from '@/api/openapi'

type Schemas = components['schemas']

export type Role = Schemas['Role']
export type ProcessState = Schemas['ProcessState']
export type HealthStatus = Schemas['HealthStatus']
/** A check is never `stopped`; a whole process may be. */
export type CheckStatus = Exclude<HealthStatus, 'stopped'>
export type CheckType = Schemas['HealthCheckType']
export type CommandAction = 'start' | 'stop' | 'restart' | 'reset-connection'
export type LogLevel = Schemas['LogLevel']
export type Quality = Point['quality']

export type Session = Schemas['SessionState']
export type Params = Readonly<Record<string, unknown>>
export type Check = Schemas['HealthCheckResult']
export type Health = Schemas['ProcessHealth']
export type Device = Schemas['DeviceConnection']
export type ConnectionSummary = Schemas['ConnectionStatus']
export type ProcessStatus = Schemas['ProcessStatus']
export type SupervisorState = Schemas['SupervisorView']
export type NodeState = Schemas['NodeState']
export type NodeList = Schemas['NodeList']
export type Maintenance = Schemas['Maintenance']
export type RecoveryState = Schemas['RecoveryState']
export type RecoveryRecord = Schemas['RecoveryRecord']
export type RecoveryDecision = RecoveryState | RecoveryRecord
export type Recovery = Schemas['Recovery']
export type ProcessList = Schemas['ProcessList']
export type CommandResult = Schemas['CommandResult']
export type WriteResult = Schemas['WriteAnswer']
export type LogEntry = Schemas['LogEntry']
export type LogPage = Schemas['LogPage']
export type Point = Schemas['PointView']
export type History = Schemas['History']
/** A row holds, in the order of ``columns``: t_ms, min, mean, max, count, bad. */
export type HistoryRow = History['rows'][number]
export type ExportProgress = Schemas['ExportProgress']
export type LedgerCounts = Schemas['LedgerCounts']
export type Ledger = Schemas['Ledger']
export type StorageState = Schemas['StorageState']
export type Service = Schemas['ServiceView']
export type SystemState = Schemas['SystemState']
export type Problem = Schemas['Problem']

export type ExportFormat = 'csv' | 'xlsx'

/** As the server's query has it, but for ``series``, of which there may be several. */
export interface ExportQuery {
  series: readonly string[]
  from: string
  to: string
  format: ExportFormat
  resolution: string
  zone: string
  bom: '0' | '1'
  id: string
}

/** Change of one process on topic ``process_status``. */
export type ProcessDelta = ProcessStatus | { name: string; removed: true }
