/** The shapes that the control plane sends; names are its own. Times are ISO 8601 UTC. */

export type Role = 'viewer' | 'operator' | 'admin'
export type ProcessState = 'RUNNING' | 'STOPPED' | 'CRASHED' | 'STARTING' | 'STOPPING' | 'UNKNOWN'
export type CheckStatus = 'healthy' | 'warning' | 'critical' | 'unknown'
export type HealthStatus = CheckStatus | 'stopped'
export type CheckType =
  'process_alive' | 'connection' | 'data_flow' | 'resource_usage' | 'log_errors'
export type CommandAction = 'start' | 'stop' | 'restart' | 'reset-connection'
export type LogLevel = 'DEBUG' | 'INFO' | 'WARNING' | 'ERROR' | 'CRITICAL'
export type Quality =
  | 'good'
  | 'uncertain'
  | 'bad_comm'
  | 'bad_timeout'
  | 'bad_config'
  | 'bad_device'
  | 'bad_range'
  | 'stale'
  | 'init'

export interface Session {
  authenticated: boolean
  setup_required: boolean
  user: { name: string; role: Role } | null
  csrf_token: string | null
  version: string
}

export type Params = Readonly<Record<string, unknown>>

export interface Check {
  check_type: CheckType
  status: CheckStatus
  since: string | null
  penalty: number
  code: string
  params: Params
  message: string
  recommendations: readonly string[]
}

export interface Health {
  status: HealthStatus
  since: string | null
  confidence: number
  checks: readonly Check[]
}

export interface Device {
  device_id: string
  device_ip: string
  device_port: number
  protocol_type: string
  is_connected: boolean
  since: string | null
  last_connect_time: string | null
  last_good_at: string | null
  connection_errors: number
  last_error: string | null
  last_error_at: string | null
  round_trip_ms: number | null
  requests: number
  request_errors: number
  points: number
  bad_points: number
  shortest_interval_s: number
  next_attempt_in_s: number | null
}

export interface ConnectionSummary {
  device_ip: string
  device_port: number
  is_connected: boolean
  last_connect_time: string | null
  connection_errors: number
  protocol_type: string
  devices_connected: number
  devices_total: number
}

export interface ProcessStatus {
  /** `press` on this machine, `press@line2` on node `line2`. */
  name: string
  node: string
  display_name: string
  type: 'modbus' | 'opcua' | 'mitsubishi' | 'unknown'
  status: ProcessState
  supervisor_state: string
  desired: 'run' | 'stop'
  pid: number | null
  cpu_percent: number | null
  memory_mb: number | null
  start_time: string | null
  uptime_seconds: number | null
  last_heartbeat: string | null
  restart_count: number
  last_error: string | null
  connection_status: ConnectionSummary | null
  data_collection_rate: number
  expected_rate: number
  last_data_time: string | null
  samples_total: number
  shortest_interval_s: number
  health_score: number | null
  error_count_24h: number
  config_file: string
  config_revision: string | null
  /** What the file holds now; null on another node. */
  file_revision: string | null
  command: readonly string[]
  observed_at: string
  health: Health
  devices: readonly Device[]
}

export interface SupervisorState {
  reachable: boolean
  version: string | null
  since: string | null
  error: string | null
}

export interface NodeState extends SupervisorState {
  name: string
  address: string
  since: string
  tier: 'plugin' | 'pidfd_poll' | 'poll' | null
  lag_ms: number | null
  collectors: number
  /** Null while the node does not answer. */
  collectors_running: number | null
}

export interface NodeList {
  /** This machine first. */
  nodes: NodeState[]
  file: string
  problems: string[]
}

export interface RecoveryDecision {
  process: string
  rule: string
  /** What is wrong, in words. */
  cause: string
  action: string
  action_text: string
  guard: string | null
  /** Why the action is not taken, in words; empty where nothing holds it back. */
  reason: string
}

