import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it } from "@effect/vitest"
import { type Context, Duration, Effect, Layer, Schedule, type Scope } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { PaymentProvider } from "../../../src/sandbox/PaymentProvider.ts"
import { forge, forgeryKinds } from "../../../src/sandbox/Forgeries.ts"
import * as SandboxWebhooks from "../../../src/sandbox/Webhooks.ts"
import { CheckoutId, IdempotencyKey } from "../../../src/domain/Ids.ts"
import { ProviderEvent, ProviderReference } from "../../../src/entities/providerEvent/ProviderEvent.ts"
import { operatorRefund } from "../../../src/entities/payment/Refund.ts"
import type { ShopLimits } from "../../../src/layers/Shop.ts"
import { migrate } from "../../../src/migrations/Migrations.ts"
import { Placement } from "../../../src/runtime/Placement.ts"
import { Refunds } from "../../../src/workflows/refund/Refunds.ts"
import { freshDatabase } from "../../fixtures/Postgres.ts"
import * as Shop from "../../fixtures/Shop.ts"
import * as Webhooks from "../../fixtures/Webhooks.ts"

const eventually = <A, E, R>(effect: Effect.Effect<A, E, R>, condition: (found: A) => boolean) =>
  effect.pipe(
    Effect.repeat({
      until: condition,
      schedule: Schedule.spaced("20 millis").pipe(Schedule.upTo({ duration: "20 seconds" }))
    }),
    Effect.andThen(effect)
  )

const rows = <A extends object>(text: string) => Effect.flatMap(SqlClient, (sql) => sql.unsafe<A>(text))

const events = rows<{ readonly type: string; readonly status: string; readonly outcome: string | null }>(
  "select type, status, outcome from payment.provider_events order by received_at, id"
)
const settled = eventually(events, (found) => found.length > 0 && found.every(({ status }) => status !== "received"))
const alerts = rows<{ readonly id: string; readonly kind: string; readonly details: object }>(
  "select id, kind, details from ops.alerts order by id"
)
const alerted = (kind: string) => eventually(alerts, (found) => found.some((alert) => alert.kind === kind))
const order = (id: string) =>
  rows<{ readonly status: string; readonly payment_status: string }>(
    `select status, payment_status from orders.orders where id = '${id}'`
  )
const payment = (id: string) =>
  rows<{ readonly saga_state: string; readonly status: string; readonly refunded: bigint }>(
    `select saga_state, status, refunded from payment.payments where id = '${id}'`
  )

/** A shop whose buyers want tea, and its endpoint. */
const open = Effect.gen(function* () {
  const provider = yield* PaymentProvider
  const url = yield* Webhooks.endpoint()
  yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 100 } }])
  return { provider, url }
})

/** Lets the provider send its webhooks there, as the plan says. */
const listen = (url: string, plan: SandboxWebhooks.WebhookOptions["plan"] = {}) =>
  Effect.flatMap(PaymentProvider, (provider) =>
    SandboxWebhooks.start(provider, { url, secret: Webhooks.secret, plan }, "http://sandbox")
  )

const intentOf = (provider: PaymentProvider["Service"], checkoutId: string) => {
  const entry = provider.ledger.ofCheckout(checkoutId).at(-1)
  assert(entry !== undefined)
  return entry
}

/** What the provider would say of an intent in an event. */
const objectOf = (provider: PaymentProvider["Service"], checkoutId: string, changes: object = {}) => {
  const { amount, currency, id, metadata } = intentOf(provider, checkoutId)
  return {
    id,
    object: "payment_intent",
    amount,
    amount_capturable: amount,
    amount_received: amount,
    currency,
    metadata,
    ...changes
  }
}

/** Everything, once what follows from an order by itself has been written: notices and their acknowledgements. */
const atRest = Effect.gen(function* () {
  let before = yield* Webhooks.everything
  while (true) {
    yield* Effect.sleep("300 millis")
    const now = yield* Webhooks.everything
    if (Object.entries(now).every(([table, digest]) => before[table] === digest)) return now
    before = now
  }
}).pipe(Effect.timeout("20 seconds"))

