/** A checkout's payment and its conversation with the provider. Entity id: the checkout's id. REQUIREMENTS B.3, B.4. */
import { Schema } from "effect"
import { Entity } from "effect/cluster"
import { Rpc } from "effect/rpc"
import { CustomerId, IdempotencyKey } from "../../domain/Ids.ts"
import { Amount, Currency } from "../../domain/Money.ts"
import { Reason } from "../../domain/Reason.ts"
import { Escrow } from "./Escrow.ts"
import { OfflineMethod } from "../../domain/OfflineMethod.ts"
import { TransferReference } from "../../domain/TransferReference.ts"
import { GivenBack, Receipt } from "./Receipt.ts"
import { Chargeback, Refund, RefundView } from "./Refund.ts"

/** Where the money stands. Each may become what `sagaTransitions` lists. */
export const SagaState = Schema.Literals([
  "none",
  "authorized",
  "capture_pending",
  "capture_failed",
  "captured",
  "voided",
  "refunded"
])
export type SagaState = typeof SagaState.Type

/**
 * REQUIREMENTS B.3. From `none` to `voided`: an attempt which never held anything is closed for good. From `none` to `captured`: cash and
 * transfers are there, or they are not; nothing is asked of a provider in between. From `refunded` back to `captured`: the provider says of
 * a refund it had completed that it failed after all.
 */
export const sagaTransitions: Readonly<Record<SagaState, ReadonlyArray<SagaState>>> = {
  none: ["authorized", "captured", "voided"],
  authorized: ["capture_pending", "capture_failed", "voided"],
  capture_pending: ["captured", "capture_failed"],
  capture_failed: ["capture_pending", "captured", "voided"],
  captured: ["refunded"],
  voided: [],
  refunded: ["captured"]
}

export const PaymentStatus = Schema.Literals([
  "pending",
  "processing",
  "authorized",
  "captured",
  "failed",
  "voided",
  "partially_refunded",
  "refunded"
])
export type PaymentStatus = typeof PaymentStatus.Type

/** `deferred`: the hold confirms the order, and is captured when it ships, or shortly before it runs out. REQ-CAP-08. */
export const CaptureMode = Schema.Literals(["immediate", "deferred"])
export type CaptureMode = typeof CaptureMode.Type

/** The authorization at the provider. A secret: it stands in its row and nowhere else. REQ-SEC-02. */
export const IntentReference = Schema.String.pipe(Schema.brand("IntentReference"))
export type IntentReference = typeof IntentReference.Type

export const PaymentState = Schema.TaggedUnion({
  Absent: {},
  Present: {
    /** Counts from 1; each has its own keys at the provider. */
    attempt: Schema.Int,
    customerId: CustomerId,
    /** What is to be authorized and captured, in minor units: the server's total. REQ-CHK-18. */
    amount: Amount,
    currency: Currency,
    status: PaymentStatus,
    saga: SagaState,
    /** Absent until the provider knows the attempt, and when nothing is to be paid. */
    intent: Schema.optionalKey(IntentReference),
    /** The customer is asked to prove who they are, until this instant. */
    actionUntil: Schema.optionalKey(Schema.DateTimeUtc),
    authorizedAt: Schema.optionalKey(Schema.DateTimeUtc),
    /** From here on the hold cannot be captured any more. */
    holdUntil: Schema.optionalKey(Schema.DateTimeUtc),
    /** Names the key of the capture under way; it changes only after a stored failure. REQ-CAP-03. */
    captureKey: Schema.Int,
    /** Failed retries; the first attempt is not a retry. REQ-CAP-04. */
    captureRetryCount: Schema.Int,
    /** The last capture was refused for good: retrying is of no use. */
    captureRefused: Schema.Boolean,
    nextAttemptAt: Schema.optionalKey(Schema.DateTimeUtc),
    capturedAt: Schema.optionalKey(Schema.DateTimeUtc),
    captured: Amount,
    refunded: Amount,
    /** The provider's code of the last failure. */
    failure: Schema.optionalKey(Schema.String),
    /** Unknown outcomes of this attempt's authorization which were looked up in vain so far. */
    resolutions: Schema.Int,
    /** Absent: immediate. */
    captureMode: Schema.optionalKey(CaptureMode),
    /** Oldest first; together with what is `refunded` otherwise never above what was captured. REQ-PAY-06. */
    refunds: Schema.optionalKey(Schema.Array(Refund)),
    chargebacks: Schema.optionalKey(Schema.Array(Chargeback)),
    /** What of it is sellers'; absent where the shop sells everything itself. */
    escrow: Schema.optionalKey(Escrow),
    /** Absent: at the payment provider. */
    method: Schema.optionalKey(OfflineMethod),
    /** What the customer writes on a transfer. */
    transferReference: Schema.optionalKey(TransferReference),
    /** Money which came in without the provider, oldest first. */
    receipts: Schema.optionalKey(Schema.Array(Receipt)),
    /** What was given back of it by hand, oldest first. */
    givenBack: Schema.optionalKey(Schema.Array(GivenBack))
  }
})
export type PaymentState = typeof PaymentState.Type
export type PresentPayment = Extract<PaymentState, { readonly _tag: "Present" }>

