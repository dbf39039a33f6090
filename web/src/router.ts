import { createRouter, createWebHistory, type RouteLocationNormalized } from 'vue-router'

import { useSessionStore } from '@/stores/session'

declare module 'vue-router' {
  interface RouteMeta {
    /** Can be seen without a session. */
    isPublic?: boolean
  }
}

export const router = createRouter({
  history: createWebHistory(),
  routes: [
    { path: '/', name: 'overview', component: () => import('@/pages/OverviewPage.vue') },
    {
      path: '/collectors/:name',
      name: 'collector',
      component: () => import('@/pages/CollectorPage.vue'),
      props: true,
    },
    { path: '/alerts', name: 'alerts', component: () => import('@/pages/AlertsPage.vue') },
    { path: '/logs', name: 'logs', component: () => import('@/pages/LogsPage.vue') },
    { path: '/trends', name: 'trends', component: () => import('@/pages/TrendsPage.vue') },
    { path: '/config', name: 'configs', component: () => import('@/pages/ConfigsPage.vue') },
    {
      path: '/config/:name',
      name: 'config',
      component: () => import('@/pages/ConfigPage.vue'),
      props: true,
    },
    { path: '/audit', name: 'audit', component: () => import('@/pages/AuditPage.vue') },
    { path: '/access', name: 'access', component: () => import('@/pages/AccessPage.vue') },
    { path: '/simulators', name: 'simulators', component: () => import('@/pages/SimulatorsPage.vue') },
    { path: '/system', name: 'system', component: () => import('@/pages/SystemPage.vue') },
    {
      path: '/sign-in',
      name: 'sign-in',
      component: () => import('@/pages/SignInPage.vue'),
      meta: { isPublic: true },
    },
    {
      path: '/setup',
      name: 'setup',
      component: () => import('@/pages/SetupPage.vue'),
      meta: { isPublic: true },
    },
    {
      path: '/:rest(.*)*',
      name: 'not-found',
      component: () => import('@/pages/NotFoundPage.vue'),
    },
  ],
  scrollBehavior: (to, _from, saved) => saved ?? (to.hash ? {} : { top: 0 }),
})

/** Where somebody without a session has to go first, or true. */
function gate(to: RouteLocationNormalized) {
  const session = useSessionStore()
  // Nothing is known yet: App shows that, and comes back here once it is.
  if (!session.session) return true
  if (session.isAuthenticated) return to.meta.isPublic ? { name: 'overview' } : true
  if (session.session.setup_required) return to.name === 'setup' ? true : { name: 'setup' }
  if (to.name === 'sign-in') return true
  return { name: 'sign-in', query: to.path === '/' ? {} : { next: to.fullPath } }
}

router.beforeEach(gate)
