import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { Stripe } from "stripe"
import type { Ending } from "../../src/sandbox/PaymentProvider.ts"
import { Sandbox } from "../../src/sandbox/Sandbox.ts"
import type { WebhookOptions } from "../../src/sandbox/Webhooks.ts"
import { signatureHeader } from "../../src/sandbox/Webhooks.ts"

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

/** Pays 10 euros and gives them back, at the provider itself. */
const pay = Effect.gen(function* () {
  const { provider } = yield* Sandbox
  const post = (path: string, params: Record<string, string>) =>
    Effect.callback<Ending>((resume) => {
      const request = {
        method: "POST",
        path: `/v1/${path}`,
        params,
        key: `key of ${path}`,
        credential: "secret"
      } as const
      provider.handle(request, (ending) => resume(Effect.succeed(ending)))
    })
  yield* post("payment_intents", {
    amount: "1000",
    currency: "eur",
    capture_method: "manual",
    payment_method: "pm_card_visa",
    payment_method_types: "card"
  })
  const id = provider.ledger.page({ limit: 1 }).entries[0]!.id
  yield* post(`payment_intents/${id}/confirm`, {})
  yield* post(`payment_intents/${id}/capture`, {})
  yield* post("refunds", { payment_intent: id })
  return id
})

const withWebhooks = <A, E>(webhook: WebhookOptions, test: Effect.Effect<A, E, Sandbox>) =>
  Effect.provide(test, Sandbox.layer({ port: 0, webhook }), { local: true })

const typesOf = (received: ReadonlyArray<Received>): ReadonlyArray<string> =>
  received.map(({ body }) => JSON.parse(body).type)

const story = [
  "payment_intent.created",
  "payment_intent.amount_capturable_updated",
  "payment_intent.succeeded",
  "refund.created"
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
            () => received.length === 4,
            () => typesOf(received).join()
          )
          assert.sameMembers([...typesOf(received)], story)
          for (const { body, signature } of received) {
            const event = stripe.webhooks.constructEvent(body, signature, secret, 300, undefined, 0)
            const about = event.data.object as { id: string; object: string; payment_intent?: string }
            assert.strictEqual(about.object === "refund" ? about.payment_intent : about.id, id)
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
        { url, secret, duplicate: true },
        Effect.gen(function* () {
          yield* pay
          yield* TestClock.adjust(0)
          yield* until(
            () => received.length === 8,
            () => typesOf(received).join()
          )
          assert.strictEqual(new Set(received.map(({ body }) => JSON.parse(body).id)).size, 4)
        })
      )
    })
  )

  it.effect("when the order is to be turned round, then the last comes first", () =>
    Effect.gen(function* () {
      const { received, url } = yield* shop()
      yield* withWebhooks(
        { url, secret, reorderWithin: "1 second" },
        Effect.gen(function* () {
          yield* pay
          yield* TestClock.adjust("1 second")
          yield* until(
            () => received.length === 4,
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
        { url, secret, delay: "1 minute" },
        Effect.gen(function* () {
          yield* pay
          yield* TestClock.adjust("59 seconds")
          yield* TestClock.withLive(Effect.sleep("20 millis"))
          assert.deepStrictEqual(received, [])
          yield* TestClock.adjust("1 second")
          yield* until(
            () => received.length === 4,
            () => typesOf(received).join()
          )
        })
      )
    })
  )

  it.effect("when the shop does not accept one, then it is sent again a little later", () =>
    Effect.gen(function* () {
      const { received, url } = yield* shop([500, 500, 500, 500])
      yield* withWebhooks(
        { url, secret },
        Effect.gen(function* () {
          yield* pay
          yield* TestClock.adjust(0)
          yield* until(
            () => received.length === 4,
            () => typesOf(received).join()
          )
          // The shop's answers come over the wire, and only then is a repeat set.
          const pass = Effect.andThen(TestClock.adjust("1 second"), TestClock.withLive(Effect.sleep("5 millis")))
          yield* Effect.repeat(pass, { until: () => received.length === 8, times: 1_000 })
          assert.sameMembers([...typesOf(received.slice(4))], story)
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
