import { defineStore } from 'pinia'
import { computed, ref, watch } from 'vue'

export type Language = 'en' | 'zh-CN'
export type Theme = 'system' | 'light' | 'dark'

export const LANGUAGES: readonly Language[] = ['en', 'zh-CN']
export const THEMES: readonly Theme[] = ['system', 'light', 'dark']

const KEY = 'daqplane.preferences'

interface Stored {
  language?: Language
  theme?: Theme
}

function read(): Stored {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? '{}') as Stored
  } catch {
    return {}
  }
}

function browserLanguage(): Language {
  const tag = navigator.languages.find((known) => /^(zh|en)\b/i.test(known)) ?? 'en'
  return tag.toLowerCase().startsWith('zh') ? 'zh-CN' : 'en'
}

/** Language and theme: the browser's, until the user chooses; the choice is remembered. */
export const usePreferencesStore = defineStore('preferences', () => {
  const stored = read()
  const language = ref<Language>(
    LANGUAGES.find((known) => known === stored.language) ?? browserLanguage(),
  )
  const theme = ref<Theme>(THEMES.find((known) => known === stored.theme) ?? 'system')

  const dark = window.matchMedia('(prefers-color-scheme: dark)')
  const systemIsDark = ref(dark.matches)
  dark.addEventListener('change', (event) => {
    systemIsDark.value = event.matches
  })
  const isDark = computed(
    () => theme.value === 'dark' || (theme.value === 'system' && systemIsDark.value),
  )

  watch([language, theme], () => {
    localStorage.setItem(KEY, JSON.stringify({ language: language.value, theme: theme.value }))
  })
  watch(
    [language, isDark],
    () => {
      document.documentElement.lang = language.value
      document.documentElement.dataset['theme'] = isDark.value ? 'dark' : 'light'
    },
    { immediate: true },
  )

  return { language, theme, isDark }
})
