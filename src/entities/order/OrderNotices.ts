/** What operators hear of orders: the whole fan-out of an order on one screen. */
import type { Notice } from "../../runtime/Actor.ts"
import { Alert } from "../alert/Alert.ts"
import type { OrderState } from "./Order.ts"
import type { Event } from "./OrderDecider.ts"

/** The alert about an order whose goods were gone when they were to be bound. */
export const stockAlert = (id: string): string => `stock_confirmation_failed:${id}`

/** Its goods were claimed and are not there: whatever it is that takes claims away will do so again. REQ-CNF-03. */
export const orderNotices = (event: Event, order: OrderState, id: string): ReadonlyArray<Notice> => {
  if (event._tag !== "Failed" && event._tag !== "Cancelled") return []
  if (event.reason !== "stock_confirmation_failed" || order._tag === "Absent") return []
  const { currency, customerId, totals } = order.terms
  const message: Notice["message"] & Readonly<Record<string, unknown>> = {
    _tag: "Raise",
    kind: "stock_confirmation_failed",
    severity: "critical",
    summary:
      "The goods of an order were claimed, and gone when they were to be bound: it has ended, and what was paid is given back",
    details: { orderId: id, customerId, amount: totals.total, currency, recorded: true }
  }
  return [{ receiver: { type: Alert.type, id: stockAlert(id) }, message }]
}
