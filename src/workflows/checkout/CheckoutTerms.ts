/** What a checkout would cost, from the catalog's prices: read in bulk, computed by pure functions. REQUIREMENTS C.2. */
import { Context, Duration, Effect, Layer, Result } from "effect"
import { allPriced } from "../../catalog/InvalidLines.ts"
import { Catalog } from "../../catalog/Catalog.ts"
import { PromotionCode, Promotions } from "../../catalog/Promotions.ts"
import { ShippingQuotes } from "../../catalog/ShippingQuotes.ts"
import { lineTotal, totalsOf } from "../../catalog/Totals.ts"
import { CheckoutId } from "../../domain/Ids.ts"
import { zero } from "../../domain/Money.ts"
import { ServiceTimeout, Unavailable } from "../../domain/Refusals.ts"
import type { CartLine } from "../../entities/cart/Cart.ts"
import {
  CheckoutIncomplete,
  type CheckoutLine,
  type CheckoutTotals,
  type PresentCheckout,
  ProductsUnavailable,
  PromotionRefused
} from "../../entities/checkoutSession/CheckoutSession.ts"

export interface Terms {
  readonly lines: ReadonlyArray<CheckoutLine>
  readonly totals: CheckoutTotals
}

type TermsRefusal = CheckoutIncomplete | ProductsUnavailable | PromotionRefused | ServiceTimeout | Unavailable

const incomplete = (field: string, message: string) => new CheckoutIncomplete({ problems: [{ field, message }] })

export class CheckoutTerms extends Context.Service<
  CheckoutTerms,
  {
    /** Prices, discount and shipping of these lines; with `final` everything which a confirmation needs must be there. */
    readonly compute: (
      session: PresentCheckout,
      lines: ReadonlyArray<CartLine>,
      options: { readonly final: boolean }
    ) => Effect.Effect<Terms, TermsRefusal>
    /** What could be sold of each line now. */
    readonly stock: (
      session: PresentCheckout,
      lines: ReadonlyArray<CartLine>
    ) => Effect.Effect<
      ReadonlyArray<{ readonly line: CartLine; readonly have: number }>,
      ProductsUnavailable | Unavailable
    >
  }
>()("cartwright/workflows/checkout/CheckoutTerms") {}

export const make = Effect.gen(function* () {
  const catalog = yield* Catalog
  const promotions = yield* Promotions
  const shipping = yield* ShippingQuotes

  const read = Effect.fnUntraced(function* (session: PresentCheckout, lines: ReadonlyArray<CartLine>) {
    const skus = lines.map(({ sku }) => sku)
    const found = yield* catalog
      .products(skus, session.currency)
      .pipe(
        Effect.mapError(
          ({ retryAfter }) => new Unavailable({ retryAfterMs: Math.round(Duration.toMillis(retryAfter)) })
        )
      )
    const priced = allPriced(skus, session.currency, found)
    if (Result.isSuccess(priced)) return priced.success
    const { failure } = priced
    const problem =
      failure._tag === "UnknownSku" ? "unknown" : failure._tag === "NotForSale" ? "withdrawn" : "not_sold_in_currency"
    return yield* new ProductsUnavailable({ lines: failure.skus.map((sku) => ({ sku, problem })) })
  })

  const compute: CheckoutTerms["Service"]["compute"] = Effect.fn("CheckoutTerms.compute")(function* (
    session,
    lines,
    { final }
  ) {
    const { currency, owner, promotionCode, shippingAddress, shippingMethod } = session
    if (lines.length === 0) return yield* incomplete("cart", "is empty")
    if (final && shippingAddress === undefined) return yield* incomplete("shippingAddress", "is missing")
    const products = yield* read(session, lines)
    const priced = products.map(({ price, sku }, index) => ({
      sku,
      quantity: lines[index]!.quantity,
      unitPrice: price.unit
    }))
    const tooLarge = () => incomplete("cart", "comes to more than one order may")
    const quoted =
      shippingAddress === undefined
        ? zero(currency)
        : yield* shipping
            .quote({ address: shippingAddress, currency, lines: priced, method: shippingMethod })
            .pipe(
              Effect.catchTag("NoShippingQuote", ({ country }) =>
                Effect.fail(
                  incomplete("shippingMethod", `${shippingMethod} is not offered to ${country} in ${currency}`)
                )
              )
            )
    const before = yield* Effect.fromResult(
      totalsOf({ currency, lines: priced, discount: zero(currency), shipping: quoted })
    ).pipe(Effect.mapError(tooLarge))
    const discount =
      promotionCode === undefined
        ? zero(currency)
        : yield* promotions
            .validate(PromotionCode.make(promotionCode), {
              customerId: owner,
              subtotal: before.subtotal,
              lines: priced
            })
            .pipe(Effect.mapError(() => new PromotionRefused({ code: promotionCode })))
    const totals = yield* Effect.fromResult(totalsOf({ currency, lines: priced, discount, shipping: quoted })).pipe(
      Effect.mapError(tooLarge)
    )
    if (final && totals.total.amount > 0n && session.paymentMethod === undefined) {
      return yield* incomplete("paymentMethod", "is missing")
    }
    return {
      lines: yield* Effect.forEach(priced, (line, index) =>
        Effect.fromResult(lineTotal(line)).pipe(
          Effect.mapBoth({
            onFailure: tooLarge,
            onSuccess: (total) => {
              const { name, sellerId } = products[index]!
              return {
                sku: line.sku,
                name,
                quantity: line.quantity,
                unitPrice: line.unitPrice.amount,
                total: total.amount,
                ...(sellerId === undefined ? {} : { sellerId })
              }
            }
          })
        )
      ),
      totals: {
        subtotal: totals.subtotal.amount,
        discount: totals.discount.amount,
        shipping: totals.shipping.amount,
        total: totals.total.amount
      }
    }
  })

  return CheckoutTerms.of({
    compute,
    stock: (session, lines) =>
      Effect.map(read(session, lines), (products) =>
        products.map(({ sellable }, index) => ({ line: lines[index]!, have: sellable }))
      )
  })
})

export const layer: Layer.Layer<CheckoutTerms, never, Catalog | Promotions | ShippingQuotes> = Layer.effect(
  CheckoutTerms,
  make
)

/** How a use of a promotion code is named: once per attempt. */
export const promotionUse = (checkoutId: string, attempt: number, code: string) => ({
  code: PromotionCode.make(code),
  checkoutId: CheckoutId.make(checkoutId),
  attempt
})
