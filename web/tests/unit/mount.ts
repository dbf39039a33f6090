import { mount, type VueWrapper } from '@vue/test-utils'
import { createPinia, setActivePinia } from 'pinia'
import type { Component } from 'vue'
import { createMemoryHistory, createRouter } from 'vue-router'

import { i18n, useLanguage } from '@/i18n'
import type { Language } from '@/stores/preferences'

const Nothing = { template: '<i />' }

/** Mount with everything that the panel gives its components; the page is at ``path``. */
export async function show(
  component: Component,
  props: Record<string, unknown> = {},
  { language = 'en', path = '/' }: { language?: Language; path?: string } = {},
): Promise<VueWrapper> {
  const pinia = createPinia()
  setActivePinia(pinia)
  const router = createRouter({
    history: createMemoryHistory(),
    routes: [{ path: '/:rest(.*)*', component: Nothing }],
  })
  await useLanguage(language)
  await router.push(path)
  return mount(component, { props, attachTo: document.body, global: { plugins: [pinia, i18n, router] } })
}
