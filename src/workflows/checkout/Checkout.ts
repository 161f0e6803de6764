/** The checkout process: from a frozen cart to a paid order, or to nothing at all. Entity id: the checkout's id. REQUIREMENTS C.3. */
import { Schema } from "effect"
import { Entity } from "effect/cluster"
import { Rpc } from "effect/rpc"
import { CustomerId, IdempotencyKey, OrderId, OrderNumber, Sku } from "../../domain/Ids.ts"
import { Currency, Money } from "../../domain/Money.ts"
import { AccessDenied, IllegalTransition, ServiceTimeout, Unavailable } from "../../domain/Refusals.ts"
import {
  CheckoutClosed,
  CheckoutIncomplete,
  CheckoutLine,
  CheckoutTotals,
  OutOfStock,
  placed,
  PaymentDeclined,
  PaymentUnavailable,
  PriceChanged,
  ProductsUnavailable,
  PromotionRefused
} from "../../entities/checkoutSession/CheckoutSession.ts"
import { CartClosed, CartLocked } from "../../entities/cart/Cart.ts"

/** How a confirmation stands. */
export const Confirmation = Schema.TaggedUnion({
  /** Paid, and its stock is committed. */
  Confirmed: { orderId: OrderId, number: OrderNumber, total: Money },
  /** The order stands, with its stock claimed, and waits: for its money, or to be confirmed. GetOrder and WatchOrder tell how it ends. */
  Placed: placed,
  /** Still being worked on; GetConfirmStatus and WatchOrder tell how it ends. REQ-CHK-11. */
  Pending: { orderId: Schema.optionalKey(OrderId) },
  /** The customer must prove who they are, by the provider's browser code and `clientSecret`, before `until`; then confirm again. */
  RequiresAction: { clientSecret: Schema.String, until: Schema.DateTimeUtc }
})
export type Confirmation = typeof Confirmation.Type

/** The order was placed and then cancelled, e.g. because its payment could not be captured; nothing was kept. */
export class CheckoutCompensated extends Schema.TaggedError<CheckoutCompensated>()(
  "CheckoutCompensated",
  { orderId: OrderId, reason: Schema.String },
  { httpApiStatus: 409 }
) {}

/** Too many confirmations by this customer; one more is accepted after `retryAfterMs`. N-034. */
export class RateLimited extends Schema.TaggedError<RateLimited>()(
  "RateLimited",
  { retryAfterMs: Schema.Int },
  { httpApiStatus: 429 }
) {}

export const ConfirmRefusal = Schema.Union([
  AccessDenied,
  CheckoutClosed,
  CheckoutCompensated,
  CheckoutIncomplete,
  CartClosed,
  CartLocked,
  IllegalTransition,
  OutOfStock,
  PaymentDeclined,
  PaymentUnavailable,
  PriceChanged,
  ProductsUnavailable,
  PromotionRefused,
  RateLimited,
  ServiceTimeout,
  Unavailable
])
export type ConfirmRefusal = typeof ConfirmRefusal.Type

/** What it would cost now, from the catalog's prices; nothing is held by it. */
export const Preview = Schema.Struct({
  currency: Currency,
  lines: Schema.Array(CheckoutLine),
  totals: CheckoutTotals
})
export type Preview = typeof Preview.Type

/** What could be sold of each line now; nothing is held by it. REQ-CHK-06. */
export const StockCheck = Schema.Array(
  Schema.TaggedUnion({
    Available: { sku: Sku },
    Insufficient: { sku: Sku, wanted: Schema.Int, have: Schema.Int }
  })
)
export type StockCheck = typeof StockCheck.Type

export const PreviewRefusal = Schema.Union([
  AccessDenied,
  CheckoutIncomplete,
  ProductsUnavailable,
  PromotionRefused,
  ServiceTimeout,
  Unavailable
])

export const StepRecord = Schema.Struct({
  attempt: Schema.Int,
  step: Schema.String,
  outcome: Schema.String,
  startedAt: Schema.DateTimeUtc,
  endedAt: Schema.DateTimeUtc
})

export const Checkout = Entity.make("Checkout", [
  Rpc.make("Confirm", {
    payload: {
      by: CustomerId,
      /** Names this intent: the same key has the same outcome for good; after a rejection a new key is a new attempt. */
      confirmKey: IdempotencyKey,
      /** The total the buyer saw: any other is refused as `PriceChanged` before money moves. */
      expectedTotal: Schema.optionalKey(Money)
    },
    success: Confirmation,
    error: ConfirmRefusal
  }),
  /** How the latest confirmation stands; starts nothing. */
  Rpc.make("ConfirmStatus", { payload: { by: CustomerId }, success: Confirmation, error: ConfirmRefusal }),
  Rpc.make("PreviewTotals", { payload: { by: CustomerId }, success: Preview, error: PreviewRefusal }),
  Rpc.make("ValidateInventory", { payload: { by: CustomerId }, success: StockCheck, error: PreviewRefusal }),
  /** The step log of all attempts. REQ-CHK-15. */
  Rpc.make("Steps", {
    payload: { by: Schema.optionalKey(CustomerId) },
    success: Schema.Array(StepRecord),
    error: AccessDenied
  })
])
