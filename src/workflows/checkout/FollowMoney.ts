import { orderPaymentStatus } from "../../entities/payment/PaymentDecider.ts"
import { owedOf } from "../../entities/payment/ReceiptDecider.ts"
import type { Transaction } from "../../runtime/Transaction.ts"
import type { Group } from "./CheckoutActors.ts"

/** The order shows what became of its money, in the unit that moved it; `key` names the move. REQ-PAY-05, REQ-RFD-02. */
export const followMoney = (transaction: Transaction, group: Group, key: string): void => {
  const payment = transaction.state(group.payment)
  const order = transaction.state(group.order)
  if (payment._tag === "Absent" || order._tag === "Absent") return
  const paymentStatus = orderPaymentStatus[payment.status]
  const settled = (payment.saga === "refunded" || payment.saga === "voided") && owedOf(payment) === 0n
  transaction.execute(
    group.order,
    `money:${key}`,
    order.settlementOpen && settled ? { _tag: "Settle", paymentStatus } : { _tag: "PaymentMoved", paymentStatus }
  )
}
