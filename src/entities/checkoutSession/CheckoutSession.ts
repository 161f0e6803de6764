/** What a buyer has chosen on the way from cart to order, and what came of each attempt. Entity id: the checkout's id. REQUIREMENTS B.13. */
import { Schema } from "effect"
import { Entity } from "effect/cluster"
import { Rpc } from "effect/rpc"
import { Address } from "../../domain/Address.ts"
import {
  CartId,
  CheckoutId,
  CustomerId,
  IdempotencyKey,
  OrderId,
  OrderNumber,
  SellerId,
  Sku
} from "../../domain/Ids.ts"
import { Amount, Currency, Money } from "../../domain/Money.ts"
import { OfflineMethod } from "../../domain/OfflineMethod.ts"
import { Quantity } from "../../domain/Quantity.ts"
import { AccessDenied, ServiceTimeout } from "../../domain/Refusals.ts"
import { TransferReference } from "../../domain/TransferReference.ts"

export const CheckoutStatus = Schema.Literals([
  "open",
  "validating",
  "confirming",
  "confirmed",
  "rejected",
  "compensated",
  "abandoned",
  "expired"
])
export type CheckoutStatus = typeof CheckoutStatus.Type

/** REQUIREMENTS B.13. A compensated checkout has an order row and stays closed: the buyer starts a new one from the unlocked cart. */
export const checkoutTransitions: Readonly<Record<CheckoutStatus, ReadonlyArray<CheckoutStatus>>> = {
  open: ["validating", "abandoned", "expired"],
  validating: ["open", "confirming"],
  confirming: ["confirmed", "rejected", "compensated"],
  confirmed: [],
  rejected: ["open"],
  compensated: [],
  abandoned: [],
  expired: []
}

export const ShippingMethod = Schema.Literals(["standard", "express"])
export type ShippingMethod = typeof ShippingMethod.Type

/** The provider's name for a card, as the provider's own browser code gave it to the storefront; never a card number. */
export const PaymentMethodToken = Schema.String.check(Schema.isPattern(/^pm_[A-Za-z0-9_]{1,120}$/)).pipe(
  Schema.brand("PaymentMethodToken")
)
export type PaymentMethodToken = typeof PaymentMethodToken.Type

/** How the buyer pays: by the card behind a token, in cash at the door, or by a transfer from their bank. */
export const PaymentMethod = Schema.Union([OfflineMethod, PaymentMethodToken])
export type PaymentMethod = typeof PaymentMethod.Type

const offlineMethods: ReadonlySet<string> = new Set(OfflineMethod.literals)

export const isOffline = (method: PaymentMethod): method is OfflineMethod => offlineMethods.has(method)

export const PromotionCode = Schema.String.check(Schema.isPattern(/^[A-Za-z0-9_-]{1,64}$/)).pipe(
  Schema.brand("PromotionCode")
)
export type PromotionCode = typeof PromotionCode.Type

export const CheckoutLine = Schema.Struct({
  sku: Sku,
  name: Schema.String,
  quantity: Quantity,
  unitPrice: Amount,
  total: Amount,
  /** Who gets the money for it; absent for the shop itself. */
  sellerId: Schema.optionalKey(SellerId)
})
export type CheckoutLine = typeof CheckoutLine.Type

export const CheckoutTotals = Schema.Struct({ subtotal: Amount, discount: Amount, shipping: Amount, total: Amount })
export type CheckoutTotals = typeof CheckoutTotals.Type

/** What an attempt is about: computed by the server, from the frozen cart and the catalog. REQ-CHK-04. */
export const AttemptTerms = Schema.Struct({
  lines: Schema.Array(CheckoutLine),
  totals: CheckoutTotals,
  cartRevision: Schema.Int
})
export type AttemptTerms = typeof AttemptTerms.Type

// --- Why an attempt was refused: all of them before any money moved. ---

/** Not enough of these; nothing was taken, nobody was charged. */
export class OutOfStock extends Schema.TaggedError<OutOfStock>()(
  "OutOfStock",
  { lines: Schema.Array(Schema.Struct({ sku: Sku, wanted: Schema.Int, have: Schema.Int })) },
  { httpApiStatus: 409 }
) {}

/** The total is not the one the buyer saw; `now` is what it would be. REQ-CHK-17. */
export class PriceChanged extends Schema.TaggedError<PriceChanged>()(
  "PriceChanged",
  { expected: Money, now: Money, lines: Schema.Array(CheckoutLine) },
  { httpApiStatus: 409 }
) {}

/** Lines which cannot be sold as they stand in the cart. */
export class ProductsUnavailable extends Schema.TaggedError<ProductsUnavailable>()(
  "ProductsUnavailable",
  {
    lines: Schema.Array(
      Schema.Struct({ sku: Sku, problem: Schema.Literals(["unknown", "withdrawn", "not_sold_in_currency"]) })
    )
  },
  { httpApiStatus: 422 }
) {}

/** Something is missing or wrong before it can be confirmed: an empty cart, no address, no payment method, a sum too large. */
export class CheckoutIncomplete extends Schema.TaggedError<CheckoutIncomplete>()(
  "CheckoutIncomplete",
  { problems: Schema.Array(Schema.Struct({ field: Schema.String, message: Schema.String })) },
  { httpApiStatus: 422 }
) {}

/** A promotion code which does not hold. */
export class PromotionRefused extends Schema.TaggedError<PromotionRefused>()(
  "PromotionRefused",
  { code: PromotionCode },
  { httpApiStatus: 422 }
) {}

/** The issuer said no. `code` is the provider's decline code, `message` is fit for buyers. */
export class PaymentDeclined extends Schema.TaggedError<PaymentDeclined>()(
  "PaymentDeclined",
  { code: Schema.String, message: Schema.String },
  { httpApiStatus: 402 }
) {}

