/** Promotion codes as the checkout uses them. Use of a code is held while a checkout runs, so that its limit holds. REQ-PRO-03. */
import { Context, Effect, Layer, Schema } from "effect"
import type { CheckoutId, CustomerId } from "../domain/Ids.ts"
import type { Money } from "../domain/Money.ts"
import type { PricedLine } from "./Totals.ts"

export const PromotionCode = Schema.String.check(Schema.isPattern(/^[A-Za-z0-9_-]{1,64}$/)).pipe(
  Schema.brand("PromotionCode")
)
export type PromotionCode = typeof PromotionCode.Type

/** There is no such code, or there no longer is. */
export class UnknownPromotion extends Schema.TaggedError<UnknownPromotion>()(
  "UnknownPromotion",
  { code: PromotionCode },
  { httpApiStatus: 422 }
) {}

/** What a discount is computed from: prices of the catalog, never amounts of the client. */
export interface PromotionCart {
  readonly customerId: CustomerId
  readonly subtotal: Money
  readonly lines: ReadonlyArray<PricedLine>
}

/** Names one use of a code: repeating it is the same use. */
export interface PromotionUse {
  readonly code: PromotionCode
  readonly checkoutId: CheckoutId
  readonly attempt: number
}

export class Promotions extends Context.Service<
  Promotions,
  {
    /** The discount on this cart, in its currency: between zero and the subtotal. Holds nothing. */
    readonly validate: (code: PromotionCode, cart: PromotionCart) => Effect.Effect<Money, UnknownPromotion>
    /** Counts this use against the code's limits; again for the same use changes nothing. */
    readonly reserve: (use: PromotionUse, cart: PromotionCart) => Effect.Effect<void, UnknownPromotion>
    /** Gives a use back. A use which never was, or was given back before, is success. */
    readonly release: (use: PromotionUse) => Effect.Effect<void>
  }
>()("cartwright/catalog/Promotions") {
  /** A shop without promotions: no code is known, so no discount is ever given. */
  static readonly layerNone: Layer.Layer<Promotions> = Layer.sync(Promotions, () =>
    Promotions.of({
      validate: (code) => Effect.fail(new UnknownPromotion({ code })),
      reserve: ({ code }) => Effect.fail(new UnknownPromotion({ code })),
      release: () => Effect.void
    })
  )
}