/** The provider has the money of a hold whose capture was never answered. */
const takeAllTheSame = (provider: PaymentProvider["Service"], checkoutId: string): string => {
  const { id } = intentOf(provider, checkoutId)
  const path = `/v1/payment_intents/${id}`
  provider.handle({ method: "GET", path, params: {}, key: undefined, credential: "secret" }, (ending) => {
    assert(ending._tag === "Answered" && ending.answer.content._tag === "Intent")
    const { intent } = ending.answer.content
    const { amount } = intent.terms
    provider.restore({
      at: intent.terms.createdAt,
      intent: { ...intent, status: "succeeded", received: amount },
      movements: [{ operation: "capture", amount }],
      refund: undefined,
      stored: undefined,
      events: []
    })
  })
  return id
}

const scenario = (
  name: string,
  test: Effect.Effect<void, unknown, Effect.Services<typeof open> | Placement | Scope.Scope>,
  limits: Partial<ShopLimits> = {}
) =>
  it.live(
    name,
    () =>
      test.pipe(Effect.scoped, Effect.provide(Shop.layer({ ...Shop.quickLimits, ...limits }))) as Effect.Effect<void>,
    60_000
  )

describe("given a shop whose provider sends webhooks", () => {
  scenario(
    "when an order is paid, then they say no more than is known, and change nothing",
    Effect.gen(function* () {
      const { provider, url } = yield* open
      yield* listen(url)
      const { checkoutId, confirm } = yield* Shop.prepare({ lines: { tea: 1 } })
      yield* confirm()
      const seen = yield* eventually(events, (found) => found.length === 2)
      assert.deepStrictEqual(
        seen.map(({ outcome, status }) => `${status}: ${outcome}`),
        ["applied: known already", "applied: known already"]
      )
      assert.strictEqual(intentOf(provider, checkoutId).captured.times, 1)
      assert.deepStrictEqual(yield* Shop.violations, [])
      assert.deepStrictEqual(yield* alerts, [])
    })
  )

  scenario(
    "when the customer has proven who they are and never comes back, then the order goes on",
    Effect.gen(function* () {
      const { provider, url } = yield* open
      yield* listen(url)
      const { checkoutId, confirm } = yield* Shop.prepare({ lines: { tea: 1 }, card: "pm_card_authenticationRequired" })
      assert.strictEqual((yield* confirm())._tag, "RequiresAction")
      provider.authenticate(intentOf(provider, checkoutId).id, true)
      const [row] = yield* eventually(order(checkoutId), ([found]) => found?.status === "confirmed")
      assert.strictEqual(row?.status, "confirmed")
      assert.deepStrictEqual(yield* Shop.violations, [])
    })
  )

  scenario(
    "when the customer fails to prove it and never comes back, then the stock is free again",
    Effect.gen(function* () {
      const { provider, url } = yield* open
      yield* listen(url)
      const { checkoutId, confirm } = yield* Shop.prepare({ lines: { tea: 1 }, card: "pm_card_authenticationRequired" })
      yield* confirm()
      provider.authenticate(intentOf(provider, checkoutId).id, false)
      const found = yield* eventually(payment(checkoutId), ([row]) => row?.status === "failed")
      assert.strictEqual(found[0]?.status, "failed")
      assert.deepStrictEqual(yield* Shop.violations, [])
      assert.include(
        (yield* settled).map(({ outcome }) => outcome),
        "declined"
      )
    })
  )

  scenario(
    "when they come doubled, late and backwards, then the order is the same (REQ-WHK-03)",
    Effect.gen(function* () {
      const { provider, url } = yield* open
      yield* listen(url, { copies: 5, reorderWithinMs: 300 })
      const { checkoutId, confirm } = yield* Shop.prepare({ lines: { tea: 1 }, card: "pm_card_authenticationRequired" })
      yield* confirm()
      provider.authenticate(intentOf(provider, checkoutId).id, true)
      yield* eventually(order(checkoutId), ([found]) => found?.status === "confirmed")
      yield* eventually(events, (found) => found.length === 3)
      assert.strictEqual(intentOf(provider, checkoutId).captured.times, 1)
      assert.deepStrictEqual(yield* Shop.violations, [])
      assert.deepStrictEqual(yield* alerts, [])
    })
  )

  scenario(
    "when the answer to a capture is lost and nobody can look, then the webhook settles it at once",
    Effect.gen(function* () {
      const { provider, url } = yield* open
      provider.faults.inject({ operation: "retrieve", fault: { _tag: "Unavailable" }, times: "always" })
      const { checkoutId, confirm } = yield* Shop.prepare({ lines: { tea: 1 }, card: "pm_sandbox_capture_lost_answer" })
      yield* confirm().pipe(Effect.timeoutOption("2 seconds"))
      yield* eventually(payment(checkoutId), ([row]) => row?.saga_state === "capture_failed")
      provider.faults.clear()
      const body = Webhooks.eventBody("payment_intent.succeeded", objectOf(provider, checkoutId))
      assert.strictEqual(yield* Webhooks.send(url, body), 200)
      const [row] = yield* eventually(order(checkoutId), ([found]) => found?.status === "confirmed")
      assert.deepStrictEqual([row?.status, row?.payment_status], ["confirmed", "completed"])
      assert.strictEqual(intentOf(provider, checkoutId).captured.times, 1)
      assert.deepStrictEqual(yield* events.pipe(Effect.map((found) => found.map(({ outcome }) => outcome))), [
        "captured"
      ])
      assert.deepStrictEqual(yield* Shop.violations, [])
    }),
    {
      checkout: {
        ...Shop.quickLimits.checkout,
        syncWait: Duration.seconds(1),
        captureBackoff: { base: Duration.minutes(10), cap: Duration.minutes(10) }
      }
    }
  )

  scenario(
    "when nobody knows what became of an authorization, then the webhook has its hold given back",
    Effect.gen(function* () {
      const { provider, url } = yield* open
      provider.faults.inject({ operation: "retrieve", fault: { _tag: "Unavailable" }, times: "always" })
      const { checkoutId, confirm } = yield* Shop.prepare({ lines: { tea: 1 }, card: "pm_sandbox_authorize_silent" })
      yield* Effect.exit(confirm())
      assert.strictEqual(intentOf(provider, checkoutId).status, "requires_capture")
      yield* Effect.sleep("2 seconds")
      provider.faults.clear()
      const body = Webhooks.eventBody("payment_intent.amount_capturable_updated", objectOf(provider, checkoutId))
      assert.strictEqual(yield* Webhooks.send(url, body), 200)
      const [row] = yield* eventually(payment(checkoutId), ([found]) => found?.saga_state === "voided")
      assert.strictEqual(row?.saga_state, "voided")
      assert.strictEqual(intentOf(provider, checkoutId).status, "canceled")
      assert.deepStrictEqual(yield* Shop.violations, [])
    }),
    { payment: { ...Shop.quickLimits.payment, resolve: { base: Duration.hours(1), cap: Duration.hours(1) } } }
  )
})

