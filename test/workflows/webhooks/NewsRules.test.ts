import { assert, describe, it } from "@effect/vitest"
import { Redacted } from "effect"
import type { PresentPayment } from "../../../src/entities/payment/Payment.ts"
import { type Refund, RefundId } from "../../../src/entities/payment/Refund.ts"
import { type PaymentFact, ProviderReference } from "../../../src/entities/providerEvent/ProviderEvent.ts"
import { Declined, type Intent } from "../../../src/gateways/PaymentGateway.ts"
import { conclude, weigh } from "../../../src/workflows/webhooks/NewsRules.ts"
import { EUR, start, total, USD } from "../../fixtures/Builders.ts"
import { paymentMachine } from "../../fixtures/machines/PaymentMachine.ts"
import { table } from "../../entities/MachineLaws.ts"
import { markdown } from "../../fixtures/Machine.ts"

const { amount } = total
const intent = ProviderReference.make("pi_1")
const refund = ProviderReference.make("re_1")

const facts: Readonly<Record<string, PaymentFact>> = {
  Authorized: { _tag: "Authorized", ...total },
  "Authorized, other amount": { _tag: "Authorized", amount: amount - 1n, currency: EUR },
  "Authorized, other currency": { _tag: "Authorized", amount, currency: USD },
  RequiresAction: { _tag: "RequiresAction" },
  Processing: { _tag: "Processing" },
  Failed: { _tag: "Failed" },
  Captured: { _tag: "Captured", ...total },
  "Captured, other amount": { _tag: "Captured", amount: amount - 1n, currency: EUR },
  Voided: { _tag: "Voided" },
  Refund: { _tag: "Refund", ...total, refund, status: "completed" },
  Chargeback: { _tag: "Chargeback", ...total, chargeback: refund, reason: "fraudulent", status: "opened" }
}

const states = [
  "absent",
  "begun",
  "asked",
  "second factor",
  "unknown",
  "left",
  "failed",
  "authorized",
  "hold, deferred",
  "capture_pending",
  "capture_failed",
  "captured",
  "partially_refunded",
  "refunded",
  "voided"
].map((name) => [name, paymentMachine.states[name]!] as const)

describe("given news about a payment", () => {
  it("then this is what is thought of them before the provider is asked", () => {
    const found = markdown(
      ["", ...states.map(([name]) => name)],
      Object.entries(facts).map(([name, fact]) => [name, ...states.map(([, state]) => weigh({ fact, intent }, state))])
    )
    assert.strictEqual(table(found), table(weights))
  })

  it("when they are of another authorization than the payment's, or of none, then they are of elsewhere", () => {
    for (const [, state] of states) {
      const expected = state._tag === "Absent" ? "unmatched" : "elsewhere"
      for (const fact of Object.values(facts)) {
        assert.strictEqual(weigh({ fact, intent: ProviderReference.make("pi_2") }, state), expected)
        assert.strictEqual(weigh({ fact }, state), expected)
      }
    }
  })
})

const weights = `
|                            | absent    | begun     | asked      | second factor | unknown    | left       | failed     | authorized | hold, deferred | capture_pending | capture_failed | captured   | partially_refunded | refunded   | voided     |
| -------------------------- | --------- | --------- | ---------- | ------------- | ---------- | ---------- | ---------- | ---------- | -------------- | --------------- | -------------- | ---------- | ------------------ | ---------- | ---------- |
| Authorized                 | unmatched | elsewhere | ask        | ask           | ask        | ask        | ask        | known      | known          | known           | known          | known      | known              | known      | known      |
| Authorized, other amount   | unmatched | elsewhere | ask        | ask           | ask        | ask        | ask        | ask        | ask            | ask             | ask            | ask        | ask                | ask        | ask        |
| Authorized, other currency | unmatched | elsewhere | ask        | ask           | ask        | ask        | ask        | ask        | ask            | ask             | ask            | ask        | ask                | ask        | ask        |
| RequiresAction             | unmatched | elsewhere | ask        | known         | ask        | ask        | known      | known      | known          | known           | known          | known      | known              | known      | known      |
| Processing                 | unmatched | elsewhere | ask        | ask           | ask        | ask        | known      | known      | known          | known           | known          | known      | known              | known      | known      |
| Failed                     | unmatched | elsewhere | ask        | ask           | ask        | ask        | known      | ask        | ask            | ask             | ask            | ask        | ask                | ask        | ask        |
| Captured                   | unmatched | elsewhere | ask        | ask           | ask        | ask        | ask        | ask        | ask            | ask             | ask            | known      | known              | known      | ask        |
| Captured, other amount     | unmatched | elsewhere | ask        | ask           | ask        | ask        | ask        | ask        | ask            | ask             | ask            | ask        | ask                | ask        | ask        |
| Voided                     | unmatched | elsewhere | ask        | ask           | ask        | ask        | known      | ask        | ask            | ask             | ask            | ask        | ask                | ask        | known      |
| Refund                     | unmatched | elsewhere | refund     | refund        | refund     | refund     | refund     | refund     | refund         | refund          | refund         | refund     | refund             | refund     | refund     |
| Chargeback                 | unmatched | elsewhere | chargeback | chargeback    | chargeback | chargeback | chargeback | chargeback | chargeback     | chargeback      | chargeback     | chargeback | chargeback         | chargeback | chargeback |
`

