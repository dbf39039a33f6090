import { defineStore } from 'pinia'
import { computed, ref, shallowRef } from 'vue'

import { api } from '@/api/client'
import type { Role, Session } from '@/api/schema'

const RANK: Readonly<Record<Role, number>> = { viewer: 0, operator: 1, admin: 2 }

/** Who is signed in, and what the server says about the need to. */
export const useSessionStore = defineStore('session', () => {
  const session = shallowRef<Session | null>(null)
  /** Set when the server ended the session, so that the sign-in page can say so. */
  const ended = ref(false)

  const user = computed(() => session.value?.user ?? null)
  const isAuthenticated = computed(() => session.value?.authenticated === true)
  const csrfToken = computed(() => session.value?.csrf_token ?? null)
  const mayOperate = computed(() => user.value !== null && RANK[user.value.role] >= RANK.operator)
  const mayAdminister = computed(() => user.value?.role === 'admin')

  async function load(): Promise<void> {
    session.value = await api.session()
  }

  async function signIn(username: string, password: string): Promise<void> {
    session.value = await api.signIn(username, password)
    ended.value = false
  }

  async function signOut(): Promise<void> {
    try {
      await api.signOut()
    } finally {
      forget()
      ended.value = false
    }
  }

  async function setUp(token: string, username: string, password: string): Promise<void> {
    session.value = await api.setup(token, username, password)
    ended.value = false
  }

  /** The server no longer knows this session. */
  function forget(): void {
    if (!session.value) return
    ended.value = session.value.authenticated
    session.value = { ...session.value, authenticated: false, user: null, csrf_token: null }
  }

  return {
    session,
    ended,
    user,
    isAuthenticated,
    csrfToken,
    mayOperate,
    mayAdminister,
    load,
    signIn,
    signOut,
    setUp,
    forget,
  }
})
