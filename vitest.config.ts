import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/fixtures/CompileCache.ts", "test/fixtures/PostgresServer.ts", "test/fixtures/SecretsSearch.ts"],
    setupFiles: ["test/fixtures/ConsoleCopy.ts"],
    // Every worker shares one Postgres and its disk, so more workers than this only queue behind each other.
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000
  }
})
