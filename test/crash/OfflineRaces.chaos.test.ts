import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it } from "@effect/vitest"
import { Context, DateTime, Duration, Effect, Layer, Result, Schedule, Semaphore } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { CustomerId } from "../../src/domain/Ids.ts"
import { BankTransactionId } from "../../src/entities/payment/Receipt.ts"
import type { ShopLimits } from "../../src/layers/Shop.ts"
import { migrate } from "../../src/migrations/Migrations.ts"
import { Placement } from "../../src/runtime/Placement.ts"
import { OfflinePayments } from "../../src/workflows/offline/OfflinePayments.ts"
import { eventually } from "../fixtures/Eventually.ts"
import { freshDatabase } from "../fixtures/Postgres.ts"
import * as Shop from "../fixtures/Shop.ts"

const by = CustomerId.make("olga")

/** Each has a cluster of its own and believes to own everything: nothing but the database stands between them. */
const nodes = (count: number, limits: ShopLimits) =>
  Effect.gen(function* () {
    const url = yield* freshDatabase
    yield* migrate.pipe(Effect.provide(PgClient.layer({ url })))
    return yield* Effect.forEach(Array.from({ length: count }), () =>
      Layer.build(Layer.fresh(Shop.shopOn(url, limits)))
    )
  })

type Node = Effect.Success<ReturnType<typeof nodes>>[number]
type Method = "cash_on_delivery" | "bank_transfer"

const stocked = (all: ReadonlyArray<Node>) =>
  Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 10_000 } }]).pipe(Effect.provide(all[0]!))

const placeOn = (node: Node, method: Method) =>
  Effect.gen(function* () {
    const { checkoutId, confirm } = yield* Shop.prepare({ lines: { tea: 1 }, card: method })
    const confirmation = yield* confirm()
    assert(confirmation._tag === "Placed")
    return { id: checkoutId, expiresAt: confirmation.expiresAt }
  }).pipe(Effect.provide(node))

/** Placed, a few at a time, by the nodes in turn. */
const placed = Effect.fnUntraced(function* (all: ReadonlyArray<Node>, count: number, method: Method) {
  yield* stocked(all)
  return yield* Effect.forEach(
    Array.from({ length: count }, (_, index) => all[index % all.length]!),
    (node) => placeOn(node, method),
    { concurrency: 8 }
  )
})

const offlineOn = (node: Node, id: string) => Context.get(node, Placement).client(OfflinePayments)(id)

/** The other node was faster. */
const whileBusy = {
  schedule: Schedule.max([Schedule.spaced("50 millis"), Schedule.recurs(100)]),
  while: ({ _tag }: { readonly _tag: string }) => _tag === "Unavailable"
}

/** How often each order was confirmed, and how often it was given up, by what its history says. */
const ends = Effect.flatMap(
  SqlClient,
  (sql) =>
    sql<{ id: string; status: string; confirmed: number; ended: number; stock: string; moves: number }>`
    select o.id, o.status, r.status as stock,
      (select count(*)::int from runtime.history h cross join jsonb_array_elements(h.events) e
        where h.actor_id = o.id and h.actor_type = 'Order' and e ->> '_tag' = 'Confirmed') as confirmed,
      (select count(*)::int from runtime.history h cross join jsonb_array_elements(h.events) e
        where h.actor_id = o.id and h.actor_type = 'Order' and e ->> '_tag' in ('Cancelled', 'Failed')) as ended,
      (select count(*)::int from warehouse.stock_ledger l where l.op in ('commit', 'release') and l.reference like o.id || '.%') as moves
    from orders.orders o join warehouse.reservations r on r.id = o.id order by o.id`
)

/** Every order has come to one end, and its stock with it. */
const settled = Effect.fnUntraced(function* (all: ReadonlyArray<Node>, count: number) {
  const rows = yield* eventually(
    ends,
    (found) => found.length === count && found.every(({ status }) => status !== "pending")
  ).pipe(Effect.provide(all[0]!))
  for (const { confirmed, ended, id, moves, status, stock } of rows) {
    const isConfirmed = status === "confirmed"
    assert.deepStrictEqual(
      { confirmed, ended, moves },
      { confirmed: isConfirmed ? 1 : 0, ended: isConfirmed ? 0 : 1, moves: 1 },
      id
    )
    assert.strictEqual(stock, isConfirmed ? "fulfilled" : "released", id)
  }
  assert.deepStrictEqual(yield* Shop.violations.pipe(Effect.provide(all[0]!)), [])
  return rows
})

const limitsOf = (window: Duration.Duration, confirmCashAfter: Duration.Duration | undefined): ShopLimits => {
  const offline = { cash_on_delivery: window, bank_transfer: window }
  return {
    ...Shop.quickLimits,
    reservation: { ...Shop.quickLimits.reservation, offline },
    order: { ...Shop.quickLimits.order, offline, confirmCashAfter }
  }
}

