import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Layer, Logger, References } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { CustomerId, IdempotencyKey, OrderId } from "../../src/domain/Ids.ts"
import { hashedReference } from "../../src/domain/SecretHash.ts"
import { AlertSinks, logSink } from "../../src/gateways/AlertSinks.ts"
import { FailedCompensation, failedCompensationId } from "../../src/entities/failedCompensation/FailedCompensation.ts"
import { operatorRefund } from "../../src/entities/payment/Refund.ts"
import { Placement } from "../../src/runtime/Placement.ts"
import { PaymentProvider } from "../../src/sandbox/PaymentProvider.ts"
import { Refunds } from "../../src/workflows/refund/Refunds.ts"
import { eventually } from "../fixtures/Eventually.ts"
import * as Shop from "../fixtures/Shop.ts"

/** Every way in which a payment goes, and goes wrong. */
const cards = [
  "pm_card_visa",
  "pm_card_chargeDeclined",
  "pm_card_chargeDeclinedInsufficientFunds",
  "pm_card_authenticationRequired",
  "pm_sandbox_create_lost_answer",
  "pm_sandbox_authorize_503",
  "pm_sandbox_authorize_lost_answer",
  "pm_sandbox_authorize_500_stored",
  "pm_sandbox_capture_500_stored",
  "pm_sandbox_capture_503_always",
  "pm_sandbox_capture_declined",
  "pm_sandbox_void_lost_answer",
  "pm_sandbox_capture_and_void_fail_always"
]

const limits = {
  ...Shop.quickLimits,
  compensation: {
    ...Shop.quickLimits.compensation,
    backoff: { base: Duration.millis(100), cap: Duration.millis(400) }
  }
}

describe("given a shop that logs everything it can", () => {
  it.live(
    "when payments go in every way and wrong in every way, then no line has an authorization, a card's token or a client secret in it, and alerts name authorizations by their hash (REQ-SEC-02, CHECKOUT-SEC-02)",
    () => {
      const lines: Array<string> = []
      const everything = Layer.mergeAll(
        Logger.layer([
          Logger.make(({ cause, fiber, logLevel, message }) => {
            const annotations = fiber.getRef(References.CurrentLogAnnotations)
            const text = JSON.stringify([message, annotations], (_, value: unknown) =>
              typeof value === "bigint" ? value.toString() : value
            )
            lines.push(`${logLevel} ${text} ${Cause.pretty(cause)}`)
          })
        ]),
        Layer.succeed(References.MinimumLogLevel, "All")
      )
      return Effect.gen(function* () {
        const provider = yield* PaymentProvider
        const placement = yield* Placement
        const sql = yield* SqlClient
        yield* Shop.stock([{ sku: "tea", price: 700n, onHand: { berlin: 100 } }])
        const orders: Array<string> = []
        for (const card of cards) {
          const { checkoutId, confirm } = yield* Shop.prepare({ lines: { tea: 1 }, card })
          yield* Effect.exit(confirm().pipe(Effect.timeout("4 seconds")))
          orders.push(checkoutId)
        }
        const [paid] = orders
        provider.faults.inject({ operation: "refund", fault: { _tag: "ServerError", done: false }, times: 1 })
        const key = IdempotencyKey.make(Shop.fresh("refund"))
        yield* placement
          .client(Refunds)(paid!)
          .Request({ key, refund: operatorRefund(key), reason: "the handle broke", by: "olga" })
        const stuck = failedCompensationId(OrderId.make(orders.at(-1)!), "void_authorization", 1)
        const record = placement.client(FailedCompensation)(stuck)
        yield* eventually(record.GetFailedCompensation(), ({ status }) => status === "failed")
        yield* Effect.exit(record.Retry({ key: Shop.key(), by: CustomerId.make("olga") }))
        yield* Effect.sleep("500 millis")

        const intents = orders.flatMap((id) => provider.ledger.ofCheckout(id).map((entry) => entry.id))
        assert.isAbove(intents.length, 8)
        const logged = lines.join("\n")
        // The lines are there, and say what they say in other words.
        assert.isAbove(lines.length, 10)
        assert.include(logged, orders.at(-1)!)
        assert.include(logged, hashedReference(provider.ledger.ofCheckout(orders.at(-1)!)[0]!.id))
        for (const secret of [...intents, ...cards]) assert.notInclude(logged, secret)
        assert.notMatch(logged, /_secret_|sk_test_|whsec_|Bearer |eyJ[\w-]+\.[\w-]+\./)
        // Nor have the tables which people look at.
        const [told] = yield* sql<{ text: string }>`
          select (select coalesce(string_agg(a::text, ' '), '') from ops.alerts a) || (select coalesce(string_agg(a::text, ' '), '') from ops.audit a) as text`
        for (const secret of intents) assert.notInclude(told!.text, secret)
      }).pipe(
        Effect.provide(
          Shop.layer(limits).pipe(Layer.provide(Layer.succeed(AlertSinks, [logSink])), Layer.provideMerge(everything))
        )
      )
    },
    120_000
  )
})
