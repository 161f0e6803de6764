import { assert, describe, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { CustomerId } from "../../src/domain/Ids.ts"
import { OrderList } from "../../src/projections/OrderList.ts"
import { layerMigrated } from "../fixtures/Postgres.ts"

const ann = CustomerId.make("ann")

/** Orders which were placed in the same microsecond three at a time. */
const place = Effect.fnUntraced(function* (customer: string, count: number) {
  const sql = yield* SqlClient
  yield* sql`
    insert into orders.orders (id, version, number, checkout_id, customer_id, currency, total_amount, terms, status,
      payment_status, settlement_open, placed_at, expires_at, created_at, updated_at)
    select 'order-of-' || ${customer} || '-' || lpad(n::text, 4, '0'), 1, ${customer} || n, ${customer} || n, ${customer}, 'EUR', n, '{}',
      'confirmed', 'completed', false, '2026-11-20T12:00:00.123456Z'::timestamptz + (n / 3) * interval '1 microsecond', now(), now(), now()
    from generate_series(1, ${count}::int) n`
})

const all = Effect.fnUntraced(function* (customerId: CustomerId, limit: number) {
  const { page } = yield* OrderList
  const found: Array<string> = []
  let after: string | undefined
  do {
    const { next, orders } = yield* page({ customerId, after, limit })
    found.push(...orders.map(({ id }) => id))
    after = next
  } while (after !== undefined)
  return found
})

describe("given two customers with orders", () => {
  layer(OrderList.layer.pipe(Layer.provideMerge(layerMigrated)))((it) => {
    it.effect("when pages are read, then every order of the customer is there once, newest first", () =>
      Effect.gen(function* () {
        yield* place("ann", 25)
        yield* place("bob", 5)
        const expected = Array.from({ length: 25 }, (_, index) => `order-of-ann-${String(25 - index).padStart(4, "0")}`)
        for (const limit of [1, 2, 7, 24, 25, 100]) {
          assert.deepStrictEqual(yield* all(ann, limit), expected, `${limit} at a time`)
        }
        const { orders } = yield* (yield* OrderList).page({ customerId: ann, after: undefined, limit: 1 })
        assert.deepInclude(orders[0] as object, { number: "ann25", status: "confirmed", total: 25n, currency: "EUR" })
      })
    )

    it.effect("when an order is placed between two pages, then the second page is what it was", () =>
      Effect.gen(function* () {
        yield* place("eve", 6)
        const { page } = yield* OrderList
        const eve = CustomerId.make("eve")
        const first = yield* page({ customerId: eve, after: undefined, limit: 3 })
        const sql = yield* SqlClient
        yield* sql`
          insert into orders.orders select 'order-of-eve-9999', 1, 'eve9999', 'eve9999', customer_id, currency, total_amount, terms, status,
            payment_status, reason, settlement_open, now() + interval '1 day', expires_at, null, null, created_at, updated_at
          from orders.orders where id = 'order-of-eve-0001'`
        const second = yield* page({ customerId: eve, after: first.next, limit: 3 })
        assert.deepStrictEqual(
          second.orders.map(({ id }) => id),
          ["order-of-eve-0003", "order-of-eve-0002", "order-of-eve-0001"]
        )
      })
    )

    it.effect("when a cursor is not one of ours, then it is refused", () =>
      Effect.gen(function* () {
        const { page } = yield* OrderList
        const forged = [
          "x",
          "%%%",
          Buffer.from("2026-11-20T12:00:00.000000Z'; drop table orders.orders; --").toString("base64url"),
          Buffer.from("2026-99-99T99:99:99.000000Z order-of-ann-0001").toString("base64url"),
          Buffer.from("now order-of-ann-0001").toString("base64url")
        ]
        for (const after of forged) {
          const refused = yield* Effect.flip(page({ customerId: ann, after, limit: 10 }))
          assert.deepInclude(refused as object, { _tag: "InvalidRequest", field: "after" })
        }
      })
    )

    it.effect("when there are no orders, then the page is empty", () =>
      Effect.gen(function* () {
        const { page } = yield* OrderList
        assert.deepStrictEqual(yield* page({ customerId: CustomerId.make("nobody"), after: undefined, limit: 10 }), {
          orders: []
        })
      })
    )
  })
})
