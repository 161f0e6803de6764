/** What a storefront may call on the way from cart to order. REQ-API-01. Who calls is in the token, never in the payload. */
import * as Schema from "effect/Schema"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import { Address } from "../../domain/Address.ts"
import { CartId, CheckoutId, IdempotencyKey, Sku } from "../../domain/Ids.ts"
import { Currency, Money } from "../../domain/Money.ts"
import { Quantity } from "../../domain/Quantity.ts"
import { CartRefusal, CartView } from "../../entities/cart/Cart.ts"
import {
  CheckoutRefusal,
  CheckoutView,
  PaymentMethod,
  PromotionCode,
  ShippingMethod
} from "../../entities/checkoutSession/CheckoutSession.ts"
import {
  Confirmation,
  ConfirmRefusal,
  Preview,
  PreviewRefusal,
  StepRecord,
  StockCheck
} from "../../workflows/checkout/Checkout.ts"
import { ProductsUnavailable } from "../../entities/checkoutSession/CheckoutSession.ts"
import { EdgeRefusal } from "../Edge.ts"
import { Authentication } from "../Auth.ts"

const key = { key: IdempotencyKey }
const cart = { success: CartView, error: Schema.Union([CartRefusal, EdgeRefusal]) }
const checkout = { success: CheckoutView, error: Schema.Union([CheckoutRefusal, EdgeRefusal]) }
const ofCart = { cartId: CartId }
const ofCheckout = { checkoutId: CheckoutId }

export class StorefrontRpc extends RpcGroup.make(
  Rpc.make("GetCart", { payload: ofCart, ...cart }),
  /** Makes the cart when there is none under this id yet. The sku must exist and be sold in the currency. */
  Rpc.make("AddItem", {
    payload: { ...key, ...ofCart, currency: Currency, sku: Sku, quantity: Quantity },
    success: CartView,
    error: Schema.Union([CartRefusal, ProductsUnavailable, EdgeRefusal])
  }),
  /** Sets the quantity of a line. */
  Rpc.make("UpdateItem", { payload: { ...key, ...ofCart, sku: Sku, quantity: Quantity }, ...cart }),
  Rpc.make("RemoveItem", { payload: { ...key, ...ofCart, sku: Sku }, ...cart }),
  Rpc.make("ClearCart", { payload: { ...key, ...ofCart }, ...cart }),
  /** Takes the lines of a guest's cart over into the caller's. `fromToken` is the guest's token: it proves whose cart that was. */
  Rpc.make("MergeCart", { payload: { ...key, ...ofCart, from: CartId, fromToken: Schema.String }, ...cart }),
  Rpc.make("StartCheckout", { payload: { ...key, ...ofCheckout, cartId: CartId, currency: Currency }, ...checkout }),
  Rpc.make("GetCheckout", { payload: ofCheckout, ...checkout }),
  Rpc.make("SetAddress", { payload: { ...key, ...ofCheckout, address: Address }, ...checkout }),
  Rpc.make("SetShippingMethod", { payload: { ...key, ...ofCheckout, method: ShippingMethod }, ...checkout }),
  Rpc.make("SetPaymentMethod", { payload: { ...key, ...ofCheckout, paymentMethod: PaymentMethod }, ...checkout }),
  Rpc.make("ApplyPromotion", { payload: { ...key, ...ofCheckout, code: PromotionCode }, ...checkout }),
  Rpc.make("RemovePromotion", { payload: { ...key, ...ofCheckout }, ...checkout }),
  Rpc.make("AbandonCheckout", { payload: { ...key, ...ofCheckout }, ...checkout }),
  Rpc.make("ValidateInventory", {
    payload: ofCheckout,
    success: StockCheck,
    error: Schema.Union([PreviewRefusal, EdgeRefusal])
  }),
  Rpc.make("PreviewTotals", {
    payload: ofCheckout,
    success: Preview,
    error: Schema.Union([PreviewRefusal, EdgeRefusal])
  }),
  /** The same key has the same outcome for good; a confirmation under way is joined, whatever the key. */
  Rpc.make("ConfirmCheckout", {
    payload: { ...key, ...ofCheckout, expectedTotal: Schema.optionalKey(Money) },
    success: Confirmation,
    error: Schema.Union([ConfirmRefusal, EdgeRefusal])
  }),
  Rpc.make("GetConfirmStatus", {
    payload: ofCheckout,
    success: Confirmation,
    error: Schema.Union([ConfirmRefusal, EdgeRefusal])
  }),
  /** Each step of each attempt, with its time and outcome. */
  Rpc.make("GetCheckoutSteps", {
    payload: ofCheckout,
    success: Schema.Array(StepRecord),
    error: Schema.Union([CheckoutRefusal, EdgeRefusal])
  })
).middleware(Authentication) {}