describe("given news of a refund or a chargeback", () => {
  const captured = paymentMachine.states["captured"]
  assert(captured?._tag === "Present")
  const at = start
  const one: Refund = {
    id: RefundId.make("operator:refund-1"),
    amount,
    reason: "too small",
    status: "processing",
    suffix: 1,
    tries: 0,
    refused: false,
    requestedAt: at,
    changedAt: at
  }
  const weight = (known: Partial<Refund>, status: "pending" | "completed" | "failed") =>
    weigh(
      { intent, fact: { _tag: "Refund", ...total, refund, status } },
      { ...captured, refunds: [{ ...one, ...known }] }
    )

  it("when it says how far we know it to be, then it is known; else the provider is asked", () => {
    const told = ["pending", "completed", "failed"] as const
    const rows = {
      asked: told.map((status) => weight({}, status)),
      pending: told.map((status) => weight({ reference: refund }, status)),
      completed: told.map((status) => weight({ reference: refund, status: "completed" }, status)),
      failed: told.map((status) => weight({ failedReference: refund, status: "failed", refused: true }, status))
    }
    assert.deepStrictEqual(rows, {
      asked: ["refund", "refund", "refund"],
      pending: ["known", "refund", "refund"],
      completed: ["known", "known", "refund"],
      failed: ["known", "known", "known"]
    })
  })

  it("when it names another amount, then the provider is asked", () => {
    assert.strictEqual(weight({ reference: refund, status: "completed", amount: 1n }, "completed"), "refund")
  })

  it("when a chargeback is decided, then what was said before is known", () => {
    const weightOf = (known: "opened" | "won", status: "opened" | "won" | "lost") =>
      weigh(
        { intent, fact: { _tag: "Chargeback", ...total, chargeback: refund, reason: "fraudulent", status } },
        { ...captured, chargebacks: [{ id: refund, amount, reason: "fraudulent", status: known, openedAt: at }] }
      )
    assert.deepStrictEqual([weightOf("opened", "opened"), weightOf("opened", "lost")], ["known", "chargeback"])
    assert.deepStrictEqual([weightOf("won", "opened"), weightOf("won", "lost")], ["known", "known"])
  })
})

const id = Redacted.make("pi_1")
const found: Readonly<Record<string, Intent>> = {
  Unconfirmed: { _tag: "Unconfirmed", id },
  "Unconfirmed, declined": {
    _tag: "Unconfirmed",
    id,
    declined: new Declined({ code: "insufficient_funds", message: "No." })
  },
  RequiresAction: { _tag: "RequiresAction", id, clientSecret: Redacted.make("pi_1_secret") },
  Processing: { _tag: "Processing", id },
  Authorized: { _tag: "Authorized", id, amount },
  "Authorized, other amount": { _tag: "Authorized", id, amount: amount - 1n },
  Captured: { _tag: "Captured", id, amount, refunded: 0n },
  "Captured, other amount": { _tag: "Captured", id, amount: amount - 1n, refunded: 0n },
  "Captured, given back": { _tag: "Captured", id, amount, refunded: amount },
  Voided: { _tag: "Voided", id }
}

const present = states.filter((entry): entry is readonly [string, PresentPayment] => entry[1]._tag === "Present")

