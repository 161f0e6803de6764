import { DateTime, Schema } from "effect"
import type { StateTable } from "../../runtime/Table.ts"
import { PaymentState } from "./Payment.ts"
import { pendingOf } from "./RefundDecider.ts"

const decode = Schema.decodeUnknownSync(Schema.toCodecJson(PaymentState))

const iso = (value: unknown) => (typeof value === "string" ? DateTime.formatIso(DateTime.makeUnsafe(value)) : undefined)

/** Which fields are optional in the state: null in the row stands for absent. */
const present = (fields: Readonly<Record<string, unknown>>) =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== null))

export const paymentTable: StateTable<PaymentState> = {
  name: "payment.payments",
  columns: {
    attempt: "int",
    customer_id: "text",
    amount: "bigint",
    currency: "text",
    status: "text",
    saga_state: "text",
    intent: "text",
    action_until: "timestamptz",
    authorized_at: "timestamptz",
    hold_until: "timestamptz",
    capture_key: "int",
    capture_retry_count: "int",
    capture_refused: "boolean",
    next_attempt_at: "timestamptz",
    captured_at: "timestamptz",
    captured: "bigint",
    refunded: "bigint",
    failure: "text",
    resolutions: "int",
    capture_mode: "text",
    refunds: "jsonb",
    refund_pending: "bigint",
    chargebacks: "jsonb",
    escrow: "jsonb"
  },
  immutable: ["customer_id", "currency"],
  toRow: (state) => {
    if (state._tag === "Absent") throw new Error("an absent payment has no row")
    return {
      attempt: state.attempt,
      customer_id: state.customerId,
      amount: state.amount,
      currency: state.currency,
      status: state.status,
      saga_state: state.saga,
      intent: state.intent,
      action_until: state.actionUntil,
      authorized_at: state.authorizedAt,
      hold_until: state.holdUntil,
      capture_key: state.captureKey,
      capture_retry_count: state.captureRetryCount,
      capture_refused: state.captureRefused,
      next_attempt_at: state.nextAttemptAt,
      captured_at: state.capturedAt,
      captured: state.captured,
      refunded: state.refunded,
      failure: state.failure,
      resolutions: state.resolutions,
      capture_mode: state.captureMode,
      refunds: state.refunds,
      // The table's own constraint adds it up with what is refunded.
      refund_pending: pendingOf(state),
      chargebacks: state.chargebacks,
      escrow: state.escrow
    }
  },
  fromRow: (row) =>
    decode({
      _tag: "Present",
      attempt: row["attempt"],
      customerId: row["customer_id"],
      amount: String(row["amount"]),
      currency: row["currency"],
      status: row["status"],
      saga: row["saga_state"],
      captureKey: row["capture_key"],
      captureRetryCount: row["capture_retry_count"],
      captureRefused: row["capture_refused"],
      captured: String(row["captured"]),
      refunded: String(row["refunded"]),
      resolutions: row["resolutions"],
      ...present({
        intent: row["intent"],
        actionUntil: iso(row["action_until"]),
        authorizedAt: iso(row["authorized_at"]),
        holdUntil: iso(row["hold_until"]),
        nextAttemptAt: iso(row["next_attempt_at"]),
        capturedAt: iso(row["captured_at"]),
        failure: row["failure"],
        captureMode: row["capture_mode"],
        refunds: row["refunds"],
        chargebacks: row["chargebacks"],
        escrow: row["escrow"]
      })
    })
}
