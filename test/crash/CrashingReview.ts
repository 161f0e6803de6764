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
import { stripe } from "./CrashingCompensation.ts"

export interface Arguments {
  readonly databaseUrl: string
  readonly sandboxPort: number
  /** The boundary to die at, from 1; with 0 it lives, and prints how many there were. */
  readonly dieAt: number
}

const started = process.argv[1]?.endsWith("CrashingReview.ts") === true
/** Imported by the test for its types: only what is started as a program runs. */
const { databaseUrl, dieAt, sandboxPort }: Arguments = JSON.parse(started ? process.argv[2]! : "{}")

let met = 0
const boundary = Effect.sync(() => {
  met++
  if (met === dieAt) process.kill(process.pid, "SIGKILL")
})

const between = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.andThen(boundary, Effect.ensuring(effect, boundary))

const crashingGateway = Layer.effect(
  PaymentGateway,
  Effect.map(PaymentGateway, (gateway) =>
    PaymentGateway.of({
      ...gateway,
      void: (request) => between(gateway.void(request)),
      refund: (request) => between(gateway.refund(request))
    })
  )
).pipe(Layer.provide(stripe(sandboxPort)))

const program = Effect.gen(function* () {
  yield* reconcile(["provider"])
  process.stdout.write(`boundaries=${met}\n`)
  process.exit(0)
})

if (started) {
  const shop = Shop.shopOn(Redacted.make(databaseUrl), Shop.quickLimits, {
    aroundStore: (store) => ({ ...store, transact: (keys, body) => between(store.transact(keys, body)) })
  }).pipe(Layer.provide(crashingGateway))
  NodeRuntime.runMain(
    program.pipe(Effect.provide(ReconciliationList.layer.pipe(Layer.provideMerge(shop))), Effect.orDie)
  )
}