describe("given somebody who is not the provider", () => {
  scenario(
    "when they send what would make an order paid, then it is refused, nothing at all changes, and the genuine one still works (T-PAY-10)",
    Effect.gen(function* () {
      const { provider, url } = yield* open
      const { checkoutId, confirm } = yield* Shop.prepare({ lines: { tea: 1 }, card: "pm_card_authenticationRequired" })
      yield* confirm()
      provider.authenticate(intentOf(provider, checkoutId).id, true)
      const body = Webhooks.eventBody("payment_intent.amount_capturable_updated", objectOf(provider, checkoutId), {
        id: "evt_forged"
      })
      const now = Math.floor(Date.now() / 1000)
      const before = yield* atRest
      for (const kind of forgeryKinds) {
        const forgery = forge(kind, body, Webhooks.secret, now)
        assert.strictEqual(yield* Webhooks.send(url, forgery.body, forgery.signature ?? null), 401, kind)
        assert.deepStrictEqual(yield* Webhooks.everything, before, kind)
      }
      assert.strictEqual(yield* Webhooks.send(url, body), 200)
      const [row] = yield* eventually(order(checkoutId), ([found]) => found?.status === "confirmed")
      assert.strictEqual(row?.status, "confirmed")
    })
  )

  scenario(
    "when the secret itself is stolen, then a lie about a capture moves no money and no goods: the provider is asked (REQ-WHK-04)",
    Effect.gen(function* () {
      const { provider, url } = yield* open
      const { checkoutId, confirm } = yield* Shop.prepare({ lines: { tea: 1 }, card: "pm_card_authenticationRequired" })
      yield* confirm()
      for (const type of ["payment_intent.succeeded", "payment_intent.amount_capturable_updated"]) {
        assert.strictEqual(yield* Webhooks.send(url, Webhooks.eventBody(type, objectOf(provider, checkoutId))), 200)
      }
      yield* eventually(events, (found) => found.length === 2 && found.every(({ status }) => status === "applied"))
      assert.deepStrictEqual(yield* order(checkoutId), [])
      const [row] = yield* payment(checkoutId)
      assert.strictEqual(row?.saga_state, "none")
      assert.strictEqual(intentOf(provider, checkoutId).captured.times, 0)
    })
  )
})

