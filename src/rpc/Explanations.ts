/** What a refusal says to people, and whether it may pass by itself. REQ-API-08: no internal wording. */
import type { RefusalCode } from "./Api.ts"

export interface Explanation {
  /** Neutral English; a storefront shows its own words by `code`. */
  readonly message: string
  /** The same request may succeed later, with nothing changed about it. */
  readonly retryable: boolean
}

const final = (message: string): Explanation => ({ message, retryable: false })
const passing = (message: string): Explanation => ({ message, retryable: true })

export const explanations: Readonly<Record<RefusalCode, Explanation>> = {
  AccessDenied: final("You do not have access to this."),
  AddressRefused: final("Please check the address."),
  CartClosed: final("This cart is closed. Please start a new one."),
  CartLocked: passing("This cart is being checked out."),
  CashMismatch: final("This is not what is to be paid."),
  CheckoutClosed: final("This checkout has ended. Please start a new one."),
  CheckoutCompensated: final("The order could not be completed and was cancelled. Nothing was kept."),
  CheckoutIncomplete: final("Something is missing before this can be confirmed."),
  CheckoutLocked: passing("This checkout is being confirmed."),
  CurrencyMixed: final("All items of a cart must be in one currency."),
  IdempotencyConflict: final("This request was already made with other content."),
  IllegalTransition: final("This is not possible any more."),
  InternalError: passing("Unable to process the request, please try again."),
  InvalidRequest: final("The request is not valid."),
  LineNotFound: final("The item is not in the cart."),
  NotFound: final("There is nothing under this id."),
  OutOfStock: final("Some items are not available in the quantity asked for."),
  PaymentDeclined: final("The payment was declined."),
  PaymentUnavailable: passing("Unable to process the payment, please try again."),
  PriceChanged: final("The total has changed."),
  ProductsUnavailable: final("Some items cannot be sold."),
  PromotionRefused: final("The promotion code does not apply."),
  QuantityTooLarge: final("The quantity is too large."),
  RateLimited: passing("Too many attempts, please try again later."),
  RefundNotPossible: final("This payment cannot be given back now."),
  RefundTooLarge: final("This is more than can still be given back."),
  RequestTimeout: passing("Unable to process the request in time, please try again."),
  ServiceTimeout: passing("Unable to process checkout, please try again."),
  TooManyLines: final("The cart is full."),
  Unauthenticated: final("Please sign in."),
  Unavailable: passing("Unable to process the request right now, please try again.")
}
