import { defineConfig } from 'vitest/config'

/** The end-to-end test: a whole installation and a real Chromium, one scenario after the other. */
export default defineConfig({
  test: {
    environment: 'node',
    include: ['tests/e2e/**/*.e2e.ts'],
    testTimeout: 60_000,
    hookTimeout: 90_000,
    fileParallelism: false,
    bail: 1,
  },
})
