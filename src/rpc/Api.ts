/** All groups joined: the public contract, and the whole list of ways in which a call may be refused. */
import type * as Rpc from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import { OrdersRpc } from "./orders/OrdersRpc.ts"
import { StorefrontRpc } from "./storefront/StorefrontRpc.ts"

export class Api extends StorefrontRpc.merge(OrdersRpc) {}

export type ApiRpc = RpcGroup.Rpcs<typeof Api>

/** Everything a call may be refused with. Its `_tag` is the stable code of REQ-API-08. */
export type Refusal = Rpc.ErrorExit<ApiRpc>
export type RefusalCode = Refusal["_tag"]

// A caller tells refusals apart by their class or `_tag`, so they are part of the contract.
export {
  AccessDenied,
  IdempotencyConflict,
  IllegalTransition,
  InvalidRequest,
  ServiceTimeout,
  Unavailable
} from "../domain/Refusals.ts"
export {
  CartClosed,
  CartLocked,
  CurrencyMixed,
  LineNotFound,
  QuantityTooLarge,
  TooManyLines
} from "../entities/cart/Cart.ts"
export {
  AddressRefused,
  CheckoutClosed,
  CheckoutIncomplete,
  CheckoutLocked,
  OutOfStock,
  PaymentDeclined,
  PaymentUnavailable,
  PriceChanged,
  ProductsUnavailable,
  PromotionRefused
} from "../entities/checkoutSession/CheckoutSession.ts"
export { CheckoutCompensated, RateLimited } from "../workflows/checkout/Checkout.ts"
export { InternalError, RequestTimeout, Unauthenticated } from "./Edge.ts"
