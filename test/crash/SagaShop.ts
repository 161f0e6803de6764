/**
 * A process which tells one story of an order's money and dies by SIGKILL at one step of it: before or after its call to the provider, or
 * the commit of what came of it. Started by the test of the saga matrix; its arguments come as JSON.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Effect, Layer, Redacted } from "effect"
import { OutcomeUnknown, PaymentGateway } from "../../src/gateways/PaymentGateway.ts"
import type { Batch } from "../../src/runtime/Store.ts"
import * as Shop from "../fixtures/Shop.ts"
import { act, limitsOf, type Names, patient, prepare, quiet } from "./Sagas.ts"

export type Call = "createIntent" | "confirmIntent" | "capture" | "void" | "refund"

export interface SagaArguments extends Names {
  readonly databaseUrl: string
  readonly sandboxPort: number
  /** A call to the provider, or the command of an actor whose commit it is. */
  readonly point: { readonly call: Call } | { readonly command: string }
  readonly when: "before" | "after"
}

const args: SagaArguments = JSON.parse(process.argv[2]!)
const limits = limitsOf(args.story, patient)

let begun = false
const die = (): void => {
  if (begun) process.kill(process.pid, "SIGKILL")
}

/** The process goes on with what the ones before it have left, too: it dies of its own story alone. */
const own = ({ key }: { readonly key: string }): boolean => key.includes(args.checkoutId)

const around = <A, E, R>(
  call: Call,
  request: { readonly key: string },
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  if (!("call" in args.point) || args.point.call !== call || !own(request)) return effect
  return args.when === "before" ? Effect.andThen(Effect.sync(die), effect) : Effect.ensuring(effect, Effect.sync(die))
}

const unheard = Effect.fail(new OutcomeUnknown({ service: "payment" }))
/** The hold whose capture, and whose retries, are told nothing: four looks. */
let taken: string | undefined
let looks = 4

const gateway = Layer.effect(
  PaymentGateway,
  Effect.map(PaymentGateway, (real) =>
    PaymentGateway.of({
      ...real,
      createIntent: (request) => around("createIntent", request, real.createIntent(request)),
      confirmIntent: (request) => around("confirmIntent", request, real.confirmIntent(request)),
      capture: (request) => {
        if (args.story !== "taken" || !own(request)) return around("capture", request, real.capture(request))
        taken = Redacted.value(request.id)
        return Effect.andThen(real.capture(request), unheard)
      },
      void: (request) => around("void", request, real.void(request)),
      refund: (request) => around("refund", request, real.refund(request)),
      retrieve: (id) =>
        Effect.suspend(() => (Redacted.value(id) === taken && looks-- > 0 ? unheard : real.retrieve(id)))
    })
  )
).pipe(Layer.provideMerge(Shop.stripe(args.sandboxPort, limits)))

/** Whether the flush carries the command out. */
const carries = ({ parts }: Batch): boolean =>
  "command" in args.point &&
  parts.some(
    ({ part, rows }) =>
      part.table === "runtime.history" &&
      rows.some(
        (row) => "command" in args.point && row["command"] === args.point.command && row["actor_id"] === args.checkoutId
      )
  )

const shop = Shop.shopOn(Redacted.make(args.databaseUrl), limits, {
  aroundStore: (store) => ({
    ...store,
    transact: (keys, body) => {
      let met = false
      const watched: typeof body = (counters) => {
        const batch = body(counters)
        met = carries(batch)
        if (met && args.when === "before") die()
        return batch
      }
      return Effect.tap(store.transact(keys, watched), () =>
        Effect.sync(() => (met && args.when === "after" ? die() : undefined))
      )
    }
  })
}).pipe(Layer.provide(gateway))

NodeRuntime.runMain(
  Effect.gen(function* () {
    yield* prepare(args)
    begun = true
    yield* act(args)
    yield* quiet(args)
    yield* Effect.sleep("1 second")
    process.exit(0)
  }).pipe(Effect.provide(shop), Effect.orDie)
)
