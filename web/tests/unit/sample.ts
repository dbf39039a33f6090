/** Collectors as the control plane tells them, with only what a test says made different. */

import type { Check, CheckType, Device, Health, ProcessStatus } from '@/api/schema'

export function check(check_type: CheckType, values: Partial<Check> = {}): Check {
  return {
    check_type,
    status: 'healthy',
    since: '2026-11-23T04:00:00Z',
    penalty: 0,
    code: 'process.alive',
    params: {},
    message: 'process runs and its work loop turns',
    recommendations: [],
    lasted_s: 0,
    hard_status: null,
    looks: 0,
    state_type: 'hard',
    ...values,
  }
}

export function healthyChecks(): Check[] {
  return [
    check('process_alive'),
    check('connection', { code: 'connection.ok', params: { total: 1 } }),
    check('data_flow', { code: 'data.ok' }),
    check('resource_usage', { code: 'resources.ok' }),
    check('log_errors', { code: 'log.ok' }),
  ]
}

/** A health whose checks are healthy but for those given. */
export function health(status: Health['status'], ...abnormal: Check[]): Health {
  const checks = healthyChecks().map(
    (normal) => abnormal.find((one) => one.check_type === normal.check_type) ?? normal,
  )
  return { status, score: null, since: '2026-11-23T04:00:00Z', confidence: 1, checks }
}

export function device(values: Partial<Device> = {}): Device {
  return {
    device_id: 'plc1',
    device_ip: '10.0.0.11',
    device_port: 502,
    protocol_type: 'modbus',
    is_connected: true,
    since: '2026-11-23T04:00:00Z',
    last_connect_time: '2026-11-23T04:00:00Z',
    last_good_at: '2026-11-23T05:00:00Z',
    connection_errors: 0,
    last_error: null,
    last_error_at: null,
    round_trip_ms: 3.2,
    requests: 100,
    request_errors: 0,
    points: 12,
    bad_points: 0,
    frozen_points: 0,
    shortest_interval_s: 0.5,
    next_attempt_in_s: null,
    is_parked: false,
    reconnects: 0,
    late_cycles: 0,
    skipped_cycles: 0,
    lost_changes: 0,
    ...values,
  }
}

export function collector(name: string, values: Partial<ProcessStatus> = {}): ProcessStatus {
  return {
    name,
    node: 'local',
    display_name: `Collector ${name}`,
    type: 'modbus',
    status: 'RUNNING',
    supervisor_state: 'RUNNING',
    desired: 'run',
    pid: 4711,
    cpu_percent: 1.5,
    memory_mb: 52,
    start_time: '2026-11-23T04:00:00Z',
    uptime_seconds: 3600,
    last_heartbeat: '2026-11-23T05:00:00Z',
    restart_count: 0,
    last_error: null,
    connection_status: {
      device_ip: '10.0.0.11',
      device_port: 502,
      is_connected: true,
      last_connect_time: '2026-11-23T04:00:00Z',
      connection_errors: 0,
      protocol_type: 'modbus',
      devices_connected: 1,
      devices_total: 1,
    },
    data_collection_rate: 49.8,
    expected_rate: 50,
    last_data_time: '2026-11-23T05:00:00Z',
    samples_total: 1000,
    shortest_interval_s: 1,
    cycles_last_minute: 60,
    skipped_cycles: 0,
    frequency_factor: 1,
    health_score: 100,
    error_count_24h: 0,
    config_file: `/srv/daq/collectors.d/${name}.toml`,
    config_revision: '9f2c41d07ab3',
    file_revision: 'abc',
    command: ['python', '-m', 'collectors', 'run', `${name}.toml`],
    observed_at: '2026-11-23T05:00:00Z',
    health: health('healthy'),
    devices: [device()],
    ...values,
  }
}

const dead = (code: string, params: Check['params'] = {}): Check[] => [
  check('process_alive', {
    status: 'critical',
    penalty: 100,
    code,
    params,
    message: 'dead',
    recommendations: ['read_log', 'restart'],
    since: '2026-11-23T04:30:00Z',
  }),
  check('connection', { status: 'unknown', penalty: 35, code: 'report.missing' }),
  check('data_flow', { status: 'unknown', penalty: 30, code: 'report.missing' }),
]

export function crashed(name: string, code = 'process.exited'): ProcessStatus {
  return collector(name, {
    status: 'CRASHED',
    supervisor_state: 'EXITED',
    pid: null,
    health_score: 0,
    health: health('critical', ...dead(code, { exit_code: 1 })),
  })
}

export function silent(name: string): ProcessStatus {
  const lost = check('connection', {
    status: 'critical',
    penalty: 50,
    code: 'connection.silent',
    params: { device: 'plc1', endpoint: '10.0.0.11:502', silent_s: 73, limit_s: 60 },
    message: 'no good transaction with plc1 (10.0.0.11:502) for 73 s, limit 60 s',
    recommendations: ['check_device'],
    since: '2026-11-23T04:45:00Z',
  })
  const blind = check('data_flow', { status: 'unknown', penalty: 30, code: 'data.not_connected' })
  return collector(name, { health_score: 20, health: health('critical', lost, blind) })
}

export function stopped(name: string): ProcessStatus {
  return collector(name, {
    status: 'STOPPED',
    supervisor_state: 'STOPPED',
    desired: 'stop',
    pid: null,
    health_score: null,
    health: health('stopped', check('process_alive', { status: 'critical', code: 'process.not_running' })),
  })
}