describe("given one event again and again", () => {
  it.live(
    "when it comes 20 times at once over two nodes which both think that it is theirs, then it has one effect, also after a restart (T-PAY-11)",
    () =>
      Effect.gen(function* () {
        const database = yield* freshDatabase
        yield* migrate.pipe(Effect.provide(PgClient.layer({ url: database })), Effect.orDie)
        const node = Layer.build(Shop.shopOn(database))
        const [one, other] = [yield* node, yield* node]
        const provider = yield* PaymentProvider
        const run = <A, E, R>(on: Context.Context<R>, effect: Effect.Effect<A, E, R | Scope.Scope>) =>
          Effect.provideContext(effect, on)
        const { checkoutId, confirm } = yield* run(
          one,
          Effect.gen(function* () {
            yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 100 } }])
            return yield* Shop.prepare({ lines: { tea: 1 }, card: "pm_card_authenticationRequired" })
          })
        )
        yield* run(one, confirm())
        provider.authenticate(intentOf(provider, checkoutId).id, true)
        const urls = [yield* run(one, Webhooks.endpoint()), yield* run(other, Webhooks.endpoint())]
        const body = Webhooks.eventBody("payment_intent.amount_capturable_updated", objectOf(provider, checkoutId))
        const statuses = yield* Effect.forEach(
          Array.from({ length: 20 }, (_, index) => urls[index % 2]!),
          (url) => Webhooks.send(url, body),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(new Set(statuses), new Set([200]))
        yield* run(
          one,
          eventually(order(checkoutId), ([found]) => found?.status === "confirmed")
        )
        const [event, ...others] = yield* run(one, settled)
        assert.deepStrictEqual([event?.status, others], ["applied", []])
        const { authorized, captured } = intentOf(provider, checkoutId)
        assert.deepStrictEqual([authorized.times, captured.times], [1, 1])
        const before = yield* run(one, atRest)
        const third = yield* node
        assert.strictEqual(yield* Webhooks.send(yield* run(third, Webhooks.endpoint()), body), 200)
        assert.deepStrictEqual(yield* run(third, Webhooks.everything), before)
        assert.deepStrictEqual(yield* run(third, Shop.violations), [])
      }).pipe(Effect.scoped, Effect.provide(Shop.gateway())),
    60_000
  )

  scenario(
    "when its id comes again with another type or object, then that is refused, and raised",
    Effect.gen(function* () {
      const { provider, url } = yield* open
      const { checkoutId, confirm } = yield* Shop.prepare({ lines: { tea: 1 } })
      yield* confirm()
      const other = yield* Shop.prepare({ lines: { tea: 1 } })
      yield* other.confirm()
      const object = objectOf(provider, checkoutId)
      const send = (type: string, about: object) =>
        Webhooks.send(url, Webhooks.eventBody(type, { ...about }, { id: "evt_once" }))
      assert.strictEqual(yield* send("payment_intent.succeeded", object), 200)
      assert.strictEqual(yield* send("payment_intent.canceled", object), 409)
      assert.strictEqual(yield* send("payment_intent.succeeded", objectOf(provider, other.checkoutId)), 409)
      assert.strictEqual(yield* send("payment_intent.succeeded", object), 200, "the first one is a repeat")
      const found = yield* alerted("webhook_contradiction")
      assert.deepStrictEqual(
        found.map(({ id }) => id),
        ["webhook_contradiction:stripe:evt_once"]
      )
      assert.strictEqual((yield* order(checkoutId))[0]?.status, "confirmed")
    })
  )
})

