/**
 * The processes which a simulation of the runtime has under way: money that is taken out of one wallet, waited with on a durable clock or
 * for a word from outside, and brought to another by a child process on whichever node that lives; or brought back.
 */
import { Effect, Layer, Schedule, Schema } from "effect"
import { Activity, DurableClock, DurableDeferred, Workflow } from "effect/workflow"
import { Unavailable } from "../../src/domain/Refusals.ts"
import { PlacedBy } from "../../src/domain/PlacedBy.ts"
import { Placement } from "../../src/runtime/Placement.ts"
import { type Answer, NotOpen, Overdrawn, Wallet } from "./Wallet.ts"

/** Nobody was there to take it. */
export class Returned extends Schema.TaggedError<Returned>()("Returned", {}) {}

const payload = {
  errand: Schema.String,
  from: Schema.String,
  to: Schema.String,
  amount: Schema.BigInt,
  waitMs: Schema.Int,
  /** It goes on only when `Go` has been said. */
  asks: Schema.Boolean,
  /** It ends in vain, and what was done is undone. */
  inVain: Schema.Boolean
}

export const Go = DurableDeferred.make("Go", { success: Schema.BigInt })

export const Errand = Workflow.make("Errand", {
  payload,
  success: Schema.BigInt,
  error: Schema.Union([NotOpen, Overdrawn, Returned]),
  idempotencyKey: ({ errand }) => errand
}).annotate(PlacedBy, ({ from }: { readonly from: string }) => from)

const Delivery = Workflow.make("Delivery", {
  payload: { errand: Schema.String, to: Schema.String, amount: Schema.BigInt },
  success: Schema.BigInt,
  idempotencyKey: ({ errand }) => errand
}).annotate(PlacedBy, ({ to }: { readonly to: string }) => to)

/** The keys of what an errand does to wallets. */
export const keysOf = (errand: string) => ({ out: `${errand}/out`, in: `${errand}/in`, back: `${errand}/back` })

const isUnavailable = Schema.is(Unavailable)
const patiently = <E>(call: Effect.Effect<Answer, E>) =>
  call.pipe(
    Effect.retry({ schedule: Schedule.spaced(250).pipe(Schedule.jittered), while: isUnavailable }),
    Effect.map(({ balance }) => balance)
  )

const DeliveryLive = Delivery.toLayer(
  Effect.fnUntraced(function* ({ amount, errand, to }) {
    const placement = yield* Placement
    yield* DurableClock.sleep({ name: "on the way", duration: 700, inMemoryThreshold: 0 })
    return yield* Activity.make({
      name: "in",
      success: Schema.BigInt,
      execute: patiently(
        placement
          .client(Wallet)(to)
          .Deposit({ key: keysOf(errand).in, amount })
      ).pipe(Effect.orDie)
    })
  })
)

const ErrandLive = Errand.toLayer(
  Effect.fnUntraced(function* ({ amount, asks, errand, from, inVain, to, waitMs }) {
    const placement = yield* Placement
    yield* Activity.make({
      name: "out",
      success: Schema.BigInt,
      error: Schema.Union([NotOpen, Overdrawn]),
      execute: patiently(
        placement
          .client(Wallet)(from)
          .Withdraw({ key: keysOf(errand).out, amount })
      ).pipe(
        Effect.catch((error) =>
          error._tag === "NotOpen" || error._tag === "Overdrawn" ? Effect.fail(error) : Effect.die(error)
        )
      )
    }).pipe(
      Errand.withCompensation(() =>
        patiently(
          placement
            .client(Wallet)(from)
            .Deposit({ key: keysOf(errand).back, amount })
        ).pipe(Effect.orDie)
      )
    )
    yield* DurableClock.sleep({ name: "wait", duration: waitMs, inMemoryThreshold: 0 })
    if (asks) yield* DurableDeferred.await(Go)
    if (inVain) return yield* new Returned()
    return yield* Delivery.execute({ errand, to, amount })
  })
)

export const errands = Layer.mergeAll(ErrandLive, DeliveryLive)
