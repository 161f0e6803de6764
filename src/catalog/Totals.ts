/** What a cart costs: pure, exact and refused rather than wrong. REQ-CHK-09, REQ-PRC-03. */
import { Result, Schema } from "effect"
import { Sku } from "../domain/Ids.ts"
import {
  type AmountOutOfRange,
  type Currency,
  type CurrencyMismatch,
  Money,
  add,
  subtract,
  times,
  zero
} from "../domain/Money.ts"
import { Quantity } from "../domain/Quantity.ts"

/** So many units of one sku at this price each. */
export const PricedLine = Schema.Struct({ sku: Sku, quantity: Quantity, unitPrice: Money })
export type PricedLine = typeof PricedLine.Type

/** `total` is always subtotal - discount + shipping, and all four are of one currency. */
export const Totals = Schema.Struct({ subtotal: Money, discount: Money, shipping: Money, total: Money })
export type Totals = typeof Totals.Type

/** A discount is at most what it is given on. REQ-PRO-04. */
export class DiscountTooLarge extends Schema.TaggedError<DiscountTooLarge>()(
  "DiscountTooLarge",
  { discount: Money, subtotal: Money },
  { httpApiStatus: 422 }
) {}

export type ArithmeticRefusal = CurrencyMismatch | AmountOutOfRange

export const lineTotal = (line: PricedLine): Result.Result<Money, AmountOutOfRange> =>
  times(line.unitPrice, line.quantity)

/** The sum of all lines; zero for none. A line of another currency than `currency` is refused. */
export const subtotalOf = (
  currency: Currency,
  lines: ReadonlyArray<PricedLine>
): Result.Result<Money, ArithmeticRefusal> =>
  lines.reduce<Result.Result<Money, ArithmeticRefusal>>(
    (sum, line) => Result.flatMap(sum, (so) => Result.flatMap(lineTotal(line), (more) => add(so, more))),
    Result.succeed(zero(currency))
  )

/** The whole bill in `currency`; no discount and no shipping are `zero(currency)`. */
export const totalsOf = (cart: {
  readonly currency: Currency
  readonly lines: ReadonlyArray<PricedLine>
  readonly discount: Money
  readonly shipping: Money
}): Result.Result<Totals, ArithmeticRefusal | DiscountTooLarge> =>
  Result.gen(function* () {
    const { currency, discount, lines, shipping } = cart
    const subtotal = yield* subtotalOf(currency, lines)
    if (discount.currency === currency && discount.amount > subtotal.amount) {
      return yield* Result.fail(new DiscountTooLarge({ discount, subtotal }))
    }
    const goods = yield* subtract(subtotal, discount)
    const total = yield* add(goods, shipping)
    return { subtotal, discount, shipping, total }
  })
