import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Fiber, Layer, Redacted, Result, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { Currency } from "../../src/domain/Money.ts"
import { PaymentMethodToken } from "../../src/entities/checkoutSession/CheckoutSession.ts"
import { operatorRefund } from "../../src/entities/payment/Refund.ts"
import * as MemoryGateway from "../../src/gateways/MemoryGateway.ts"
import { PaymentGateway } from "../../src/gateways/PaymentGateway.ts"
import { migrate } from "../../src/migrations/Migrations.ts"
import { Placement } from "../../src/runtime/Placement.ts"
import { PaymentProvider } from "../../src/sandbox/PaymentProvider.ts"
import { Checkout } from "../../src/workflows/checkout/Checkout.ts"
import { Refunds } from "../../src/workflows/refund/Refunds.ts"
import { eventually } from "../fixtures/Eventually.ts"
import { freshDatabase } from "../fixtures/Postgres.ts"
import * as Shop from "../fixtures/Shop.ts"

/** The other node was faster, or has the cart. */
const whileBusy = {
  schedule: Schedule.max([Schedule.spaced("100 millis"), Schedule.recurs(200)]),
  while: ({ _tag }: { readonly _tag: string }) => _tag === "Unavailable" || _tag === "CartLocked"
}

describe("given two nodes which both believe to own everything", () => {
  it.live(
    "when the same checkouts are confirmed on both at once, then each is ordered, authorized and captured once (REQ-GEN-10)",
    () =>
      Effect.gen(function* () {
        const url = yield* freshDatabase
        yield* migrate.pipe(Effect.provide(PgClient.layer({ url })))
        yield* Effect.gen(function* () {
          // Each has a cluster of its own: nothing but the database and the provider's keys stands between them.
          const one = yield* Layer.build(Layer.fresh(Shop.shopOn(url)))
          const other = yield* Layer.build(Layer.fresh(Shop.shopOn(url)))
          yield* Effect.gen(function* () {
            yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 20, lyon: 10 } }])
            const buyers = yield* Effect.forEach(
              Array.from({ length: 40 }),
              () => Shop.prepare({ lines: { tea: 1 } }),
              {
                concurrency: 5
              }
            )
            const confirmOn = (node: typeof one, { by, checkoutId }: (typeof buyers)[number]) => {
              const checkout = Context.get(node, Placement).client(Checkout, { timeout: Shop.patience })(checkoutId)
              const confirmKey = Shop.key()
              return checkout.Confirm({ by, confirmKey }).pipe(Effect.retry(whileBusy), Effect.result)
            }
            const results = yield* Effect.forEach(
              buyers,
              (buyer) => Effect.all([confirmOn(one, buyer), confirmOn(other, buyer)], { concurrency: 2 }),
              { concurrency: 10 }
            )
            const { ledger } = yield* PaymentProvider
            const sql = yield* SqlClient
            let confirmed = 0
            for (const [index, { checkoutId }] of buyers.entries()) {
              const [session] = yield* sql<{
                status: string
              }>`select status from checkout.sessions where id = ${checkoutId}`
              const isConfirmed = session!.status === "confirmed"
              if (isConfirmed) confirmed++
              const entries = ledger.ofCheckout(checkoutId)
              const times = (what: "authorized" | "captured" | "voided") =>
                entries.reduce((sum, entry) => sum + entry[what].times, 0)
              assert.strictEqual(times("captured"), isConfirmed ? 1 : 0)
              assert.strictEqual(times("authorized") - times("voided"), isConfirmed ? 1 : 0)
              for (const result of results[index]!) {
                if (Result.isSuccess(result)) assert.strictEqual(result.success._tag === "Confirmed", isConfirmed)
              }
            }
            assert.strictEqual(confirmed, 30)
            assert.deepStrictEqual(yield* Shop.violations, [])
          }).pipe(Effect.provide(one))
        }).pipe(Effect.provide(Shop.gateway()))
      }).pipe(Effect.scoped),
    120_000
  )

  it.live(
    "when refunds are asked for on both at once, each key on both, then no more is given back than was captured, and none twice (T-PAY-29)",
    () =>
      Effect.gen(function* () {
        const url = yield* freshDatabase
        yield* migrate.pipe(Effect.provide(PgClient.layer({ url })))
        yield* Effect.gen(function* () {
          const one = yield* Layer.build(Layer.fresh(Shop.shopOn(url)))
          const other = yield* Layer.build(Layer.fresh(Shop.shopOn(url)))
          yield* Effect.gen(function* () {
            yield* Shop.stock([{ sku: "lamp", price: 9510n, onHand: { berlin: 20 } }])
            const provider = yield* PaymentProvider
            const { checkoutId, confirm } = yield* Shop.prepare({ lines: { lamp: 1 } })
            yield* confirm()
            provider.faults.inject({ operation: "refund", fault: { _tag: "Reset", done: true }, times: 3 })
            const requestOn = (node: typeof one, key: ReturnType<typeof Shop.key>) =>
              Context.get(node, Placement)
                .client(Refunds)(checkoutId)
                .Request({ key, refund: operatorRefund(key), amount: 1500n, reason: "The handle broke" })
                .pipe(
                  Effect.retry(whileBusy),
                  Effect.result,
                  Effect.map((result) => (Result.isSuccess(result) ? "accepted" : result.failure._tag))
                )
            const told = yield* Effect.forEach(
              Array.from({ length: 10 }, () => Shop.key()),
              (key) => Effect.all([requestOn(one, key), requestOn(other, key)], { concurrency: 2 }),
              { concurrency: 10 }
            )
            for (const [left, right] of told) assert.strictEqual(left, right, "one key, one answer")
            assert.strictEqual(told.filter(([left]) => left === "accepted").length, 6)
            assert.strictEqual(told.filter(([left]) => left === "RefundTooLarge").length, 4)
            const sql = yield* SqlClient
            yield* eventually(
              sql<{ refunded: bigint }>`select refunded from payment.payments where id = ${checkoutId}`,
              ([row]) => Number(row?.refunded) === 9000
            )
            const [entry] = provider.ledger.ofCheckout(checkoutId)
            assert.deepStrictEqual(entry!.refunded, { times: 6, amount: 9000 })
            const keys = entry!.movements.flatMap(({ key, operation }) => (operation === "refund" ? [key] : []))
            assert.strictEqual(new Set(keys).size, 6)
            assert.deepStrictEqual(yield* Shop.violations, [])
          }).pipe(Effect.provide(one))
        }).pipe(Effect.provide(Shop.gateway()))
      }).pipe(Effect.scoped),
    120_000
  )

  it.live(
    "when one of them knows of earlier attempts only, then a new key there has the answer of its own attempt, and no other",
    () =>
      Effect.gen(function* () {
        const url = yield* freshDatabase
        yield* migrate.pipe(Effect.provide(PgClient.layer({ url })))
        yield* Effect.gen(function* () {
          const one = yield* Layer.build(Layer.fresh(Shop.shopOn(url)))
          const other = yield* Layer.build(Layer.fresh(Shop.shopOn(url)))
          yield* Effect.gen(function* () {
            yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 20 } }])
            const { by, checkoutId, session } = yield* Shop.prepare({
              lines: { tea: 1 },
              card: "pm_card_chargeDeclined"
            })
            const confirmOn = (node: typeof one, confirmKey: ReturnType<typeof Shop.key>) =>
              Context.get(node, Placement)
                .client(Checkout, { timeout: Shop.patience })(checkoutId)
                .Confirm({ by, confirmKey })
                .pipe(
                  Effect.retry(whileBusy),
                  Effect.result,
                  Effect.map((result) => (Result.isSuccess(result) ? result.success._tag : result.failure._tag))
                )
            const [first, second, third] = [Shop.key(), Shop.key(), Shop.key()]
            assert.strictEqual(yield* confirmOn(one, first), "PaymentDeclined")
            assert.strictEqual(yield* confirmOn(other, first), "PaymentDeclined")
            assert.strictEqual(yield* confirmOn(one, second), "PaymentDeclined")
            yield* session.SetPaymentMethod({
              key: Shop.key(),
              by,
              paymentMethod: PaymentMethodToken.make("pm_card_visa")
            })
            // The other has not heard of the second attempt, nor of the card.
            assert.strictEqual(yield* confirmOn(other, third), "Confirmed")
            for (const node of [one, other]) {
              assert.strictEqual(yield* confirmOn(node, second), "PaymentDeclined")
              assert.strictEqual(yield* confirmOn(node, third), "Confirmed")
            }
            assert.deepStrictEqual(yield* Shop.violations, [])
          }).pipe(Effect.provide(one))
        }).pipe(Effect.provide(Shop.gateway()))
      }).pipe(Effect.scoped),
    120_000
  )

  it.live(
    "when one takes over while the other's authorization is still under way, and may not call the provider, then no hold is left",
    () =>
      Effect.gen(function* () {
        const url = yield* freshDatabase
        yield* migrate.pipe(Effect.provide(PgClient.layer({ url })))
        yield* Effect.gen(function* () {
          const one = yield* Layer.build(Layer.fresh(Shop.shopOn(url)))
          const { faults, ledger } = yield* PaymentProvider
          const away = yield* Layer.build(
            MemoryGateway.layer({ ...Shop.gatewayLimits(Shop.quickLimits), breakerFailures: 1 })
          )
          yield* Effect.gen(function* () {
            yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 20 } }])
            const { checkoutId, confirm } = yield* Shop.prepare({ lines: { tea: 1 } })
            faults.inject({ operation: "create", fault: { _tag: "Unavailable" }, times: 1 })
            yield* Effect.flip(
              Context.get(away, PaymentGateway).createIntent({
                key: "of nobody",
                amount: { amount: 100n, currency: Currency.make("EUR") },
                checkoutId: "of nobody",
                customerId: "of nobody",
                paymentMethod: Redacted.make("pm_card_visa")
              })
            )
            faults.inject({ operation: "confirm", fault: { _tag: "Delay", ms: 3000 }, times: 1 })
            const confirming = yield* Effect.forkChild(Effect.result(confirm()))
            const sql = yield* SqlClient
            yield* eventually(
              sql<{ intent: string | null }>`select intent from payment.payments where id = ${checkoutId}`,
              ([payment]) => typeof payment?.intent === "string"
            )
            yield* Layer.build(Layer.fresh(Shop.shopOn(url).pipe(Layer.provide(Layer.succeedContext(away)))))
            yield* Fiber.join(confirming)
            const held = Effect.sync(() => {
              const { authorized, status } = ledger.ofCheckout(checkoutId)[0]!
              return { authorized: authorized.times, status }
            })
            yield* eventually(held, ({ authorized }) => authorized === 1)
            yield* eventually(held, ({ status }) => status === "canceled")
            assert.deepStrictEqual(yield* Shop.violations, [])
          }).pipe(Effect.provide(one))
        }).pipe(Effect.provide(Shop.gateway()))
      }).pipe(Effect.scoped),
    120_000
  )

  it.live(
    "when the one which knows of an earlier attempt only is left with a capture to retry, then it takes it to its end",
    () =>
      Effect.gen(function* () {
        const url = yield* freshDatabase
        yield* migrate.pipe(Effect.provide(PgClient.layer({ url })))
        const { checkout } = Shop.quickLimits
        const captureBackoff = { base: Duration.seconds(3), cap: Duration.seconds(3) }
        const limits = { ...Shop.quickLimits, checkout: { ...checkout, captureBackoff } }
        yield* Effect.gen(function* () {
          const alone = yield* Layer.build(Layer.fresh(Shop.shopOn(url, limits)))
          yield* Effect.gen(function* () {
            yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 20 } }])
            const { by, checkoutId, confirm, session } = yield* Shop.prepare({
              lines: { tea: 1 },
              card: "pm_card_chargeDeclined"
            })
            assert.strictEqual((yield* Effect.flip(confirm()))._tag, "PaymentDeclined")
            const paymentMethod = PaymentMethodToken.make("pm_card_visa")
            yield* session.SetPaymentMethod({ key: Shop.key(), by, paymentMethod })
            const { faults, ledger } = yield* PaymentProvider
            faults.inject({ operation: "capture", fault: { _tag: "Unavailable" }, times: 1 })
            const sql = yield* SqlClient
            const saga = Effect.map(
              sql<{ saga: string }>`select saga_state as saga from payment.payments where id = ${checkoutId}`,
              ([row]) => row?.saga
            )
            yield* Effect.gen(function* () {
              const gone = yield* Layer.build(Layer.fresh(Shop.shopOn(url, limits)))
              yield* Context.get(gone, Placement)
                .client(Checkout)(checkoutId)
                .Confirm({ by, confirmKey: Shop.key() })
                .pipe(Effect.retry(whileBusy), Effect.ignore, Effect.forkScoped)
              yield* eventually(
                sql`select id from runtime.workflows where name = 'CapturePayment'`,
                (found) => found.length === 1
              )
            }).pipe(Effect.scoped)
            assert.strictEqual(yield* saga, "capture_failed")
            yield* eventually(saga, (found) => found === "captured")
            assert.deepStrictEqual(ledger.ofCheckout(checkoutId).at(-1)!.captured, { times: 1, amount: 1740 })
            assert.deepStrictEqual(yield* Shop.violations, [])
          }).pipe(Effect.provide(alone))
        }).pipe(Effect.provide(Shop.gateway()))
      }).pipe(Effect.scoped),
    120_000
  )
})
