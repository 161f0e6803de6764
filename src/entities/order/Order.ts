/** What a caller may say to an order, and hear from it. Entity id: the order's id, which is its checkout's. REQUIREMENTS B.1, B.2. */
import { Schema } from "effect"
import { Entity } from "effect/cluster"
import { Rpc } from "effect/rpc"
import { Address } from "../../domain/Address.ts"
import { CheckoutId, CustomerId, OrderId, OrderNumber, SellerId, Sku } from "../../domain/Ids.ts"
import { Amount, Currency } from "../../domain/Money.ts"
import { OfflineMethod } from "../../domain/OfflineMethod.ts"
import { Quantity } from "../../domain/Quantity.ts"
import { AccessDenied } from "../../domain/Refusals.ts"
import { TransferReference } from "../../domain/TransferReference.ts"

export const OrderStatus = Schema.Literals([
  "pending",
  "confirmed",
  "processing",
  "shipped",
  "delivered",
  "cancelled",
  "refunded",
  "failed"
])
export type OrderStatus = typeof OrderStatus.Type

/** REQUIREMENTS B.1: the one table which every path asks, cancel included. REQ-ORD-17. */
export const orderTransitions: Readonly<Record<OrderStatus, ReadonlyArray<OrderStatus>>> = {
  pending: ["confirmed", "cancelled", "failed"],
  confirmed: ["processing", "cancelled"],
  processing: ["shipped", "cancelled"],
  shipped: ["delivered", "cancelled"],
  delivered: ["refunded"],
  cancelled: [],
  refunded: [],
  failed: ["pending"]
}

/** An order paid by card comes to these only once its money is captured: a deferred capture goes before the parcel. REQ-CAP-08, REQ-CAP-09. */
export const gatedOnCapture: ReadonlyArray<OrderStatus> = ["shipped", "delivered"]

/** Why an order was cancelled or failed. REQUIREMENTS B.2. */
export const ReasonCode = Schema.Literals([
  "payment_failed",
  "payment_capture_exhausted",
  "authorization_expired",
  "authorization_timeout",
  "reservation_expired",
  "order_expired",
  "cod_confirmation_window_expired",
  "bank_transfer_expired",
  "stock_confirmation_failed",
  "out_of_stock",
  "buyer_cancelled",
  "operator_cancelled",
  "fulfilment_cancelled",
  "fraud_hold"
])
export type ReasonCode = typeof ReasonCode.Type

export const OrderLine = Schema.Struct({
  sku: Sku,
  name: Schema.String,
  quantity: Quantity,
  unitPrice: Amount,
  total: Amount,
  /** Who gets the money for it; absent for the shop itself. */
  sellerId: Schema.optionalKey(SellerId)
})
export type OrderLine = typeof OrderLine.Type

/** Minor units of the order's currency; `total` is the sum of the others less the discount. */
export const Totals = Schema.Struct({ subtotal: Amount, discount: Amount, shipping: Amount, total: Amount })
export type Totals = typeof Totals.Type

/** What was bought, by whom, for how much: fixed when the order is placed. */
export const Terms = Schema.Struct({
  checkoutId: CheckoutId,
  attempt: Schema.Int,
  customerId: CustomerId,
  currency: Currency,
  lines: Schema.Array(OrderLine),
  totals: Totals,
  shippingAddress: Schema.optionalKey(Address),
  shippingMethod: Schema.String,
  /** Absent: paid at once, by card. */
  paymentMethod: Schema.optionalKey(OfflineMethod),
  /** What the customer is asked to write on the transfer. */
  transferReference: Schema.optionalKey(TransferReference)
})
export type Terms = typeof Terms.Type

export const OrderPaymentStatus = Schema.Literals([
  "pending",
  "processing",
  "authorized",
  "completed",
  "failed",
  "cancelled",
  "partially_refunded",
  "refunded"
])
export type OrderPaymentStatus = typeof OrderPaymentStatus.Type

export const OrderState = Schema.TaggedUnion({
  Absent: {},
  Placed: {
    number: OrderNumber,
    terms: Terms,
    status: OrderStatus,
    /** Derived from the payment alone. REQ-PAY-05. */
    paymentStatus: OrderPaymentStatus,
    reason: Schema.optionalKey(ReasonCode),
    /** Cancelled, while money is still held or owed. REQ-CPN-05. */
    settlementOpen: Schema.Boolean,
    placedAt: Schema.DateTimeUtc,
    /** A pending order is cancelled from here on. */
    expiresAt: Schema.DateTimeUtc,
    confirmedAt: Schema.optionalKey(Schema.DateTimeUtc),
    cancelledAt: Schema.optionalKey(Schema.DateTimeUtc),
    /** A person has to look at it before it is confirmed: no timer does that any more. */
    review: Schema.optionalKey(Schema.Boolean),
    /** What has come in for it in cash or by transfer, whether it pays for the order or not. */
    received: Schema.optionalKey(Amount)
  }
})
export type OrderState = typeof OrderState.Type
export type PlacedOrder = Extract<OrderState, { readonly _tag: "Placed" }>

/** The move is not in the table. REQ-ORD-16. */
export class OrderTransitionRefused extends Schema.TaggedError<OrderTransitionRefused>()(
  "OrderTransitionRefused",
  { from: Schema.String, to: OrderStatus },
  { httpApiStatus: 409 }
) {}

export const OrderView = Schema.Struct({
  id: OrderId,
  number: OrderNumber,
  checkoutId: CheckoutId,
  status: OrderStatus,
  paymentStatus: OrderPaymentStatus,
  reason: Schema.optionalKey(ReasonCode),
  settlementOpen: Schema.Boolean,
  currency: Currency,
  lines: Schema.Array(OrderLine),
  totals: Totals,
  shippingAddress: Schema.optionalKey(Address),
  shippingMethod: Schema.String,
  placedAt: Schema.DateTimeUtc,
  confirmedAt: Schema.optionalKey(Schema.DateTimeUtc),
  cancelledAt: Schema.optionalKey(Schema.DateTimeUtc),
  /** Absent: paid at once, by card. */
  paymentMethod: Schema.optionalKey(OfflineMethod),
  /** What the customer is asked to write on the transfer. */
  transferReference: Schema.optionalKey(TransferReference),
  /** What has come in for it so far, in cash or by transfer. */
  received: Schema.optionalKey(Amount),
  /** While it waits for its money, or for its confirmation: from here on it is cancelled. */
  expiresAt: Schema.optionalKey(Schema.DateTimeUtc),
  /** Goes up with each change; a watch goes on from the last one seen. */
  seq: Schema.Int
})
export type OrderView = typeof OrderView.Type

/** Changed only by the processes of its checkout, which live beside it; its customer and operators may look. */
export const Order = Entity.make("Order", [
  Rpc.make("GetOrder", {
    /** `by` is absent for operators, who see every order. */
    payload: { by: Schema.optionalKey(CustomerId) },
    success: OrderView,
    error: AccessDenied
  })
])
