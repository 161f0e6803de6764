/** What storefronts may call, and the ways in which a call of theirs may be refused. Operators' calls are not among it, nor in a page. */
import type * as Rpc from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import { OrdersRpc } from "./orders/OrdersRpc.ts"
import { StorefrontRpc } from "./storefront/StorefrontRpc.ts"

export class CustomerApi extends StorefrontRpc.merge(OrdersRpc) {}

export type CustomerRpc = RpcGroup.Rpcs<typeof CustomerApi>

export type CustomerRefusal = Rpc.ErrorExit<CustomerRpc>

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
