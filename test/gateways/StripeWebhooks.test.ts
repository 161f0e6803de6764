import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Redacted, Result } from "effect"
import { TestClock } from "effect/testing"
import { Stripe } from "stripe"
import type { NotAuthentic, NotReadable } from "../../src/gateways/ProviderWebhooks.ts"
import * as StripeWebhooks from "../../src/gateways/StripeWebhooks.ts"
import { forge, forgeryKinds } from "../../src/sandbox/Forgeries.ts"
import { signatureHeader } from "../../src/sandbox/Signature.ts"
import { eventBody } from "../fixtures/Webhooks.ts"

const secret = "whsec_new_0123456789"
const oldSecret = "whsec_old_0123456789"
const now = 1_800_000_000

const readWith = (
  headers: Readonly<Record<string, string | undefined>>,
  body: string,
  tolerance: Duration.Input = "5 minutes"
) =>
  Effect.gen(function* () {
    yield* TestClock.setTime(now * 1000)
    const read = yield* StripeWebhooks.make({
      secrets: [Redacted.make(secret), Redacted.make(oldSecret)],
      tolerance: Duration.fromInputUnsafe(tolerance)
    })
    return yield* Effect.result(read({ headers, body: new TextEncoder().encode(body) }))
  })
const read = (header: string | undefined, body: string) => readWith({ "stripe-signature": header }, body)
const reasonOf = (result: Result.Result<unknown, NotAuthentic | NotReadable | { readonly _tag: string }>) =>
  Result.isFailure(result) ? ("because" in result.failure ? result.failure.because : result.failure._tag) : "accepted"

const intent = { id: "pi_1", object: "payment_intent", amount: 4189, amount_received: 4189, currency: "eur" }
const body = eventBody("payment_intent.succeeded", { ...intent, metadata: { checkout: "checkout-1" } }, { id: "evt_1" })
const stripe = new Stripe("sk_test_1")

describe("given a webhook of Stripe's", () => {
  it.effect("when it is signed by the SDK's own code with either secret, then it is authentic (REQ-WHK-02)", () =>
    Effect.gen(function* () {
      for (const known of [secret, oldSecret]) {
        const header = stripe.webhooks.generateTestHeaderString({ payload: body, secret: known, timestamp: now })
        const result = yield* read(header, body)
        assert(Result.isSuccess(result))
        assert.strictEqual(result.success.checkoutId, "checkout-1")
        const news: unknown = result.success.news
        assert.deepInclude(news as object, {
          provider: "stripe",
          eventId: "evt_1",
          type: "payment_intent.succeeded",
          object: "pi_1",
          intent: "pi_1",
          fact: { _tag: "Captured", amount: 4189n, currency: "EUR" }
        })
      }
    })
  )

  it.effect("when it is signed with both secrets at once, then it is authentic", () =>
    Effect.gen(function* () {
      const [, other] = signatureHeader(body, "whsec_of_somebody", now).split(",")
      assert.strictEqual(reasonOf(yield* read(`${signatureHeader(body, secret, now)},${other}`, body)), "accepted")
    })
  )

  for (const [age, expected] of [
    [300, "accepted"],
    [301, "signature"],
    [-300, "accepted"],
    [-301, "time"],
    [-86_400, "time"]
  ] as const) {
    it.effect(`when its time is ${age} s ago, then it is ${expected} (N-047)`, () =>
      Effect.gen(function* () {
        assert.strictEqual(reasonOf(yield* read(signatureHeader(body, secret, now - age), body)), expected)
      })
    )
  }

  it.effect("when the tolerance is set to next to nothing, then age still counts", () =>
    Effect.gen(function* () {
      const headers = { "stripe-signature": signatureHeader(body, secret, now - 3) }
      assert.strictEqual(reasonOf(yield* readWith(headers, body, "1 millis")), "signature")
    })
  )

  for (const kind of forgeryKinds) {
    it.effect(`when it is forged (${kind}), then it is refused, and the genuine one is accepted afterwards`, () =>
      Effect.gen(function* () {
        const { body: forged, signature } = forge(kind, body, secret, now)
        assert.notStrictEqual(reasonOf(yield* read(signature, forged)), "accepted")
        assert.strictEqual(reasonOf(yield* read(signatureHeader(body, secret, now), body)), "accepted")
      })
    )
  }

  for (const [name, header] of Object.entries({
    "two times": `${signatureHeader(body, secret, now)},t=${now - 1000}`,
    "a time before it": `t=${now - 1000},${signatureHeader(body, secret, now)}`,
    "a time which is no number": signatureHeader(body, secret, now).replace(/^t=\d+/, "t=1e9"),
    "a negative time": signatureHeader(body, secret, now).replace(/^t=/, "t=-"),
    "a signature of other characters": `t=${now},v1=${"é".repeat(64)}`,
    "half of the signature": signatureHeader(body, secret, now).slice(0, -32),
    "a comma": ",",
    "a very long header": `t=${now},${"v1=a,".repeat(3_000)}`
  })) {
    it.effect(`when its header has ${name}, then it is refused`, () =>
      Effect.gen(function* () {
        assert.notStrictEqual(reasonOf(yield* read(header, body)), "accepted")
      })
    )
  }

  for (const [name, content] of Object.entries({
    "not JSON": "{",
    "no object": "[]",
    "an empty object": "{}",
    "an event without its subject": '{"id":"evt_1","type":"payment_intent.succeeded","created":1}',
    "an amount below zero": eventBody("payment_intent.succeeded", { ...intent, amount_received: -1 }),
    "an amount which is no number": eventBody("payment_intent.succeeded", { ...intent, amount_received: "1" }),
    "an amount which is not whole": eventBody("payment_intent.succeeded", { ...intent, amount_received: 1.5 }),
    "no currency": eventBody("payment_intent.succeeded", { ...intent, currency: undefined }),
    "a currency which is none": eventBody("payment_intent.succeeded", { ...intent, currency: "e" }),
    "an id which is none": eventBody("payment_intent.canceled", { ...intent, id: "a b" }),
    "an event id which is none": eventBody("payment_intent.canceled", intent, { id: "'; drop table" }),
    "a time out of time": eventBody("payment_intent.canceled", intent, { created: 1e15 })
  })) {
    it.effect(`when it is authentic and says ${name}, then it is unreadable, and nothing breaks`, () =>
      Effect.gen(function* () {
        assert.strictEqual(reasonOf(yield* read(signatureHeader(content, secret, now), content)), "NotReadable")
      })
    )
  }

  it.effect("when it is of a kind that is of no interest, then there is no news", () =>
    Effect.gen(function* () {
      for (const type of [
        "payment_intent.created",
        "charge.succeeded",
        "charge.refunded",
        "product.updated",
        "new.kind"
      ]) {
        const content = eventBody(type, { id: "x" })
        const result = yield* read(signatureHeader(content, secret, now), content)
        assert.isTrue(Result.isSuccess(result) && result.success.news === undefined, type)
      }
    })
  )
})

