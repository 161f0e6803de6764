/** Passes each call to the actor it is for, in the name of the caller. */
import { Duration, Effect, Redacted, Result } from "effect"
import { Catalog } from "../../catalog/Catalog.ts"
import { allPriced, type InvalidLines } from "../../catalog/InvalidLines.ts"
import type { CartId, IdempotencyKey, Sku } from "../../domain/Ids.ts"
import { IdempotencyKey as Key } from "../../domain/Ids.ts"
import type { Currency } from "../../domain/Money.ts"
import { AccessDenied, Unavailable } from "../../domain/Refusals.ts"
import { Cart, CurrencyMixed } from "../../entities/cart/Cart.ts"
import { CheckoutSession, ProductsUnavailable } from "../../entities/checkoutSession/CheckoutSession.ts"
import { Placement } from "../../runtime/Placement.ts"
import { Checkout } from "../../workflows/checkout/Checkout.ts"
import { Caller } from "../Auth.ts"
import { AuthTokens } from "../AuthTokens.ts"
import { StorefrontRpc } from "./StorefrontRpc.ts"

export const layer = StorefrontRpc.toLayer(
  Effect.gen(function* () {
    const placement = yield* Placement
    const catalog = yield* Catalog
    const tokens = yield* AuthTokens
    const carts = placement.client(Cart)
    const sessions = placement.client(CheckoutSession)
    const checkouts = placement.client(Checkout)
    const confirmations = placement.client(Checkout, { timeout: confirmTimeout })

    const asCaller = <A, E, R>(call: (by: typeof Caller.Service.customerId) => Effect.Effect<A, E, R>) =>
      Effect.flatMap(Caller, ({ customerId }) => call(customerId))

    const sold = Effect.fnUntraced(function* (sku: Sku, currency: Currency) {
      const found = yield* Effect.mapError(
        catalog.products([sku], currency),
        ({ retryAfter }) => new Unavailable({ retryAfterMs: Duration.toMillis(retryAfter) })
      )
      const priced = allPriced([sku], currency, found)
      if (Result.isFailure(priced)) return yield* unavailable(priced.failure)
      return undefined
    })

    const merge = Effect.fnUntraced(function* (request: {
      readonly key: IdempotencyKey
      readonly cartId: CartId
      readonly from: CartId
      readonly fromToken: string
    }) {
      const { cartId, from, key } = request
      const { customerId: by } = yield* Caller
      const guest = yield* tokens
        .verify(Redacted.make(request.fromToken))
        .pipe(Effect.catchTag("Unauthenticated", () => Effect.fail(new AccessDenied())))
      if (guest.role !== "guest") return yield* new AccessDenied()
      const into = yield* carts(cartId).GetCart({ by })
      const before = yield* carts(from).GetCart({ by: guest.customerId })
      // Asked first, since a cart that has been merged does not open again.
      if (into.currency !== undefined && before.lines.length > 0 && before.currency !== into.currency) {
        return yield* new CurrencyMixed({ currency: into.currency })
      }
      // There never was such a cart.
      if (before.currency === undefined) return into
      const { currency, lines } = yield* carts(from).MergeInto({ key, by: guest.customerId, into: cartId, owner: by })
      if (currency === undefined) return into
      // The cart it came from sends the same as a notice, in case this node ends here.
      return yield* carts(cartId).Merge({ key: Key.make(`merge:${from}`), by, from, currency, lines })
    })

    return StorefrontRpc.of({
      GetCart: ({ cartId }) => asCaller((by) => carts(cartId).GetCart({ by })),
      AddItem: ({ cartId, ...item }) =>
        Effect.andThen(
          sold(item.sku, item.currency),
          asCaller((by) => carts(cartId).AddItem({ ...item, by }))
        ),
      UpdateItem: ({ cartId, ...item }) => asCaller((by) => carts(cartId).UpdateItem({ ...item, by })),
      RemoveItem: ({ cartId, ...item }) => asCaller((by) => carts(cartId).RemoveItem({ ...item, by })),
      ClearCart: ({ cartId, key }) => asCaller((by) => carts(cartId).ClearCart({ key, by })),
      MergeCart: merge,
      StartCheckout: ({ checkoutId, ...start }) =>
        asCaller((by) => sessions(checkoutId).StartCheckout({ ...start, by })),
      GetCheckout: ({ checkoutId }) => asCaller((by) => sessions(checkoutId).GetCheckout({ by })),
      SetAddress: ({ checkoutId, ...change }) => asCaller((by) => sessions(checkoutId).SetAddress({ ...change, by })),
      SetShippingMethod: ({ checkoutId, ...change }) =>
        asCaller((by) => sessions(checkoutId).SetShippingMethod({ ...change, by })),
      SetPaymentMethod: ({ checkoutId, ...change }) =>
        asCaller((by) => sessions(checkoutId).SetPaymentMethod({ ...change, by })),
      ApplyPromotion: ({ checkoutId, ...change }) =>
        asCaller((by) => sessions(checkoutId).ApplyPromotion({ ...change, by })),
      RemovePromotion: ({ checkoutId, key }) => asCaller((by) => sessions(checkoutId).RemovePromotion({ key, by })),
      AbandonCheckout: ({ checkoutId, key }) => asCaller((by) => sessions(checkoutId).AbandonCheckout({ key, by })),
      ValidateInventory: ({ checkoutId }) => asCaller((by) => checkouts(checkoutId).ValidateInventory({ by })),
      PreviewTotals: ({ checkoutId }) => asCaller((by) => checkouts(checkoutId).PreviewTotals({ by })),
      ConfirmCheckout: ({ checkoutId, expectedTotal, key }) =>
        asCaller((by) =>
          confirmations(checkoutId).Confirm({
            by,
            confirmKey: key,
            ...(expectedTotal === undefined ? {} : { expectedTotal })
          })
        ),
      GetConfirmStatus: ({ checkoutId }) => asCaller((by) => confirmations(checkoutId).ConfirmStatus({ by })),
      GetCheckoutSteps: ({ checkoutId }) =>
        Effect.flatMap(Caller, ({ customerId, role }) =>
          checkouts(checkoutId).Steps(role === "operator" ? {} : { by: customerId })
        )
    })
  })
)

/** The checkout itself answers `Pending` after 25 s. REQ-CHK-11. */
const confirmTimeout = Duration.seconds(28)

const unavailable = (refusal: InvalidLines): ProductsUnavailable => {
  const problem = problems[refusal._tag]
  return new ProductsUnavailable({ lines: refusal.skus.map((sku) => ({ sku, problem })) })
}

const problems = { UnknownSku: "unknown", NotForSale: "withdrawn", NotSoldIn: "not_sold_in_currency" } as const
