/** The steps of a payout. All are safe to repeat: the account knows what is on its way, and the provider is asked before it is told. */
import { Context, Effect, Layer } from "effect"
import type { SellerId } from "../../domain/Ids.ts"
import type { Unavailable } from "../../domain/Refusals.ts"
import type { Backoff } from "../../entities/payment/Backoff.ts"
import type { OpenPayout, PayoutPeriod, SellerAccountState } from "../../entities/sellerAccount/SellerAccount.ts"
import { definition } from "../../entities/sellerAccount/SellerAccountActor.ts"
import type { Command, PayoutOutcome } from "../../entities/sellerAccount/SellerAccountDecider.ts"
import { PayoutGateway, type TransferRequest } from "../../gateways/PayoutGateway.ts"
import { Actors } from "../../runtime/Actors.ts"
import { Journal } from "../../runtime/Journal.ts"
import { payoutKey } from "./Payout.ts"

export interface PayoutLimits {
  /** Rounds of tries, the first one included, before what is still open is left to people. */
  readonly roundsMax: number
  /** Between the rounds. */
  readonly backoff: Backoff
  /** The round after which people hear that the provider does not answer. */
  readonly alertAfter: number
}

interface Asked {
  readonly sellerId: SellerId
  readonly period: PayoutPeriod
}

export class PayoutContext extends Context.Service<
  PayoutContext,
  {
    readonly limits: PayoutLimits
    /** Sends what is open of the period, and ends what has an answer; gives how many are to be looked at again. */
    readonly send: (asked: Asked, round: number) => Effect.Effect<number, Unavailable>
  }
>()("cartwright/workflows/payout/PayoutSteps/PayoutContext") {}

/** What the provider has said of a payout, or why it is not known. */
type Answer =
  | { readonly _tag: "Ended"; readonly outcome: PayoutOutcome }
  | { readonly _tag: "Unknown"; readonly error: string }
  /** Asking again would not help. */
  | { readonly _tag: "Conflict"; readonly error: string }

/** Those which people look after are theirs alone. */
const openOf = (state: SellerAccountState, period: PayoutPeriod): ReadonlyArray<OpenPayout> =>
  state._tag === "Absent" ? [] : state.payouts.filter((one) => one.period === period && one.doubt !== "left")

export const layer = (limits: PayoutLimits): Layer.Layer<PayoutContext, never, Actors | Journal | PayoutGateway> =>
  Layer.effect(
    PayoutContext,
    Effect.gen(function* () {
      const actors = yield* Actors
      const gateway = yield* PayoutGateway
      const journal = yield* Journal

      const tell = Effect.fnUntraced(
        function* (sellerId: SellerId, key: string, command: Command) {
          const cell = yield* actors.cell(definition, sellerId)
          return yield* journal.command({ cell, key, command, cause: `payout ${command._tag}` })
        },
        Effect.catchTags({ NotFound: Effect.die, IllegalTransition: Effect.die, IdempotencyConflict: Effect.die })
      )

      const ask = (request: TransferRequest): Effect.Effect<Answer> =>
        Effect.gen(function* () {
          const { reference } = (yield* gateway.find(request)) ?? (yield* gateway.send(request))
          return { _tag: "Ended", outcome: { _tag: "Paid", reference } } as const
        }).pipe(
          Effect.catchTags({
            NotPossible: ({ code }) => Effect.succeed<Answer>({ _tag: "Ended", outcome: { _tag: "Failed", code } }),
            TransferConflict: ({ reference }) =>
              Effect.succeed<Answer>({
                _tag: "Conflict",
                error: `another transfer has its key${reference === undefined ? "" : `: ${reference}`}`
              }),
            OutcomeUnknown: ({ _tag: error }) => Effect.succeed<Answer>({ _tag: "Unknown", error }),
            ProviderUnavailable: ({ _tag: error }) => Effect.succeed<Answer>({ _tag: "Unknown", error })
          })
        )

      return PayoutContext.of({
        limits,
        send: Effect.fn("SellerPayout.send")(function* ({ period, sellerId }, round) {
          const { state } = yield* actors.cell(definition, sellerId)
          let again = 0
          for (const { account, amount, currency } of openOf(state, period)) {
            const key = payoutKey(sellerId, period, currency)
            const doubt = (error: string, left: boolean) =>
              tell(sellerId, `${left ? "leave" : "doubt"}:${key}`, {
                _tag: "DoubtPayout",
                period,
                currency,
                error,
                left
              })
            const answer = yield* ask({ key, account, sellerId, amount: { amount, currency } })
            switch (answer._tag) {
              case "Ended":
                yield* tell(sellerId, `end:${key}`, {
                  _tag: "EndPayout",
                  period,
                  currency,
                  outcome: answer.outcome
                })
                break
              case "Conflict":
                yield* doubt(answer.error, true)
                break
              case "Unknown":
                again++
                if (round >= limits.roundsMax) yield* doubt(answer.error, true)
                else if (round >= limits.alertAfter) yield* doubt(answer.error, false)
            }
          }
          return again
        })
      })
    })
  )