describe("given events which do not fit what is known", () => {
  scenario(
    "when a capture is told of a hold which was dropped, then nothing changes, and somebody is told",
    Effect.gen(function* () {
      const { provider, url } = yield* open
      const { checkoutId, confirm } = yield* Shop.prepare({ lines: { tea: 1 }, card: "pm_sandbox_capture_declined" })
      yield* Effect.exit(confirm())
      yield* eventually(payment(checkoutId), ([row]) => row?.saga_state === "voided")
      yield* eventually(order(checkoutId), ([row]) => row?.status === "cancelled")
      const before = yield* order(checkoutId)
      const body = Webhooks.eventBody("payment_intent.succeeded", objectOf(provider, checkoutId))
      assert.strictEqual(yield* Webhooks.send(url, body), 200)
      yield* alerted("webhook_late_capture")
      assert.deepStrictEqual(yield* order(checkoutId), before)
      assert.strictEqual((yield* payment(checkoutId))[0]?.saga_state, "voided")
      assert.strictEqual(intentOf(provider, checkoutId).captured.times, 0)
      assert.deepStrictEqual(yield* Shop.violations, [])
    })
  )

  scenario(
    "when a capture is told of an order which was given up, and the provider has it so, then somebody is told, and no order comes of it",
    Effect.gen(function* () {
      const { provider, url } = yield* open
      const card = "pm_sandbox_capture_and_void_fail_always"
      const { checkoutId, confirm } = yield* Shop.prepare({ lines: { tea: 1 }, card })
      yield* Effect.exit(confirm())
      yield* eventually(order(checkoutId), ([row]) => row?.status === "cancelled")
      const before = yield* payment(checkoutId)
      const id = takeAllTheSame(provider, checkoutId)
      assert.strictEqual(provider.ledger.entry(id)?.status, "succeeded")
      const body = Webhooks.eventBody("payment_intent.succeeded", objectOf(provider, checkoutId))
      assert.strictEqual(yield* Webhooks.send(url, body), 200)
      yield* alerted("webhook_money_without_order")
      assert.strictEqual((yield* order(checkoutId))[0]?.status, "cancelled")
      assert.strictEqual((yield* payment(checkoutId))[0]?.saga_state, before[0]?.saga_state)
    })
  )

  scenario(
    "when one names another amount, then the provider is asked, nothing changes, and somebody is told (T-PAY-30)",
    Effect.gen(function* () {
      const { provider, url } = yield* open
      const { checkoutId, confirm } = yield* Shop.prepare({ lines: { tea: 1 } })
      yield* confirm()
      const calls = intentOf(provider, checkoutId).calls.retrieve ?? 0
      const body = Webhooks.eventBody(
        "payment_intent.succeeded",
        objectOf(provider, checkoutId, { amount_received: 1 })
      )
      assert.strictEqual(yield* Webhooks.send(url, body), 200)
      yield* alerted("webhook_disagrees")
      assert.strictEqual(intentOf(provider, checkoutId).calls.retrieve, calls + 1)
      assert.strictEqual((yield* payment(checkoutId))[0]?.saga_state, "captured")
    })
  )

  scenario(
    "when a late failure is told of what was captured, then it is skipped (REQ-PF-02)",
    Effect.gen(function* () {
      const { provider, url } = yield* open
      const { checkoutId, confirm } = yield* Shop.prepare({ lines: { tea: 1 } })
      yield* confirm()
      const body = Webhooks.eventBody("payment_intent.payment_failed", objectOf(provider, checkoutId))
      assert.strictEqual(yield* Webhooks.send(url, body), 200)
      assert.deepInclude((yield* settled)[0], { status: "applied", outcome: "up to date" })
      assert.strictEqual((yield* order(checkoutId))[0]?.status, "confirmed")
    })
  )

  scenario(
    "when they are of nobody's payment, then they are acknowledged, kept up to a bound, and raised once when money is in them",
    Effect.gen(function* () {
      const { url } = yield* open
      const foreign = (number: number, type = "payment_intent.succeeded") =>
        Webhooks.send(
          url,
          Webhooks.eventBody(type, {
            id: `pi_foreign_${number}`,
            amount: 500,
            amount_received: 500,
            currency: "eur",
            metadata: number === 1 ? { checkout: "checkout-of-another-shop" } : {}
          })
        )
      for (const number of [1, 2, 3, 4]) assert.strictEqual(yield* foreign(number), 200)
      assert.strictEqual(yield* foreign(5, "payment_intent.canceled"), 200)
      const kept = yield* settled
      assert.isTrue(kept.every(({ status }) => status === "unmatched"))
      yield* eventually(alerts, (found) => found.length === 2)
      assert.deepStrictEqual(
        (yield* alerts).map(({ id }) => id),
        ["webhook_money_without_order:checkout-of-another-shop", "webhook_money_without_order:stripe"]
      )
      assert.notInclude(JSON.stringify(yield* alerts), "pi_foreign", "an authorization is named by its hash alone")
    })
  )

  scenario(
    "when there are as many of nobody's as are kept, then further ones are acknowledged and not kept",
    Effect.gen(function* () {
      const { url } = yield* open
      const foreign = (number: number) =>
        Webhooks.send(url, Webhooks.eventBody("payment_intent.canceled", { id: `pi_${number}`, currency: "eur" }))
      assert.strictEqual(yield* foreign(1), 200)
      assert.deepStrictEqual(yield* events, [])
    }),
    { webhook: { ...Shop.quickLimits.webhook, unmatchedMax: 0 } }
  )
})

