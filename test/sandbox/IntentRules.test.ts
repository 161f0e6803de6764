import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as IntentRules from "../../src/sandbox/IntentRules.ts"
import type { Decision, Intent, Movement, Refund, Status } from "../../src/sandbox/IntentRules.ts"
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
  refund: (intent) => IntentRules.refund(intent, undefined, false)
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

  describe("and a refund which takes its time", () => {
    const captured = IntentRules.capture(held, undefined).intent
    const refundOf = (status: Refund["status"], as: "succeeded" | "failed"): Refund => ({
      id: "re_1",
      intentId: captured.terms.id,
      chargeId: "ch_1",
      amount: 400,
      currency: "eur",
      reason: null,
      metadata: {},
      createdAt: 0,
      status,
      settles: { at: 1_000, as }
    })
    const begun = IntentRules.refund(captured, 400, true)

    it("when it is pending, then nothing has moved, and it counts against what is left", () => {
      assert.deepStrictEqual([begun.movements, begun.intent.refunded], [[], 400])
      assert.isDefined(IntentRules.refund(begun.intent, captured.received - 399, false).error)
    })

    it("when its time has not come, then it stays what it is", () => {
      assert.isUndefined(IntentRules.settleRefund(begun.intent, refundOf("pending", "succeeded"), 999))
    })

    it("when it succeeds, then the money moves", () => {
      const settled = IntentRules.settleRefund(begun.intent, refundOf("pending", "succeeded"), 1_000)
      assert.deepStrictEqual(settled?.movements, [{ operation: "refund", amount: 400 }])
      assert.strictEqual(settled?.intent.refunded, 400)
      assert.deepInclude(settled?.refund, { status: "succeeded", settles: null })
    })

    it("when it fails, then nothing has moved, and it does not count any more", () => {
      const settled = IntentRules.settleRefund(begun.intent, refundOf("pending", "failed"), 1_000)
      assert.deepStrictEqual([settled?.movements, settled?.intent.refunded], [[], 0])
      assert.deepStrictEqual(settled?.events, ["refund.failed", "refund.updated"])
    })

    it("when it had succeeded and fails, then the money comes back", () => {
      const settled = IntentRules.settleRefund(begun.intent, refundOf("succeeded", "failed"), 1_000)
      assert.deepStrictEqual(settled?.movements, [{ operation: "refund_returned", amount: 400 }])
    })
  })

  describe("and a customer who goes to their bank", () => {
    const captured = IntentRules.capture(held, undefined).intent
    const disputed = IntentRules.dispute(captured, captured.received)

    it("when it is disputed, then it cannot be refunded, nor disputed again", () => {
      assert.strictEqual(IntentRules.refund(disputed.intent, 1, false).error?.code, "charge_disputed")
      assert.isDefined(IntentRules.dispute(disputed.intent, 1).error)
    })

    it("when the shop wins, then it has its money back, once", () => {
      const won = IntentRules.closeDispute(disputed.intent, captured.received, "won")
      assert.deepStrictEqual(won.movements, [{ operation: "chargeback_returned", amount: captured.received }])
      assert.isDefined(IntentRules.closeDispute(won.intent, captured.received, "won").error)
    })

    it("when nothing was captured, then there is nothing to dispute", () => {
      assert.isDefined(IntentRules.dispute(held, 1).error)
    })
  })

  it.prop(
    "never more is taken than was held, nor given back than was taken, nor let go than was held",
    [
      Schema.Array(
        Schema.Literals([
          "confirm",
          "decline",
          "prove",
          "fail",
          "capture",
          "part",
          "cancel",
          "refund",
          "some",
          "dispute",
          "won",
          "lost"
        ])
      )
    ],
    ([history]) => {
      const all: Record<string, (intent: Intent) => Decision> = {
        ...commands,
        part: (intent) => IntentRules.capture(intent, 700),
        some: (intent) => IntentRules.refund(intent, 300, false),
        dispute: (intent) => IntentRules.dispute(intent, Math.max(1, intent.received - intent.refunded)),
        won: (intent) => IntentRules.closeDispute(intent, disputed, "won"),
        lost: (intent) => IntentRules.closeDispute(intent, disputed, "lost")
      }
      let disputed = 0
      const sums: Record<Movement["operation"], number> = {
        authorize: 0,
        capture: 0,
        void: 0,
        refund: 0,
        refund_returned: 0,
        chargeback: 0,
        chargeback_returned: 0,
        create: 0,
        decline: 0
      }
      let intent = unconfirmed
      for (const name of history) {
        const decision = all[name]!(intent)
        intent = decision.intent
        for (const movement of decision.movements) sums[movement.operation] += movement.amount
        assert.isAtMost(sums.capture + sums.void, sums.authorize)
        disputed = sums.chargeback
        assert.isAtMost(sums.refund + sums.chargeback - sums.chargeback_returned, sums.capture)
        assert.isAtMost(sums.authorize, terms.amount)
        assert.deepStrictEqual([intent.received, intent.refunded], [sums.capture, sums.refund])
      }
    }
  )
})
