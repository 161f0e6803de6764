/** A payment beside what its provider has of it, on the payment's own node. Entity id: the checkout's id. REQ-REC-02, REQ-REC-03. */
import { Schema } from "effect"
import { Entity } from "effect/cluster"
import { Rpc } from "effect/rpc"
import { Currency } from "../../domain/Money.ts"
import { Unavailable } from "../../domain/Refusals.ts"
import { IntentReference } from "../../entities/payment/Payment.ts"

export const MoneyReviewed = Schema.Struct({
  /**
   * `corrected`: what the provider says is ours now, or what it had was given back. `left`: it could not be given back, and stands as a failed
   * compensation, or with a refund which tries again. `raised`: a person has to look.
   */
  verdict: Schema.Literals(["sound", "under_way", "corrected", "left", "raised"]),
  /** What was met. */
  text: Schema.optionalKey(Schema.String)
})
export type MoneyReviewed = typeof MoneyReviewed.Type

export const MoneyReview = Entity.make("MoneyReview", [
  /** Looks at the payment's own authorization, or at another one of its checkout, and does what follows. Safe to repeat. */
  Rpc.make("Review", {
    payload: {
      intent: Schema.optionalKey(IntentReference),
      /** Of the authorization. */
      currency: Schema.optionalKey(Currency),
      /** A confirmation which is under way for long is gone on with. */
      stuck: Schema.Boolean
    },
    success: MoneyReviewed,
    error: Unavailable
  })
])
