import { createPinia } from 'pinia'
import { createApp } from 'vue'

import '@/styles/tokens.css'
import '@/styles/base.css'
import '@/styles/element.css'

import { configureClient } from '@/api/client'
import App from '@/App.vue'
import { i18n, useLanguage } from '@/i18n'
import { router } from '@/router'
import { usePreferencesStore } from '@/stores/preferences'
import { useSessionStore } from '@/stores/session'

const app = createApp(App).use(createPinia()).use(i18n)
const preferences = usePreferencesStore()
const session = useSessionStore()

configureClient({
  csrfToken: () => session.csrfToken,
  language: () => preferences.language,
  onSignedOut: () => session.forget(),
})

// A server that does not answer yet is App's to show; it tries again by itself.
await Promise.all([useLanguage(preferences.language), session.load().catch(() => undefined)])
app.use(router).mount('#app')
