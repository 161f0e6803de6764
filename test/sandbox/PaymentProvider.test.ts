import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { Currency } from "../../src/domain/Money.ts"
import * as MemoryGateway from "../../src/gateways/MemoryGateway.ts"
import { PaymentGateway } from "../../src/gateways/PaymentGateway.ts"
import { PaymentProvider } from "../../src/sandbox/PaymentProvider.ts"
import { limits } from "../gateways/conformance.ts"

const price = { amount: 1_000n, currency: Currency.make("EUR") }

const refundedWith = Effect.fnUntraced(function* (card: string) {
  const gateway = yield* PaymentGateway
  const { id } = yield* gateway.createIntent({
    key: "checkout-1:intent",
    amount: price,
    checkoutId: "checkout-1",
    customerId: "customer-1",
    paymentMethod: Redacted.make(card)
  })
  yield* gateway.confirmIntent({ key: "checkout-1:auth", id })
  yield* gateway.capture({ key: "order-1:capture", id, amount: price })
  yield* gateway.refund({
    key: "order-1:refund",
    id,
    amount: price,
    checkoutId: "checkout-1",
    refund: "refund-1"
  })
})

/** Its timers end a moment before its time has come, as those of Node.js may. */
const hasty = (clock: Clock.Clock): Clock.Clock => ({
  currentTimeMillis: clock.currentTimeMillis,
  currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe(),
  currentTimeNanos: clock.currentTimeNanos,
  currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe(),
  monotonicTimeNanos: clock.monotonicTimeNanos,
  monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
  sleep: (duration) => clock.sleep(Duration.max(Duration.millis(1), Duration.subtract(duration, Duration.millis(1))))
})

describe("given a refund which ends later", () => {
  for (const [card, end] of [
    ["pm_card_pendingRefund", "succeeded"],
    ["pm_card_refundFail", "failed"]
  ] as const) {
    it.effect(`when a timer ends a moment too early, then the shop is told all the same that it has ${end}`, () =>
      Effect.gen(function* () {
        const clock = yield* Clock.Clock
        yield* Effect.gen(function* () {
          const provider = yield* PaymentProvider
          yield* refundedWith(card)
          const told: Array<string | undefined> = []
          provider.observe({ changed: ({ refund }) => void told.push(refund?.status) })
          yield* TestClock.adjust("5 seconds").pipe(Effect.provideService(Clock.Clock, clock))
          assert.deepStrictEqual(told, [end])
        }).pipe(Effect.provide(MemoryGateway.layer(limits)), Effect.provideService(Clock.Clock, hasty(clock)))
      })
    )
  }
})
