/**
 * A process which gets a webhook that lets an order go on, and dies by SIGKILL at its n-th boundary from then on: before or after a write of
 * the journal, before or after a call to the provider. Started by the crash test; its arguments come as JSON.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { PaymentGateway } from "../../src/gateways/PaymentGateway.ts"
import * as Shop from "../fixtures/Shop.ts"
import * as Webhooks from "../fixtures/Webhooks.ts"
import { boundariesOf } from "./Boundaries.ts"

export interface Arguments {
  readonly databaseUrl: string
  readonly sandboxPort: number
  readonly checkoutId: string
  readonly cartId: string
  readonly customer: string
  readonly eventId: string
  /** The boundary to die at, from 1; with 0 it lives, and prints how many there were. */
  readonly dieAt: number
}

const { cartId, checkoutId, customer, databaseUrl, dieAt, eventId, sandboxPort }: Arguments = JSON.parse(
  process.argv[2]!
)

const { aroundStore, begin, between, end } = boundariesOf(dieAt, { counting: false })

const crashingGateway = Layer.effect(
  PaymentGateway,
  Effect.map(PaymentGateway, (gateway) =>
    PaymentGateway.of({
      ...gateway,
      retrieve: (id) => between(gateway.retrieve(id)),
      capture: (request) => between(gateway.capture(request))
    })
  )
).pipe(Layer.provideMerge(Shop.stripe(sandboxPort)))

const shop = Shop.shopOn(Redacted.make(databaseUrl), Shop.quickLimits, {
  aroundStore
}).pipe(Layer.provide(crashingGateway))

NodeRuntime.runMain(
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const url = yield* Webhooks.endpoint()
    const { confirm } = yield* Shop.prepare({
      lines: { tea: 1 },
      card: "pm_card_authenticationRequired",
      cartId,
      checkoutId,
      customer
    })
    yield* confirm()
    const [row] = yield* sql<{ readonly intent: string }>`select intent from payment.payments where id = ${checkoutId}`
    const intent = row?.intent ?? ""
    yield* Effect.promise(() =>
      fetch(`http://127.0.0.1:${sandboxPort}/sandbox/authenticate/${intent}`, {
        method: "POST",
        body: "outcome=complete"
      })
    )
    begin()
    yield* Webhooks.send(url, Webhooks.proofBody(eventId, intent, checkoutId))
    for (let tries = 0; tries < 200; tries++) {
      const [order] = yield* sql<{ readonly status: string }>`select status from orders.orders where id = ${checkoutId}`
      if (order?.status === "confirmed") break
      yield* Effect.sleep("20 millis")
    }
    yield* Effect.sleep("200 millis")
    return yield* end
  }).pipe(Effect.scoped, Effect.provide(shop), Effect.orDie)
)
