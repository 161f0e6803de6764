import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as IntentRules from "../../src/sandbox/IntentRules.ts"
import type { Decision, Intent, Status } from "../../src/sandbox/IntentRules.ts"
import { findTestToken } from "../../src/sandbox/TestTokens.ts"

const terms: IntentRules.Terms = {
  id: "pi_1",
  clientSecret: "pi_1_secret_1",
  amount: 1_000,
  currency: "eur",
  captureMethod: "manual",
  customer: null,
  description: null,
  metadata: {},
  automaticMethods: null,
  createdAt: 0
}

const card = (token: string) => findTestToken(token)!
const request = { card: card("pm_card_visa"), returnUrl: null, chargeId: "ch_1", processingFor: undefined }

const unconfirmed = IntentRules.createIntent(terms, "pm_card_visa", null).intent
const held = IntentRules.confirm(unconfirmed, request, 0).intent

/** An intent in each status, reached as it is in life. */
const intents: Record<Status, Intent> = {
  requires_payment_method: IntentRules.createIntent(terms, null, null).intent,
  requires_confirmation: unconfirmed,
  requires_action: IntentRules.confirm(unconfirmed, { ...request, card: card("pm_card_authenticationRequired") }, 0)
    .intent,
  processing: IntentRules.confirm(unconfirmed, { ...request, processingFor: 1_000 }, 0).intent,
  requires_capture: held,
  canceled: IntentRules.cancel(held, null, 0).intent,
  succeeded: IntentRules.capture(held, undefined).intent
}

const commands: Record<string, (intent: Intent) => Decision> = {
  confirm: (intent) => IntentRules.confirm(intent, request, 0),
  decline: (intent) => IntentRules.confirm(intent, { ...request, card: card("pm_card_chargeDeclined") }, 0),
  prove: (intent) =>
    IntentRules.authenticate(intent, { passed: true, card: card("pm_card_visa"), chargeId: "ch_1" }, 0),
  fail: (intent) =>
    IntentRules.authenticate(intent, { passed: false, card: card("pm_card_visa"), chargeId: "ch_1" }, 0),
  capture: (intent) => IntentRules.capture(intent, undefined),
  cancel: (intent) => IntentRules.cancel(intent, null, 0),
  refund: (intent) => IntentRules.refund(intent, undefined)
}

/** The status a command leads to; `no` where it is refused and the intent stays as it is. */
const matrix: Record<Status, Record<keyof typeof commands, Status | "no">> = {
  requires_payment_method: {
    confirm: "requires_capture",
    decline: "requires_payment_method",
    prove: "no",
    fail: "no",
    capture: "no",
    cancel: "canceled",
    refund: "no"
  },
  requires_confirmation: {
    confirm: "requires_capture",
    decline: "requires_payment_method",
    prove: "no",
    fail: "no",
    capture: "no",
    cancel: "canceled",
    refund: "no"
  },
  requires_action: {
    confirm: "requires_capture",
    decline: "requires_payment_method",
    prove: "requires_capture",
    fail: "requires_payment_method",
    capture: "no",
    cancel: "canceled",
    refund: "no"
  },
  processing: { confirm: "no", decline: "no", prove: "no", fail: "no", capture: "no", cancel: "no", refund: "no" },
  requires_capture: {
    confirm: "no",
    decline: "no",
    prove: "no",
    fail: "no",
    capture: "succeeded",
    cancel: "canceled",
    refund: "no"
  },
  canceled: { confirm: "no", decline: "no", prove: "no", fail: "no", capture: "no", cancel: "no", refund: "no" },
  succeeded: {
    confirm: "no",
    decline: "no",
    prove: "no",
    fail: "no",
    capture: "no",
    cancel: "no",
    refund: "succeeded"
  }
}

describe("given a payment intent in each status", () => {
  for (const [status, intent] of Object.entries(intents)) {
    it(`when it ${status}, then it is what it is called`, () => assert.strictEqual(intent.status, status))
    for (const [name, command] of Object.entries(commands)) {
      const expected = matrix[status as Status][name]
      it(`when it ${status} and the command is ${name}, then ${expected === "no" ? "it is refused" : `it ${expected}`}`, () => {
        const { intent: after, error, movements } = command(intent)
        if (expected === "no") {
          assert.isDefined(error)
          assert.strictEqual(after, intent)
          assert.deepStrictEqual(movements, [])
        } else assert.strictEqual(after.status, expected)
      })
    }
  }

  it("when a hold is a week old, then it lapses at that instant and not before", () => {
    assert.isUndefined(IntentRules.settle(held, IntentRules.holdFor - 1))
    assert.deepInclude(IntentRules.settle(held, IntentRules.holdFor)?.intent, {
      status: "canceled",
      cancellationReason: "automatic"
    })
  })

  it("when the provider is at work on it, then it is held once that ends", () => {
    assert.isUndefined(IntentRules.settle(intents.processing, 999))
    assert.strictEqual(IntentRules.settle(intents.processing, 1_000)?.intent.status, "requires_capture")
  })

  it.prop(
    "never more is taken than was held, nor given back than was taken, nor let go than was held",
    [
      Schema.Array(
        Schema.Literals(["confirm", "decline", "prove", "fail", "capture", "part", "cancel", "refund", "some"])
      )
    ],
    ([history]) => {
      const all: Record<string, (intent: Intent) => Decision> = {
        ...commands,
        part: (intent) => IntentRules.capture(intent, 700),
        some: (intent) => IntentRules.refund(intent, 300)
      }
      const sums = { authorize: 0, capture: 0, void: 0, refund: 0, create: 0, decline: 0 }
      let intent = unconfirmed
      for (const name of history) {
        const decision = all[name]!(intent)
        intent = decision.intent
        for (const movement of decision.movements) sums[movement.operation] += movement.amount
        assert.isAtMost(sums.capture + sums.void, sums.authorize)
        assert.isAtMost(sums.refund, sums.capture)
        assert.isAtMost(sums.authorize, terms.amount)
        assert.deepStrictEqual([intent.received, intent.refunded], [sums.capture, sums.refund])
      }
    }
  )
})
