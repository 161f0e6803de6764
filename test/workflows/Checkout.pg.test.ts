import { assert, describe, layer } from "@effect/vitest"
import { Effect, Fiber, Result } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { CustomerId, Sku } from "../../src/domain/Ids.ts"
import { Currency } from "../../src/domain/Money.ts"
import { Quantity } from "../../src/domain/Quantity.ts"
import * as CartActor from "../../src/entities/cart/CartActor.ts"
import { PaymentMethodToken } from "../../src/entities/checkoutSession/CheckoutSession.ts"
import * as CheckoutSessionActor from "../../src/entities/checkoutSession/CheckoutSessionActor.ts"
import * as FailedCompensationActor from "../../src/entities/failedCompensation/FailedCompensationActor.ts"
import * as OrderActor from "../../src/entities/order/OrderActor.ts"
import * as PaymentActor from "../../src/entities/payment/PaymentActor.ts"
import * as ReservationActor from "../../src/entities/reservation/ReservationActor.ts"
import { PaymentProvider } from "../../src/sandbox/PaymentProvider.ts"
import { CheckoutActors } from "../../src/workflows/checkout/CheckoutActors.ts"
import * as CheckoutContext from "../../src/workflows/checkout/CheckoutContext.ts"
import { eventually } from "../fixtures/Eventually.ts"
import * as Shop from "../fixtures/Shop.ts"

/** What the provider says really happened to a checkout's money, over all its intents. */
const money = (checkoutId: string) =>
  Effect.map(PaymentProvider, ({ ledger }) => {
    const entries = ledger.ofCheckout(checkoutId)
    const times = (what: "authorized" | "captured" | "voided" | "refunded") =>
      entries.reduce((sum, entry) => sum + entry[what].times, 0)
    return {
      authorized: times("authorized"),
      captured: times("captured"),
      voided: times("voided"),
      refunded: times("refunded")
    }
  })

const definitions: CheckoutActors["Service"] = {
  cart: CartActor.make(Shop.quickLimits.cart),
  session: CheckoutSessionActor.make(Shop.quickLimits.session),
  reservation: ReservationActor.make(Shop.quickLimits.reservation),
  payment: PaymentActor.make(Shop.quickLimits.payment),
  order: OrderActor.make(Shop.quickLimits.order),
  failed: FailedCompensationActor.make(Shop.quickLimits.compensation)
}

const orderOf = Effect.fnUntraced(function* (checkoutId: string) {
  const sql = yield* SqlClient
  const [order] = yield* sql`select status, payment_status, reason from orders.orders where id = ${checkoutId}`
  return { ...order }
})

/** Branded values compare with plain ones. */
const includes = (value: object | undefined, expected: object) => assert.deepInclude(value as object, expected)

const settled = Effect.gen(function* () {
  assert.deepStrictEqual(yield* Shop.violations, [])
})

const ended = (checkoutId: string) =>
  eventually(
    Effect.flatMap(
      SqlClient,
      (sql) => sql<{ status: string }>`select status from checkout.sessions where id = ${checkoutId}`
    ),
    ([row]) => row !== undefined && row.status !== "confirming"
  ).pipe(Effect.map(([row]) => row!.status))

