/** Languages, loaded when they are needed: the panel's own words and the server's sentences. */

import type { Language as ElementLanguage } from 'element-plus/es/locale'
import elementEnglish from 'element-plus/es/locale/lang/en'
import { shallowRef } from 'vue'
import { createI18n } from 'vue-i18n'

import type { Catalogue } from '@/lib/sentences'
import type { Language } from '@/stores/preferences'

export const i18n = createI18n({ legacy: false, locale: 'en', fallbackLocale: 'en' })

/** The server's sentences in the language of the page. */
export const catalogue = shallowRef<Catalogue>({})
export const elementLanguage = shallowRef<ElementLanguage>(elementEnglish)

const loaders = {
  en: () =>
    Promise.all([
      import('@/locales/en.json'),
      import('@server-messages/messages.en.json'),
      { default: elementEnglish },
    ]),
  'zh-CN': () =>
    Promise.all([
      import('@/locales/zh-CN.json'),
      import('@server-messages/messages.zh-CN.json'),
      import('element-plus/es/locale/lang/zh-cn'),
    ]),
}

/** Switch the whole panel to ``language``; resolves when its words are there. */
export async function useLanguage(language: Language): Promise<void> {
  const [own, server, element] = await loaders[language]()
  i18n.global.setLocaleMessage(language, own.default)
  catalogue.value = server.default
  elementLanguage.value = element.default
  i18n.global.locale.value = language
}
