/** What a caller may say to a cart, and hear from it. Entity id: the cart's id, chosen by the client. */
import { Schema } from "effect"
import { Entity } from "effect/cluster"
import { Rpc } from "effect/rpc"
import { CartId, CheckoutId, CustomerId, IdempotencyKey, OrderId, Sku } from "../../domain/Ids.ts"
import { Currency } from "../../domain/Money.ts"
import { Quantity } from "../../domain/Quantity.ts"
import { AccessDenied } from "../../domain/Refusals.ts"

/** The most lines a cart may hold. REQ-CART-01, N-064. */
export const maxLines = 200

export const CartLine = Schema.Struct({ sku: Sku, quantity: Quantity })
export type CartLine = typeof CartLine.Type

const contents = {
  owner: CustomerId,
  currency: Currency,
  lines: Schema.Array(CartLine),
  /** Goes up with each change of the contents. */
  revision: Schema.Int,
  changedAt: Schema.DateTimeUtc,
  /** Carts whose lines were taken over into this one. */
  mergedFrom: Schema.Array(CartId)
}

export const CartState = Schema.TaggedUnion({
  Absent: {},
  Active: contents,
  /** Frozen while a checkout is being confirmed. */
  Locked: { ...contents, checkoutId: CheckoutId, attempt: Schema.Int, lockedAt: Schema.DateTimeUtc },
  Completed: { ...contents, checkoutId: CheckoutId, orderId: OrderId },
  /** Its lines went into another cart. */
  Merged: { ...contents, into: CartId },
  Expired: contents
})
export type CartState = typeof CartState.Type

/** A cart as its owner sees it. One that does not exist yet is empty. */
export const CartView = Schema.Struct({
  id: CartId,
  status: Schema.Literals(["active", "locked", "completed", "merged", "expired"]),
  currency: Schema.optionalKey(Currency),
  lines: Schema.Array(CartLine),
  revision: Schema.Int
})
export type CartView = typeof CartView.Type

/** A checkout of this cart is being confirmed; it can be changed again once that has ended. */
export class CartLocked extends Schema.TaggedError<CartLocked>()(
  "CartLocked",
  { checkoutId: CheckoutId },
  { httpApiStatus: 409 }
) {}

/** The cart became an order, was merged into another, or has expired: start a new one. */
export class CartClosed extends Schema.TaggedError<CartClosed>()(
  "CartClosed",
  { status: Schema.Literals(["completed", "merged", "expired"]) },
  { httpApiStatus: 409 }
) {}

export class TooManyLines extends Schema.TaggedError<TooManyLines>()(
  "TooManyLines",
  { maximum: Schema.Int },
  { httpApiStatus: 422 }
) {}

/** The sum on one line would pass the most that a line may hold. */
export class QuantityTooLarge extends Schema.TaggedError<QuantityTooLarge>()(
  "QuantityTooLarge",
  { sku: Sku, maximum: Schema.Int },
  { httpApiStatus: 422 }
) {}

/** A cart is in one currency; `currency` is the one it has. */
export class CurrencyMixed extends Schema.TaggedError<CurrencyMixed>()(
  "CurrencyMixed",
  { currency: Currency },
  { httpApiStatus: 422 }
) {}

export class LineNotFound extends Schema.TaggedError<LineNotFound>()(
  "LineNotFound",
  { sku: Sku },
  { httpApiStatus: 404 }
) {}

export const CartRefusal = Schema.Union([
  AccessDenied,
  CartLocked,
  CartClosed,
  TooManyLines,
  QuantityTooLarge,
  CurrencyMixed,
  LineNotFound
])
export type CartRefusal = typeof CartRefusal.Type

const reply = { success: CartView, error: CartRefusal }

export const Cart = Entity.make("Cart", [
  Rpc.make("GetCart", { payload: { by: CustomerId }, ...reply }),
  Rpc.make("AddItem", {
    payload: { key: IdempotencyKey, by: CustomerId, currency: Currency, sku: Sku, quantity: Quantity },
    ...reply
  }),
  Rpc.make("UpdateItem", { payload: { key: IdempotencyKey, by: CustomerId, sku: Sku, quantity: Quantity }, ...reply }),
  Rpc.make("RemoveItem", { payload: { key: IdempotencyKey, by: CustomerId, sku: Sku }, ...reply }),
  Rpc.make("ClearCart", { payload: { key: IdempotencyKey, by: CustomerId }, ...reply }),
  /** Closes this cart and tells `into` its lines. */
  Rpc.make("MergeInto", {
    payload: { key: IdempotencyKey, by: CustomerId, into: CartId, owner: CustomerId },
    ...reply
  }),
  /** Takes over the lines of `from`: quantities of one sku are summed, and stop at the most a line may hold. */
  Rpc.make("Merge", {
    payload: { key: IdempotencyKey, by: CustomerId, from: CartId, currency: Currency, lines: Schema.Array(CartLine) },
    ...reply
  }),
  /** Freezes the contents for one attempt of one checkout. */
  Rpc.make("Lock", {
    payload: { key: IdempotencyKey, by: CustomerId, checkoutId: CheckoutId, attempt: Schema.Int },
    ...reply
  }),
  Rpc.make("Unlock", { payload: { key: IdempotencyKey, checkoutId: CheckoutId, attempt: Schema.Int }, ...reply }),
  Rpc.make("Complete", { payload: { key: IdempotencyKey, checkoutId: CheckoutId, orderId: OrderId }, ...reply })
])
