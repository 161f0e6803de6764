import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { Stripe } from "stripe"
import type { Ending } from "../../src/sandbox/PaymentProvider.ts"
import { forgeryKinds } from "../../src/sandbox/Forgeries.ts"
import { Sandbox } from "../../src/sandbox/Sandbox.ts"
import type { WebhookOptions } from "../../src/sandbox/Webhooks.ts"
import { signatureHeader } from "../../src/sandbox/Signature.ts"

const secret = "whsec_test"

interface Received {
  readonly body: string
  readonly signature: string
}

/** A shop's endpoint. Answers with the statuses given, then with 200. */
const shop = (statuses: ReadonlyArray<number> = []) =>
  Effect.gen(function* () {
    const received: Array<Received> = []
    const server = createServer((request, response) => {
      let body = ""
      request.on("data", (chunk: Buffer) => (body += chunk.toString()))
      request.on("end", () => {
        received.push({ body, signature: String(request.headers["stripe-signature"]) })
        response.writeHead(statuses[received.length - 1] ?? 200).end()
      })
    })
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => {
        server.listen(0, "127.0.0.1", () => resume(Effect.void))
      }),
      () => Effect.sync(() => server.close().closeAllConnections())
    )
    return { received, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/webhooks` }
  })

const until = (condition: () => boolean, what: () => string) =>
  Effect.suspend(() => (condition() ? Effect.void : Effect.fail(what()))).pipe(
    Effect.retry(Schedule.spaced("5 millis").pipe(Schedule.upTo({ duration: "5 seconds" }))),
    TestClock.withLive
  )

/** Pays 10 euros with a card and gives them back, at the provider itself. */
const payWith = Effect.fnUntraced(function* (card: string) {
  const { provider } = yield* Sandbox
  const post = (path: string, params: Record<string, string>) =>
    Effect.callback<Ending>((resume) => {
      const request = {
        method: "POST",
        path: `/v1/${path}`,
        params,
        key: `key of ${path} ${card}`,
        credential: "secret"
      } as const
      provider.handle(request, (ending) => resume(Effect.succeed(ending)))
    })
  yield* post("payment_intents", {
    amount: "1000",
    currency: "eur",
    capture_method: "manual",
    payment_method: card,
    payment_method_types: "card"
  })
  const id = provider.ledger.page({ limit: 9 }).entries.at(-1)!.id
  yield* post(`payment_intents/${id}/confirm`, {})
  yield* post(`payment_intents/${id}/capture`, {})
  yield* post("refunds", { payment_intent: id })
  return id
})
const pay = payWith("pm_card_visa")

const withWebhooks = <A, E>(webhook: WebhookOptions, test: Effect.Effect<A, E, Sandbox>) =>
  Effect.provide(test, Sandbox.layer({ port: 0, webhook }), { local: true })

const typesOf = (received: ReadonlyArray<Received>): ReadonlyArray<string> =>
  received.map(({ body }) => JSON.parse(body).type)

const story = [
  "payment_intent.created",
  "payment_intent.amount_capturable_updated",
  "payment_intent.succeeded",
  "refund.created",
  "charge.refunded"
]

const stripe = new Stripe("sk_test_1")

describe("given a shop which wants webhooks", () => {
  it.effect("when a payment is made, then each step is told, signed so that the SDK accepts it", () =>
    Effect.gen(function* () {
      const { received, url } = yield* shop()
      yield* withWebhooks(
        { url, secret },
        Effect.gen(function* () {
          const id = yield* pay
          yield* TestClock.adjust(0)
          yield* until(
            () => received.length === 5,
            () => typesOf(received).join()
          )
          assert.sameMembers([...typesOf(received)], story)
          for (const { body, signature } of received) {
            const event = stripe.webhooks.constructEvent(body, signature, secret, 300, undefined, 0)
            const about = event.data.object as { id: string; object: string; payment_intent?: string }
            assert.strictEqual(about.object === "payment_intent" ? about.id : about.payment_intent, id)
            assert.match(event.request?.idempotency_key ?? "", /^key of /)
          }
        })
      )
    })
  )

  it.effect("when everything is to come twice, then each event comes twice with one id", () =>
    Effect.gen(function* () {
      const { received, url } = yield* shop()
      yield* withWebhooks(
        { url, secret, plan: { copies: 2 } },
        Effect.gen(function* () {
          yield* pay
          yield* TestClock.adjust(0)
          yield* until(
            () => received.length === 10,
            () => typesOf(received).join()
          )
          assert.strictEqual(new Set(received.map(({ body }) => JSON.parse(body).id)).size, 5)
        })
      )
    })
  )

  it.effect("when the order is to be turned round, then the last comes first", () =>
    Effect.gen(function* () {
      const { received, url } = yield* shop()
      yield* withWebhooks(
        { url, secret, plan: { reorderWithinMs: 1_000 } },
        Effect.gen(function* () {
          yield* pay
          yield* TestClock.adjust("1 second")
          yield* until(
            () => received.length === 5,
            () => typesOf(received).join()
          )
          assert.deepStrictEqual(typesOf(received), story.toReversed())
        })
      )
    })
  )

  it.effect("when they are to come late, then none comes before", () =>
    Effect.gen(function* () {
      const { received, url } = yield* shop()
      yield* withWebhooks(
        { url, secret, plan: { delayMs: 60_000 } },
        Effect.gen(function* () {
          yield* pay
          yield* TestClock.adjust("59 seconds")
          yield* TestClock.withLive(Effect.sleep("20 millis"))
          assert.deepStrictEqual(received, [])
          yield* TestClock.adjust("1 second")
          yield* until(
            () => received.length === 5,
            () => typesOf(received).join()
          )
        })
      )
    })
  )

  it.effect("when the shop does not accept one, then it is sent again a little later", () =>
    Effect.gen(function* () {
      const { received, url } = yield* shop([500, 500, 500, 500, 500])
      yield* withWebhooks(
        { url, secret },
        Effect.gen(function* () {
          yield* pay
          yield* TestClock.adjust(0)
          yield* until(
            () => received.length === 5,
            () => typesOf(received).join()
          )
          // The shop's answers come over the wire, and only then is a repeat set.
          const pass = Effect.andThen(TestClock.adjust("1 second"), TestClock.withLive(Effect.sleep("5 millis")))
          yield* Effect.repeat(pass, { until: () => received.length === 10, times: 1_000 })
          assert.sameMembers([...typesOf(received.slice(5))], story)
        })
      )
    })
  )

  it.effect("when the card says how they come, then so they come, for its payments only", () =>
    Effect.gen(function* () {
      const { received, url } = yield* shop()
      yield* withWebhooks(
        { url, secret },
        Effect.gen(function* () {
          yield* payWith("pm_sandbox_webhooks_twenty_times")
          yield* payWith("pm_sandbox_webhooks_never")
          yield* TestClock.adjust(0)
          yield* until(
            () => received.length === 100,
            () => typesOf(received).join()
          )
          assert.strictEqual(new Set(received.map(({ body }) => JSON.parse(body).id)).size, 5)
        })
      )
    })
  )

  it.effect("when a refund comes to its end by itself, then that is told when it happens", () =>
    Effect.gen(function* () {
      const { received, url } = yield* shop()
      yield* withWebhooks(
        { url, secret },
        Effect.gen(function* () {
          yield* payWith("pm_sandbox_refund_pending_then_fails")
          yield* TestClock.adjust("5 seconds")
          yield* until(
            () => received.length === 7,
            () => typesOf(received).join()
          )
          assert.includeMembers([...typesOf(received)], ["refund.failed", "refund.updated"])
          const statuses = received
            .map(({ body }) => JSON.parse(body))
            .filter(({ type }) => type.startsWith("refund."))
            .map(({ data, type }) => `${type} ${data.object.status}`)
          assert.sameMembers(statuses, ["refund.created pending", "refund.failed failed", "refund.updated failed"])
        })
      )
    })
  )

  it.effect("when forged ones are to come too, then the SDK accepts the genuine ones and none of the others", () =>
    Effect.gen(function* () {
      const { received, url } = yield* shop()
      yield* withWebhooks(
        { url, secret },
        Effect.gen(function* () {
          yield* payWith("pm_sandbox_webhooks_forged")
          yield* TestClock.adjust(0)
          yield* until(
            () => received.length === 5 * (forgeryKinds.length + 1),
            () => typesOf(received).join()
          )
          const accepted = received.filter(({ body, signature }) => {
            try {
              stripe.webhooks.constructEvent(body, signature, secret, 300, undefined, 0)
              return true
            } catch {
              return false
            }
          })
          // The SDK checks no time to come: that is the shop's to do.
          assert.strictEqual(accepted.length, 10)
          assert.strictEqual(accepted.filter(({ signature }) => signature.startsWith("t=360,")).length, 5)
        })
      )
    })
  )

  it.effect("when one is asked for again, or as a forgery, then it is sent so", () =>
    Effect.gen(function* () {
      const { received, url } = yield* shop()
      yield* withWebhooks(
        { url, secret, plan: { copies: 0 } },
        Effect.gen(function* () {
          yield* pay
          const sandbox = yield* Sandbox
          const ask = (path: string, body: string) =>
            Effect.promise(
              async () => (await fetch(`${sandbox.url}/sandbox/webhooks${path}`, { method: "POST", body })).status
            )
          const listed = yield* Effect.promise(
            async (): Promise<{ readonly sent: ReadonlyArray<{ readonly id: string; readonly type: string }> }> =>
              JSON.parse(await (await fetch(`${sandbox.url}/sandbox/webhooks`)).text())
          )
          assert.deepStrictEqual(
            listed.sent.map(({ type }) => type),
            story
          )
          const id = listed.sent[0]?.id
          assert.strictEqual(yield* ask(`/${id}/resend`, '{"times":2}'), 200)
          assert.strictEqual(yield* ask(`/${id}/forge`, '{"kind":"wrong_secret"}'), 200)
          assert.strictEqual(yield* ask("/evt_unknown/resend", "{}"), 404)
          assert.strictEqual(yield* ask(`/${id}/forge`, '{"kind":"polite"}'), 400)
          assert.strictEqual(yield* ask("", '{"copies":-1}'), 400)
          assert.strictEqual(yield* ask("", '{"copies":3}'), 200)
          yield* TestClock.adjust(0)
          yield* until(
            () => received.length === 3,
            () => typesOf(received).join()
          )
          assert.deepStrictEqual(new Set(typesOf(received)), new Set(["payment_intent.created"]))
        })
      )
    })
  )

  it("when a header is made, then it is the one which the SDK makes", () => {
    const body = JSON.stringify({ id: "evt_1" })
    assert.strictEqual(
      signatureHeader(body, secret, 1_700_000_000),
      stripe.webhooks.generateTestHeaderString({ payload: body, secret, timestamp: 1_700_000_000, scheme: "v1" })
    )
  })
})
