import type { Duration } from "effect"
import type { OfflineMethod } from "../../domain/OfflineMethod.ts"
import type { CaptureMode } from "../../entities/payment/Payment.ts"

/** How long the checkout's waits may take, and how often things are tried. Sources: REQUIREMENTS H. */
export interface CheckoutLimits {
  /** For an authorization from its first call to the answer. N-001. */
  readonly paymentTimeout: Duration.Duration
  /** How long a caller waits before hearing `Pending`. N-006. */
  readonly syncWait: Duration.Duration
  /** Whether an authorized order is captured at once. REQ-CAP-08. */
  readonly captureMode: CaptureMode
  /** What the shop keeps of a seller's money unless it has agreed on something else with it. */
  readonly feeBasisPoints: number
  /** How long a hold lives when the provider gives no date. N-026. */
  readonly holdFor: Duration.Duration
  /** Failed retries before a payment is given up; the first attempt is not a retry. N-011. */
  readonly captureRetriesMax: number
  /** Between capture attempts. N-012. */
  readonly captureBackoff: { readonly base: Duration.Duration; readonly cap: Duration.Duration }
  /** Tries of one compensating step within the process, and the first pause between them. N-014. */
  readonly compensationAttempts: number
  readonly compensationBackoff: Duration.Duration
  /** Confirmations of one customer within the window. N-034. */
  readonly confirmRate: { readonly limit: number; readonly window: Duration.Duration }
  /** When the durable look into an unknown authorization is first due. N-066. */
  readonly resolveAfter: Duration.Duration
  /** After so many of them it is left to an operator. */
  readonly resolveLooksMax: number
  /** Which of the ways to pay without the provider are offered. */
  readonly offlineMethods: ReadonlyArray<OfflineMethod>
  /** The least time between two questions to the provider about a customer's second factor. */
  readonly actionPollInterval: Duration.Duration
}