describe("given an event which cannot be handled now", () => {
  scenario(
    "when the provider does not answer, then it is tried again, parked with an alert, and works when it is replayed (T-PAY-12)",
    Effect.gen(function* () {
      const { provider, url } = yield* open
      const { checkoutId, confirm } = yield* Shop.prepare({ lines: { tea: 1 }, card: "pm_card_authenticationRequired" })
      yield* confirm()
      provider.authenticate(intentOf(provider, checkoutId).id, true)
      provider.faults.inject({ operation: "retrieve", fault: { _tag: "Unavailable" }, times: "always" })
      const body = Webhooks.eventBody("payment_intent.amount_capturable_updated", objectOf(provider, checkoutId), {
        id: "evt_hard"
      })
      assert.strictEqual(yield* Webhooks.send(url, body), 200)
      yield* eventually(events, ([event]) => event?.status === "parked")
      const tries = yield* rows<{ attempts: number; error: string }>(
        "select attempts, error from payment.provider_events"
      )
      assert.deepStrictEqual(tries, [{ attempts: 3, error: "OutcomeUnknown" }])
      yield* alerted("webhook_parked")
      assert.strictEqual(yield* Webhooks.send(url, body), 200, "a repeat changes nothing")
      provider.faults.clear()
      const { client } = yield* Placement
      const event = client(ProviderEvent)(checkoutId)
      yield* event.Replay({ provider: "stripe", eventId: ProviderReference.make("evt_hard") })
      const [row] = yield* eventually(order(checkoutId), ([found]) => found?.status === "confirmed")
      assert.strictEqual(row?.status, "confirmed")
      const again = yield* Effect.flip(
        event.Replay({ provider: "stripe", eventId: ProviderReference.make("evt_hard") })
      )
      assert.strictEqual(again._tag, "EventConflict")
    }),
    {
      webhook: {
        ...Shop.quickLimits.webhook,
        attemptsMax: 3,
        backoff: { base: Duration.millis(20), cap: Duration.millis(50) }
      },
      checkout: { ...Shop.quickLimits.checkout, actionPollInterval: Duration.hours(1) }
    }
  )
})

