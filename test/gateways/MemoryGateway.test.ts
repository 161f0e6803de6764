import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import * as MemoryGateway from "../../src/gateways/MemoryGateway.ts"
import { PaymentGateway } from "../../src/gateways/PaymentGateway.ts"
import { PaymentProvider } from "../../src/sandbox/PaymentProvider.ts"
import { testTokens } from "../../src/sandbox/TestTokens.ts"
import { conforms, create, euros, giveBack, limits } from "./conformance.ts"

const layer = MemoryGateway.layer(limits)

conforms("in memory", layer, () => Effect.void)

/** Tries up to four times, a minute apart, each time with a key of its own unless told otherwise. */
const patiently = <A, E, R>(key: string, call: (key: string) => Effect.Effect<A, E, R>, sameKey = false) =>
  Effect.gen(function* () {
    for (let attempt = 1; ; attempt++) {
      const calling = yield* Effect.forkChild(call(sameKey ? key : `${key}:${attempt}`))
      yield* TestClock.adjust("1 minute")
      const exit = yield* Fiber.await(calling)
      if (Exit.isSuccess(exit) || attempt === 4) return exit
    }
  })

describe("in memory: given any card of the table", () => {
  for (const { token, authentication, decline, dispute, faults } of testTokens) {
    const always = (operation: string) =>
      faults.some((fault) => fault.operation === operation && fault.times === "always")
    const held = decline === undefined && !always("confirm")
    const taken = held && !always("capture")
    // What begins pending or comes back later has its own end.
    const [refunding] = faults.filter((fault) => fault.operation === "refund").map(({ fault }) => fault)
    const givenBack =
      refunding?._tag === "Returned" ||
      (refunding?._tag === "Pending" ? refunding.as === "succeeded" : !always("refund") && dispute === undefined)

    it.effect(`when a patient caller pays with ${token} and gives the money back, then nothing happens twice`, () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const provider = yield* PaymentProvider
        const created = yield* patiently("intent-1", (key) => create(token, { key }), true)
        const { id } = yield* created
        const confirmed = yield* patiently("auth", (key) => gateway.confirmIntent({ key, id }))
        const entry = provider.ledger.ofCheckout("checkout-1")[0]!
        if (authentication === true) {
          assert.isTrue(Exit.isSuccess(confirmed) && confirmed.value._tag === "RequiresAction")
          provider.authenticate(entry.id, true)
        } else assert.strictEqual(Exit.isSuccess(confirmed), held)
        yield* patiently("capture", (key) => gateway.capture({ key, id, amount: euros(4_999n) }))
        yield* patiently("refund", (key) => gateway.refund(giveBack(key, id, euros(4_999n))))
        yield* TestClock.adjust("5 seconds")
        const { created: made, authorized, captured, refunded } = provider.ledger.entry(entry.id)!
        assert.deepStrictEqual(
          [made.times, authorized.times, captured.times, refunded.times],
          [1, held ? 1 : 0, taken ? 1 : 0, taken && givenBack ? 1 : 0]
        )
        assert.deepStrictEqual(provider.ledger.totals().chargedTwice, [])
      }).pipe(Effect.provide(layer))
    )

    it.effect(
      `when a patient caller changes their mind after ${token}, then the hold is gone, unless voids never work`,
      () =>
        Effect.gen(function* () {
          const gateway = yield* PaymentGateway
          const provider = yield* PaymentProvider
          const { id } = yield* yield* patiently("intent-1", (key) => create(token, { key }), true)
          yield* patiently("auth", (key) => gateway.confirmIntent({ key, id }))
          const voided = yield* patiently("void", (key) => gateway.void({ key, id }))
          assert.strictEqual(Exit.isSuccess(voided), !always("cancel"))
          const entry = provider.ledger.ofCheckout("checkout-1")[0]!
          assert.deepStrictEqual([entry.voided.times, entry.captured.times], [always("cancel") ? 0 : 1, 0])
        }).pipe(Effect.provide(layer))
    )
  }
})
