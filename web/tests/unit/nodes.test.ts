import type { VueWrapper } from '@vue/test-utils'
import { afterEach, expect, test } from 'vitest'

import type { NodeState } from '@/api/schema'
import NodeTable from '@/components/system/NodeTable.vue'
import { incidentsOf } from '@/lib/incidents'
import { canRun, remedyFor } from '@/lib/commands'

import { show } from './mount'
import { collector } from './sample'

let page: VueWrapper | undefined
afterEach(() => page?.unmount())

const node = (name: string, values: Partial<NodeState> = {}): NodeState => ({
  name,
  address: `http://10.0.0.2:9001`,
  reachable: true,
  version: '4.3.0',
  since: '2026-11-23T05:00:00Z',
  error: null,
  tier: 'plugin',
  lag_ms: 1.25,
  started_at: null,
  observed_at: null,
  collectors: 3,
  collectors_running: 2,
  ...values,
})
const table = async (nodes: NodeState[], problems: string[] = []) => {
  page = await show(NodeTable, { list: { nodes, file: '/home/nodes.toml', problems } })
  return page
}

test('a node that answers shows how events come, how fast, and what runs there', async () => {
  const text = (await table([node('line2')])).find('[data-testid="node-line2"]').text()
  for (const part of ['answers', 'at once', '4.3.0', '2 of 3 run', 'http://10.0.0.2:9001']) {
    expect(text).toContain(part)
  }
})

test('a node that does not answer says why and claims nothing else', async () => {
  const down = { reachable: false, version: null, tier: null, lag_ms: null, error: 'timed out' }
  const text = (await table([node('line2', down)])).find('[data-testid="node-line2"]').text()
  expect(text).toContain('does not answer')
  expect(text).toContain('timed out')
  expect(text).not.toContain('at once')
})

test('a problem in the node file is an alert', async () => {
  const shown = await table([node('local')], ['node[0].url: bad'])
  expect(shown.find('[role="alert"]').text()).toContain('node[0].url: bad')
})

test('all collectors of a node that went away are one incident', () => {
  const lost = (name: string, on: string) => {
    const process = collector(name)
    const health = {
      ...process.health,
      status: 'unknown' as const,
      checks: process.health.checks.map((check) =>
        check.check_type === 'process_alive'
          ? {
              ...check,
              status: 'unknown' as const,
              code: 'process.node_unreachable',
              params: { node: on },
            }
          : check,
      ),
    }
    return { ...process, node: on, health, status: 'UNKNOWN' as const }
  }
  const seen = [lost('a@line2', 'line2'), lost('b@line2', 'line2'), lost('c@line3', 'line3')]
  const names = incidentsOf(seen).map((incident) => incident.names.join(' '))
  expect(new Set(names)).toEqual(new Set(['a@line2 b@line2', 'c@line3']))
})

test('the advice to reset connections is a button of its own', () => {
  expect(remedyFor('reset_connection')).toEqual({ action: 'reset-connection' })
  expect(canRun(collector('a'), 'reset-connection')).toBe(true)
  expect(canRun({ ...collector('a'), status: 'STOPPED' }, 'reset-connection')).toBe(false)
})
