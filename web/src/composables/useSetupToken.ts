import { onScopeDispose, ref, type Ref } from 'vue'

/**
 * The set-up token from the address: read from the fragment, which no server log sees, and removed
 * from the address bar, so that it is neither bookmarked nor photographed.
 */
export function useSetupToken(): Ref<string> {
  const token = ref('')

  function take(): void {
    const fragment = decodeURIComponent(window.location.hash.slice(1))
    if (!fragment) return
    token.value = fragment
    const { pathname, search } = window.location
    window.history.replaceState(window.history.state, '', pathname + search)
  }

  take()
  window.addEventListener('hashchange', take)
  onScopeDispose(() => window.removeEventListener('hashchange', take))
  return token
}
