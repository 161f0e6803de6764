/** What operators hear of money that came in without the provider: the whole fan-out of a payment on one screen. */
import type { Notice } from "../../runtime/Actor.ts"
import { Alert } from "../alert/Alert.ts"
import type { PaymentState, PresentPayment } from "./Payment.ts"
import type { Event } from "./PaymentDecider.ts"
import { owedOf } from "./ReceiptDecider.ts"

/** The alert about what is to be given back of an order's money. */
export const owedAlert = (id: string): string => `money_owed:${id}`
/** The alert about cash which is not what was to be paid. */
export const cashAlert = (id: string): string => `cash_mismatch:${id}`

type Message = Notice["message"] & Readonly<Record<string, unknown>>

const detailsOf = (id: string, { currency, customerId }: PresentPayment, amount: bigint) => ({
  orderId: id,
  customerId,
  amount,
  currency,
  recorded: true
})

/** Late, or too much, or for an order which could not stand: told until an operator has given it back. REQ-BNK-02. */
const owing = (id: string, payment: PresentPayment): ReadonlyArray<Notice> => {
  const owed = owedOf(payment)
  if (owed <= 0n) return []
  const live = payment.saga === "captured"
  const message: Message = {
    _tag: "Raise",
    kind: "money_owed",
    severity: live ? "warning" : "critical",
    summary: live
      ? "More has come in for an order than it costs: the excess is to be given back"
      : "Money has come in for an order which does not stand: it is to be given back",
    details: detailsOf(id, payment, owed)
  }
  return [{ receiver: { type: Alert.type, id: owedAlert(id) }, message }]
}

const clear = (id: string, reason: string): Notice => {
  const message: Message = { _tag: "Clear", reason }
  return { receiver: { type: Alert.type, id }, message }
}

export const paymentNotices = (event: Event, payment: PaymentState, id: string): ReadonlyArray<Notice> => {
  if (payment._tag === "Absent" || payment.method === undefined) return []
  switch (event._tag) {
    case "Received": {
      if (event.disputed !== true) return owing(id, payment)
      const message: Message = {
        _tag: "Raise",
        kind: "cash_mismatch",
        severity: "warning",
        summary: `Cash of ${event.amount} was recorded where ${payment.amount} is due: the order is not paid by it`,
        details: detailsOf(id, payment, event.amount)
      }
      return [{ receiver: { type: Alert.type, id: cashAlert(id) }, message }]
    }
    case "Captured": {
      const disputed = payment.receipts?.some((one) => one.disputed === true) === true
      return [...owing(id, payment), ...(disputed ? [clear(cashAlert(id), "The cash was recorded as it was due")] : [])]
    }
    case "Voided":
      return owing(id, payment)
    case "GivenBack":
      return event.owed > 0n && owedOf(payment) === 0n ? [clear(owedAlert(id), "All of it was given back")] : []
    default:
      return []
  }
}
