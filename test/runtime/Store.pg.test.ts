import * as PgConnection from "@effect/sql-pg/PgConnection"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { planning } from "../../src/runtime/PostgresStore.ts"
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
