import { watchEffect } from 'vue'

/** Keep the browser's title in step with the page. */
export function usePageTitle(title: () => string): void {
  watchEffect(() => {
    document.title = `${title()} · daqplane`
  })
}
