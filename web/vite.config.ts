import { fileURLToPath, URL } from 'node:url'

import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vitest/config'

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))
const backend = `127.0.0.1:${process.env.DAQ_HTTP_PORT ?? '8080'}`

export default defineConfig({
  plugins: [vue()],
  define: {
    __VUE_OPTIONS_API__: false,
    __VUE_I18N_LEGACY_API__: false,
    __VUE_I18N_FULL_INSTALL__: false,
    __INTLIFY_PROD_DEVTOOLS__: false,
  },
  resolve: {
    alias: {
      '@': path('./src'),
      '@server-messages': path('../control_plane'),
    },
  },
  server: {
    fs: { allow: [path('.'), path('../control_plane')] },
    proxy: {
      '/api': `http://${backend}`,
      // The server takes a live connection only when Origin equals Host.
      '/ws': { target: `ws://${backend}`, ws: true, rewriteWsOrigin: true },
    },
  },
  build: {
    target: 'es2022',
    manifest: true,
    // The polyfill is a script the content security policy need not allow for.
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 400,
  },
  test: {
    environment: 'happy-dom',
    include: ['tests/unit/**/*.test.ts'],
    env: { TZ: 'Asia/Shanghai' },
    // Its components import style sheets, which Node cannot load by itself.
    server: { deps: { inline: ['element-plus'] } },
    restoreMocks: true,
    // Two cores may be busy with other tests.
    testTimeout: 20_000,
  },
})
