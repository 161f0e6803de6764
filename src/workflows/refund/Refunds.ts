/** Refunds and chargebacks of one order's payment. Entity id: the order's id. REQUIREMENTS B.11, REQ-RFD-01 to 03. */
import { Schema } from "effect"
import { Entity } from "effect/cluster"
import { Rpc } from "effect/rpc"
import { IdempotencyKey } from "../../domain/Ids.ts"
import { Amount } from "../../domain/Money.ts"
import { Reason } from "../../domain/Reason.ts"
import { NotFound, Unavailable } from "../../domain/Refusals.ts"
import { PaymentConflict } from "../../entities/payment/Payment.ts"
import {
  ChargebackStatus,
  RefundAmount,
  RefundId,
  RefundNotPossible,
  RefundTooLarge,
  RefundView
} from "../../entities/payment/Refund.ts"

/** What the provider says of a refund; in any order, any number of times. */
export const RefundReport = {
  key: IdempotencyKey,
  /** Ours, where the provider knows it: it stands in the refund's metadata. */
  refund: Schema.optionalKey(RefundId),
  /** The provider's id of it. */
  reference: Schema.String,
  status: Schema.Literals(["pending", "completed", "failed"]),
  amount: Amount,
  code: Schema.optionalKey(Schema.String)
}

export const Refunds = Entity.make("Refunds", [
  /** Makes the intent durable, and begins; how it ends is told by the payment. Without an amount all that is left is given back. */
  Rpc.make("Request", {
    payload: {
      key: IdempotencyKey,
      refund: RefundId,
      amount: Schema.optionalKey(RefundAmount),
      reason: Reason,
      by: Schema.optionalKey(Schema.String)
    },
    success: RefundView,
    error: Schema.Union([NotFound, RefundNotPossible, RefundTooLarge, Unavailable])
  }),
  /** Tries one again which was given up, and tells what came of it. */
  Rpc.make("Retry", {
    payload: { key: IdempotencyKey, refund: RefundId },
    success: RefundView,
    error: Schema.Union([NotFound, PaymentConflict, RefundNotPossible, RefundTooLarge, Unavailable])
  }),
  /** Refused as `PaymentConflict` when it cannot be true of this payment. */
  Rpc.make("Report", {
    payload: RefundReport,
    error: Schema.Union([PaymentConflict, Unavailable])
  }),
  Rpc.make("ReportChargeback", {
    payload: {
      key: IdempotencyKey,
      /** The provider's id of it. */
      chargeback: Schema.String,
      amount: Amount,
      reason: Schema.String,
      status: ChargebackStatus
    },
    error: Schema.Union([PaymentConflict, Unavailable])
  })
])