export interface Maintenance {
  /** `*` is every collector. */
  process: string
  until: string
  actor: string
  reason: string
}

export interface RecoveryState extends RecoveryDecision {
  circuit: 'closed' | 'open' | 'half_open'
  factor: number
  maintenance: Maintenance | null
}

export interface RecoveryRecord extends RecoveryDecision {
  id: number
  at: string
  outcome: 'none' | 'planned' | 'sent' | 'done' | 'failed' | 'refused' | 'unknown'
}

export interface Recovery {
  collectors: RecoveryState[]
  dry_run: boolean
}

export interface ProcessList {
  processes: ProcessStatus[]
  supervisor: SupervisorState
  observed_at: string
}

export interface CommandResult {
  process: string
  action: string
  outcome: 'done' | 'failed' | 'unknown'
  detail: string
  duration_ms: number
  pid_before: number | null
  pid_after: number | null
}

/** What came of writing a value to a point. */
export interface WriteResult {
  outcome: 'done' | 'refused' | 'failed' | 'unknown'
  /** Why, in words. */
  detail: string
  /** What the device gave back; null if it was not read back. */
  value: Point['value']
  duration_ms: number
}

export interface LogEntry {
  timestamp: string | null
  level: LogLevel
  process_name: string
  message: string
  source_file: string | null
  line_number: number | null
  exception_info: string | null
  fields: Params
}

export interface LogPage {
  entries: LogEntry[]
  cursor: string
  reset: boolean
}

export interface Point {
  series: string
  device: string
  name: string
  unit: string
  address: string
  description: string
  interval_s: number
  /** Its file allows to write it. */
  writable: boolean
  value: number | boolean | string | null
  quality: Quality
  code: number
  source_at: string | null
  received_at: string | null
}

/** A row holds, in the order of ``columns``: t_ms, min, mean, max, count, bad. */
export type HistoryRow = readonly [
  number,
  number | null,
  number | null,
  number | null,
  number,
  number,
]

export interface History {
  series: string
  unit: string
  from: string
  to: string
  /** Width of a bucket; 0 when the rows are single samples. */
  resolution_ms: number
  columns: readonly string[]
  rows: HistoryRow[]
}

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

export interface ExportProgress {
  state: 'running' | 'done' | 'failed' | 'cancelled'
  /** Of all series and their time, 0 to 1. */
  fraction: number
  rows: number
}

/** What became of the records of one collector, or of all; ``missing`` is 0 as long as it balances. */
export interface LedgerCounts {
  store: string
  records_in: number
  records_stored: number
  records_queued: number
  records_dropped: number
  records_dead: number
  records_missing: number
  samples_stored: number
  samples_dropped: number
  samples_dead: number
  queued_bytes: number
  lag_s: number
  last_error: string | null
}

export interface Ledger extends LedgerCounts {
  collector: string
}

export interface StorageState {
  /** Since the historian said this; null if it never did. */
  age_s: number | null
  records_missing: number | null
  stores: { name: string; url: string; error: string | null; retry_in_s: number; total: LedgerCounts }[]
  /** Those that want most to be looked at come first. */
  ledgers: Ledger[]
  count: number
}

export interface Service {
  name: string
  status: ProcessState
  supervisor_state: string
  pid: number | null
  cpu_percent: number | null
  memory_mb: number | null
  uptime_seconds: number | null
  description: string
}

export interface SystemState {
  version: string
  started_at: string
  services: Service[]
  host: {
    cpu_percent: number | null
    memory_percent: number | null
    disk_free_bytes: number | null
    disk_percent: number | null
    hostname: string
  }
  scheduler: { id: string; next_run_at: string | null }[]
  live_clients: number
}

export interface Problem {
  type: string
  title: string
  status: number
  detail: string
  code: string
  [extra: string]: unknown
}

/** Change of one process on topic ``process_status``. */
export type ProcessDelta = ProcessStatus | { name: string; removed: true }
