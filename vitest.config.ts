import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/fixtures/PostgresServer.ts", "test/fixtures/SecretsSearch.ts"],
    // Hundreds of processes are started and killed, and each compiles the same modules: Node keeps what the first of them has compiled.
    env: { NODE_COMPILE_CACHE: fileURLToPath(new URL("node_modules/.cache/node-compile", import.meta.url)) },
    setupFiles: ["test/fixtures/ConsoleCopy.ts"],
    // Every worker shares one Postgres and its disk, so more workers than this only queue behind each other.
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000
  }
})
