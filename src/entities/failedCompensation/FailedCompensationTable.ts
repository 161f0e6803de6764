import { Schema } from "effect"
import { isoOf, present, type StateTable } from "../../runtime/Table.ts"
import { FailedCompensationState } from "./FailedCompensation.ts"
import { statusOf } from "./FailedCompensationDecider.ts"

const decode = Schema.decodeUnknownSync(Schema.toCodecJson(FailedCompensationState))

const tags: Readonly<Record<string, FailedCompensationState["_tag"]>> = {
  pending: "Pending",
  retrying: "Retrying",
  failed: "Failed",
  resolved: "Resolved"
}

/** The columns of REQUIREMENTS A.4, and what the actor knows besides. */
export const failedCompensationTable: StateTable<FailedCompensationState> = {
  name: "payment.failed_compensations",
  columns: {
    order_id: "text",
    operation_type: "text",
    attempt: "int",
    authorization_id: "text",
    reservation_ids: "jsonb",
    customer_id: "text",
    total_amount: "bigint",
    currency: "text",
    reason: "text",
    error_message: "text",
    retry_count: "int",
    max_retries: "int",
    status: "text",
    alert_sent: "boolean",
    unhandled: "boolean",
    recorded_at: "timestamptz",
    next_attempt_at: "timestamptz",
    started_at: "timestamptz",
    started_by: "text",
    resolved_at: "timestamptz",
    resolved_by: "text",
    resolution: "text",
    note: "text"
  },
  immutable: [
    "order_id",
    "operation_type",
    "attempt",
    "authorization_id",
    "reservation_ids",
    "customer_id",
    "total_amount",
    "currency",
    "reason",
    "max_retries",
    "recorded_at"
  ],
  toRow: (state) => {
    if (state._tag === "Absent") throw new Error("an absent failed compensation has no row")
    return {
      order_id: state.orderId,
      operation_type: state.operation,
      attempt: state.attempt,
      authorization_id: state.authorizationId,
      reservation_ids: state.reservationIds,
      customer_id: state.customerId,
      total_amount: state.totalAmount,
      currency: state.currency,
      reason: state.reason,
      error_message: state.error,
      retry_count: state.retryCount,
      max_retries: state.maxRetries,
      status: statusOf(state),
      alert_sent: state.alertSent,
      unhandled: state.unhandled,
      recorded_at: state.recordedAt,
      next_attempt_at: state._tag === "Pending" ? state.nextAttemptAt : undefined,
      started_at: state._tag === "Retrying" ? state.startedAt : undefined,
      started_by: state._tag === "Retrying" ? state.startedBy : undefined,
      resolved_at: state._tag === "Resolved" ? state.resolvedAt : undefined,
      resolved_by: state._tag === "Resolved" ? state.resolvedBy : undefined,
      resolution: state._tag === "Resolved" ? state.resolution : undefined,
      note: state._tag === "Resolved" ? state.note : undefined
    }
  },
  fromRow: (row) =>
    decode({
      _tag: tags[String(row["status"])],
      orderId: row["order_id"],
      operation: row["operation_type"],
      attempt: row["attempt"],
      reservationIds: row["reservation_ids"],
      customerId: row["customer_id"],
      totalAmount: String(row["total_amount"]),
      currency: row["currency"],
      reason: row["reason"],
      error: row["error_message"],
      retryCount: row["retry_count"],
      maxRetries: row["max_retries"],
      alertSent: row["alert_sent"],
      unhandled: row["unhandled"],
      recordedAt: isoOf(row["recorded_at"]),
      ...present({
        authorizationId: row["authorization_id"],
        nextAttemptAt: isoOf(row["next_attempt_at"]),
        startedAt: isoOf(row["started_at"]),
        startedBy: row["started_by"],
        resolvedAt: isoOf(row["resolved_at"]),
        resolvedBy: row["resolved_by"],
        resolution: row["resolution"],
        note: row["note"]
      })
    })
}
