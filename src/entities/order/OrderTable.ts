import { Schema } from "effect"
import { operatorDid } from "../../runtime/AuditTrail.ts"
import { isoOf, type LogTable, present, type Row, type StateTable } from "../../runtime/Table.ts"
import { OrderState } from "./Order.ts"
import type { Event } from "./OrderDecider.ts"

const decode = Schema.decodeUnknownSync(Schema.toCodecJson(OrderState))

/** A `bigint` column which may be null. */
const decimal = (value: unknown) => (typeof value === "number" || typeof value === "string" ? String(value) : undefined)

export const orderTable: StateTable<OrderState> = {
  name: "orders.orders",
  columns: {
    number: "text",
    checkout_id: "text",
    customer_id: "text",
    currency: "text",
    total_amount: "bigint",
    terms: "jsonb",
    status: "text",
    payment_status: "text",
    reason: "text",
    settlement_open: "boolean",
    placed_at: "timestamptz",
    expires_at: "timestamptz",
    confirmed_at: "timestamptz",
    cancelled_at: "timestamptz",
    review: "boolean",
    received: "bigint"
  },
  immutable: ["number", "checkout_id", "customer_id", "currency", "total_amount", "terms", "placed_at", "expires_at"],
  toRow: (state) => {
    if (state._tag === "Absent") throw new Error("an absent order has no row")
    return {
      number: state.number,
      checkout_id: state.terms.checkoutId,
      customer_id: state.terms.customerId,
      currency: state.terms.currency,
      total_amount: state.terms.totals.total,
      terms: state.terms,
      status: state.status,
      payment_status: state.paymentStatus,
      reason: state.reason,
      settlement_open: state.settlementOpen,
      placed_at: state.placedAt,
      expires_at: state.expiresAt,
      confirmed_at: state.confirmedAt,
      cancelled_at: state.cancelledAt,
      review: state.review,
      received: state.received
    }
  },
  fromRow: (row) =>
    decode({
      _tag: "Placed",
      number: row["number"],
      terms: row["terms"],
      status: row["status"],
      paymentStatus: row["payment_status"],
      settlementOpen: row["settlement_open"],
      placedAt: isoOf(row["placed_at"]),
      expiresAt: isoOf(row["expires_at"]),
      ...present({
        reason: row["reason"],
        confirmedAt: isoOf(row["confirmed_at"]),
        cancelledAt: isoOf(row["cancelled_at"]),
        review: row["review"],
        received: decimal(row["received"])
      })
    })
}

const orderLines: LogTable = {
  name: "orders.order_lines",
  columns: {
    order_id: "text",
    line: "int",
    sku: "text",
    name: "text",
    quantity: "int",
    unit_price: "bigint",
    total: "bigint",
    seller_id: "text"
  }
}

interface Added {
  readonly table: LogTable
  readonly row: Row
}

/** Each line of a placed order as a row of its own, for people and figures (REQ-DAT-07); and what operators have done to it. */
export const orderRows = (event: Event, id: string): ReadonlyArray<Added> => {
  switch (event._tag) {
    case "Placed":
      return event.terms.lines.map(({ name, quantity, sellerId, sku, total, unitPrice }, index) => ({
        table: orderLines,
        row: { order_id: id, line: index + 1, sku, name, quantity, unit_price: unitPrice, total, seller_id: sellerId }
      }))
    case "Confirmed": {
      const { at, by: actor } = event
      return actor === undefined ? [] : [operatorDid({ at, actor, operation: "ConfirmCashOnDelivery", subject: id })]
    }
    case "HeldForReview": {
      const { at, by: actor, reason } = event
      return [operatorDid({ at, actor, operation: "HoldCashOnDelivery", subject: id, details: { reason } })]
    }
    default:
      return []
  }
}