const told = (fact: PaymentFact, payment: PresentPayment, answer: Intent): string => {
  const conclusion = conclude(fact, payment, answer)
  if (conclusion._tag !== "Discrepancy") return conclusion._tag === "Nothing" ? "-" : conclusion._tag
  const { kind, severity } = conclusion.discrepancy
  return `${severity === "critical" ? "!!" : "!"} ${kind.replace("webhook_", "")}`
}

describe("given what the provider says about a payment", () => {
  it("then this is done, whatever the news were", () => {
    const matrix = markdown(
      ["", ...present.map(([name]) => name)],
      Object.entries(found).map(([name, answer]) => [
        name,
        ...present.map(([, payment]) => told({ _tag: "Processing" }, payment, answer))
      ])
    )
    assert.strictEqual(table(matrix), table(conclusions))
  })

  it("when a capture is told of a hold which was dropped, then nothing is done and somebody is told (REQ-WHK-04)", () => {
    const voided = present.find(([name]) => name === "voided")![1]
    assert.strictEqual(told(facts["Captured"]!, voided, found["Voided"]!), "! late_capture")
    assert.strictEqual(told(facts["Captured"]!, voided, found["Captured"]!), "!! money_without_order")
    assert.strictEqual(told(facts["Voided"]!, voided, found["Voided"]!), "-")
  })

  it("when the news name another amount than payment and provider, then nothing is done and somebody is told (T-PAY-30)", () => {
    const captured = present.find(([name]) => name === "captured")![1]
    assert.strictEqual(told(facts["Captured, other amount"]!, captured, found["Captured"]!), "! disagrees")
    assert.strictEqual(told(facts["Authorized, other currency"]!, captured, found["Captured"]!), "! disagrees")
    assert.strictEqual(told(facts["Captured"]!, captured, found["Captured"]!), "-")
  })
})

const conclusions = `
|                          | begun | asked | second factor          | unknown | left    | failed                 | authorized | hold, deferred | capture_pending | capture_failed | captured     | partially_refunded | refunded     | voided                 |
| ------------------------ | ----- | ----- | ---------------------- | ------- | ------- | ---------------------- | ---------- | -------------- | --------------- | -------------- | ------------ | ------------------ | ------------ | ---------------------- |
| Unconfirmed              | GoOn  | GoOn  | Decline                | Resolve | Resolve | -                      | -          | -              | -               | -              | !! disagrees | !! disagrees       | !! disagrees | -                      |
| Unconfirmed, declined    | GoOn  | GoOn  | Decline                | Resolve | Resolve | -                      | -          | -              | -               | -              | !! disagrees | !! disagrees       | !! disagrees | -                      |
| RequiresAction           | GoOn  | GoOn  | -                      | -       | -       | -                      | -          | -              | -               | -              | !! disagrees | !! disagrees       | !! disagrees | -                      |
| Processing               | GoOn  | GoOn  | -                      | -       | -       | -                      | -          | -              | -               | -              | !! disagrees | !! disagrees       | !! disagrees | -                      |
| Authorized               | GoOn  | GoOn  | Place                  | Resolve | Resolve | !! money_without_order | -          | -              | -               | -              | !! disagrees | !! disagrees       | !! disagrees | !! money_without_order |
| Authorized, other amount | GoOn  | GoOn  | GoOn                   | Resolve | Resolve | !! money_without_order | -          | -              | -               | -              | !! disagrees | !! disagrees       | !! disagrees | !! money_without_order |
| Captured                 | GoOn  | GoOn  | !! money_without_order | Resolve | Resolve | !! money_without_order | GoOn       | GoOn           | Finish          | Finish         | -            | -                  | -            | !! money_without_order |
| Captured, other amount   | GoOn  | GoOn  | !! money_without_order | Resolve | Resolve | !! money_without_order | GoOn       | GoOn           | !! disagrees    | !! disagrees   | !! disagrees | !! disagrees       | !! disagrees | !! money_without_order |
| Captured, given back     | GoOn  | GoOn  | -                      | Resolve | Resolve | -                      | GoOn       | GoOn           | !! disagrees    | !! disagrees   | -            | -                  | -            | -                      |
| Voided                   | GoOn  | GoOn  | Decline                | Resolve | Resolve | -                      | GoOn       | GoOn           | HoldGone        | HoldGone       | !! disagrees | !! disagrees       | !! disagrees | -                      |
`
