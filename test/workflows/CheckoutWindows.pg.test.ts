import { assert, describe, layer } from "@effect/vitest"
import { Duration, Effect, Fiber } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { PaymentProvider } from "../../src/sandbox/PaymentProvider.ts"
import { eventually } from "../fixtures/Eventually.ts"
import * as Shop from "../fixtures/Shop.ts"

const { quickLimits } = Shop
const { checkout } = quickLimits

const statusOf = (checkoutId: string) =>
  Effect.flatMap(SqlClient, (sql) =>
    Effect.map(
      sql<{ session: string; reserved: number; orders: bigint }>`
        select s.status as session, coalesce((select sum(l.quantity)::int from warehouse.reservation_lines l where l.order_id = s.id and l.status = 'active'), 0) as reserved,
          (select count(*) from orders.orders o where o.id = s.id and o.status in ('pending', 'confirmed')) as orders
        from checkout.sessions s where s.id = ${checkoutId}`,
      ([row]) => ({ session: row?.session, reserved: row?.reserved, liveOrders: Number(row?.orders ?? 0) })
    )
  )

const stocked = Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 50 } }])

describe("given windows that are short", () => {
  layer(
    Shop.layer({
      ...quickLimits,
      cart: { idleFor: Duration.seconds(1), lockCheckAfter: Duration.millis(300) },
      session: { idleFor: Duration.seconds(1), watchAfter: Duration.millis(200) },
      payment: { ...quickLimits.payment, paymentWindow: Duration.millis(500) },
      checkout: { ...checkout, confirmRate: { limit: 3, window: Duration.minutes(10) } }
    }),
    { excludeTestServices: true }
  )((it) => {
    it.effect("when the second factor is not given in time, then the hold and the stock are given up", () =>
      Effect.gen(function* () {
        yield* stocked
        const { checkoutId, confirm } = yield* Shop.prepare({
          lines: { tea: 1 },
          card: "pm_card_authenticationRequired"
        })
        const key = Shop.key()
        assert.strictEqual((yield* confirm(key))._tag, "RequiresAction")
        yield* eventually(statusOf(checkoutId), ({ session }) => session === "rejected")
        const refused = yield* Effect.flip(confirm(key))
        assert.strictEqual(refused._tag, "PaymentDeclined")
        const { ledger } = yield* PaymentProvider
        assert.strictEqual(ledger.ofCheckout(checkoutId)[0]!.status, "canceled")
        assert.deepStrictEqual(yield* Shop.violations, [])
      })
    )

    it.effect(
      "when a node dies between freezing the cart and beginning, then the cart is free again and the attempt void",
      () =>
        Effect.gen(function* () {
          yield* stocked
          const { by, cart, checkoutId, confirm } = yield* Shop.prepare({ lines: { tea: 1 } })
          const locked = yield* cart.Lock({ key: Shop.key(), by, checkoutId, attempt: 1 })
          assert.strictEqual(locked.status, "locked")
          yield* eventually(cart.GetCart({ by }), ({ status }) => status === "active")
          assert.strictEqual((yield* confirm())._tag, "Confirmed")
          assert.deepStrictEqual(yield* Shop.violations, [])
        })
    )

    it.effect("when nobody comes back, then checkout and cart expire (T-CART-02, REQ-CART-05)", () =>
      Effect.gen(function* () {
        yield* stocked
        const { by, cart, checkoutId, confirm } = yield* Shop.prepare({ lines: { tea: 1 } })
        yield* eventually(statusOf(checkoutId), ({ session }) => session === "expired")
        assert.deepInclude(yield* Effect.flip(confirm()), { _tag: "CheckoutClosed", status: "expired" })
        yield* eventually(cart.GetCart({ by }), ({ status }) => status === "expired")
      })
    )

    it.effect(
      "when one customer confirms too often, then the fourth waits, replays do not count, others go on (T-CHK-12)",
      () =>
        Effect.gen(function* () {
          yield* stocked
          const customer = Shop.fresh("eager")
          const confirmKey = Shop.key()
          const declined = { lines: { tea: 1 }, customer, card: "pm_card_chargeDeclined" }
          const first = yield* Shop.prepare(declined)
          for (let times = 0; times < 5; times++) {
            assert.strictEqual((yield* Effect.flip(first.confirm(confirmKey)))._tag, "PaymentDeclined")
          }
          for (let times = 0; times < 2; times++) {
            const { confirm } = yield* Shop.prepare(declined)
            assert.strictEqual((yield* Effect.flip(confirm()))._tag, "PaymentDeclined")
          }
          const fourth = yield* Shop.prepare(declined)
          const limited = yield* Effect.flip(fourth.confirm())
          assert.strictEqual(limited._tag, "RateLimited")
          const { ledger } = yield* PaymentProvider
          assert.deepStrictEqual(ledger.ofCheckout(fourth.checkoutId), [])
          const { confirm } = yield* Shop.prepare({ lines: { tea: 1 } })
          assert.strictEqual((yield* confirm())._tag, "Confirmed")
        })
    )
  })
})

describe("given a capture that is retried slowly", () => {
  layer(
    Shop.layer({
      ...quickLimits,
      checkout: { ...checkout, captureBackoff: { base: Duration.seconds(3), cap: Duration.seconds(3) } }
    }),
    { excludeTestServices: true }
  )((it) => {
    it.effect(
      "when the hold runs out between two retries, then the order is given up without another try (T-PAY-07)",
      () =>
        Effect.gen(function* () {
          yield* stocked
          const sql = yield* SqlClient
          const { checkoutId, confirm } = yield* Shop.prepare({
            lines: { tea: 1 },
            card: "pm_sandbox_capture_503_always"
          })
          const provider = yield* PaymentProvider
          const confirming = yield* Effect.forkChild(Effect.flip(confirm()))
          yield* eventually(
            sql<{ saga_state: string }>`select saga_state from payment.payments where id = ${checkoutId}`,
            ([payment]) => payment?.saga_state === "capture_failed"
          )
          yield* sql`update runtime.timers set due_at = now() where actor_id = ${checkoutId} and name = 'hold'`
          assert.deepInclude(yield* Fiber.join(confirming), {
            _tag: "CheckoutCompensated",
            reason: "authorization_expired"
          })
          const [entry] = provider.ledger.ofCheckout(checkoutId)
          assert.deepInclude(entry!, { status: "canceled" })
          assert.strictEqual(entry!.calls.capture, 1)
          assert.deepStrictEqual(yield* Shop.violations, [])
        })
    )
  })
})