describe("given a shop with stock in two warehouses", () => {
  layer(Shop.layer(), { excludeTestServices: true })((it) => {
    it.effect("when a checkout is confirmed, then it is paid once and its stock is committed", () =>
      Effect.gen(function* () {
        yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 5, lyon: 5 } }])
        const { by, cart, checkout, checkoutId, confirm } = yield* Shop.prepare({ lines: { tea: 7 } })
        const confirmation = yield* confirm()
        includes(confirmation, { _tag: "Confirmed", total: { amount: 9240n, currency: "EUR" } })
        assert.deepStrictEqual(yield* orderOf(checkoutId), {
          status: "confirmed",
          payment_status: "completed",
          reason: null
        })
        assert.deepStrictEqual(yield* money(checkoutId), { authorized: 1, captured: 1, voided: 0, refunded: 0 })
        const steps = yield* checkout.Steps({ by })
        assert.deepStrictEqual(
          steps.map(({ outcome, step }) => `${step}: ${outcome}`),
          ["reserve: reserved", "intent: created", "place: placed", "confirm: confirmed"]
        )
        yield* eventually(cart.GetCart({ by }), ({ status }) => status === "completed")
        yield* settled
      })
    )

    it.effect(
      "when the same confirmation is repeated, then it has its first answer and nothing happens (T-CHK-13)",
      () =>
        Effect.gen(function* () {
          yield* Shop.stock([{ sku: "cup", price: 900n, onHand: { berlin: 50 } }])
          const { checkoutId, confirm } = yield* Shop.prepare({ lines: { cup: 1 } })
          const confirmKey = Shop.key()
          const first = yield* confirm(confirmKey)
          assert.deepStrictEqual(yield* confirm(confirmKey), first)
          assert.deepStrictEqual(yield* confirm(), first)
          assert.deepStrictEqual(yield* money(checkoutId), { authorized: 1, captured: 1, voided: 0, refunded: 0 })
        })
    )

    it.effect(
      "when one checkout is confirmed 50 times at once, then there is one order and one capture (T-CHK-10)",
      () =>
        Effect.gen(function* () {
          yield* Shop.stock([{ sku: "pot", price: 4000n, onHand: { berlin: 100 } }])
          const { checkoutId, confirm } = yield* Shop.prepare({ lines: { pot: 1 } })
          const all = yield* Effect.all(
            Array.from({ length: 50 }, () => confirm()),
            { concurrency: "unbounded" }
          )
          assert.strictEqual(
            new Set(
              all.map((confirmation) =>
                JSON.stringify(confirmation, (_, v: unknown) => (typeof v === "bigint" ? `${v}` : v))
              )
            ).size,
            1
          )
          assert.deepStrictEqual(yield* money(checkoutId), { authorized: 1, captured: 1, voided: 0, refunded: 0 })
          yield* settled
        })
    )

    it.effect(
      "when carts are changed in other windows meanwhile, then each order is what its cart holds in the end (REQ-CART-03)",
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient
          yield* Shop.stock([{ sku: "spoon", price: 100n, onHand: { berlin: 10_000 } }])
          const outcomes = yield* Effect.forEach(
            Array.from({ length: 40 }),
            Effect.fnUntraced(function* () {
              const { by, cart, checkoutId, confirm } = yield* Shop.prepare({ lines: { spoon: 1 } })
              const more = cart.AddItem({
                key: Shop.key(),
                by,
                currency: Currency.make("EUR"),
                sku: Sku.make("spoon"),
                quantity: Quantity.make(1)
              })
              const window = Effect.repeat(Effect.andThen(Effect.yieldNow, more), { times: 4 })
              const [confirmed, added] = yield* Effect.all([Effect.result(confirm()), Effect.result(window)], {
                concurrency: "unbounded"
              })
              if (Result.isFailure(added)) assert.include(["CartLocked", "CartClosed"], added.failure._tag)
              if (Result.isFailure(confirmed)) {
                assert.strictEqual(confirmed.failure._tag, "Unavailable")
                return false
              }
              const [bought] = yield* eventually(
                sql<{ inCart: number; inOrder: number }>`
                  select (select sum((l ->> 'quantity')::int) from jsonb_array_elements(c.lines) l)::int as "inCart",
                    (select sum(quantity) from orders.order_lines where order_id = o.id)::int as "inOrder"
                  from orders.orders o join checkout.carts c on c.order_id = o.id where o.id = ${checkoutId}`,
                (rows) => rows.length === 1
              )
              assert.strictEqual(bought!.inOrder, bought!.inCart)
              return true
            }),
            { concurrency: 20 }
          )
          assert.isAbove(outcomes.filter(Boolean).length, 20)
          yield* settled
        })
    )

    it.effect(
      "when 50 buyers want the last 10 units, then exactly 10 get them and nobody else is authorized (T-INV-01)",
      () =>
        Effect.gen(function* () {
          yield* Shop.stock([{ sku: "rare", price: 9900n, onHand: { berlin: 6, lyon: 4 } }])
          const buyers = yield* Effect.all(
            Array.from({ length: 50 }, () => Shop.prepare({ lines: { rare: 1 } })),
            {
              concurrency: 10
            }
          )
          const results = yield* Effect.all(
            buyers.map(({ confirm }) => Effect.result(confirm())),
            { concurrency: "unbounded" }
          )
          const losers = results.flatMap((result, index) =>
            Result.isFailure(result) ? [{ error: result.failure, index }] : []
          )
          assert.strictEqual(losers.length, 40)
          for (const { error, index } of losers) {
            assert.strictEqual(error._tag, "OutOfStock")
            if (error._tag === "OutOfStock") includes(error.lines[0], { sku: "rare", wanted: 1, have: 0 })
            assert.deepStrictEqual(yield* money(buyers[index]!.checkoutId), {
              authorized: 0,
              captured: 0,
              voided: 0,
              refunded: 0
            })
          }
          const sql = yield* SqlClient
          const [stock] = yield* sql<{ left: bigint }>`
          select sum(on_hand - reserved - committed)::bigint as left from warehouse.stock where sku = 'rare'`
          assert.strictEqual(Number(stock!.left), 0)
          yield* settled
        })
    )

    it.effect("when 100 carts want A then B and 100 want B then A, then 50 orders are made and nobody deadlocks", () =>
      Effect.gen(function* () {
        yield* Shop.stock([
          { sku: "left", price: 100n, onHand: { berlin: 50 } },
          { sku: "right", price: 100n, onHand: { lyon: 50 } }
        ])
        const buyers = yield* Effect.all(
          Array.from({ length: 200 }, (_, index) =>
            Shop.prepare({ lines: index % 2 === 0 ? { left: 1, right: 1 } : { right: 1, left: 1 } })
          ),
          { concurrency: 20 }
        )
        const results = yield* Effect.all(
          buyers.map(({ confirm }) => Effect.result(confirm())),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(results.filter(Result.isSuccess).length, 50)
        for (const result of results)
          if (Result.isFailure(result)) assert.strictEqual(result.failure._tag, "OutOfStock")
        yield* settled
      })
    )

    it.effect("when the card is declined, then everything is released and another card can be tried", () =>
      Effect.gen(function* () {
        yield* Shop.stock([{ sku: "jar", price: 700n, onHand: { berlin: 3 } }])
        const { by, cart, checkoutId, confirm, session } = yield* Shop.prepare({
          lines: { jar: 3 },
          card: "pm_card_chargeDeclinedInsufficientFunds"
        })
        const confirmKey = Shop.key()
        const declined = yield* Effect.flip(confirm(confirmKey))
        includes(declined, { _tag: "PaymentDeclined", code: "insufficient_funds" })
        yield* settled
        yield* eventually(cart.GetCart({ by }), ({ status }) => status === "active")
        // The first key keeps its answer; a new one is a new attempt.
        yield* session.SetPaymentMethod({ key: Shop.key(), by, paymentMethod: PaymentMethodToken.make("pm_card_visa") })
        assert.strictEqual((yield* Effect.flip(confirm(confirmKey)))._tag, "PaymentDeclined")
        assert.strictEqual((yield* confirm())._tag, "Confirmed")
        assert.deepStrictEqual(yield* money(checkoutId), { authorized: 1, captured: 1, voided: 0, refunded: 0 })
        yield* settled
      })
    )

    it.effect(
      "when the provider authorizes too late, then the caller hears of it in time and no hold is left (T-CHK-05, T-CHK-20)",
      () =>
        Effect.gen(function* () {
          yield* Shop.stock([{ sku: "slow", price: 700n, onHand: { berlin: 3 } }])
          const provider = yield* PaymentProvider
          provider.faults.inject({ operation: "confirm", times: 1, fault: { _tag: "Delay", ms: 2500 } })
          const { checkoutId, confirm } = yield* Shop.prepare({ lines: { slow: 1 } })
          const late = yield* Effect.flip(confirm())
          includes(late, { _tag: "ServiceTimeout", service: "payment" })
          assert.deepStrictEqual(yield* orderOf(checkoutId), {})
          yield* eventually(
            Effect.map(PaymentProvider, ({ ledger }) => ledger.ofCheckout(checkoutId)[0]!.status),
            (status) => status === "canceled"
          )
          yield* settled
        })
    )

    for (const card of [
      "pm_sandbox_authorize_lost_answer",
      "pm_sandbox_capture_lost_answer",
      "pm_sandbox_capture_500_but_done"
    ]) {
      it.effect(`when the answer is lost (${card}), then the payment is looked up and taken once`, () =>
        Effect.gen(function* () {
          yield* Shop.stock([{ sku: "lost", price: 700n, onHand: { berlin: 30 } }])
          const { checkoutId, confirm } = yield* Shop.prepare({ lines: { lost: 1 }, card })
          assert.strictEqual((yield* confirm())._tag, "Confirmed")
          assert.deepStrictEqual(yield* money(checkoutId), { authorized: 1, captured: 1, voided: 0, refunded: 0 })
          yield* settled
        })
      )
    }

    it.effect(
      "when the provider is away at authorization, then the caller hears when to come back and everything is released",
      () =>
        Effect.gen(function* () {
          yield* Shop.stock([{ sku: "away", price: 700n, onHand: { berlin: 3 } }])
          const provider = yield* PaymentProvider
          provider.faults.inject({ operation: "create", times: 1, fault: { _tag: "Unavailable" } })
          const { confirm } = yield* Shop.prepare({ lines: { away: 1 } })
          const away = yield* Effect.flip(confirm())
          assert.strictEqual(away._tag, "PaymentUnavailable")
          yield* settled
          assert.strictEqual((yield* confirm())._tag, "Confirmed")
        })
    )

    for (const card of ["pm_sandbox_capture_503_twice", "pm_sandbox_capture_500_stored"]) {
      it.effect(`when the capture fails at first (${card}), then it is retried until it is taken once (T-PAY-01)`, () =>
        Effect.gen(function* () {
          yield* Shop.stock([{ sku: "retry", price: 700n, onHand: { berlin: 30 } }])
          const { checkoutId, confirm } = yield* Shop.prepare({ lines: { retry: 1 }, card })
          assert.strictEqual((yield* confirm())._tag, "Confirmed")
          assert.deepStrictEqual(yield* money(checkoutId), { authorized: 1, captured: 1, voided: 0, refunded: 0 })
          yield* settled
        })
      )
    }

    it.effect("when the capture never goes through, then hold, stock and order are undone (T-PAY-02)", () =>
      Effect.gen(function* () {
        yield* Shop.stock([{ sku: "never", price: 700n, onHand: { berlin: 3 } }])
        const { by, cart, checkoutId, confirm } = yield* Shop.prepare({
          lines: { never: 1 },
          card: "pm_sandbox_capture_503_always"
        })
        const given = yield* Effect.flip(confirm())
        includes(given, { _tag: "CheckoutCompensated", reason: "payment_capture_exhausted" })
        assert.deepStrictEqual(yield* orderOf(checkoutId), {
          status: "cancelled",
          payment_status: "cancelled",
          reason: "payment_capture_exhausted"
        })
        assert.deepStrictEqual(yield* money(checkoutId), { authorized: 1, captured: 0, voided: 1, refunded: 0 })
        const sql = yield* SqlClient
        const [payment] =
          yield* sql`select capture_retry_count, saga_state from payment.payments where id = ${checkoutId}`
        assert.deepStrictEqual({ ...payment }, { capture_retry_count: 3, saga_state: "voided" })
        yield* eventually(cart.GetCart({ by }), ({ status }) => status === "active")
        yield* settled
      })
    )

    it.effect("when the provider stores a fault under the key of a void, then the hold is dropped all the same", () =>
      Effect.gen(function* () {
        yield* Shop.stock([{ sku: "stored", price: 700n, onHand: { berlin: 3 } }])
        const provider = yield* PaymentProvider
        // The void of an authorization whose outcome is unknown.
        provider.faults.inject({ operation: "confirm", times: 1, fault: { _tag: "Silence", done: true } })
        provider.faults.inject({ operation: "cancel", times: 7, fault: { _tag: "ServerError", done: false } })
        const { checkoutId, confirm } = yield* Shop.prepare({ lines: { stored: 1 } })
        assert.strictEqual((yield* Effect.flip(confirm()))._tag, "ServiceTimeout")
        yield* eventually(money(checkoutId), ({ voided }) => voided === 1)
        yield* eventually(Effect.result(confirm()), Result.isSuccess)
        assert.deepStrictEqual(yield* money(checkoutId), { authorized: 2, captured: 1, voided: 1, refunded: 0 })
        yield* settled
      })
    )

    it.effect("when the provider is undecided for a while, then the hold it comes to is dropped", () =>
      Effect.gen(function* () {
        yield* Shop.stock([{ sku: "undecided", price: 700n, onHand: { berlin: 3 } }])
        const provider = yield* PaymentProvider
        provider.faults.inject({ operation: "confirm", times: 1, fault: { _tag: "Processing", ms: 700 } })
        const { checkoutId, confirm } = yield* Shop.prepare({ lines: { undecided: 1 } })
        assert.strictEqual((yield* Effect.flip(confirm()))._tag, "PaymentUnavailable")
        yield* eventually(money(checkoutId), ({ voided }) => voided === 1)
        yield* eventually(Effect.result(confirm()), Result.isSuccess)
        assert.deepStrictEqual(yield* money(checkoutId), { authorized: 2, captured: 1, voided: 1, refunded: 0 })
        yield* settled
      })
    )

    it.effect(
      "when a capture turns out taken while it is undone, then whoever goes on with it does not confirm it",
      () =>
        Effect.gen(function* () {
          yield* Shop.stock([{ sku: "taken", price: 700n, onHand: { berlin: 3 } }])
          const provider = yield* PaymentProvider
          const sql = yield* SqlClient
          provider.faults.inject({ operation: "capture", times: 1, fault: { _tag: "Reset", done: true } })
          provider.faults.inject({ operation: "retrieve", times: 4, fault: { _tag: "Reset", done: false } })
          // The money is on its way back for a while, before the order is cancelled.
          provider.faults.inject({ operation: "refund", times: 1, fault: { _tag: "Delay", ms: 1200 } })
          const { checkoutId, confirm } = yield* Shop.prepare({ lines: { taken: 1 } })
          const key = Shop.key()
          const confirming = yield* Effect.forkChild(Effect.flip(confirm(key)))
          yield* eventually(
            sql<{ refunds: string }>`select refunds::text as refunds from payment.payments where id = ${checkoutId}`,
            ([payment]) => payment?.refunds?.includes("compensation:1") === true
          )
          // As a node does which takes the checkout over just then.
          const confirmed = Effect.gen(function* () {
            const { steps, withGroup } = yield* CheckoutContext.CheckoutContext
            return yield* withGroup(checkoutId, (group) =>
              steps.finish(group, { number: 1, confirmKey: key }, undefined)
            )
          }).pipe(
            Effect.provide(CheckoutContext.layer(Shop.quickLimits.checkout)),
            Effect.provideService(CheckoutActors, definitions)
          )
          assert.isFalse(yield* confirmed)
          includes(yield* Effect.flip(confirm(key)), {
            _tag: "CheckoutCompensated",
            reason: "payment_capture_exhausted"
          })
          includes(yield* Fiber.join(confirming), { _tag: "CheckoutCompensated" })
          assert.deepInclude(yield* orderOf(checkoutId), { status: "cancelled" })
          yield* eventually(money(checkoutId), ({ refunded }) => refunded === 1)
          assert.deepStrictEqual(yield* money(checkoutId), { authorized: 1, captured: 1, voided: 0, refunded: 1 })
          const [stock] = yield* sql`select reserved, committed from warehouse.stock where sku = 'taken'`
          assert.deepStrictEqual({ ...stock }, { reserved: 0, committed: 0 })
        })
    )

    it.effect("when an attempt was given up before it had begun, then its status says that nothing is under way", () =>
      Effect.gen(function* () {
        yield* Shop.stock([{ sku: "given", price: 700n, onHand: { berlin: 3 } }])
        const { by, checkout, confirm, session } = yield* Shop.prepare({ lines: { given: 1 } })
        yield* session.AbortAttempt({ key: Shop.key(), attempt: 1 })
        includes(yield* Effect.flip(checkout.ConfirmStatus({ by })), { _tag: "IllegalTransition", status: "open" })
        assert.strictEqual((yield* confirm())._tag, "Confirmed")
      })
    )

    it.effect(
      "when several keys join a confirmation which is rejected, then each of them hears that again for good",
      () =>
        Effect.gen(function* () {
          yield* Shop.stock([{ sku: "joined", price: 700n, onHand: { berlin: 3 } }])
          const provider = yield* PaymentProvider
          const { by, checkoutId, confirm, session } = yield* Shop.prepare({
            lines: { joined: 1 },
            card: "pm_card_chargeDeclined"
          })
          provider.faults.inject({ operation: "confirm", times: 1, fault: { _tag: "Delay", ms: 300 } })
          const keys = Array.from({ length: 5 }, () => Shop.key())
          const tags = () =>
            Effect.forEach(keys, (key) => Effect.map(Effect.flip(confirm(key)), ({ _tag }) => _tag), {
              concurrency: "unbounded"
            })
          const declined = keys.map(() => "PaymentDeclined")
          assert.deepStrictEqual(yield* tags(), declined)
          yield* session.SetPaymentMethod({
            key: Shop.key(),
            by,
            paymentMethod: PaymentMethodToken.make("pm_card_visa")
          })
          assert.deepStrictEqual(yield* tags(), declined)
          assert.strictEqual(provider.ledger.ofCheckout(checkoutId).length, 1)
          assert.strictEqual((yield* confirm())._tag, "Confirmed")
          yield* settled
        })
    )

    it.effect("when the capture is refused for good, then it is not retried (T-CHK-04)", () =>
      Effect.gen(function* () {
        yield* Shop.stock([{ sku: "refused", price: 700n, onHand: { berlin: 3 } }])
        const { checkoutId, confirm } = yield* Shop.prepare({
          lines: { refused: 1 },
          card: "pm_sandbox_capture_declined"
        })
        assert.strictEqual((yield* Effect.flip(confirm()))._tag, "CheckoutCompensated")
        const provider = yield* PaymentProvider
        assert.strictEqual(provider.ledger.ofCheckout(checkoutId)[0]!.calls.capture, 1)
        assert.deepStrictEqual(yield* money(checkoutId), { authorized: 1, captured: 0, voided: 1, refunded: 0 })
        yield* settled
      })
    )

    it.effect(
      "when neither capture nor void goes through, then one record is left for an operator and the order is cancelled (T-PAY-03)",
      () =>
        Effect.gen(function* () {
          yield* Shop.stock([{ sku: "stuck", price: 700n, onHand: { berlin: 3 } }])
          const { checkoutId, confirm } = yield* Shop.prepare({
            lines: { stuck: 1 },
            card: "pm_sandbox_capture_and_void_fail_always"
          })
          assert.strictEqual((yield* Effect.flip(confirm()))._tag, "CheckoutCompensated")
          const sql = yield* SqlClient
          const records = yield* sql`
          select operation_type, status, total_amount, authorization_id is not null as authorized
          from payment.failed_compensations where order_id = ${checkoutId}`
          assert.deepStrictEqual(
            records.map((row) => ({ ...row })),
            [{ operation_type: "void_authorization", status: "pending", total_amount: 1190n, authorized: true }]
          )
          const [order] =
            yield* sql`select status, payment_status, settlement_open from orders.orders where id = ${checkoutId}`
          assert.deepStrictEqual(
            { ...order },
            { status: "cancelled", payment_status: "authorized", settlement_open: true }
          )
          const [stock] = yield* sql`select reserved, committed from warehouse.stock where sku = 'stuck'`
          assert.deepStrictEqual({ ...stock }, { reserved: 0, committed: 0 })
        })
    )

    it.effect("when the customer must prove who they are, then the order waits for it and goes on", () =>
      Effect.gen(function* () {
        yield* Shop.stock([{ sku: "sca", price: 700n, onHand: { berlin: 3 } }])
        const provider = yield* PaymentProvider
        const { checkoutId, confirm } = yield* Shop.prepare({
          lines: { sca: 1 },
          card: "pm_card_authenticationRequired"
        })
        const confirmKey = Shop.key()
        const asked = yield* confirm(confirmKey)
        assert.strictEqual(asked._tag, "RequiresAction")
        assert.strictEqual((yield* confirm(confirmKey))._tag, "RequiresAction")
        provider.authenticate(provider.ledger.ofCheckout(checkoutId)[0]!.id, true)
        assert.strictEqual((yield* confirm(confirmKey))._tag, "Confirmed")
        assert.deepStrictEqual(yield* money(checkoutId), { authorized: 1, captured: 1, voided: 0, refunded: 0 })
        yield* settled
      })
    )

    it.effect("when nothing is to be paid, then no provider is asked", () =>
      Effect.gen(function* () {
        yield* Shop.stock([{ sku: "gift", price: 0n, onHand: { berlin: 3 } }])
        const { checkoutId, confirm } = yield* Shop.prepare({ lines: { gift: 1 }, currency: "USD" })
        includes(yield* confirm(), { _tag: "Confirmed", total: { amount: 0n, currency: "USD" } })
        assert.deepStrictEqual(yield* orderOf(checkoutId), {
          status: "confirmed",
          payment_status: "completed",
          reason: null
        })
        assert.deepStrictEqual(yield* money(checkoutId), { authorized: 0, captured: 0, voided: 0, refunded: 0 })
        yield* settled
      })
    )

    it.effect(
      "when the buyer saw another total, then the confirmation is refused before any money moves (T-CHK-22)",
      () =>
        Effect.gen(function* () {
          yield* Shop.stock([{ sku: "price", price: 700n, onHand: { berlin: 3 } }])
          const { by, checkout, checkoutId } = yield* Shop.prepare({ lines: { price: 1 } })
          const preview = yield* checkout.PreviewTotals({ by })
          const sql = yield* SqlClient
          yield* sql`update catalog.prices set amount = 800, version = 2 where sku = 'price'`
          const changed = yield* Effect.flip(
            checkout.Confirm({
              by,
              confirmKey: Shop.key(),
              expectedTotal: { amount: preview.totals.total, currency: Currency.make("EUR") }
            })
          )
          includes(changed, { _tag: "PriceChanged" })
          assert.deepStrictEqual(yield* money(checkoutId), { authorized: 0, captured: 0, voided: 0, refunded: 0 })
        })
    )

    it.effect("when a key is used again for another total, then it is a conflict and nothing happens (T-CHK-24)", () =>
      Effect.gen(function* () {
        yield* Shop.stock([{ sku: "key", price: 700n, onHand: { berlin: 3 } }])
        const { by, checkout, checkoutId } = yield* Shop.prepare({ lines: { key: 1 } })
        const confirmKey = Shop.key()
        const expectedTotal = { amount: 1190n, currency: Currency.make("EUR") }
        assert.strictEqual((yield* checkout.Confirm({ by, confirmKey, expectedTotal }))._tag, "Confirmed")
        assert.strictEqual((yield* checkout.Confirm({ by, confirmKey, expectedTotal }))._tag, "Confirmed")
        const other = { amount: 1n, currency: Currency.make("EUR") }
        const conflict = yield* Effect.flip(checkout.Confirm({ by, confirmKey, expectedTotal: other }))
        assert.strictEqual(conflict._tag, "IdempotencyConflict")
        assert.strictEqual((yield* Effect.flip(checkout.Confirm({ by, confirmKey })))._tag, "IdempotencyConflict")
        assert.deepStrictEqual(yield* money(checkoutId), { authorized: 1, captured: 1, voided: 0, refunded: 0 })
      })
    )

    it.effect("when somebody else confirms it, then they are refused without a trace (T-CHK-14)", () =>
      Effect.gen(function* () {
        yield* Shop.stock([{ sku: "mine", price: 700n, onHand: { berlin: 3 } }])
        const { checkout, checkoutId } = yield* Shop.prepare({ lines: { mine: 1 } })
        const thief = CustomerId.make("thief")
        const refused = yield* Effect.flip(checkout.Confirm({ by: thief, confirmKey: Shop.key() }))
        assert.strictEqual(refused._tag, "AccessDenied")
        assert.deepStrictEqual(yield* orderOf(checkoutId), {})
        assert.notStrictEqual(yield* ended(checkoutId), "confirmed")
      })
    )
  })
})