describe("given refunds and chargebacks which the provider tells of", () => {
  const paid = Effect.gen(function* () {
    const { provider, url } = yield* open
    yield* listen(url)
    const { checkoutId, confirm } = yield* Shop.prepare({ lines: { tea: 1 } })
    yield* confirm()
    return { provider, checkoutId }
  })

  scenario(
    "when a refund was made on the provider's own pages, then payment and order know it",
    Effect.gen(function* () {
      const { checkoutId, provider } = yield* paid
      provider.handle(
        {
          method: "POST",
          path: "/v1/refunds",
          params: { payment_intent: intentOf(provider, checkoutId).id, amount: "500" },
          key: undefined,
          credential: "secret"
        },
        () => {}
      )
      const [row] = yield* eventually(payment(checkoutId), ([found]) => found?.status === "partially_refunded")
      assert.deepStrictEqual([row?.status, Number(row?.refunded)], ["partially_refunded", 500])
      yield* eventually(order(checkoutId), ([found]) => found?.payment_status === "partially_refunded")
    })
  )

  scenario(
    "when a refund which had succeeded comes back, then its amount can be given back again",
    Effect.gen(function* () {
      const { provider, url } = yield* open
      yield* listen(url)
      const { checkoutId, confirm } = yield* Shop.prepare({ lines: { tea: 1 }, card: "pm_card_refundFail" })
      yield* confirm()
      const { client } = yield* Placement
      const key = IdempotencyKey.make("refund-key-1")
      yield* client(Refunds)(CheckoutId.make(checkoutId)).Request({
        key,
        refund: operatorRefund(key),
        amount: 500n,
        reason: "broken"
      })
      yield* eventually(payment(checkoutId), ([found]) => Number(found?.refunded) === 500)
      const [row] = yield* eventually(payment(checkoutId), ([found]) => Number(found?.refunded) === 0)
      assert.strictEqual(row?.status, "captured")
      assert.deepStrictEqual(intentOf(provider, checkoutId).refundsReturned, { times: 1, amount: 500 })
    })
  )

  scenario(
    "when a customer goes to their bank, then the payment has the chargeback, an operator is told, and it closes",
    Effect.gen(function* () {
      const { checkoutId, provider } = yield* paid
      const dispute = provider.dispute(intentOf(provider, checkoutId).id)
      assert(dispute !== undefined)
      yield* alerted("chargeback")
      const chargebacks = rows<{ readonly status: string }>(
        `select c ->> 'status' as status from payment.payments, jsonb_array_elements(chargebacks) c where id = '${checkoutId}'`
      )
      assert.deepStrictEqual(yield* chargebacks, [{ status: "opened" }])
      provider.closeDispute(dispute.id, "won")
      yield* eventually(chargebacks, ([found]) => found?.status === "won")
      assert.deepStrictEqual(yield* chargebacks, [{ status: "won" }])
    })
  )

  scenario(
    "when a refund is told of which the provider does not have, then nothing changes, and somebody is told",
    Effect.gen(function* () {
      const { provider, url } = yield* open
      const { checkoutId, confirm } = yield* Shop.prepare({ lines: { tea: 1 } })
      yield* confirm()
      const { id, metadata } = intentOf(provider, checkoutId)
      const body = Webhooks.eventBody("refund.created", {
        id: "re_nowhere",
        object: "refund",
        amount: 500,
        currency: "eur",
        payment_intent: id,
        status: "succeeded",
        metadata
      })
      assert.strictEqual(yield* Webhooks.send(url, body), 200)
      yield* alerted("webhook_disagrees")
      assert.strictEqual(Number((yield* payment(checkoutId))[0]?.refunded), 0)
    })
  )
})
