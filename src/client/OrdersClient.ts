/**
 * What other programs import, in Node or in a browser. `connect` gives promises, `StorefrontClient` Effects; both repeat a call with the
 * same key until it is answered, at whichever node answers.
 *
 * Everything from here on imports Effect by module: esbuild keeps the whole of what comes through an index, which trebles a page's
 * download.
 */
export { newCheckoutId } from "./NewId.ts"
export { connect } from "./Shop.ts"
export type {
  Address,
  CallOptions,
  Cart,
  CartView,
  Checkout,
  CheckoutStep,
  CheckoutView,
  CommandOptions,
  Confirmation,
  ConfirmOptions,
  OrderChange,
  OrderPage,
  Orders,
  OrderView,
  Preview,
  Shop,
  StockCheck
} from "./Shop.ts"
export { StorefrontClient, type StorefrontCalls } from "./StorefrontClient.ts"
export { type ClientOptions, type Token, TokenUnavailable, Unreachable } from "./Calls.ts"
export { isRefusal, type RefusalInfo } from "./Thrown.ts"
export { guestToken, type GuestToken } from "./GuestToken.ts"
/** The reference of a bank transfer as people read it, in groups of four. */
export { printed as printedReference } from "../domain/TransferReference.ts"
export { explanations } from "../rpc/Explanations.ts"
export {
  AccessDenied,
  AddressRefused,
  CartClosed,
  CartLocked,
  CheckoutClosed,
  CheckoutCompensated,
  CheckoutIncomplete,
  CheckoutLocked,
  CurrencyMixed,
  IdempotencyConflict,
  IllegalTransition,
  InternalError,
  InvalidRequest,
  LineNotFound,
  OutOfStock,
  PaymentDeclined,
  PaymentUnavailable,
  PriceChanged,
  ProductsUnavailable,
  PromotionRefused,
  QuantityTooLarge,
  RateLimited,
  RequestTimeout,
  ServiceTimeout,
  TooManyLines,
  Unauthenticated,
  Unavailable
} from "../rpc/CustomerApi.ts"
export type { Refusal, RefusalCode } from "../rpc/Api.ts"