describe("given nodes which all believe to own everything", () => {
  it.live(
    "when 500 orders with cash on delivery are due to be confirmed by themselves on three of them, then each is confirmed once (T-PAY-21, REQ-COD-06)",
    () =>
      Effect.gen(function* () {
        const all = yield* nodes(3, limitsOf(Duration.hours(24), Duration.seconds(2)))
        yield* placed(all, 500, "cash_on_delivery")
        const rows = yield* settled(all, 500)
        assert.isTrue(rows.every(({ status }) => status === "confirmed"))
      }).pipe(Effect.provide(Shop.gateway()), Effect.scoped),
    180_000
  )

  it.live(
    "when an operator confirms on both of two as the timer does, 200 times, then there is one confirmation (T-PAY-20)",
    () =>
      Effect.gen(function* () {
        const all = yield* nodes(2, limitsOf(Duration.hours(24), Duration.millis(700)))
        const orders = yield* placed(all, 200, "cash_on_delivery")
        const told = yield* Effect.forEach(
          orders.flatMap(({ id }) => all.map((node) => ({ id, node }))),
          ({ id, node }) => offlineOn(node, id).ConfirmCash({ by }).pipe(Effect.retry(whileBusy)),
          { concurrency: 16 }
        )
        assert.isTrue(told.every(({ status }) => status === "confirmed"))
        yield* settled(all, 200)
      }).pipe(Effect.provide(Shop.gateway()), Effect.scoped),
    120_000
  )

  for (const method of ["cash_on_delivery", "bank_transfer"] as const) {
    it.live(
      `when an operator and the end of the window come at one instant on two of them, 200 times, then one takes effect (${method}, T-PAY-20, REQ-COD-03)`,
      () =>
        Effect.gen(function* () {
          const all = yield* nodes(2, limitsOf(Duration.seconds(4), undefined))
          yield* stocked(all)
          const counter = yield* Semaphore.make(8)
          const outcomes = yield* Effect.forEach(
            Array.from({ length: 200 }, (_, index) => index),
            (index) =>
              Effect.gen(function* () {
                const { expiresAt, id } = yield* counter.withPermit(placeOn(all[index % 2]!, method))
                const placedAt = yield* DateTime.now
                const left = expiresAt.epochMilliseconds - placedAt.epochMilliseconds
                // A few at once and a few when it is over; the others around the end, many of them at that very instant.
                const wait = index < 10 ? 0 : index < 20 ? left + 500 : left - 400 + 3 * index
                yield* Effect.sleep(Math.max(0, wait))
                const now = yield* DateTime.now
                const offline = offlineOn(all[index % 2]!, id)
                const asked =
                  method === "cash_on_delivery"
                    ? Effect.map(offline.ConfirmCash({ by }), ({ status }) => status)
                    : Effect.map(
                        offline.RecordTransfer({
                          by,
                          bankTransactionId: BankTransactionId.make(Shop.fresh("bank")),
                          amount: 1740n,
                          receivedAt: now
                        }),
                        ({ status }) => status
                      )
                const result = yield* Effect.result(asked.pipe(Effect.retry(whileBusy)))
                return { id, told: Result.isSuccess(result) ? result.success : result.failure._tag }
              }),
            { concurrency: "unbounded" }
          )
          const statusOf = new Map((yield* settled(all, 200)).map(({ id, status }) => [id, status]))
          assert.sameMembers([...new Set(statusOf.values())], ["confirmed", "cancelled"])
          for (const { id, told } of outcomes) {
            // Who heard that it is confirmed has an order that is; who heard anything else has none.
            assert.strictEqual(told === "confirmed", statusOf.get(id) === "confirmed", `${id}: ${told}`)
          }
        }).pipe(Effect.provide(Shop.gateway()), Effect.scoped),
      120_000
    )
  }

  it.live(
    "when one transfer is told of on both at once, and others beside it, then each counts once",
    () =>
      Effect.gen(function* () {
        const all = yield* nodes(2, limitsOf(Duration.hours(24), undefined))
        const orders = yield* placed(all, 20, "bank_transfer")
        const now = yield* DateTime.now
        yield* Effect.forEach(
          orders.flatMap(({ id }) =>
            [1, 2, 3, 4, 5].flatMap((part) => all.map((node) => ({ node, id, bankTransactionId: `${id}-${part}` })))
          ),
          ({ bankTransactionId, id, node }) =>
            offlineOn(node, id)
              .RecordTransfer({
                by,
                bankTransactionId: BankTransactionId.make(bankTransactionId),
                amount: 400n,
                receivedAt: now
              })
              .pipe(Effect.retry(whileBusy)),
          { concurrency: 16 }
        )
        const rows = yield* settled(all, 20)
        assert.isTrue(rows.every(({ status }) => status === "confirmed"))
        const sums = yield* Effect.flatMap(
          SqlClient,
          (sql) => sql<{ received: string; owed: string }>`select received::text, owed::text from payment.payments`
        ).pipe(Effect.provide(all[0]!))
        // Five times 4.00 for 17.40.
        assert.deepStrictEqual(new Set(sums.map(({ owed, received }) => `${received} ${owed}`)), new Set(["2000 260"]))
      }).pipe(Effect.provide(Shop.gateway()), Effect.scoped),
    120_000
  )
})