/** The provider is away: nothing was charged, everything was released. Confirm anew after `retryAfterMs`. */
export class PaymentUnavailable extends Schema.TaggedError<PaymentUnavailable>()(
  "PaymentUnavailable",
  { retryAfterMs: Schema.Int },
  { httpApiStatus: 503 }
) {}

export const Rejection = Schema.Union([
  OutOfStock,
  PriceChanged,
  ProductsUnavailable,
  CheckoutIncomplete,
  PromotionRefused,
  PaymentDeclined,
  PaymentUnavailable,
  ServiceTimeout
])
export type Rejection = typeof Rejection.Type

/** What a buyer hears of an order which is placed, and waits for its money or its confirmation. */
export const placed = {
  orderId: OrderId,
  number: OrderNumber,
  total: Money,
  method: OfflineMethod,
  expiresAt: Schema.DateTimeUtc,
  /** To be written on the transfer; of bank transfers only. */
  transferReference: Schema.optionalKey(TransferReference)
}

/** How an attempt ended. */
export const AttemptOutcome = Schema.TaggedUnion({
  Confirmed: { orderId: OrderId, number: OrderNumber, total: Money },
  /** The order stands and waits: until `expiresAt` for its money, with `transferReference` on it, or to be confirmed. */
  Placed: placed,
  Rejected: { rejection: Rejection },
  /** Undone after the order was placed; `reason` stands with the order. */
  Compensated: { orderId: OrderId, reason: Schema.String }
})
export type AttemptOutcome = typeof AttemptOutcome.Type

const Attempt = Schema.Struct({
  attempt: Schema.Int,
  key: IdempotencyKey,
  /** What the buyer had seen: the same key with another total is another intent. */
  expectedTotal: Schema.optionalKey(Money),
  outcome: Schema.optionalKey(AttemptOutcome)
})

export const CheckoutState = Schema.TaggedUnion({
  Absent: {},
  Present: {
    status: CheckoutStatus,
    owner: CustomerId,
    cartId: CartId,
    currency: Currency,
    shippingAddress: Schema.optionalKey(Address),
    shippingMethod: ShippingMethod,
    paymentMethod: Schema.optionalKey(PaymentMethod),
    promotionCode: Schema.optionalKey(PromotionCode),
    /** The latest attempt that has begun; 0 before the first. */
    attempt: Schema.Int,
    /** The latest attempts with their keys and outcomes, oldest first. */
    attempts: Schema.Array(Attempt),
    terms: Schema.optionalKey(AttemptTerms),
    confirmingSince: Schema.optionalKey(Schema.DateTimeUtc),
    changedAt: Schema.DateTimeUtc
  }
})
export type CheckoutState = typeof CheckoutState.Type
export type PresentCheckout = Extract<CheckoutState, { readonly _tag: "Present" }>

export const CheckoutView = Schema.Struct({
  id: CheckoutId,
  status: CheckoutStatus,
  cartId: CartId,
  currency: Currency,
  shippingAddress: Schema.optionalKey(Address),
  shippingMethod: ShippingMethod,
  /** Whether a payment method is chosen; which one is not told again. */
  paymentMethodSet: Schema.Boolean,
  promotionCode: Schema.optionalKey(PromotionCode),
  attempt: Schema.Int,
  orderId: Schema.optionalKey(OrderId),
  /** Why the latest attempt was refused. */
  rejection: Schema.optionalKey(Rejection)
})
export type CheckoutView = typeof CheckoutView.Type

/** It is being confirmed; it can be changed again if that is rejected. */
export class CheckoutLocked extends Schema.TaggedError<CheckoutLocked>()(
  "CheckoutLocked",
  {},
  { httpApiStatus: 409 }
) {}

/** It has ended; start a new one. */
export class CheckoutClosed extends Schema.TaggedError<CheckoutClosed>()(
  "CheckoutClosed",
  { status: CheckoutStatus },
  { httpApiStatus: 409 }
) {}

/** What the country's own rules refuse about an address. REQ-CHK-08. */
export class AddressRefused extends Schema.TaggedError<AddressRefused>()(
  "AddressRefused",
  { problems: Schema.Array(Schema.Struct({ field: Schema.String, message: Schema.String })) },
  { httpApiStatus: 422 }
) {}

export const CheckoutRefusal = Schema.Union([AccessDenied, CheckoutLocked, CheckoutClosed, AddressRefused])
export type CheckoutRefusal = typeof CheckoutRefusal.Type

const reply = { success: CheckoutView, error: CheckoutRefusal }
const by = { key: IdempotencyKey, by: CustomerId }

export const CheckoutSession = Entity.make("CheckoutSession", [
  Rpc.make("GetCheckout", { payload: { by: CustomerId }, ...reply }),
  Rpc.make("StartCheckout", { payload: { ...by, cartId: CartId, currency: Currency }, ...reply }),
  Rpc.make("SetAddress", { payload: { ...by, address: Address }, ...reply }),
  Rpc.make("SetShippingMethod", { payload: { ...by, method: ShippingMethod }, ...reply }),
  Rpc.make("SetPaymentMethod", { payload: { ...by, paymentMethod: PaymentMethod }, ...reply }),
  Rpc.make("ApplyPromotion", { payload: { ...by, code: PromotionCode }, ...reply }),
  Rpc.make("RemovePromotion", { payload: by, ...reply }),
  Rpc.make("AbandonCheckout", { payload: by, ...reply }),
  /** Makes sure that this attempt never begins, if it has not: its cart has waited long enough. */
  Rpc.make("AbortAttempt", { payload: { key: IdempotencyKey, attempt: Schema.Int }, ...reply })
])
