/** What the processes of one checkout share: its actors, its steps, and the right to talk to the provider. */
import { Context, Effect, Layer } from "effect"
import type { Unavailable } from "../../domain/Refusals.ts"
import { Actors } from "../../runtime/Actors.ts"
import { Journal } from "../../runtime/Journal.ts"
import { CheckoutActors, cellsOf, type Group, groupOf } from "./CheckoutActors.ts"
import type { CheckoutLimits } from "./CheckoutLimits.ts"
import { make as makeRefunds, type RefundSteps } from "../refund/RefundSteps.ts"
import { type CheckoutSteps, make as makeSteps } from "./CheckoutSteps.ts"
import { make as makeRecords } from "../compensation/FailedRecords.ts"
import { make as makeOffline, type OfflineSteps } from "../offline/OfflineSteps.ts"
import * as Exclusive from "./Exclusive.ts"

export class CheckoutContext extends Context.Service<
  CheckoutContext,
  {
    readonly limits: CheckoutLimits
    readonly steps: CheckoutSteps
    readonly refunds: RefundSteps
    readonly offline: OfflineSteps
    /** The same steps on a journal which adds something to each unit. */
    readonly stepsOn: (journal: Journal["Service"]) => { readonly steps: CheckoutSteps; readonly refunds: RefundSteps }
    /** The actors of one checkout, kept in memory while `use` runs. */
    readonly withGroup: <A, E, R>(
      id: string,
      use: (group: Group) => Effect.Effect<A, E, R>
    ) => Effect.Effect<A, E | Unavailable, R>
    /**
     * The same, as the rows say they are: for whoever decides without a write, which would meet what another node has done meanwhile.
     */
    readonly withCurrent: <A, E, R>(
      id: string,
      use: (group: Group) => Effect.Effect<A, E, R>
    ) => Effect.Effect<A, E | Unavailable, R>
    /** Nobody else talks to the provider about this checkout meanwhile, on this node. */
    readonly exclusively: ReturnType<typeof Exclusive.make>
  }
>()("cartwright/workflows/checkout/CheckoutContext") {}

export const layer = (limits: CheckoutLimits): Layer.Layer<CheckoutContext, never, Actors | CheckoutActors | Journal> =>
  Layer.effect(
    CheckoutContext,
    Effect.gen(function* () {
      const actors = yield* Actors
      const definitions = yield* CheckoutActors
      const load = groupOf(actors, definitions)
      const records = makeRecords(actors, definitions.failed)
      const journal = yield* Journal
      const stepsOn = (on: Journal["Service"]) => ({
        steps: makeSteps(on, records, limits),
        refunds: makeRefunds(on, records)
      })
      const withGroup: CheckoutContext["Service"]["withGroup"] = (id, use) =>
        Effect.flatMap(load(id), (group) => {
          const cells = cellsOf(group)
          for (const cell of cells) cell.pending++
          return use(group).pipe(
            Effect.ensuring(
              Effect.sync(() => {
                for (const cell of cells) cell.pending--
              })
            )
          )
        })
      return CheckoutContext.of({
        limits,
        ...stepsOn(journal),
        offline: makeOffline(journal, limits),
        stepsOn,
        withGroup,
        withCurrent: (id, use) => withGroup(id, (group) => Effect.andThen(journal.reread(cellsOf(group)), use(group))),
        exclusively: Exclusive.make()
      })
    })
  )
