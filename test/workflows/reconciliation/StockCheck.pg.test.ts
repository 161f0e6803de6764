import { assert, describe, layer } from "@effect/vitest"
import { DateTime, Duration, Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { Finding } from "../../../src/workflows/reconciliation/Check.ts"
import * as StockCheck from "../../../src/workflows/reconciliation/StockCheck.ts"
import * as Shop from "../../fixtures/Shop.ts"

const skus = ["ash", "birch", "cedar", "elm", "fir", "oak"]

/** Each line of a reservation takes 30 ms to look at, as if there were very many. */
const slow = Effect.flatMap(
  SqlClient,
  (sql) => sql`
    create or replace view warehouse.reservation_lines as
    select l ->> 'id' as id, r.id as order_id, r.attempt, l ->> 'sku' as sku, l ->> 'warehouseId' as warehouse_id,
      (l ->> 'quantity')::int as quantity, r.status, r.expires_at
    from warehouse.reservations r cross join lateral jsonb_array_elements(r.lines) l where pg_sleep(0.03)::text is not null`
)

/** Looks everything through, page by page. */
const through = Effect.fnUntraced(function* (thing: Duration.Duration) {
  const check = yield* StockCheck.within({ page: Duration.millis(150), thing })
  const askedAt = yield* DateTime.now
  const findings: Array<Finding> = []
  const pages: Array<number> = []
  let place: string | undefined
  do {
    const page = yield* check.page({ id: "run-1", askedAt, limit: 500 }, place)
    pages.push(page.examined)
    findings.push(...page.findings)
    place = page.next
  } while (place !== undefined)
  return { pages, findings }
})

describe("given more reservations of a page of products than can be looked at in time", () => {
  layer(Shop.layer(), { excludeTestServices: true })((it) => {
    it.effect(
      "then pages become smaller until there is time, all is looked at, and drift is corrected (REQ-REC-01)",
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient
          yield* Shop.stock(skus.map((sku) => ({ sku, price: 1000n, onHand: { berlin: 10 } })))
          yield* Effect.forEach([...skus, ...skus], (sku) =>
            Effect.flatMap(Shop.prepare({ lines: { [sku]: 1 } }), ({ confirm }) => confirm())
          )
          yield* slow
          assert.deepStrictEqual(yield* through(Duration.seconds(10)), { pages: [1, 1, 1, 1, 1, 1, 0], findings: [] })
          yield* sql`update warehouse.stock set committed = committed + 1 where sku = 'elm'`
          const { findings } = yield* through(Duration.seconds(10))
          assert.deepStrictEqual(
            findings.map(({ outcome, subject }) => [subject, outcome]),
            [["elm@berlin", "corrected"]]
          )
          // Not even one product can be looked at in this time: that fails, and does not go on for ever.
          const error = yield* Effect.flip(through(Duration.millis(20)))
          assert.nestedPropertyVal(error, "reason._tag", "StatementTimeoutError")
        })
    )
  })
})
