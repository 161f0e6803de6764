/** Refunds of one order's payment. Entity id: the order's id. REQUIREMENTS B.11, REQ-RFD-01 to 03. */
import { Schema } from "effect"
import { Entity } from "effect/cluster"
import { Rpc } from "effect/rpc"
import { IdempotencyKey } from "../../domain/Ids.ts"
import { Reason } from "../../domain/Reason.ts"
import { NotFound, Unavailable } from "../../domain/Refusals.ts"
import { PaymentConflict } from "../../entities/payment/Payment.ts"
import { RefundAmount, RefundId, RefundNotPossible, RefundTooLarge, RefundView } from "../../entities/payment/Refund.ts"

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
  })
])