describe("given what Stripe's events are about", () => {
  const refund = { id: "re_1", object: "refund", amount: 500, currency: "eur", payment_intent: "pi_1" }
  const dispute = { id: "du_1", object: "dispute", amount: 500, currency: "eur", payment_intent: "pi_1" }
  const cases: ReadonlyArray<readonly [string, Readonly<Record<string, unknown>>, unknown]> = [
    [
      "payment_intent.amount_capturable_updated",
      { ...intent, amount_capturable: 4189 },
      { _tag: "Authorized", amount: 4189n, currency: "EUR" }
    ],
    ["payment_intent.payment_failed", intent, { _tag: "Failed" }],
    ["payment_intent.canceled", intent, { _tag: "Voided" }],
    ["payment_intent.requires_action", intent, { _tag: "RequiresAction" }],
    ["payment_intent.processing", intent, { _tag: "Processing" }],
    [
      "payment_intent.succeeded",
      { ...intent, amount_received: 100_000, currency: "isk" },
      { _tag: "Captured", amount: 1000n, currency: "ISK" }
    ],
    [
      "refund.created",
      { ...refund, status: "pending", metadata: { refund: "operator:1", checkout: "checkout-1" } },
      { _tag: "Refund", amount: 500n, currency: "EUR", refund: "re_1", status: "pending", ours: "operator:1" }
    ],
    [
      "refund.updated",
      { ...refund, status: "succeeded" },
      { _tag: "Refund", amount: 500n, currency: "EUR", refund: "re_1", status: "completed" }
    ],
    [
      "refund.failed",
      { ...refund, status: "failed", failure_reason: "lost_or_stolen_card" },
      { _tag: "Refund", amount: 500n, currency: "EUR", refund: "re_1", status: "failed", code: "lost_or_stolen_card" }
    ],
    [
      "charge.dispute.created",
      { ...dispute, status: "needs_response", reason: "fraudulent" },
      { _tag: "Chargeback", amount: 500n, currency: "EUR", chargeback: "du_1", reason: "fraudulent", status: "opened" }
    ],
    [
      "charge.dispute.closed",
      { ...dispute, status: "lost", reason: "fraudulent", payment_intent: { id: "pi_1" } },
      { _tag: "Chargeback", amount: 500n, currency: "EUR", chargeback: "du_1", reason: "fraudulent", status: "lost" }
    ]
  ]
  for (const [type, object, fact] of cases) {
    it.effect(`when it is ${type}, then this is what it says`, () =>
      Effect.gen(function* () {
        const content = eventBody(type, object)
        const result = yield* read(signatureHeader(content, secret, now), content)
        assert(Result.isSuccess(result))
        const news: { readonly fact?: unknown; readonly intent?: string } = result.success.news ?? {}
        assert.deepStrictEqual(news.fact, fact)
        assert.strictEqual(news.intent, "pi_1")
      })
    )
  }
})
