import { Schema } from "effect"

/** The most units of one sku a cart line may hold. REQ-CART-01, N-065. */
export const maxQuantityPerLine = 999

/** A positive whole number of sellable units, at most 999; zero is the absence of a line. */
export const Quantity = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: maxQuantityPerLine })).pipe(
  Schema.brand("Quantity")
)
export type Quantity = typeof Quantity.Type
