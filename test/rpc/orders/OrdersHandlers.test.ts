import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, Fiber, Layer, Result, Schema, Stream } from "effect"
import { RpcMiddleware, RpcTest } from "effect/rpc"
import { TestClock } from "effect/testing"
import { CheckoutId, CustomerId, OrderId } from "../../../src/domain/Ids.ts"
import { Currency } from "../../../src/domain/Money.ts"
import { Unavailable } from "../../../src/domain/Refusals.ts"
import type { OrderState } from "../../../src/entities/order/Order.ts"
import { Event, evolve, view } from "../../../src/entities/order/OrderDecider.ts"
import { OrderList } from "../../../src/projections/OrderList.ts"
import { Authentication, Caller, Role } from "../../../src/rpc/Auth.ts"
import * as OrdersHandlers from "../../../src/rpc/orders/OrdersHandlers.ts"
import { OrdersRpc } from "../../../src/rpc/orders/OrdersRpc.ts"
import { Placement } from "../../../src/runtime/Placement.ts"
import { type HistoryRow, Store } from "../../../src/runtime/Store.ts"

const orderId = OrderId.make("order-00000001")
const at = DateTime.makeUnsafe("2026-11-20T12:00:00Z")
const placed: Event = {
  _tag: "Placed",
  number: "ABCDE-FGHJK" as never,
  terms: {
    checkoutId: CheckoutId.make(orderId),
    attempt: 1,
    customerId: CustomerId.make("ann"),
    currency: Currency.make("EUR"),
    lines: [],
    totals: { subtotal: 0n, discount: 0n, shipping: 0n, total: 0n },
    shippingMethod: "standard"
  },
  paymentStatus: "authorized",
  expiresAt: at,
  at
}
const confirmed: Event = { _tag: "Confirmed", paymentStatus: "completed", at }
const cancelled: Event = {
  _tag: "Cancelled",
  reason: "buyer_cancelled",
  paymentStatus: "cancelled",
  settlementOpen: false,
  at
}

const encode = Schema.encodeSync(Schema.toCodecJson(Schema.Array(Event)))
const row = (seq: number, ...events: ReadonlyArray<Event>): HistoryRow => ({
  seq,
  command: "any",
  events: encode(events) as ReadonlyArray<unknown>,
  refused: false,
  cause: undefined,
  at
})

/** The journal's rows of one order, and how often it is away before it answers. */
interface Journal {
  rows: Array<HistoryRow>
  away: number
  awaited: Array<number>
  /** What happens while somebody waits. */
  meanwhile: () => void
}

const ordersOver = (journal: Journal) => {
  const answer = <A>(value: () => Effect.Effect<A, unknown>) =>
    Effect.suspend(() => (journal.away-- > 0 ? Effect.fail(new Unavailable({ retryAfterMs: 10 })) : value()))
  const placement = Layer.succeed(Placement, {
    client: () => (id: string) => ({
      GetOrder: ({ by }: { readonly by?: CustomerId }) =>
        answer(() => {
          const past = journal.rows.flatMap(({ events }) =>
            Schema.decodeUnknownSync(Schema.toCodecJson(Schema.Array(Event)))(events)
          )
          const state = past.reduce(evolve, { _tag: "Absent" } as OrderState)
          return Effect.fromResult(view(state, id, journal.rows.length, by))
        })
    }),
    awaitChange: (_: string, __: string, version: number) =>
      answer(() => Effect.sync(() => (journal.awaited.push(version), journal.meanwhile())))
  } as never)
  const store = Layer.succeed(Store, {
    history: (_: string, __: string, afterSeq: number, limit: number) =>
      Effect.sync(() => journal.rows.filter(({ seq }) => seq > afterSeq).slice(0, limit))
  } as never)
  const list = Layer.succeed(OrderList, {
    page: ({ after, customerId, limit }) => Effect.succeed({ orders: [], next: `${customerId} ${limit} ${after}` })
  })
  const authentication = Layer.succeed(Authentication, (effect, { headers }) =>
    Effect.provideService(effect, Caller, {
      customerId: CustomerId.make(headers["customer"] ?? "ann"),
      role: Schema.decodeUnknownSync(Role)(headers["role"] ?? "customer")
    })
  )
  return RpcTest.makeClient(OrdersRpc).pipe(
    Effect.provide(
      Layer.mergeAll(
        Layer.provide(OrdersHandlers.layer, [placement, store, list]),
        authentication,
        RpcMiddleware.layerClient(Authentication, ({ next, request }) => next(request))
      )
    )
  )
}

const journalOf = (...rows: ReadonlyArray<HistoryRow>): Journal => ({
  rows: [...rows],
  away: 0,
  awaited: [],
  meanwhile: () => undefined
})

const bob = { headers: { customer: "bob" } }
const operator = { headers: { customer: "olga", role: "operator" } }

