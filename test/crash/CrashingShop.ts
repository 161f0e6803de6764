/**
 * A process which confirms one checkout and dies by SIGKILL at its n-th boundary: before or after a write of the journal, before or after
 * a call to the provider. Started by the crash test; its arguments come as JSON.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Layer, Redacted } from "effect"
import { IdempotencyKey } from "../../src/domain/Ids.ts"
import { PaymentGateway } from "../../src/gateways/PaymentGateway.ts"
import * as Shop from "../fixtures/Shop.ts"
import { boundariesOf } from "./Boundaries.ts"

export interface Arguments {
  readonly databaseUrl: string
  readonly sandboxPort: number
  readonly checkoutId: string
  readonly cartId: string
  readonly customer: string
  readonly confirmKey: string
  readonly card: string
  /** The boundary to die at, from 1; with 0 it lives, and prints how many there were. */
  readonly dieAt: number
}

const { card, cartId, checkoutId, confirmKey, customer, databaseUrl, dieAt, sandboxPort }: Arguments = JSON.parse(
  process.argv[2]!
)

const { aroundStore, begin, between, end } = boundariesOf(dieAt, { counting: false })

const crashingGateway = Layer.effect(
  PaymentGateway,
  Effect.map(PaymentGateway, (gateway) =>
    PaymentGateway.of({
      ...gateway,
      createIntent: (request) => between(gateway.createIntent(request)),
      confirmIntent: (request) => between(gateway.confirmIntent(request)),
      capture: (request) => between(gateway.capture(request)),
      void: (request) => between(gateway.void(request)),
      refund: (request) => between(gateway.refund(request))
    })
  )
).pipe(Layer.provideMerge(Shop.stripe(sandboxPort)))

const shop = Shop.shopOn(Redacted.make(databaseUrl), Shop.quickLimits, {
  aroundStore
}).pipe(Layer.provide(crashingGateway))

NodeRuntime.runMain(
  Effect.gen(function* () {
    const { cart, by, confirm } = yield* Shop.prepare({ lines: { tea: 2, cup: 1 }, card, cartId, checkoutId, customer })
    begin()
    yield* Effect.ignore(confirm(IdempotencyKey.make(confirmKey)))
    // The cart hears of the end a moment later: that belongs to it.
    for (let tries = 0; tries < 100; tries++) {
      const { status } = yield* cart.GetCart({ by })
      if (status !== "locked") break
      yield* Effect.sleep("20 millis")
    }
    yield* Effect.sleep("300 millis")
    return yield* end
  }).pipe(Effect.provide(shop), Effect.orDie)
)
