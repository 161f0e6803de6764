import type { ReasonCode } from "../../entities/order/Order.ts"
import type { PresentPayment } from "../../entities/payment/Payment.ts"

/** What the provider, or we, call a hold which has run out. */
export const expiredCodes: ReadonlySet<string> = new Set(["charge_expired_for_capture", "authorization_expired"])

type GivenUp = Extract<ReasonCode, "payment_capture_exhausted" | "authorization_expired" | "payment_failed">

/** Why an order is cancelled whose payment could not be captured. REQUIREMENTS B.2. */
export const reasonToGiveUp = ({ captureRefused, failure = "" }: PresentPayment): GivenUp => {
  if (!captureRefused) return "payment_capture_exhausted"
  return expiredCodes.has(failure) ? "authorization_expired" : "payment_failed"
}