/** The step does not fit where the money stands. */
export class PaymentConflict extends Schema.TaggedError<PaymentConflict>()("PaymentConflict", {
  saga: Schema.String,
  status: Schema.String,
  command: Schema.String
}) {}

/** What others may know of a payment. */
export const PaymentView = Schema.Struct({
  attempt: Schema.Int,
  status: PaymentStatus,
  saga: SagaState,
  captureRetryCount: Schema.Int,
  captured: Amount,
  refunded: Amount,
  amount: Schema.optionalKey(Amount),
  currency: Schema.optionalKey(Currency),
  captureMode: Schema.optionalKey(CaptureMode),
  /** From here on the hold cannot be captured any more. */
  holdUntil: Schema.optionalKey(Schema.DateTimeUtc),
  /** Of what is not refunded, the part which refunds under way will give back. */
  refundPending: Schema.optionalKey(Amount),
  refunds: Schema.optionalKey(Schema.Array(RefundView)),
  chargebacks: Schema.optionalKey(Schema.Array(Chargeback)),
  escrow: Schema.optionalKey(Escrow),
  /** Absent: at the payment provider; the fields below are of the other methods only. */
  method: Schema.optionalKey(OfflineMethod),
  transferReference: Schema.optionalKey(TransferReference),
  receipts: Schema.optionalKey(Schema.Array(Receipt)),
  givenBack: Schema.optionalKey(Schema.Array(GivenBack)),
  /** Sum of the receipts which count. */
  received: Schema.optionalKey(Amount),
  /** What of it pays for nothing, and is still to be given back. */
  owed: Schema.optionalKey(Amount)
})
export type PaymentView = typeof PaymentView.Type

/** Changed only by the processes of its checkout, which live beside it; others may look, and say that its order is closed. */
export const Payment = Entity.make("Payment", [
  Rpc.make("GetPayment", { success: Schema.NullOr(PaymentView) }),
  /**
   * What is held for sellers is theirs from now on: the order is closed, or an operator (`by`) says so. Nothing to do where the shop sells
   * everything itself, and when it is done already. REQ-ESC-01.
   */
  Rpc.make("ReleaseEscrow", {
    payload: { key: IdempotencyKey, by: Schema.optionalKey(CustomerId), reason: Schema.optionalKey(Reason) },
    success: PaymentView,
    error: PaymentConflict
  })
])

/** Keys at the provider: one names one intent, for good. REQUIREMENTS A.4. */
export const providerKeys = {
  create: (id: string, attempt: number) => `checkout:${id}:auth${attempt === 1 ? "" : `:${attempt}`}`,
  confirm: (id: string, attempt: number) => `checkout:${id}:auth${attempt === 1 ? "" : `:${attempt}`}:confirm`,
  capture: (id: string, attempt: number, suffix: number) =>
    `capture:${id}:${attempt}${suffix === 1 ? "" : `:${suffix}`}`,
  void: (id: string, attempt: number, again?: string) =>
    `void:${id}:${attempt}${again === undefined ? "" : `:${again}`}`,
  refund: (id: string, refund: string, suffix: number) => `refund:${refund}:${id}${suffix === 1 ? "" : `:${suffix}`}`
} as const
