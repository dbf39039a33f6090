/** Routes of collector files. A change says which text it is based on, so that none is lost. */

import { request } from '@/api/client'
import type {
  CollectorConfig,
  CollectorSummary,
  ConfigApplied,
  ConfigCheck,
  ConfigDiff,
  ConfigDraft,
  PointsImported,
  RevisionList,
} from '@/api/config_schema'

const configPath = (name: string) => `/api/v1/collectors/${encodeURIComponent(name)}/config`
const basedOn = (revision: string) => ({ 'If-Match': `"${revision}"` })
const MEDIA = {
  csv: 'text/csv',
  xlsx: 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet',
} as const

export type TableFormat = keyof typeof MEDIA

export const configApi = {
  list: async (signal?: AbortSignal) =>
    (await request<{ collectors: CollectorSummary[] }>('/api/v1/collectors?limit=2000', { signal })).collectors,
  read: (name: string, signal?: AbortSignal) => request<CollectorConfig>(configPath(name), { signal }),
  check: (name: string, draft: ConfigDraft, signal?: AbortSignal) =>
    request<ConfigCheck>(`${configPath(name)}/validate`, { method: 'POST', body: draft, signal }),
  diff: (name: string, draft: ConfigDraft, signal?: AbortSignal) =>
    request<ConfigDiff>(`${configPath(name)}/diff`, { method: 'POST', body: draft, signal }),
  compare: (name: string, from: string, to: string) =>
    request<ConfigDiff>(`${configPath(name)}/diff?${new URLSearchParams({ from, to })}`),
  apply: (name: string, draft: ConfigDraft, comment: string, base: string) =>
    request<ConfigApplied>(configPath(name), { method: 'PUT', body: { ...draft, comment }, headers: basedOn(base) }),
  create: (name: string, text: string, comment: string) =>
    request<ConfigApplied>('/api/v1/collectors', { method: 'POST', body: { name, text, comment } }),
  rollBack: (name: string, revision: string, comment: string, base: string) =>
    request<ConfigApplied>(`${configPath(name)}/rollback`, {
      method: 'POST',
      body: { revision, comment },
      headers: basedOn(base),
    }),
  remove: (name: string, base: string) =>
    request<{ name: string; kept: string }>(`/api/v1/collectors/${encodeURIComponent(name)}`, {
      method: 'DELETE',
      headers: basedOn(base),
    }),
  revisions: (name: string, signal?: AbortSignal) =>
    request<RevisionList>(`${configPath(name)}/revisions?limit=50`, { signal }),
  /** The address of a table of the points. */
  pointsFile: (name: string, format: TableFormat) => `${configPath(name)}/points?format=${format}`,
  importPoints: (name: string, file: Blob, format: TableFormat, isDryRun: boolean, base: string) =>
    request<PointsImported>(
      `${configPath(name)}/points?${new URLSearchParams({ format, dry_run: String(isDryRun) })}`,
      { method: 'POST', raw: file, headers: { ...basedOn(base), 'Content-Type': MEDIA[format] } },
    ),
}
