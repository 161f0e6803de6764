/**
 * A process which takes a shop over, has money given back which no living order stands behind, and dies by SIGKILL at its n-th boundary:
 * before or after a write of the journal, before or after a call to the provider. Started by the crash test; its arguments come as JSON.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Layer, Redacted } from "effect"
import { PaymentGateway } from "../../src/gateways/PaymentGateway.ts"
import { ReconciliationList } from "../../src/projections/ReconciliationList.ts"
import { reconcile } from "../fixtures/Reconciliations.ts"
import * as Shop from "../fixtures/Shop.ts"
import { boundariesOf } from "./Boundaries.ts"

export interface Arguments {
  readonly databaseUrl: string
  readonly sandboxPort: number
  /** The boundary to die at, from 1; with 0 it lives, and prints how many there were. */
  readonly dieAt: number
}

const started = process.argv[1]?.endsWith("CrashingReview.ts") === true
/** Imported by the test for its types: only what is started as a program runs. */
const { databaseUrl, dieAt, sandboxPort }: Arguments = JSON.parse(started ? process.argv[2]! : "{}")

const { aroundStore, between, end } = boundariesOf(dieAt, { counting: true })

const crashingGateway = Layer.effect(
  PaymentGateway,
  Effect.map(PaymentGateway, (gateway) =>
    PaymentGateway.of({
      ...gateway,
      void: (request) => between(gateway.void(request)),
      refund: (request) => between(gateway.refund(request))
    })
  )
).pipe(Layer.provideMerge(Shop.stripe(sandboxPort)))

const program = Effect.gen(function* () {
  yield* reconcile(["provider"])
  return yield* end
})

if (started) {
  const shop = Shop.shopOn(Redacted.make(databaseUrl), Shop.quickLimits, {
    aroundStore
  }).pipe(Layer.provide(crashingGateway))
  NodeRuntime.runMain(
    program.pipe(Effect.provide(ReconciliationList.layer.pipe(Layer.provideMerge(shop))), Effect.orDie)
  )
}
