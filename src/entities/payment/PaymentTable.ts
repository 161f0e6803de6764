import { Schema } from "effect"
import { operatorDid } from "../../runtime/AuditTrail.ts"
import { isoOf, type LogTable, present, type Row, type StateTable } from "../../runtime/Table.ts"
import { PaymentState } from "./Payment.ts"
import type { Event } from "./PaymentDecider.ts"
import { owedOf, receivedOf, returnedOf } from "./ReceiptDecider.ts"
import { pendingOf } from "./RefundDecider.ts"

const decode = Schema.decodeUnknownSync(Schema.toCodecJson(PaymentState))

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
    escrow: "jsonb",
    method: "text",
    transfer_reference: "text",
    receipts: "jsonb",
    received: "bigint",
    given_back: "jsonb",
    returned: "bigint",
    owed: "bigint"
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
      escrow: state.escrow,
      method: state.method,
      transfer_reference: state.transferReference,
      receipts: state.receipts,
      // For the table's own constraints, and for people.
      received: state.method === undefined ? undefined : receivedOf(state),
      given_back: state.givenBack,
      returned: state.method === undefined ? undefined : returnedOf(state),
      owed: state.method === undefined ? undefined : owedOf(state)
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
        actionUntil: isoOf(row["action_until"]),
        authorizedAt: isoOf(row["authorized_at"]),
        holdUntil: isoOf(row["hold_until"]),
        nextAttemptAt: isoOf(row["next_attempt_at"]),
        capturedAt: isoOf(row["captured_at"]),
        failure: row["failure"],
        captureMode: row["capture_mode"],
        refunds: row["refunds"],
        chargebacks: row["chargebacks"],
        escrow: row["escrow"],
        method: row["method"],
        transferReference: row["transfer_reference"],
        receipts: row["receipts"],
        givenBack: row["given_back"]
      })
    })
}

/** Every transfer that was ever recorded: its primary key is why the bank's id of one counts once, for whichever order. */
const bankTransfers: LogTable = {
  name: "payment.bank_transfers",
  columns: {
    id: "text",
    order_id: "text",
    amount: "bigint",
    currency: "text",
    received_at: "timestamptz",
    recorded_at: "timestamptz",
    recorded_by: "text"
  }
}

interface Added {
  readonly table: LogTable
  readonly row: Row
}

/** What operators have done to a payment, and the transfers which came in for it. */
export const paymentRows = (event: Event, state: PaymentState, id: string): ReadonlyArray<Added> => {
  if (state._tag === "Absent") return []
  switch (event._tag) {
    case "RefundRequested": {
      if (event.by === undefined) return []
      const { amount, at, by: actor, reason, refund } = event
      return [operatorDid({ at, actor, operation: "RefundPayment", subject: id, details: { refund, amount, reason } })]
    }
    case "Received": {
      const { amount, at, by: actor, receipt, receivedAt } = event
      const { currency, method } = state
      const details = { receipt, amount, currency, receivedAt }
      if (method !== "bank_transfer") {
        return [operatorDid({ at, actor, operation: "RecordCash", subject: id, details })]
      }
      const row = {
        id: receipt,
        order_id: id,
        amount,
        currency,
        received_at: receivedAt,
        recorded_at: at,
        recorded_by: actor
      }
      return [
        { table: bankTransfers, row },
        operatorDid({ at, actor, operation: "RecordBankTransfer", subject: id, details })
      ]
    }
    case "EscrowReleased": {
      const { at, by: actor, reason } = event
      if (actor === undefined) return []
      return [operatorDid({ at, actor, operation: "ReleaseEscrow", subject: id, details: { reason } })]
    }
    case "GivenBack": {
      const { amount, at, by: actor, reason } = event
      const details = { amount, currency: state.currency, reason }
      return [operatorDid({ at, actor, operation: "RecordGivenBack", subject: id, details })]
    }
    default:
      return []
  }
}
