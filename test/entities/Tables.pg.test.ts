/** Postgres takes every row that the rules can make, and gives it back as the table codecs expect it. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { checkoutSteps } from "../../src/entities/checkoutSession/CheckoutSessionTable.ts"
import type { Tagged } from "../../src/runtime/Actor.ts"
import { appendRows, type Columns, insertState, type Row, toJson, updateState } from "../../src/runtime/Table.ts"
import { start } from "../fixtures/Builders.ts"
import { historyOf, play, sample } from "../fixtures/Histories.ts"
import { machines } from "../fixtures/machines/Machines.ts"
import * as Postgres from "../fixtures/Postgres.ts"
import { stored } from "../fixtures/StoredRow.ts"

const columnsOf = Effect.fnUntraced(function* (table: string) {
  const sql = yield* SqlClient
  const [schema, name] = table.split(".")
  const rows = yield* sql<{ readonly name: string; readonly type: string }>`
    select column_name as name, case data_type when 'timestamp with time zone' then 'timestamptz' when 'integer' then 'int' else data_type end as type
    from information_schema.columns where table_schema = ${schema!} and table_name = ${name!}`
  return Object.fromEntries(rows.map((row) => [row.name, row.type]))
})

const own: Columns = { id: "text", version: "int", created_at: "timestamptz", updated_at: "timestamptz" }

layer(Postgres.layerMigrated, { excludeTestServices: true })((it) => {
  for (const { command, machine } of machines) {
    const { definition, id } = machine
    const { table } = definition

    describe(`given the table ${table.name}`, () => {
      it.effect("then its columns are those which the code writes, with their types", () =>
        Effect.gen(function* () {
          assert.deepStrictEqual(yield* columnsOf(table.name), { ...own, ...table.columns })
          for (const name of table.immutable) assert.property(table.columns, name)
        })
      )

      const write = Effect.fnUntraced(function* (state: Tagged, version: number, before: Row | undefined) {
        const sql = yield* SqlClient
        const part = before === undefined ? insertState(table) : updateState(table)
        const row: Row = table.toRow(state, id)
        const sent = toJson([{ ...row, id, version, expected: version - 1, at: start }])
        const written = yield* sql.unsafe(part.sql(1), [sent])
        assert.strictEqual(written.length, 1, "written once")
        const [read] = yield* sql.unsafe<{ readonly row: Row }>(`select to_jsonb(t) as row from ${table.name} t`)
        const { created_at: created, id: readId, updated_at: updated, version: readVersion, ...columns } = read!.row
        assert.deepStrictEqual([readId, readVersion], [id, version])
        assert.deepStrictEqual([created, updated], ["2026-11-20T10:00:00+00:00", "2026-11-20T10:00:00+00:00"])
        const expected = stored(table, row, before)
        assert.deepStrictEqual(columns, expected, "as the tests without Postgres have it")
        assert.deepStrictEqual(table.fromRow(columns), state)
        return expected
      })
      const empty = Effect.flatMap(SqlClient, (sql) => sql.unsafe(`delete from ${table.name}`))

      it.effect("when a history is written to it step by step, then each state is read back", () =>
        Effect.gen(function* () {
          for (const history of sample(historyOf(command), 20)) {
            yield* empty
            let version = 0
            let row: Row | undefined
            for (const { events, state } of play(machine, history)) {
              if (events.length > 0) row = yield* write(state, ++version, row)
            }
          }
        })
      )

      it.effect("when it gets each of the states there are, then each is taken", () =>
        Effect.gen(function* () {
          for (const state of Object.values<Tagged>(machine.states)) {
            if (state._tag === "Absent") continue
            yield* empty
            yield* write(state, 1, undefined)
          }
        })
      )

      it.effect("when a row has another version than expected, then it is not touched", () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient
          const state = Object.values<Tagged>(machine.states).find(({ _tag }) => _tag !== "Absent")!
          yield* empty
          yield* write(state, 1, undefined)
          const late = { ...table.toRow(state, id), id, version: 8, expected: 7, at: start }
          assert.deepStrictEqual(yield* sql.unsafe(updateState(table).sql(1), [toJson([late])]), [])
        })
      )
    })
  }

  describe("given an order which was just placed", () => {
    it.effect("then its lines are rows which Postgres takes", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        const { machine } = machines.find(({ machine: { definition } }) => definition.type === "Order")!
        const [placed] = play(machine, [{ command: machine.commands["Place"]!.command, afterMs: 0 }])
        const [event] = placed!.events
        const lines = machine.definition.rows!(event, placed!.state, machine.id)
        const { table } = lines[0]!
        yield* sql.unsafe(appendRows(table).sql(1), [toJson(lines.map(({ row }) => row))])
        const [read] = yield* sql<{ readonly lines: bigint }>`select count(*) as lines from orders.order_lines`
        assert.strictEqual(Number(read!.lines), 2)
        assert.deepStrictEqual(yield* columnsOf(table.name), table.columns)
      })
    )
  })

  describe("given a step of a checkout", () => {
    it.effect("when it is written again, then the first record stays (REQ-CHK-15)", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        const write = (outcome: string) =>
          sql.unsafe(checkoutSteps.sql(1), [
            toJson([
              { checkout_id: "checkout-1", attempt: 1, step: "reserve", outcome, started_at: start, ended_at: start }
            ])
          ])
        yield* write("reserved")
        yield* write("out_of_stock")
        const rows = yield* sql<{ readonly outcome: string }>`select outcome from checkout.steps`
        assert.deepStrictEqual(rows, [{ outcome: "reserved" }])
      })
    )
  })
})
