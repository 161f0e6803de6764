/** What every `PaymentGateway` keeps to, whoever the provider is. Run against each adapter by its own test. */
import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Duration, Effect, Exit, Fiber, Logger, Redacted, Schedule } from "effect"
import type { Layer } from "effect"
import { TestClock } from "effect/testing"
import { Currency } from "../../src/domain/Money.ts"
import type { Money } from "../../src/domain/Money.ts"
import type { Intent, IntentId, PaymentGatewayLimits, TransportError } from "../../src/gateways/PaymentGateway.ts"
import { PaymentGateway } from "../../src/gateways/PaymentGateway.ts"
import type { Fault, Operation } from "../../src/sandbox/Faults.ts"
import { PaymentProvider } from "../../src/sandbox/PaymentProvider.ts"

/** Those of production: time is the test's. N-001, N-036. */
export const limits: PaymentGatewayLimits = {
  timeout: Duration.seconds(15),
  breakerFailures: 5,
  breakerWindow: Duration.seconds(10),
  breakerOpen: Duration.seconds(30)
}

export const euros = (amount: bigint): Money => ({ amount, currency: Currency.make("EUR") })

export const create = (token: string, options: { readonly key?: string; readonly amount?: Money } = {}) =>
  Effect.flatMap(PaymentGateway, (gateway) =>
    gateway.createIntent({
      key: options.key ?? "checkout-1:intent",
      amount: options.amount ?? euros(4_999n),
      checkoutId: "checkout-1",
      customerId: "customer-1",
      paymentMethod: Redacted.make(token)
    })
  )

export const giveBack = (key: string, id: IntentId, amount: Money) => ({
  key,
  id,
  amount,
  checkoutId: "checkout-1",
  refund: `refund-of-${key}`
})

/** An intent with a hold. */
export const authorized = (token: string) =>
  Effect.gen(function* () {
    const gateway = yield* PaymentGateway
    const { id } = yield* create(token)
    yield* gateway.confirmIntent({ key: "checkout-1:auth", id })
    return id
  })

/** Waits for real until the provider has seen so many calls: the network does not keep to a test's clock. */
export const arrived = (operation: Operation, times: number) =>
  Effect.gen(function* () {
    const provider = yield* PaymentProvider
    const seen = provider.ledger.totals().calls[operation] ?? 0
    if (seen < times) return yield* Effect.fail(`${seen} of ${times} calls of ${operation} have arrived`)
  }).pipe(
    Effect.retry(Schedule.spaced("5 millis").pipe(Schedule.upTo({ duration: "5 seconds" }))),
    Effect.orDie,
    TestClock.withLive
  )

/** Lets time pass in small steps, with answers of the network between them. */
const passing = (time: Duration.Input) =>
  Effect.andThen(TestClock.adjust("50 millis"), TestClock.withLive(Effect.sleep("2 millis"))).pipe(
    Effect.repeat({ times: Duration.toMillis(Duration.fromInputUnsafe(time)) / 50 - 1 })
  )

const ledgerEntry = Effect.map(PaymentProvider, ({ ledger }) => {
  const [entry, ...others] = ledger.ofCheckout("checkout-1")
  assert.isDefined(entry)
  assert.deepStrictEqual(others, [], "one intent for one checkout")
  return entry
})

const tagOf = (intent: Intent): string => intent._tag

