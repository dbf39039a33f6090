/** Routes of administrators: the audit trail, users, sessions, tokens. */

import type {
  ApiToken,
  AuditPage,
  AuditQuery,
  ChainReport,
  NewToken,
  NewUser,
  UserAccount,
  UserChange,
  UserSession,
} from '@/api/access_schema'
import { request } from '@/api/client'
import type { Role } from '@/api/schema'

const given = (values: object) =>
  new URLSearchParams(Object.entries(values).filter(([, value]) => value !== '' && value !== null))

export const accessApi = {
  audit: (query: AuditQuery, before: number | null, limit: number, signal?: AbortSignal) =>
    request<AuditPage>(`/api/v1/audit?${given({ ...query, before, limit })}`, { signal }),
  verifyAudit: () => request<ChainReport>('/api/v1/audit/verify'),
  /** The address of a file. */
  auditFile: (query: AuditQuery, format: 'csv' | 'jsonl') =>
    `/api/v1/audit/export?${given({ ...query, format })}`,
  users: async (signal?: AbortSignal) =>
    (await request<{ users: UserAccount[] }>('/api/v1/users', { signal })).users,
  addUser: (user: NewUser) => request<UserAccount>('/api/v1/users', { method: 'POST', body: user }),
  changeUser: (name: string, change: UserChange) =>
    request<UserAccount>(`/api/v1/users/${encodeURIComponent(name)}`, { method: 'PATCH', body: change }),
  sessions: async (signal?: AbortSignal) =>
    (await request<{ sessions: UserSession[] }>('/api/v1/sessions', { signal })).sessions,
  endSession: (id: string) =>
    request<undefined>(`/api/v1/sessions/${encodeURIComponent(id)}`, { method: 'DELETE' }),
  tokens: async (signal?: AbortSignal) =>
    (await request<{ tokens: ApiToken[] }>('/api/v1/tokens', { signal })).tokens,
  createToken: (name: string, role: Role, expires_at: string | null) =>
    request<NewToken>('/api/v1/tokens', { method: 'POST', body: { name, role, expires_at } }),
  revokeToken: (name: string) =>
    request<undefined>(`/api/v1/tokens/${encodeURIComponent(name)}`, { method: 'DELETE' }),
}
