import { type ChildProcess, spawn } from "node:child_process"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Redacted, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { migrate } from "../../src/migrations/Migrations.ts"
import { freshDatabase } from "../fixtures/Postgres.ts"

const program = fileURLToPath(new URL("./importProcess.ts", import.meta.url))

const started = (url: Redacted.Redacted, args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const environment = { PATH: "", DATABASE_URL: Redacted.value(url) }
      const child = spawn(process.execPath, [program, ...args], {
        env: environment,
        stdio: ["ignore", "pipe", "inherit"]
      })
      let out = ""
      child.stdout.on("data", (data) => (out += String(data)))
      return { child, out: () => out }
    }),
    ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
  )

const ended = (child: ChildProcess) =>
  Effect.callback<NodeJS.Signals | number | null>((resume) => {
    child.once("exit", (code, signal) => resume(Effect.succeed(signal ?? code)))
  })

it.live(
  "given an import of 10,000 products, when it is killed half-way and run again, then each is applied once (T-INV-20, REQ-INV-07)",
  () =>
    Effect.gen(function* () {
      const count = 10_000
      const url = yield* freshDatabase
      const directory = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "cartwright-import-"))),
        (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
      )
      const file = join(directory, "products.ndjson")
      const line = (number: number) =>
        JSON.stringify({
          sku: `SKU-${number}`,
          name: "Mug",
          category: "kitchen",
          prices: { EUR: "12.50", USD: "13.90" }
        })
      yield* Effect.promise(() =>
        writeFile(file, Array.from({ length: count }, (_, number) => line(number)).join("\n"))
      )

      yield* Effect.gen(function* () {
        const sql = yield* SqlClient
        yield* migrate
        const applied = Effect.map(sql<{ count: bigint }>`select count(*) from ops.import_records`, ([row]) =>
          Number(row?.count)
        )
        const first = yield* started(url, ["--file", file])
        const end = yield* Effect.forkChild(ended(first.child))
        yield* applied.pipe(
          Effect.repeat({ until: (so) => so > 0, schedule: Schedule.spaced("2 millis") }),
          Effect.timeout("20 seconds")
        )
        first.child.kill("SIGKILL")
        assert.strictEqual(yield* Fiber.join(end), "SIGKILL")
        const before = yield* applied
        assert.isTrue(before > 0 && before < count, `${before} applied before it was killed`)

        const second = yield* started(url, ["--file", file])
        assert.strictEqual(yield* ended(second.child), 0)
        assert.include(
          second.out(),
          `${count} records: ${count - before} created, 0 changed, 0 unchanged, ${before} applied before, 0 refused`
        )
        assert.deepStrictEqual(
          yield* sql`select (select count(*) from catalog.products) as products, (select count(*) from catalog.price_history) as prices`,
          [{ products: BigInt(count), prices: BigInt(2 * count) }]
        )
      }).pipe(Effect.provide(Layer.orDie(PgClient.layer({ url }))))
    }).pipe(Effect.scoped)
)