describe("given an order which changed, and was asked for changes that were refused", () => {
  const rows = [row(1, placed), row(2), row(3, confirmed), row(4)]

  it.effect("when its history is asked for, then each change has the state it led to", () =>
    Effect.gen(function* () {
      const orders = yield* ordersOver(journalOf(...rows))
      const changes = yield* orders.GetHistory({ orderId })
      assert.deepStrictEqual(
        changes.map(({ event, paymentStatus, seq, status }) => [seq, event, status, paymentStatus]),
        [
          [1, "Placed", "pending", "authorized"],
          [3, "Confirmed", "confirmed", "completed"]
        ]
      )
      const later = yield* orders.GetHistory({ orderId, afterSeq: 1 })
      assert.deepStrictEqual(
        later.map(({ seq }) => seq),
        [3]
      )
      assert.deepStrictEqual(yield* orders.GetHistory({ orderId, afterSeq: 4 }), [])
    })
  )

  it.effect("when somebody else asks, then it is refused; when an operator asks, then it is told", () =>
    Effect.gen(function* () {
      const orders = yield* ordersOver(journalOf(...rows))
      for (const call of [
        orders.GetOrder({ orderId }, bob),
        orders.GetHistory({ orderId }, bob),
        Stream.runCollect(orders.WatchOrder({ orderId }, bob))
      ]) {
        const refused = yield* Effect.result<unknown, { readonly _tag: string }, never>(call)
        assert.strictEqual(Result.isFailure(refused) && refused.failure._tag, "AccessDenied")
      }
      assert.strictEqual((yield* orders.GetOrder({ orderId }, operator)).status, "confirmed")
      assert.strictEqual((yield* orders.GetHistory({ orderId }, operator)).length, 2)
    })
  )
})

describe("given an order with a long past", () => {
  it.effect("when its history is asked for, then an answer has at most 100 changes, and the next goes on", () =>
    Effect.gen(function* () {
      const moves = Array.from({ length: 250 }, (_, index) =>
        row(index + 2, { _tag: "PaymentMoved", paymentStatus: "completed", at })
      )
      const orders = yield* ordersOver(journalOf(row(1, placed), ...moves))
      const first = yield* orders.GetHistory({ orderId })
      const third = yield* orders.GetHistory({ orderId, afterSeq: 200 })
      assert.deepStrictEqual([first.length, first[0]?.seq, first.at(-1)?.seq], [100, 1, 100])
      assert.deepStrictEqual([third.length, third[0]?.seq, third.at(-1)?.seq], [51, 201, 251])
      assert.strictEqual(third[0]?.status, "pending")
    })
  )
})

describe("given an order which is watched", () => {
  it.effect("when it changes, then that is told, until it is cancelled", () =>
    Effect.gen(function* () {
      const journal = journalOf(row(1, placed), row(2))
      const toCome = [row(3, confirmed), row(4), row(5, cancelled)]
      journal.meanwhile = () => journal.rows.push(toCome.shift()!)
      const orders = yield* ordersOver(journal)
      const changes = yield* Stream.runCollect(orders.WatchOrder({ orderId }))
      assert.deepStrictEqual(
        changes.map(({ event, seq }) => [seq, event]),
        [
          [1, "Placed"],
          [3, "Confirmed"],
          [5, "Cancelled"]
        ]
      )
      assert.strictEqual(changes.at(-1)?.reason, "buyer_cancelled")
      assert.deepStrictEqual(journal.awaited, [2, 3, 4])
    })
  )

  it.effect("when it has ended before, then the watch ends at once, with what is behind afterSeq", () =>
    Effect.gen(function* () {
      const orders = yield* ordersOver(journalOf(row(1, placed), row(2, cancelled)))
      assert.deepStrictEqual(
        (yield* Stream.runCollect(orders.WatchOrder({ orderId, afterSeq: 1 }))).map(({ seq }) => seq),
        [2]
      )
      assert.deepStrictEqual(yield* Stream.runCollect(orders.WatchOrder({ orderId, afterSeq: 2 })), [])
    })
  )

  it.effect(
    "when its node is taken over, then the watch goes on; when that takes too long, then it is Unavailable",
    () =>
      Effect.gen(function* () {
        const journal = journalOf(row(1, placed))
        journal.away = 4
        journal.meanwhile = () => {
          journal.away = 3
          journal.rows.push(row(2, cancelled))
        }
        const orders = yield* ordersOver(journal)
        const watching = yield* Effect.forkChild(Stream.runCollect(orders.WatchOrder({ orderId })))
        yield* TestClock.adjust("20 seconds")
        assert.deepStrictEqual(
          (yield* Fiber.join(watching)).map(({ seq }) => seq),
          [1, 2]
        )

        journal.away = Number.POSITIVE_INFINITY
        const waiting = yield* Effect.forkChild(Effect.flip(Stream.runCollect(orders.WatchOrder({ orderId }))))
        yield* TestClock.adjust("1 minute")
        assert.strictEqual((yield* Fiber.join(waiting))._tag, "Unavailable")
      })
  )
})

describe("given a customer's list", () => {
  it.effect("when it is asked for, then it is the caller's own, 20 at a time", () =>
    Effect.gen(function* () {
      const orders = yield* ordersOver(journalOf())
      assert.strictEqual((yield* orders.ListOrders({}, bob)).next, "bob 20 undefined")
      assert.strictEqual((yield* orders.ListOrders({ after: "x", limit: 5 })).next, "ann 5 x")
    })
  )
})
