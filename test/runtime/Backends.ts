/** The two kinds of store behind one face, so that one suite runs on both: a database which several nodes may open, and its faults. */
import * as PgClient from "@effect/sql-pg/PgClient"
import { Context, Duration, Effect, Latch, Layer, type Redacted, Scope } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { migrate } from "../../src/migrations/Migrations.ts"
import * as MemoryStore from "../../src/runtime/MemoryStore.ts"
import * as PostgresStore from "../../src/runtime/PostgresStore.ts"
import { Lost, Store } from "../../src/runtime/Store.ts"
import type { Row } from "../../src/runtime/Table.ts"
import { freshDatabase } from "../fixtures/Postgres.ts"
import { bins, createTables, memoryOptions } from "./Account.ts"

export interface Backend {
  /** Another node's store on the same database. */
  readonly open: Effect.Effect<Store["Service"], never, Scope.Scope>
  readonly rows: (table: string) => Effect.Effect<ReadonlyArray<Row>>
  /** Free and held units by bin. */
  readonly units: Effect.Effect<Readonly<Record<string, { readonly free: number; readonly held: number }>>>
  /** Of all of its stores. */
  readonly flushes: Effect.Effect<number>
  readonly inject: MemoryStore.Memory["Service"]["inject"]
  readonly setAway: MemoryStore.Memory["Service"]["setAway"]
  readonly gate: Latch.Latch
}

export const onMemory: Effect.Effect<Backend> = Effect.map(MemoryStore.make(memoryOptions), (context) => {
  const memory = Context.get(context, MemoryStore.Memory)
  return {
    open: Effect.succeed(Context.get(context, Store)),
    rows: (table) => Effect.sync(() => memory.rows(table)),
    units: Effect.map(memory.counters, (all) =>
      Object.fromEntries(all.map(({ key, values }) => [key, { free: values["free"]!, held: values["held"]! }]))
    ),
    flushes: memory.flushes,
    inject: memory.inject,
    setAway: memory.setAway,
    gate: memory.gate
  }
})

/** With the runtime's tables and those of the toys. */
export const toyDatabase: Effect.Effect<Redacted.Redacted, never, Scope.Scope> = Effect.tap(freshDatabase, (url) =>
  Effect.orDie(Effect.andThen(migrate, createTables).pipe(Effect.provide(PgClient.layer({ url }))))
)

export const storeLayer = (url: Redacted.Redacted, flushTimeout: Duration.Input = "5 seconds") =>
  PostgresStore.layer({
    url,
    counters: bins,
    flushTimeout: Duration.fromInputUnsafe(flushTimeout),
    idleInTransaction: Duration.seconds(4)
  })

/** With `sql`, for what a test does behind the runtime's back. */
export interface PostgresBackend extends Backend {
  readonly url: Redacted.Redacted
  readonly sql: SqlClient
}

export const onPostgres: Effect.Effect<PostgresBackend, never, Scope.Scope> = Effect.gen(function* () {
  const url = yield* toyDatabase
  const pool = yield* Effect.orDie(Layer.build(PgClient.layer({ url, maxConnections: 4 })))
  const sql = Context.get(pool, SqlClient)
  const scope = yield* Effect.scope
  const faults: Array<MemoryStore.Fault> = []
  const gate = yield* Latch.make(true)
  let flushes = 0
  let away = false
  const open = Effect.map(
    Layer.buildWithScope(storeLayer(url), scope).pipe(Effect.provideContext(pool)),
    (context): Store["Service"] => {
      const store = Context.get(context, Store)
      return {
        ...store,
        transact: (keys, body) =>
          Effect.gen(function* () {
            yield* gate.await
            flushes++
            const fault = away ? ({ when: "before", error: gone } as const) : faults.shift()
            if (fault?.when === "before") return yield* fault.error
            yield* store.transact(keys, body)
            if (fault !== undefined) return yield* fault.error
          }),
        load: (actors) => Effect.suspend(() => (away ? Effect.fail(gone) : store.load(actors)))
      }
    }
  )
  return {
    url,
    sql,
    open,
    rows: (table) => Effect.orDie(sql.unsafe<Row>(`select * from ${table}`)),
    units: sql<{ item: string; free: number; held: number }>`select item, free, held from toy.bins`.pipe(
      Effect.map((rows) => Object.fromEntries(rows.map(({ free, held, item }) => [item, { free, held }]))),
      Effect.orDie
    ),
    flushes: Effect.sync(() => flushes),
    inject: (...next) => Effect.sync(() => void faults.push(...next)),
    setAway: (next) =>
      Effect.sync(() => {
        away = next
      }),
    gate
  }
})

const gone = new Lost({ detail: "away" })
