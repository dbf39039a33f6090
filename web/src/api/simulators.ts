/** Routes of the simulated devices that a demo has. */

import { request } from '@/api/client'

export const FAULTS = [
  'refuse',
  'silent',
  'delay',
  'drop',
  'close_before',
  'garbage',
  'exception',
  'freeze',
  'nan',
] as const

export type Fault = (typeof FAULTS)[number]

export interface Simulator {
  name: string
  /** False where its process does not answer; then no device is known. */
  running: boolean
  devices: { id: string; port: number; requests: number; open_connections: number; faults: string[] }[]
}

export const simulatorApi = {
  list: async (signal?: AbortSignal) =>
    (await request<{ simulators: Simulator[] }>('/api/v1/simulators', { signal })).simulators,
  inject: (name: string, device: string, fault: Fault, for_s: number) =>
    request<Simulator>(`/api/v1/simulators/${encodeURIComponent(name)}/faults`, {
      method: 'POST',
      body: { device, fault, for_s },
    }),
  clear: (name: string) =>
    request<Simulator>(`/api/v1/simulators/${encodeURIComponent(name)}/faults`, { method: 'DELETE' }),
}
