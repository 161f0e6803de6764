import * as PgConnection from "@effect/sql-pg/PgConnection"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { planning } from "../../src/runtime/PostgresLane.ts"
import {
  acknowledgeNotices,
  changeCounters,
  clearTimers,
  flushStatement,
  setTimers,
  updateState
} from "../../src/runtime/Table.ts"
import { account, bins } from "./Account.ts"
import { onPostgres } from "./Backends.ts"
import { conformance } from "./StoreConformance.ts"

describe("given the store on Postgres", () => {
  conformance((name, body) =>
    it.live(name, () =>
      Effect.gen(function* () {
        const backend = yield* onPostgres
        yield* body(yield* backend.open, backend)
      })
    )
  )
})

describe("given tables which were small when the plans of flushes were made", () => {
  it.live("when they have grown, then a flush still reads no more than the rows it names", () =>
    Effect.gen(function* () {
      const { sql, url } = yield* onPostgres
      // The planner knows how small they are.
      yield* sql`insert into toy.bins (item, place, held, free) select 'other' || n, 'here', 0, 1 from generate_series(1, 20) n`
      yield* sql`analyze`
      const parts = [changeCounters(bins), clearTimers, setTimers, acknowledgeNotices, updateState(account.table)]
      const none = [0, ...parts.map(() => "[]")]
      const plan = Effect.fnUntraced(function* (settings: Readonly<Record<string, string>>) {
        const connection = yield* PgConnection.make({
          url,
          startupParameters: { ...settings, plan_cache_mode: "force_generic_plan" }
        })
        const { rows } = yield* connection.query(`explain ${flushStatement(parts)}`, none, false)
        return rows.map((row) => String(row["QUERY PLAN"]))
      })
      const scans = (lines: ReadonlyArray<string>) => lines.filter((line) => line.includes("Seq Scan"))
      assert.notDeepEqual(scans(yield* plan({})), [])
      assert.deepStrictEqual(scans(yield* plan(planning)), [])
    })
  )
})

describe("given actors which were read when there were hardly any", () => {
  it.live("when there are many, then reading them still reads no more than the rows they have", () =>
    Effect.gen(function* () {
      const { open, sql } = yield* onPostgres
      const store = yield* open
      const scanned = Effect.map(
        sql<{ readonly rows: number }>`
          select sum(seq_tup_read)::int as rows from pg_stat_user_tables where schemaname || '.' || relname in (${account.table.name}, 'runtime.history')`,
        ([row]) => row!.rows
      )
      const actors = Array.from({ length: 5 }, (_, index) => ({ definition: account, id: `a${index}` }))
      // Often enough for Postgres to settle for a plan, and again when what has been read is to be told.
      const readAll = Effect.replicateEffect(store.load(actors), 100, { concurrency: 4 })
      const readAndTold = Effect.all([readAll, Effect.sleep("1200 millis"), readAll])
      const grow = (prefix: string, count: number) => sql`
        insert into toy.accounts (id, version, balance, moves, created_at, updated_at)
        select ${prefix} || n, 1, 0, 0, now(), now() from generate_series(1, ${count}::int) n`
      // The planner knows how small the table is.
      yield* grow("few", 20)
      yield* sql`analyze`
      yield* readAndTold
      yield* grow("many", 20_000)
      const before = yield* scanned
      yield* readAndTold
      assert.strictEqual((yield* scanned) - before, 0)
    })
  )
})