/** `reachable` waits until the provider can be reached, or no more: going down takes a network a moment. */
export const conforms = <R, E>(
  adapter: string,
  layer: Layer.Layer<PaymentGateway | PaymentProvider | R, E>,
  reachable: (expected: boolean) => Effect.Effect<void, unknown, R>
): void => {
  const scenario = (name: string, test: () => Effect.Effect<unknown, unknown, PaymentGateway | PaymentProvider | R>) =>
    it.effect(name, () => Effect.provide(test(), layer))

  describe(`${adapter}: given a card that works`, () => {
    scenario("when an intent is made, then no card is touched", () =>
      Effect.gen(function* () {
        assert.strictEqual((yield* create("pm_card_visa"))._tag, "Unconfirmed")
        assert.deepStrictEqual((yield* ledgerEntry).authorized, { times: 0, amount: 0 })
      })
    )

    scenario("when it is confirmed and captured, then each happened once and for the whole amount", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const { id } = yield* create("pm_card_visa")
        const held = yield* gateway.confirmIntent({ key: "checkout-1:auth", id })
        assert.strictEqual(held._tag, "Authorized")
        if (held._tag === "Authorized") {
          assert.strictEqual(held.amount, 4_999n)
          assert.strictEqual(held.capturableUntil?.epochMilliseconds, 7 * 24 * 60 * 60 * 1000)
        }
        const taken = yield* gateway.capture({ key: "order-1:capture", id, amount: euros(4_999n) })
        assert.deepStrictEqual(
          { ...taken, id: Redacted.value(taken.id) },
          {
            _tag: "Captured",
            id: Redacted.value(id),
            amount: 4_999n,
            refunded: 0n
          }
        )
        const entry = yield* ledgerEntry
        assert.deepStrictEqual(entry.authorized, { times: 1, amount: 4_999 })
        assert.deepStrictEqual(entry.captured, { times: 1, amount: 4_999 })
        assert.deepStrictEqual(entry.metadata, { checkout: "checkout-1", customer: "customer-1" })
      })
    )

    scenario("when every write is repeated with its key, then it is answered alike and happens once", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const first = yield* create("pm_card_visa")
        const second = yield* create("pm_card_visa")
        assert.strictEqual(Redacted.value(first.id), Redacted.value(second.id))
        const { id } = first
        const confirm = gateway.confirmIntent({ key: "checkout-1:auth", id })
        const capture = gateway.capture({ key: "order-1:capture", id, amount: euros(4_999n) })
        const refund = gateway.refund(giveBack("order-1:refund", id, euros(1_000n)))
        assert.deepStrictEqual([tagOf(yield* confirm), tagOf(yield* confirm)], ["Authorized", "Authorized"])
        assert.deepStrictEqual([tagOf(yield* capture), tagOf(yield* capture)], ["Captured", "Captured"])
        const refunds = [yield* refund, yield* refund].map((made) => Redacted.value(made.id))
        assert.strictEqual(refunds[0], refunds[1])
        const entry = yield* ledgerEntry
        assert.deepStrictEqual(
          entry.movements.map(({ operation, key }) => [operation, key]),
          [
            ["create", "checkout-1:intent"],
            ["authorize", "checkout-1:auth"],
            ["capture", "order-1:capture"],
            ["refund", "order-1:refund"]
          ]
        )
        assert.deepStrictEqual(entry.calls, { create: 2, confirm: 2, capture: 2, refund: 2 })
      })
    )

    scenario("when a write is repeated with another key, then the intent is found as it should become", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const id = yield* authorized("pm_card_visa")
        assert.strictEqual((yield* gateway.confirmIntent({ key: "checkout-1:auth:2", id }))._tag, "Authorized")
        yield* gateway.capture({ key: "order-1:capture", id, amount: euros(4_999n) })
        assert.strictEqual(
          (yield* gateway.capture({ key: "order-1:capture:2", id, amount: euros(4_999n) }))._tag,
          "Captured"
        )
        const other = yield* Effect.flip(gateway.capture({ key: "order-1:capture:3", id, amount: euros(1n) }))
        assert.strictEqual(other._tag, "NotPossible")
        assert.strictEqual((yield* ledgerEntry).captured.times, 1)
      })
    )

    scenario("when a key is used again with another amount, then that is not possible, and nothing happens", () =>
      Effect.gen(function* () {
        yield* create("pm_card_visa")
        const error = yield* Effect.flip(create("pm_card_visa", { amount: euros(1n) }))
        assert.deepInclude(error, { _tag: "NotPossible", code: "idempotency_error" })
        assert.strictEqual((yield* ledgerEntry).amount, 4_999)
      })
    )

    scenario("when part of the hold is captured, then what was let go does not count as refunded", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const id = yield* authorized("pm_card_visa")
        yield* gateway.capture({ key: "order-1:capture", id, amount: euros(3_000n) })
        yield* gateway.refund(giveBack("order-1:refund", id, euros(500n)))
        const found = yield* gateway.retrieve(id)
        assert.deepInclude(found, { _tag: "Captured", amount: 3_000n, refunded: 500n })
      })
    )

    scenario("when more is asked for than was held or taken, then it is not possible", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const id = yield* authorized("pm_card_visa")
        const tooMuch = yield* Effect.flip(gateway.capture({ key: "order-1:capture", id, amount: euros(5_000n) }))
        assert.deepInclude(tooMuch, { _tag: "NotPossible", code: "amount_too_large" })
        const early = yield* Effect.flip(gateway.refund(giveBack("order-1:refund", id, euros(1n))))
        assert.strictEqual(early._tag, "NotPossible")
        yield* gateway.capture({ key: "order-1:capture:2", id, amount: euros(4_999n) })
        yield* gateway.refund(giveBack("order-1:refund:2", id, euros(4_000n)))
        const beyond = yield* Effect.flip(gateway.refund(giveBack("order-1:refund:3", id, euros(1_000n))))
        assert.strictEqual(beyond._tag, "NotPossible")
        yield* gateway.refund(giveBack("order-1:refund:4", id, euros(999n)))
        const nothingLeft = yield* Effect.flip(gateway.refund(giveBack("order-1:refund:5", id, euros(1n))))
        assert.deepInclude(nothingLeft, { _tag: "NotPossible", code: "charge_already_refunded" })
        assert.deepStrictEqual((yield* ledgerEntry).refunded, { times: 2, amount: 4_999 })
      })
    )

    scenario("when the intent is not known, then it cannot be looked up", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const error = yield* Effect.flip(gateway.retrieve(Redacted.make("pi_unknown")))
        assert.deepInclude(error, { _tag: "NotPossible", code: "resource_missing" })
      })
    )

    for (const currency of ["ISK", "UGX", "JPY", "KWD"]) {
      scenario(`when the price is in ${currency}, then it comes back as it went out`, () =>
        Effect.gen(function* () {
          const gateway = yield* PaymentGateway
          const amount = { amount: 4_990n, currency: Currency.make(currency) }
          const { id } = yield* create("pm_card_visa", { amount })
          assert.deepInclude(yield* gateway.confirmIntent({ key: "checkout-1:auth", id }), { amount: 4_990n })
          assert.deepInclude(yield* gateway.capture({ key: "order-1:capture", id, amount }), { amount: 4_990n })
          assert.strictEqual((yield* ledgerEntry).captured.amount, ["ISK", "UGX"].includes(currency) ? 499_000 : 4_990)
        })
      )
    }
  })

  describe(`${adapter}: given a hold`, () => {
    scenario("when it is voided, twice with two keys, then it is gone once", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const id = yield* authorized("pm_card_visa")
        assert.strictEqual((yield* gateway.void({ key: "order-1:void", id }))._tag, "Voided")
        assert.strictEqual((yield* gateway.void({ key: "order-1:void:2", id }))._tag, "Voided")
        assert.deepStrictEqual((yield* ledgerEntry).voided, { times: 1, amount: 4_999 })
      })
    )

    scenario("when it was voided, then it can no longer be captured", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const id = yield* authorized("pm_card_visa")
        yield* gateway.void({ key: "order-1:void", id })
        const error = yield* Effect.flip(gateway.capture({ key: "order-1:capture", id, amount: euros(4_999n) }))
        assert.deepInclude(error, { _tag: "NotPossible", code: "payment_intent_unexpected_state" })
        assert.strictEqual((yield* ledgerEntry).captured.times, 0)
      })
    )

    scenario("when it was captured, then it can no longer be voided", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const id = yield* authorized("pm_card_visa")
        yield* gateway.capture({ key: "order-1:capture", id, amount: euros(4_999n) })
        assert.strictEqual((yield* Effect.flip(gateway.void({ key: "order-1:void", id })))._tag, "NotPossible")
        assert.strictEqual((yield* gateway.retrieve(id))._tag, "Captured")
      })
    )

    scenario("when seven days have passed, then it has lapsed", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const id = yield* authorized("pm_card_visa")
        yield* TestClock.adjust("7 days")
        assert.strictEqual((yield* gateway.retrieve(id))._tag, "Voided")
        const error = yield* Effect.flip(gateway.capture({ key: "order-1:capture", id, amount: euros(4_999n) }))
        assert.strictEqual(error._tag, "NotPossible")
      })
    )
  })

  describe(`${adapter}: given an unconfirmed intent`, () => {
    scenario("when it is voided, then it can never be confirmed", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const { id } = yield* create("pm_card_visa")
        assert.strictEqual((yield* gateway.void({ key: "order-1:void", id }))._tag, "Voided")
        const error = yield* Effect.flip(gateway.confirmIntent({ key: "checkout-1:auth", id }))
        assert.deepInclude(error, { _tag: "NotPossible", code: "payment_intent_unexpected_state" })
        const entry = yield* ledgerEntry
        assert.deepStrictEqual([entry.authorized.times, entry.voided], [0, { times: 1, amount: 0 }])
      })
    )
  })

  describe(`${adapter}: given a card that is declined`, () => {
    for (const [token, code] of [
      ["pm_card_chargeDeclined", "generic_decline"],
      ["pm_card_visa_chargeDeclined", "generic_decline"],
      ["pm_card_chargeDeclinedInsufficientFunds", "insufficient_funds"],
      ["pm_card_chargeDeclinedExpiredCard", "expired_card"]
    ] as const) {
      scenario(`when ${token} is confirmed, also twice and with another key, then it is declined (${code})`, () =>
        Effect.gen(function* () {
          const gateway = yield* PaymentGateway
          const { id } = yield* create(token)
          for (const key of ["checkout-1:auth", "checkout-1:auth", "checkout-1:auth:2"]) {
            const error = yield* Effect.flip(gateway.confirmIntent({ key, id }))
            assert.deepInclude(error, { _tag: "Declined", code })
          }
          const found = yield* gateway.retrieve(id)
          assert.strictEqual(found._tag === "Unconfirmed" ? found.declined?.code : undefined, code)
          assert.strictEqual(
            (yield* ledgerEntry).movements.filter(({ operation }) => operation === "decline").length,
            1
          )
        })
      )
    }

    scenario("when ten are declined, then the breaker stays closed", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        for (let attempt = 0; attempt < 10; attempt++) {
          const { id } = yield* create("pm_card_chargeDeclined", { key: `intent ${attempt}` })
          yield* Effect.flip(gateway.confirmIntent({ key: `auth ${attempt}`, id }))
        }
        assert.strictEqual(yield* gateway.breakerState, "closed")
      })
    )
  })

  describe(`${adapter}: given a card whose owner is asked`, () => {
    scenario("when they prove who they are, then the hold is there and can be captured", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const provider = yield* PaymentProvider
        const { id } = yield* create("pm_card_authenticationRequired")
        const asked = yield* gateway.confirmIntent({ key: "checkout-1:auth", id })
        assert.strictEqual(asked._tag, "RequiresAction")
        if (asked._tag === "RequiresAction") {
          assert.match(Redacted.value(asked.clientSecret), new RegExp(`^${Redacted.value(id)}_secret_`))
        }
        provider.authenticate(Redacted.value(id), true)
        assert.strictEqual((yield* gateway.retrieve(id))._tag, "Authorized")
        assert.strictEqual(
          (yield* gateway.capture({ key: "order-1:capture", id, amount: euros(4_999n) }))._tag,
          "Captured"
        )
      })
    )

    scenario("when they fail to, then the payment is declined", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const provider = yield* PaymentProvider
        const { id } = yield* create("pm_card_authenticationRequired")
        yield* gateway.confirmIntent({ key: "checkout-1:auth", id })
        provider.authenticate(Redacted.value(id), false)
        const found = yield* gateway.retrieve(id)
        assert.strictEqual(
          found._tag === "Unconfirmed" ? found.declined?.code : undefined,
          "payment_intent_authentication_failure"
        )
        assert.strictEqual(
          (yield* Effect.flip(gateway.confirmIntent({ key: "checkout-1:auth:2", id })))._tag,
          "Declined"
        )
      })
    )

    scenario("when they never answer, then the intent can be voided", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const { id } = yield* create("pm_card_authenticationRequired")
        yield* gateway.confirmIntent({ key: "checkout-1:auth", id })
        assert.strictEqual((yield* gateway.void({ key: "order-1:void", id }))._tag, "Voided")
      })
    )
  })

  describe(`${adapter}: given an answer which does not come`, () => {
    scenario("when authorizing takes 20 s, then the outcome is unknown after 15 s, and a lookup decides later", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const { id } = yield* create("pm_sandbox_slow_authorize_20s")
        const confirming = yield* Effect.forkChild(Effect.flip(gateway.confirmIntent({ key: "checkout-1:auth", id })))
        yield* arrived("confirm", 1)
        yield* TestClock.adjust("15 seconds")
        assert.deepInclude(yield* Fiber.join(confirming), { _tag: "OutcomeUnknown", afterMs: 15_000 })
        assert.strictEqual((yield* gateway.retrieve(id))._tag, "Unconfirmed", "still at work")

        // Meanwhile the intent is locked: a void is turned away, and may be repeated with its key.
        const voiding = yield* Effect.forkChild(Effect.flip(gateway.void({ key: "order-1:void", id })))
        yield* arrived("cancel", 1)
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual((yield* Fiber.join(voiding))._tag, "ProviderUnavailable")

        // With the same key it is not sent to the issuer twice: the repeat waits a little, and hears what came of the first.
        const again = yield* Effect.forkChild(gateway.confirmIntent({ key: "checkout-1:auth", id }))
        yield* passing("5 seconds")
        assert.strictEqual((yield* Fiber.join(again))._tag, "Authorized")
        assert.strictEqual((yield* gateway.retrieve(id))._tag, "Authorized")
        assert.strictEqual((yield* gateway.confirmIntent({ key: "checkout-1:auth", id }))._tag, "Authorized")
        assert.strictEqual((yield* gateway.void({ key: "order-1:void", id }))._tag, "Voided")
        const entry = yield* ledgerEntry
        assert.deepStrictEqual([entry.authorized.times, entry.voided.times], [1, 1])
      })
    )

    scenario("when the caller is interrupted, then the work goes on, and a lookup finds it", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const { id } = yield* create("pm_sandbox_slow_authorize_20s")
        const confirming = yield* Effect.forkChild(gateway.confirmIntent({ key: "checkout-1:auth", id }))
        yield* arrived("confirm", 1)
        yield* Fiber.interrupt(confirming)
        yield* TestClock.adjust("20 seconds")
        assert.strictEqual((yield* gateway.retrieve(id))._tag, "Authorized")
        assert.strictEqual(yield* gateway.breakerState, "closed")
      })
    )

    scenario("when a void waits for work which ends soon, then it comes after it", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const provider = yield* PaymentProvider
        const { id } = yield* create("pm_card_visa")
        provider.faults.inject({ operation: "confirm", times: 1, fault: { _tag: "Delay", ms: 1_000 } })
        const confirming = yield* Effect.forkChild(gateway.confirmIntent({ key: "checkout-1:auth", id }))
        yield* arrived("confirm", 1)
        const voiding = yield* Effect.forkChild(gateway.void({ key: "order-1:void", id }))
        yield* arrived("cancel", 1)
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* Fiber.join(confirming))._tag, "Authorized")
        assert.strictEqual((yield* Fiber.join(voiding))._tag, "Voided")
        assert.deepStrictEqual((yield* ledgerEntry).voided, { times: 1, amount: 4_999 })
      })
    )

    for (const token of ["pm_sandbox_authorize_lost_answer", "pm_sandbox_authorize_500_but_done"]) {
      scenario(`when the card is ${token}, then a lookup finds the hold`, () =>
        Effect.gen(function* () {
          const gateway = yield* PaymentGateway
          const { id } = yield* create(token)
          const error = yield* Effect.flip(gateway.confirmIntent({ key: "checkout-1:auth", id }))
          assert.deepInclude(error, { _tag: "OutcomeUnknown", service: "payment" })
          assert.notProperty(error, "afterMs", "it was not time which ran out")
          assert.strictEqual("answered" in error && error.answered, token === "pm_sandbox_authorize_500_but_done")
          assert.strictEqual((yield* gateway.retrieve(id))._tag, "Authorized")
          const entry = yield* ledgerEntry
          assert.deepStrictEqual([entry.authorized.times, entry.calls.confirm], [1, 1], "one call is sent once")
        })
      )
    }

    scenario("when a failure was stored under the key, then only another key gets on", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const { id } = yield* create("pm_sandbox_authorize_500_stored")
        for (let attempt = 0; attempt < 2; attempt++) {
          const error = yield* Effect.flip(gateway.confirmIntent({ key: "checkout-1:auth", id }))
          assert.strictEqual(error._tag, "OutcomeUnknown")
        }
        assert.strictEqual((yield* gateway.retrieve(id))._tag, "Unconfirmed")
        assert.strictEqual((yield* gateway.confirmIntent({ key: "checkout-1:auth:2", id }))._tag, "Authorized")
      })
    )

    for (const token of ["pm_sandbox_capture_lost_answer", "pm_sandbox_capture_silent"]) {
      scenario(`when the card is ${token}, then a lookup finds the money taken, and a repeat takes none`, () =>
        Effect.gen(function* () {
          const gateway = yield* PaymentGateway
          const id = yield* authorized(token)
          const capture = gateway.capture({ key: "order-1:capture", id, amount: euros(4_999n) })
          const capturing = yield* Effect.forkChild(Effect.flip(capture))
          yield* arrived("capture", 1)
          yield* TestClock.adjust("15 seconds")
          assert.strictEqual((yield* Fiber.join(capturing))._tag, "OutcomeUnknown")
          assert.strictEqual((yield* gateway.retrieve(id))._tag, "Captured")
          assert.strictEqual((yield* capture)._tag, "Captured")
          assert.strictEqual((yield* Effect.flip(gateway.void({ key: "order-1:void", id })))._tag, "NotPossible")
          assert.deepStrictEqual((yield* ledgerEntry).captured, { times: 1, amount: 4_999 })
        })
      )
    }

    scenario("when the answer to an intent's making is lost, then the same key finds it", () =>
      Effect.gen(function* () {
        assert.strictEqual((yield* Effect.flip(create("pm_sandbox_create_lost_answer")))._tag, "OutcomeUnknown")
        assert.strictEqual((yield* create("pm_sandbox_create_lost_answer"))._tag, "Unconfirmed")
        assert.strictEqual((yield* ledgerEntry).created.times, 1)
      })
    )

    scenario("when a refund's answer is lost, then the same key finds it", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const id = yield* authorized("pm_sandbox_refund_lost_answer")
        yield* gateway.capture({ key: "order-1:capture", id, amount: euros(4_999n) })
        const refund = gateway.refund(giveBack("order-1:refund", id, euros(1_000n)))
        assert.strictEqual((yield* Effect.flip(refund))._tag, "OutcomeUnknown")
        assert.deepInclude(yield* gateway.retrieve(id), { refunded: 1_000n })
        const [found, ...others] = yield* gateway.refunds(id)
        assert.deepStrictEqual(others, [])
        assert.deepInclude(found, { key: "order-1:refund", status: "completed", amount: 1_000n })
        assert.strictEqual(Redacted.value((yield* refund).id), Redacted.value(found!.id))
        assert.deepStrictEqual((yield* ledgerEntry).refunded, { times: 1, amount: 1_000 })
      })
    )

    scenario("when a refund is pending and then fails, then that is said in answer and in the list", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const id = yield* authorized("pm_sandbox_refund_pending_then_fails")
        yield* gateway.capture({ key: "order-1:capture", id, amount: euros(4_999n) })
        const made = yield* gateway.refund(giveBack("order-1:refund", id, euros(1_000n)))
        assert.deepInclude(made, { key: "order-1:refund", status: "pending" })
        yield* TestClock.adjust("10 seconds")
        const [found] = yield* gateway.refunds(id)
        assert.deepInclude(found, { key: "order-1:refund", status: "failed", failure: "lost_or_stolen_card" })
        assert.deepStrictEqual((yield* ledgerEntry).refunded, { times: 0, amount: 0 })
      })
    )

    scenario("when there are more refunds than the provider gives at once, then all are listed, newest first", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const id = yield* authorized("pm_card_visa")
        yield* gateway.capture({ key: "order-1:capture", id, amount: euros(4_999n) })
        for (let number = 1; number <= 101; number++) {
          yield* gateway.refund(giveBack(`order-1:refund:${number}`, id, euros(10n)))
        }
        assert.deepStrictEqual(
          (yield* gateway.refunds(id)).map(({ key }) => key),
          Array.from({ length: 101 }, (_, index) => `order-1:refund:${101 - index}`)
        )
      })
    )

    scenario(
      "when all intents of a time are listed, then each is there once, newest first, as a lookup would have it",
      () =>
        Effect.gen(function* () {
          const gateway = yield* PaymentGateway
          const from = yield* DateTime.now
          const captured = yield* authorized("pm_card_visa")
          yield* gateway.capture({ key: "order-1:capture", id: captured, amount: euros(4_999n) })
          yield* gateway.refund(giveBack("order-1:refund", captured, euros(1_000n)))
          for (let number = 1; number <= 101; number++) {
            yield* create("pm_card_visa", { key: `order-2:create:${number}`, amount: euros(BigInt(100 + number)) })
          }
          yield* TestClock.adjust("2 seconds")
          const before = yield* DateTime.now
          yield* create("pm_card_visa", { key: "order-3:create" })
          const first = yield* gateway.list({ from, before })
          assert.lengthOf(first.intents, 100)
          const second = yield* gateway.list({ from, before, after: first.next! })
          assert.isUndefined(second.next)
          const all = [...first.intents, ...second.intents]
          assert.strictEqual(new Set(all.map(({ intent }) => Redacted.value(intent.id))).size, 102)
          const oldest = all.at(-1)!
          assert.deepInclude(oldest, { checkoutId: "checkout-1", currency: Currency.make("EUR") })
          assert.deepInclude(oldest.intent, { _tag: "Captured", amount: 4_999n, refunded: 1_000n })
          assert.strictEqual(Redacted.value(oldest.intent.id), Redacted.value(captured))
          assert.isTrue(all.every(({ createdAt }) => DateTime.isLessThan(createdAt, before)))
          assert.deepStrictEqual((yield* gateway.list({ from: before, before })).intents, [])
        })
    )

    scenario("when a capture is answered with 503 twice, then the third with the same key takes the money", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const id = yield* authorized("pm_sandbox_capture_503_twice")
        const capture = gateway.capture({ key: "order-1:capture", id, amount: euros(4_999n) })
        const error = yield* Effect.flip(capture)
        assert.deepInclude(error, { _tag: "OutcomeUnknown", service: "payment" })
        assert.notProperty(error, "answered", "it was not the API that spoke, so the key is free")
        assert.strictEqual((yield* gateway.retrieve(id))._tag, "Authorized")
        assert.strictEqual((yield* Effect.flip(capture))._tag, "OutcomeUnknown")
        assert.strictEqual((yield* capture)._tag, "Captured")
        assert.deepStrictEqual((yield* ledgerEntry).calls, { create: 1, confirm: 1, capture: 3, retrieve: 1 })
      })
    )

    scenario("when a capture is refused for good, then it is not possible, and the hold can still be voided", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const id = yield* authorized("pm_sandbox_capture_declined")
        const error = yield* Effect.flip(gateway.capture({ key: "order-1:capture", id, amount: euros(4_999n) }))
        assert.deepInclude(error, { _tag: "NotPossible", code: "charge_expired_for_capture" })
        assert.strictEqual((yield* gateway.void({ key: "order-1:void", id }))._tag, "Voided")
      })
    )

    scenario("when the provider is still at work on a confirmed intent, then it says so until it is done", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const { id } = yield* create("pm_sandbox_authorize_processing_30s")
        assert.strictEqual((yield* gateway.confirmIntent({ key: "checkout-1:auth", id }))._tag, "Processing")
        assert.strictEqual((yield* Effect.flip(gateway.void({ key: "order-1:void", id })))._tag, "NotPossible")
        yield* TestClock.adjust("30 seconds")
        assert.strictEqual((yield* gateway.retrieve(id))._tag, "Authorized")
      })
    )

    scenario("when the provider has too much to do, then nothing was done, and it says when to come back", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const provider = yield* PaymentProvider
        provider.faults.inject({ operation: "create", times: 6, fault: { _tag: "RateLimited", retryAfterSeconds: 7 } })
        for (let attempt = 0; attempt < 6; attempt++) {
          const error = yield* Effect.flip(create("pm_card_visa"))
          assert.deepInclude(error, { _tag: "ProviderUnavailable", retryAfter: Duration.seconds(7) })
        }
        assert.strictEqual(yield* gateway.breakerState, "closed", "a busy provider is not an ill one")
        assert.strictEqual((yield* create("pm_card_visa"))._tag, "Unconfirmed")
      })
    )
  })

  describe(`${adapter}: given a provider which fails`, () => {
    const failing = (times: number) =>
      Effect.gen(function* () {
        const provider = yield* PaymentProvider
        provider.faults.inject({ operation: "create", times, fault: { _tag: "Unavailable" } })
        for (let attempt = 0; attempt < times; attempt++) {
          assert.strictEqual((yield* Effect.flip(create("pm_card_visa")))._tag, "OutcomeUnknown")
        }
      })

    scenario("when it fails five times in 10 s, then calls are refused for 30 s without being sent", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const { ledger } = yield* PaymentProvider
        yield* failing(4)
        assert.strictEqual(yield* gateway.breakerState, "closed")
        yield* TestClock.adjust("9 seconds")
        yield* failing(1)
        assert.strictEqual(yield* gateway.breakerState, "open")
        yield* TestClock.adjust("10 seconds")
        const error = yield* Effect.flip(create("pm_card_visa"))
        assert.deepInclude(error, { _tag: "ProviderUnavailable", retryAfter: Duration.seconds(20) })
        assert.strictEqual(ledger.totals().calls.create, 5)
      })
    )

    scenario("when the failures lie further apart, then the breaker stays closed", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        yield* failing(4)
        yield* TestClock.adjust("10 seconds")
        yield* failing(4)
        assert.strictEqual(yield* gateway.breakerState, "closed")
      })
    )

    scenario("when calls succeed between the failures, then the breaker opens all the same", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        for (let attempt = 0; attempt < 5; attempt++) {
          yield* failing(1)
          if (attempt < 4) yield* create("pm_card_visa")
        }
        assert.strictEqual(yield* gateway.breakerState, "open")
      })
    )

    scenario("when it times out, then that counts too", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const provider = yield* PaymentProvider
        provider.faults.inject({ operation: "create", times: 5, fault: { _tag: "Silence", done: false } })
        const waiting = yield* Effect.forkChild(
          Effect.forEach(
            [1, 2, 3, 4, 5],
            (number) => Effect.exit(create("pm_card_visa", { key: `intent ${number}` })),
            {
              concurrency: 5
            }
          )
        )
        yield* arrived("create", 5)
        yield* TestClock.adjust("15 seconds")
        assert.isTrue((yield* Fiber.join(waiting)).every(Exit.isFailure))
        assert.strictEqual(yield* gateway.breakerState, "open")
      })
    )

    scenario("when the breaker is open, then lookups and voids pass all the same", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const id = yield* authorized("pm_card_visa")
        yield* failing(5)
        assert.strictEqual((yield* gateway.retrieve(id))._tag, "Authorized")
        assert.strictEqual((yield* gateway.void({ key: "order-1:void", id }))._tag, "Voided")
        assert.strictEqual(yield* gateway.breakerState, "open", "it stays open for its time")
        const refused = yield* Effect.flip(gateway.confirmIntent({ key: "checkout-1:auth:2", id }))
        assert.strictEqual(refused._tag, "ProviderUnavailable")
      })
    )

    scenario("when the breaker is open, then few lookups are under way at once, and none waits for ever", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const provider = yield* PaymentProvider
        const id = yield* authorized("pm_card_visa")
        yield* failing(5)
        provider.faults.inject({ operation: "retrieve", times: "always", fault: { _tag: "Silence", done: false } })
        const waiting = yield* Effect.forkChild(
          Effect.forEach([1, 2, 3, 4, 5, 6], () => Effect.flip(gateway.retrieve(id)), { concurrency: 6 })
        )
        yield* arrived("retrieve", 4)
        yield* TestClock.adjust("15 seconds")
        // Those which waited have either been turned away by now or sent at the last moment.
        yield* TestClock.adjust("15 seconds")
        const outcomes = (yield* Fiber.join(waiting)).map(({ _tag }) => _tag)
        assert.isAtLeast(outcomes.filter((tag) => tag === "OutcomeUnknown").length, 4)
        assert.notInclude(outcomes, "NotPossible")
      })
    )

    scenario("when the open time is over and a call succeeds, then the breaker closes", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        yield* failing(5)
        yield* TestClock.adjust("30 seconds")
        assert.strictEqual(yield* gateway.breakerState, "half-open")
        assert.strictEqual((yield* create("pm_card_visa"))._tag, "Unconfirmed")
        assert.strictEqual(yield* gateway.breakerState, "closed")
        yield* failing(4)
        assert.strictEqual(yield* gateway.breakerState, "closed", "it counts anew")
      })
    )

    scenario("when the open time is over and a call fails, then the breaker opens again at once", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        yield* failing(5)
        yield* TestClock.adjust("30 seconds")
        yield* failing(1)
        assert.strictEqual(yield* gateway.breakerState, "open")
        assert.strictEqual((yield* Effect.flip(create("pm_card_visa")))._tag, "ProviderUnavailable")
      })
    )

    scenario("when one call tests the water, then others are refused until it is back", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const provider = yield* PaymentProvider
        yield* failing(5)
        yield* TestClock.adjust("30 seconds")
        provider.faults.inject({ operation: "create", times: 1, fault: { _tag: "Delay", ms: 1_000 } })
        const probe = yield* Effect.forkChild(create("pm_card_visa"))
        yield* arrived("create", 6)
        assert.strictEqual(yield* gateway.breakerState, "half-open")
        assert.strictEqual((yield* Effect.flip(create("pm_card_visa", { key: "another" })))._tag, "ProviderUnavailable")
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(probe)
        assert.strictEqual(yield* gateway.breakerState, "closed")
      })
    )

    scenario("when nobody takes the connection, then nothing was sent, and that counts against it", () =>
      Effect.gen(function* () {
        const gateway = yield* PaymentGateway
        const provider = yield* PaymentProvider
        provider.faults.inject({ operation: "any", times: 1, fault: { _tag: "Down", ms: 60_000 } })
        yield* reachable(false)
        for (let attempt = 0; attempt < 5; attempt++) {
          assert.strictEqual((yield* Effect.flip(create("pm_card_visa")))._tag, "ProviderUnavailable")
        }
        assert.strictEqual(yield* gateway.breakerState, "open")
        yield* TestClock.adjust("60 seconds")
        yield* reachable(true)
        assert.strictEqual((yield* create("pm_card_visa"))._tag, "Unconfirmed")
      })
    )
  })

  describe(`${adapter}: given a log which everybody may read`, () => {
    scenario(
      "when calls go wrong in every way, then no id, secret or token of a payment is in it, nor in an error",
      () =>
        Effect.gen(function* () {
          const gateway = yield* PaymentGateway
          const provider = yield* PaymentProvider
          const lines: Array<string> = []
          const logger = Logger.make((entry) => {
            lines.push(inspect(entry.message, { depth: 9 }), inspect(entry.cause, { depth: 9 }))
          })
          const faults: ReadonlyArray<Fault> = [
            { _tag: "Unavailable" },
            { _tag: "ServerError", done: true },
            { _tag: "Reset", done: false },
            { _tag: "RateLimited", retryAfterSeconds: 1 },
            { _tag: "Refused", code: "refused", message: "No such payment_intent: 'pi_1'" }
          ]
          const secrets = [/pi_\w/, /pm_/, /sk_test/, /_secret_/, /ch_\w/, /re_\w/]
          const attempt = (number: number) => {
            const key = `attempt-${number}`
            return Effect.gen(function* () {
              const made = yield* create("pm_card_chargeDeclined", { key })
              const { id } = made
              const failures = yield* Effect.forEach(
                [
                  gateway.confirmIntent({ key: `${key}:auth`, id }),
                  gateway.capture({ key: `${key}:capture`, id, amount: euros(1n) }),
                  gateway.refund(giveBack(`${key}:refund`, id, euros(1n))),
                  gateway.retrieve(Redacted.make("pi_unknown")),
                  create("pm_unknown", { key: `${key}:other` }),
                  create("pm_card_visa", { key })
                ],
                (call) => Effect.flip(call as Effect.Effect<unknown, TransportError>)
              )
              for (const failure of [made, ...failures]) {
                lines.push(inspect(failure, { depth: 9, showHidden: true }), JSON.stringify(failure))
              }
            })
          }
          yield* attempt(0).pipe(Effect.provide(Logger.layer([logger])))
          for (const [number, fault] of faults.entries()) {
            provider.faults.inject({ operation: "confirm", times: 1, fault })
            provider.faults.inject({ operation: "retrieve", times: 1, fault })
            yield* attempt(number + 1).pipe(Effect.provide(Logger.layer([logger])))
            yield* TestClock.adjust("1 minute")
          }
          assert.isAbove(lines.length, 50)
          for (const secret of secrets)
            assert.deepStrictEqual(
              lines.filter((line) => secret.test(line)),
              []
            )
        })
    )
  })
}
