import { spawn } from "node:child_process"
import { readFile } from "node:fs/promises"
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { migrate } from "../../src/migrations/Migrations.ts"
import { eventually } from "../fixtures/Eventually.ts"
import { freshDatabase } from "../fixtures/Postgres.ts"
import * as Shop from "../fixtures/Shop.ts"

const program = new URL("FrozenWriter.ts", import.meta.url).pathname

describe("given a process that is frozen in the middle of a flush", () => {
  it.live(
    "when it is thawed, then the rows it had locked were free within 5 s, and nothing it had decided is written",
    () =>
      Effect.gen(function* () {
        const url = yield* freshDatabase
        yield* Effect.gen(function* () {
          const sql = yield* SqlClient
          yield* migrate
          yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 10 } }])
          let printed = ""
          const child = yield* Effect.acquireRelease(
            Effect.sync(() => {
              const started = spawn(process.execPath, [program, Redacted.value(url)], {
                stdio: ["ignore", "pipe", "inherit"]
              })
              started.stdout.on("data", (chunk: Buffer) => {
                printed += chunk.toString()
              })
              return started
            }),
            (started) => Effect.sync(() => started.kill("SIGKILL"))
          )
          const ended = new Promise<number | null>((resolve) => child.once("exit", resolve))
          yield* eventually(
            Effect.promise(() => readFile(`/proc/${child.pid}/stat`, "utf8")),
            (stat) => /\) T /.test(stat)
          )
          // Whoever takes over needs the same stock.
          yield* sql`update warehouse.stock set on_hand = on_hand where sku = 'tea'`.pipe(Effect.timeout("5 seconds"))
          child.kill("SIGCONT")
          assert.strictEqual(yield* Effect.promise(() => ended), 0)
          assert.strictEqual(printed, "Lost Fenced\n")
          const written = yield* sql<{ actor_id: string }>`select actor_id from runtime.timers order by actor_id`
          assert.deepStrictEqual(
            written.map(({ actor_id }) => actor_id),
            ["before", "later"]
          )
        }).pipe(Effect.provide(PgClient.layer({ url })))
      }).pipe(Effect.scoped),
    60_000
  )
})
