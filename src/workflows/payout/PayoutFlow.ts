/** Sends a seller's money, and asks on durable clocks until the provider has said what became of it. REQ-ESC-02. */
import { Effect, Layer, Result, Schema } from "effect"
import { Activity, DurableClock, type WorkflowEngine } from "effect/workflow"
import { type CustomerId, type IdempotencyKey, SellerId } from "../../domain/Ids.ts"
import type { IdempotencyConflict, Unavailable } from "../../domain/Refusals.ts"
import { backoff } from "../../entities/payment/Backoff.ts"
import type { PayoutPeriod, SellerAccountRefusal } from "../../entities/sellerAccount/SellerAccount.ts"
import { definition } from "../../entities/sellerAccount/SellerAccountActor.ts"
import { dueIn } from "../../entities/sellerAccount/SellerAccountDecider.ts"
import { Actors } from "../../runtime/Actors.ts"
import { Journal } from "../../runtime/Journal.ts"
import { Placement } from "../../runtime/Placement.ts"
import type { Transaction } from "../../runtime/Transaction.ts"
import { Workflows } from "../../runtime/WorkflowEngine.ts"
import { untilDurable } from "../checkout/CheckoutSteps.ts"
import { SellerPayout } from "./Payout.ts"
import { Payouts } from "./Payouts.ts"
import { PayoutContext } from "./PayoutSteps.ts"

export const flow: Layer.Layer<never, never, PayoutContext | WorkflowEngine.WorkflowEngine> = SellerPayout.toLayer(
  Effect.fnUntraced(function* (asked) {
    const payouts = yield* PayoutContext
    const { limits } = payouts
    let open = 1
    for (let round = 1; open > 0 && round <= limits.roundsMax; round++) {
      if (round > 1) {
        yield* DurableClock.sleep({
          name: `before-round-${round}`,
          duration: backoff(round - 1, limits.backoff),
          inMemoryThreshold: 0
        })
      }
      open = yield* Activity.make({
        name: `send-${round}`,
        success: Schema.Int,
        execute: payouts.send(asked, round).pipe(Effect.retry(untilDurable), Effect.orDie)
      })
    }
  })
)

interface Asked {
  readonly key: IdempotencyKey
  readonly period: PayoutPeriod
  readonly by: CustomerId
}

const served = Layer.effectDiscard(
  Effect.gen(function* () {
    const actors = yield* Actors
    const journal = yield* Journal
    const placement = yield* Placement
    const workflows = yield* Workflows

    /** The request, the money set aside and whoever sends it are one unit: there is none of them without the others. */
    const start = Effect.fn("SellerPayout.start")(function* (
      id: string,
      { by, key, period }: Asked
    ): Effect.fn.Return<void, SellerAccountRefusal | IdempotencyConflict | Unavailable> {
      const account = yield* actors.cell(definition, id)
      const sending = yield* workflows.prepare(SellerPayout, { sellerId: SellerId.make(id), period })
      yield* journal.unit<void, SellerAccountRefusal>({
        cells: [account, sending.cell],
        cause: `command ${key}`,
        body: (transaction: Transaction) => {
          const again = transaction.seqOf(account, key) !== undefined
          /** What is refused leaves no trace: the period can be paid out later. */
          const must = (decided: Result.Result<unknown, SellerAccountRefusal>) => {
            if (Result.isFailure(decided)) transaction.abort(decided.failure)
          }
          must(transaction.execute(account, key, { _tag: "RequestPayout", period, by }))
          const before = transaction.state(account)
          // A period in which nothing was due can be paid out later, too: by a request of its own.
          if (again || dueIn(before, period).length === 0) return
          must(transaction.execute(account, `payout:${period}`, { _tag: "StartPayout", period }))
          if (transaction.state(account) !== before) sending.start(transaction)
        }
      })
    })

    placement.serve(Payouts, { Start: start })
  })
)

export const layer = Layer.merge(flow, served)
