/**
 * A process which takes a shop over and dies by SIGKILL at its n-th boundary: before or after a write of the journal, before or after a call
 * to the provider. The shop has one failed compensation, which an operator retries, or is about to have one: then it is at the last look
 * into an authorization of unknown outcome. Started by the crash test; its arguments come as JSON.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Duration, Effect, Layer, Redacted } from "effect"
import { CustomerId, IdempotencyKey } from "../../src/domain/Ids.ts"
import { FailedCompensation } from "../../src/entities/failedCompensation/FailedCompensation.ts"
import { PaymentGateway } from "../../src/gateways/PaymentGateway.ts"
import { Placement } from "../../src/runtime/Placement.ts"
import { eventually } from "../fixtures/Eventually.ts"
import * as Shop from "../fixtures/Shop.ts"
import { boundariesOf } from "./Boundaries.ts"

export interface Arguments {
  readonly databaseUrl: string
  readonly sandboxPort: number
  /** The failed compensation. */
  readonly id: string
  /** Of the operator's retry: the same again is the same retry. Without one the record is still to be made. */
  readonly key?: string
  /** The boundary to die at, from 1; with 0 it lives, and prints how many there were. */
  readonly dieAt: number
}

const started = process.argv[1]?.endsWith("CrashingCompensation.ts") === true
/** Imported by the test for its limits: only what is started as a program runs. */
const { databaseUrl, dieAt, id, key, sandboxPort }: Arguments = JSON.parse(started ? process.argv[2]! : "{}")

const { aroundStore, begin, between, end } = boundariesOf(dieAt, { counting: false })

/** Retries and looks by themselves stay away from the test; a look is the last one. */
export const limits = {
  ...Shop.quickLimits,
  payment: { ...Shop.quickLimits.payment, resolve: { base: Duration.hours(1), cap: Duration.hours(2) } },
  checkout: { ...Shop.quickLimits.checkout, resolveLooksMax: 1 },
  compensation: {
    ...Shop.quickLimits.compensation,
    backoff: { base: Duration.hours(1), cap: Duration.hours(2) }
  }
}

const crashingGateway = Layer.effect(
  PaymentGateway,
  Effect.map(PaymentGateway, (gateway) =>
    PaymentGateway.of({
      ...gateway,
      void: (request) => {
        // From here on the last look is at work.
        if (key === undefined) begin()
        return between(gateway.void(request))
      }
    })
  )
).pipe(Layer.provideMerge(Shop.stripe(sandboxPort)))

const program = Effect.gen(function* () {
  const placement = yield* Placement
  const record = placement.client(FailedCompensation)(id)
  if (key === undefined) {
    yield* eventually(Effect.option(record.GetFailedCompensation()), ({ _tag }) => _tag === "Some")
  } else {
    yield* record.GetFailedCompensation()
    begin()
    yield* record.Retry({ key: IdempotencyKey.make(key), by: CustomerId.make("olga") })
    yield* eventually(record.GetFailedCompensation(), ({ status }) => status === "resolved")
  }
  // What follows of it (alert, acknowledgements) belongs to it.
  yield* Effect.sleep("400 millis")
  return yield* end
})

if (started) {
  const shop = Shop.shopOn(Redacted.make(databaseUrl), limits, {
    aroundStore
  }).pipe(Layer.provide(crashingGateway))
  NodeRuntime.runMain(program.pipe(Effect.provide(shop), Effect.orDie))
}
