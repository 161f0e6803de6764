/**
 * A process which takes a shop over, pays a seller out, and dies by SIGKILL at its n-th boundary: before or after a write of the journal, before
 * or after a call to the provider. Started by the crash test; its arguments come as JSON.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Layer, Redacted } from "effect"
import { PayoutGateway } from "../../src/gateways/PayoutGateway.ts"
import { payoutsEnded, startPayout } from "../fixtures/Sellers.ts"
import * as Shop from "../fixtures/Shop.ts"
import { boundariesOf } from "./Boundaries.ts"

export interface Arguments {
  readonly databaseUrl: string
  readonly sandboxPort: number
  readonly seller: string
  /** The operator's key, which is repeated afterwards. */
  readonly key: string
  /** The boundary to die at, from 1; with 0 it lives, and prints how many there were. */
  readonly dieAt: number
}

const started = process.argv[1]?.endsWith("CrashingPayout.ts") === true
/** Imported by the test for its types: only what is started as a program runs. */
const { databaseUrl, dieAt, key, sandboxPort, seller }: Arguments = JSON.parse(started ? process.argv[2]! : "{}")

const { aroundStore, between, end } = boundariesOf(dieAt, { counting: true })

const crashingGateway = Layer.effect(
  PayoutGateway,
  Effect.map(PayoutGateway, (gateway) =>
    PayoutGateway.of({
      send: (request) => between(gateway.send(request)),
      find: (request) => between(gateway.find(request))
    })
  )
).pipe(Layer.provideMerge(Shop.stripe(sandboxPort)))

const program = Effect.gen(function* () {
  yield* startPayout(seller, { key })
  yield* payoutsEnded(seller)
  return yield* end
})

if (started) {
  const shop = Shop.shopOn(Redacted.make(databaseUrl), Shop.quickLimits, { aroundStore }).pipe(
    Layer.provide(crashingGateway)
  )
  NodeRuntime.runMain(program.pipe(Effect.provide(shop), Effect.orDie))
}
