/**
 * What people and banks say about orders which are paid in cash at the door or by bank transfer. Entity id: the order's id. REQUIREMENTS
 * B.14, B.15, C.13.
 */
import { Schema } from "effect"
import { Entity } from "effect/cluster"
import { Rpc } from "effect/rpc"
import { CustomerId, IdempotencyKey, OrderId } from "../../domain/Ids.ts"
import { Reason } from "../../domain/Reason.ts"
import { IdempotencyConflict, IllegalTransition, NotFound, Unavailable } from "../../domain/Refusals.ts"
import { OrderStatus, OrderView } from "../../entities/order/Order.ts"
import { PaymentView } from "../../entities/payment/Payment.ts"
import { BankTransactionId, CashMismatch } from "../../entities/payment/Receipt.ts"
import { RefundAmount, RefundNotPossible, RefundTooLarge } from "../../entities/payment/Refund.ts"

/**
 * What a transfer has come to. `captured`: exactly paid. `short`: the order goes on waiting for the rest. `over`: paid, and the rest is to be
 * given back. `late`: the order does not stand, or was paid before; all of it is to be given back. `stock_gone`: the same, and the order has
 * failed just now.
 */
export const TransferOutcome = Schema.Literals(["captured", "short", "over", "late", "stock_gone"])
export type TransferOutcome = typeof TransferOutcome.Type

export const RecordedTransfer = Schema.Struct({
  orderId: OrderId,
  outcome: TransferOutcome,
  /** How the order stands now. */
  status: OrderStatus,
  payment: PaymentView
})

const by = { by: CustomerId }
const refusals = [NotFound, IllegalTransition, Unavailable] as const

export const OfflinePayments = Entity.make("OfflinePayments", [
  /** Confirms an order with cash on delivery. Confirmed already is success; one whose window is over is refused, and cancelled. */
  Rpc.make("ConfirmCash", { payload: by, success: OrderView, error: Schema.Union(refusals) }),
  /** From now on only an operator confirms it; its window goes on. */
  Rpc.make("HoldCash", { payload: { ...by, reason: Reason }, success: OrderView, error: Schema.Union(refusals) }),
  /** Cash has been handed in for a confirmed order. Exactly what is due captures the payment; anything else is disputed. REQ-COD-04. */
  Rpc.make("RecordCash", {
    payload: { ...by, key: IdempotencyKey, amount: RefundAmount, receivedAt: Schema.DateTimeUtc },
    success: PaymentView,
    error: Schema.Union([...refusals, CashMismatch])
  }),
  /** A transfer has come in, in the payment's currency. The bank's id of it counts once. REQ-BNK-02. */
  Rpc.make("RecordTransfer", {
    payload: { ...by, bankTransactionId: BankTransactionId, amount: RefundAmount, receivedAt: Schema.DateTimeUtc },
    success: RecordedTransfer,
    error: Schema.Union([...refusals, IdempotencyConflict])
  }),
  /** An operator has given money back by hand: what was too much, too late, or paid for goods which came back. */
  Rpc.make("RecordGivenBack", {
    payload: { ...by, key: IdempotencyKey, amount: RefundAmount, reason: Reason },
    success: PaymentView,
    error: Schema.Union([NotFound, RefundNotPossible, RefundTooLarge, Unavailable])
  })
])
