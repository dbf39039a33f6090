import { execFileSync } from 'node:child_process'
import { setMaxListeners } from 'node:events'
import { resolve } from 'node:path'

import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { WebSocket as NodeSocket } from 'ws'

import { LiveConnection, type LivePhase } from '../../src/api/live'
import { Installation } from './installation'

/** The panel's own client, so many times, through the death of the control plane. */
const CLIENTS = 200
/** From when the first is back: how long a start takes is the machine's affair. */
const BACK_WITHIN_MS = 10_000
/** Of 200 that come back, not more than so many within a quarter of a second; those of the last
 * moments of its start wait in the server's listen queue. */
const AT_ONCE = 150
const FILES = {
  'health.toml': '[health]\nconnection_timeout = 3\nstartup_grace = 3\ncheck_interval = 2\n',
  'alerts.toml': '[rule.connection]\nfor_s = 1\nclear_s = 1\n',
}
const COLLECTORS = ['demo-mitsubishi', 'demo-modbus', 'demo-opcua']

interface Status {
  name: string
  pid: number | null
  supervisor_state: string
  removed?: boolean
}

class Panel {
  phase: LivePhase = 'connecting'
  phases: LivePhase[] = []
  backAt = 0
  processes = new Map<string, Status>()
  alerts = new Set<number>()
  /** Since the last cut. */
  told = false
  readonly connection: LiveConnection

  constructor(url: string, token: string) {
    this.connection = new LiveConnection({
      url: () => url,
      onState: ({ phase }) => {
        if (phase === this.phase) return
        this.phase = phase
        this.phases.push(phase)
        if (phase === 'live') this.backAt = performance.now()
        else this.told = false
      },
      createSocket: (address, protocol) => {
        const headers = { Authorization: `Bearer ${token}` }
        const socket = new NodeSocket(address, protocol, { headers, perMessageDeflate: false })
        socket.on('error', () => undefined) // What happened, its close tells.
        return socket as unknown as WebSocket
      },
    })
    this.connection.subscribe('process_status', {
      snapshot: (items) => {
        this.processes = new Map((items as Status[]).map((each) => [each.name, each]))
        this.told = true
      },
      delta: (item) => {
        const status = item as Status
        if (status.removed) this.processes.delete(status.name)
        else this.processes.set(status.name, status)
        this.told = true
      },
    })
    this.connection.subscribe('error_alerts', {
      snapshot: (items) => (items as { id: number }[]).forEach(({ id }) => this.alerts.add(id)),
      delta: (item) => {
        const { id } = item as { id?: number }
        if (id !== undefined) this.alerts.add(id)
      },
    })
  }
}

let installation: Installation
let token: string
let panels: Panel[]

async function get<T>(path: string): Promise<T> {
  const headers = { Authorization: `Bearer ${token}` }
  return (await (await fetch(`${installation.url}${path}`, { headers })).json()) as T
}

function controlPlane(): Promise<number> {
  return get<{ services: { name: string; pid: number }[] }>('api/v1/system').then(
    ({ services }) => services.find(({ name }) => name === 'control-plane')?.pid ?? 0,
  )
}

beforeAll(async () => {
  setMaxListeners(CLIENTS)
  vi.stubGlobal('window', new EventTarget())
  vi.stubGlobal('document', Object.assign(new EventTarget(), { visibilityState: 'visible' }))
  for (const name of ['CLIENTS', 'PER_USER', 'PER_ADDRESS']) {
    vi.stubEnv(`DAQ_MAX_LIVE_${name}`, String(CLIENTS + 10))
  }
  installation = await Installation.start({ files: FILES })
  const daqplane = resolve(import.meta.dirname, '../../../.venv/bin/daqplane')
  const command = ['--home', installation.home, 'token', 'create', '--role', 'operator']
  token = execFileSync(daqplane, command, { encoding: 'utf-8' }).trim()
  const url = `${installation.url.replace('http', 'ws')}ws`
  panels = Array.from({ length: CLIENTS }, () => new Panel(url, token))
})

afterAll(async () => {
  for (const { connection } of panels) connection.stop()
  await installation.stop()
  vi.unstubAllGlobals()
  vi.unstubAllEnvs()
})

const allTold = () => panels.every(({ phase, told, processes }) => phase === 'live' && told && processes.size === 3)

test('two hundred panels connect', async () => {
  for (const { connection } of panels) connection.start()
  await vi.waitFor(() => expect(allTold()).toBe(true), { timeout: 30_000, interval: 50 })
  expect([...(panels[0]?.processes.keys() ?? [])].sort()).toEqual(COLLECTORS)
})

test('all of them are back soon after the control plane was killed, not all at once, and miss no alert', async () => {
  const pid = await controlPlane()
  const faults = await fetch(`${installation.url}api/v1/simulators/sim-modbus/faults`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ device: 'press1', fault: 'refuse', for_s: 600 }),
  })
  expect(faults.status).toBe(200)
  process.kill(pid, 'SIGKILL')
  const killedAt = performance.now()
  await vi.waitFor(() => expect(panels.every(({ phases }) => phases.includes('lost'))).toBe(true), { interval: 20 })
  await vi.waitFor(() => expect(allTold()).toBe(true), { timeout: 40_000, interval: 20 })
  const tookMs = performance.now() - killedAt
  const back = panels.map(({ backAt }) => backAt - killedAt).sort((a, b) => a - b)
  const atOnce = Math.max(...back.map((from) => back.filter((at) => at >= from && at < from + 250).length))
  console.log(
    `${CLIENTS} panels: first back ${Math.round(back[0] ?? 0)} ms after the kill, last ${Math.round(back.at(-1) ?? 0)} ms, ` +
      `all told ${Math.round(tookMs)} ms; at most ${atOnce} within 250 ms`,
  )
  expect(tookMs - (back[0] ?? 0)).toBeLessThan(BACK_WITHIN_MS)
  expect(atOnce).toBeLessThanOrEqual(AT_ONCE)
  expect(await controlPlane()).not.toBe(pid)

  let open: { id: number; rule: string }[] = []
  await vi.waitFor(
    async () => {
      open = (await get<{ alerts: typeof open }>('api/v1/alerts')).alerts
      expect(open.map(({ rule }) => rule)).toContain('connection')
    },
    { timeout: 30_000, interval: 200 },
  )
  await vi.waitFor(
    () => {
      for (const { alerts } of panels) expect([...alerts]).toEqual(expect.arrayContaining(open.map(({ id }) => id)))
    },
    { timeout: 2_000, interval: 50 },
  )
  const { processes } = await get<{ processes: Status[] }>('api/v1/processes')
  await vi.waitFor(() => {
    for (const panel of panels) {
      for (const { name, pid, supervisor_state } of processes) {
        expect(panel.processes.get(name)).toMatchObject({ name, pid, supervisor_state })
      }
    }
  })
})
