import { readdir } from "node:fs/promises"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { migrate, pending } from "../../src/migrations/Migrations.ts"
import { layerEmpty, layerMigrated } from "../fixtures/Postgres.ts"

const migrationFiles = Effect.promise(async () => {
  const names = await readdir(new URL("../../src/migrations", import.meta.url))
  return names
    .filter((name) => /^\d/.test(name))
    .map((name) => name.replace(/\.ts$/, ""))
    .toSorted()
})

describe("given an empty database", () => {
  it.effect("when it is asked what is missing, then every file of the folder is", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* pending, yield* migrationFiles)
    }).pipe(Effect.provide(layerEmpty))
  )

  it.effect("when several nodes migrate it at once, then one does it and the others find it done", () =>
    Effect.gen(function* () {
      const applied = yield* Effect.all([migrate, migrate, migrate], { concurrency: 3 })
      assert.deepStrictEqual(applied.flat(), yield* migrationFiles)
      assert.deepStrictEqual(yield* pending, [])
    }).pipe(Effect.provide(layerEmpty))
  )
})

describe("given a migrated database", () => {
  it.effect("when it is migrated again, then nothing is applied", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* migrate, [])
    }).pipe(Effect.provide(layerMigrated))
  )

  it.effect(
    "when a newer version has migrated it further, then this one leaves it and is not waiting for anything",
    () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        yield* sql`insert into schema_migrations (migration_id, name) values (9999, 'of_tomorrow')`
        assert.deepStrictEqual(yield* migrate, [])
        assert.deepStrictEqual(yield* pending, [])
      }).pipe(Effect.provide(layerMigrated))
  )

  it.effect("when a migration turns up which is numbered below its last one, then migrating says so", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      yield* sql`delete from schema_migrations where migration_id = 1`
      const error = yield* Effect.flip(migrate)
      assert.strictEqual(error._tag, "MigrationError")
      assert.include(error.message, "0001_")
    }).pipe(Effect.provide(layerMigrated))
  )
})
