/**
 * The steps of an order which no payment provider is asked about: placed in one unit, and then moved on by a timer, by an operator or by
 * money. Each looks at the order first and is one unit over all of its actors, so that of several at one instant one takes effect.
 * REQ-COD-03, REQ-COD-06.
 */
import { randomBytes } from "node:crypto"
import { DateTime, Effect, Result } from "effect"
import { type CustomerId, type IdempotencyKey, OrderId, orderNumberOf } from "../../domain/Ids.ts"
import type { OfflineMethod } from "../../domain/OfflineMethod.ts"
import type { Unavailable } from "../../domain/Refusals.ts"
import { IdempotencyConflict } from "../../domain/Refusals.ts"
import { referenceFrom } from "../../domain/TransferReference.ts"
import {
  type AttemptOutcome,
  type AttemptTerms,
  OutOfStock,
  type PresentCheckout
} from "../../entities/checkoutSession/CheckoutSession.ts"
import { checkoutSteps } from "../../entities/checkoutSession/CheckoutSessionTable.ts"
import type { OrderPaymentStatus, PlacedOrder, ReasonCode } from "../../entities/order/Order.ts"
import { windowIsOver } from "../../entities/order/OrderDecider.ts"
import type { PaymentRefusal } from "../../entities/payment/PaymentActor.ts"
import { orderPaymentStatus } from "../../entities/payment/PaymentDecider.ts"
import type { ReceiptId } from "../../entities/payment/Receipt.ts"
import { owedOf, receiptNamed, receivedOf } from "../../entities/payment/ReceiptDecider.ts"
import { partsOf } from "../../entities/payment/SellerParts.ts"
import type { Journal } from "../../runtime/Journal.ts"
import type { Transaction } from "../../runtime/Transaction.ts"
import { cellsOf, type Group } from "../checkout/CheckoutActors.ts"
import type { CheckoutLimits } from "../checkout/CheckoutLimits.ts"
import { observed } from "../checkout/CheckoutMetrics.ts"
import { type Attempt, must, orderTerms, type StepConflict } from "../checkout/CheckoutSteps.ts"
import { followMoney } from "../checkout/FollowMoney.ts"
import type { Freezing } from "../checkout/FrozenCart.ts"
import type { TransferOutcome } from "./OfflinePayments.ts"

type Stepped<A, E = never> = Effect.Effect<A, E | StepConflict | Unavailable | IdempotencyConflict>

/** How a confirmation went; any other status stands for an order which was not pending any more. */
export type Confirming = "absent" | "not_cash" | "held" | "confirmed" | "window_over" | "stock_gone" | "ended"

/** What was recorded, or why nothing was. */
export type Recording = TransferOutcome | "absent" | "not_ours" | "too_early"

const expiries = {
  cash_on_delivery: "cod_confirmation_window_expired",
  bank_transfer: "bank_transfer_expired"
} as const satisfies Readonly<Record<OfflineMethod, ReasonCode>>

export const make = (journal: Journal["Service"], { feeBasisPoints }: Pick<CheckoutLimits, "feeBasisPoints">) => {
  const unit = <A>(
    group: Group,
    step: string,
    body: (transaction: Transaction, order: PlacedOrder | undefined) => A
  ): Stepped<A> =>
    journal
      .unit<A, StepConflict>({
        cells: cellsOf(group),
        cause: `offline ${step}`,
        counters: () => skusOf(group),
        body: (transaction) => {
          const order = transaction.state(group.order)
          return body(transaction, order._tag === "Absent" ? undefined : order)
        }
      })
      .pipe(
        (made) => observed(group, made),
        Effect.withSpan(`offline.${step}`, { attributes: { checkoutId: group.id } }, { captureStackTrace: false })
      )

  return {
    /** The whole checkout: cart frozen, lines claimed for as long as the order may wait, order placed, checkout ended. Or out of stock. */
    place: (
      group: Group,
      attempt: Attempt,
      session: PresentCheckout,
      bought: AttemptTerms,
      { freezing, method }: { readonly freezing: Freezing | undefined; readonly method: OfflineMethod }
    ): Stepped<AttemptOutcome> =>
      Effect.gen(function* () {
        const startedAt = yield* DateTime.now
        const how = {
          method,
          ...(method === "bank_transfer" ? { transferReference: referenceFrom(randomBytes(8)) } : {})
        }
        const { number, ...asked } = attempt
        const parts = partsOf(bought.lines, bought.totals)
        return yield* journal.unit<AttemptOutcome, StepConflict>({
          cells: freezing === undefined ? cellsOf(group) : [...cellsOf(group), freezing.cell],
          cause: "checkout place",
          counters: () => bought.lines.map(({ sku }) => sku),
          body: (transaction) => {
            const ended = (outcome: AttemptOutcome) => {
              must(
                transaction,
                transaction.execute(group.session, `end:${number}`, { _tag: "End", attempt: number, ...asked, outcome })
              )
              transaction.write(checkoutSteps, {
                checkout_id: group.id,
                attempt: number,
                step: "place",
                outcome: outcome._tag === "Placed" ? "placed" : "out_of_stock",
                started_at: startedAt,
                ended_at: transaction.now
              })
              return outcome
            }
            if (freezing !== undefined) must(transaction, freezing.freeze(transaction))
            const begun = { _tag: "Begin", attempt: number, ...asked, terms: bought } as const
            must(transaction, transaction.execute(group.session, `begin:${number}`, begun))
            const lines = bought.lines.map(({ quantity, sku }) => ({ sku, quantity }))
            const reserved = must(
              transaction,
              transaction.execute(group.reservation, `reserve:${number}`, {
                _tag: "Reserve",
                attempt: number,
                lines,
                method
              })
            )
            if (reserved._tag === "Refused") {
              return ended({ _tag: "Rejected", rejection: new OutOfStock({ lines: reserved.shortages }) })
            }
            const { currency, owner: customerId } = session
            const { total: amount } = bought.totals
            must(
              transaction,
              transaction.execute(group.payment, `begin:${number}`, {
                _tag: "Begin",
                attempt: number,
                customerId,
                amount,
                currency,
                ...how,
                ...(parts.length === 0 ? {} : { sellers: { parts, feeBasisPoints } })
              })
            )
            const order = must(
              transaction,
              transaction.execute(group.order, "place", {
                _tag: "Place",
                terms: {
                  ...orderTerms(group.id, number, { ...session, terms: bought }),
                  paymentMethod: method,
                  ...(how.transferReference === undefined ? {} : { transferReference: how.transferReference })
                },
                paymentStatus: "pending"
              })
            )
            if (order._tag === "Absent") throw new Error("an order which was placed is absent")
            const orderId = OrderId.make(group.id)
            return ended({
              _tag: "Placed",
              orderId,
              number: orderNumberOf(orderId),
              total: { amount, currency },
              expiresAt: order.expiresAt,
              ...how
            })
          }
        })
      }).pipe(
        (made) => observed(group, made),
        Effect.withSpan("offline.place", { attributes: { checkoutId: group.id } }, { captureStackTrace: false })
      ),

    /** The end of its window: an order which still waits is cancelled, its stock and its payment with it. REQ-COD-02, REQ-BNK-01. */
    expire: (group: Group): Stepped<void> =>
      unit(group, "expire", (transaction, order) => {
        if (order?.status === "pending" && windowIsOver(order, transaction.now)) lapse(transaction, group, order)
      }),

    /** Binds the stock of an order with cash on delivery, and confirms it; `by` an operator, or by its timer. REQ-COD-01, REQ-COD-05. */
    confirmCash: (group: Group, by?: CustomerId): Stepped<Confirming> =>
      unit(group, "confirm", (transaction, order): Confirming => {
        if (order === undefined) return "absent"
        if (order.terms.paymentMethod !== "cash_on_delivery") return "not_cash"
        if (order.status !== "pending") return order.confirmedAt === undefined ? "ended" : "confirmed"
        if (windowIsOver(order, transaction.now)) {
          lapse(transaction, group, order)
          return "window_over"
        }
        if (by === undefined && order.review === true) return "held"
        if (!commit(transaction, group, order)) {
          fail(transaction, group, order)
          return "stock_gone"
        }
        confirm(transaction, group, order, by)
        return "confirmed"
      }),

    hold: (group: Group, by: CustomerId, reason: string): Stepped<Confirming> =>
      unit(group, "hold", (transaction, order): Confirming => {
        if (order === undefined) return "absent"
        if (order.terms.paymentMethod !== "cash_on_delivery") return "not_cash"
        if (order.status !== "pending") return order.confirmedAt === undefined ? "ended" : "confirmed"
        if (order.review !== true) {
          const command = { _tag: "HoldForReview", by, reason } as const
          must(transaction, transaction.execute(group.order, "hold", command))
        }
        return "held"
      }),

    recordCash: (group: Group, receipt: NewReceipt): Stepped<Recording> =>
      unit(group, "cash", (transaction, order): Recording => {
        if (order === undefined) return "absent"
        if (order.terms.paymentMethod !== "cash_on_delivery") return "not_ours"
        const known = isKnown(transaction, group, receipt)
        // Nothing was handed over yet that could have been paid for.
        if (!known && order.status === "pending") return "too_early"
        if (!known) record(transaction, group, receipt)
        return paidBy(transaction, group, receipt)
      }),

    recordTransfer: (group: Group, receipt: NewReceipt): Stepped<Recording> =>
      unit(group, "transfer", (transaction, order): Recording => {
        if (order === undefined) return "absent"
        if (order.terms.paymentMethod !== "bank_transfer") return "not_ours"
        if (isKnown(transaction, group, receipt)) return paidBy(transaction, group, receipt)
        const payment = transaction.state(group.payment)
        if (order.status === "pending" && payment._tag === "Present") {
          if (windowIsOver(order, transaction.now)) {
            lapse(transaction, group, order)
          } else if (receivedOf(payment) + receipt.amount >= payment.amount) {
            const committed = commit(transaction, group, order)
            if (!committed) fail(transaction, group, order)
            record(transaction, group, receipt)
            if (!committed) return "stock_gone"
            confirm(transaction, group, order)
            return paidBy(transaction, group, receipt)
          }
        }
        record(transaction, group, receipt)
        return paidBy(transaction, group, receipt)
      }),

    /** A refusal is the answer to its key, remembered like any other. */
    recordGivenBack: (
      group: Group,
      key: IdempotencyKey,
      given: { readonly amount: bigint; readonly by: CustomerId; readonly reason: string }
    ): Stepped<void, PaymentRefusal> =>
      unit<Result.Result<unknown, PaymentRefusal>>(group, "given-back", (transaction) => {
        const before = transaction.state(group.payment)
        const decided = transaction.execute(group.payment, `given-back:${key}`, {
          _tag: "RecordGivenBack",
          id: key,
          ...given
        })
        if (Result.isSuccess(decided) && decided.success !== before)
          followMoney(transaction, group, `given-back:${key}`)
        return decided
      }).pipe(
        Effect.flatMap((decided) => Effect.fromResult(decided)),
        Effect.asVoid
      )
  }
}

export type OfflineSteps = ReturnType<typeof make>

/** A piece of money as it comes in. */
export interface NewReceipt {
  readonly id: ReceiptId
  readonly amount: bigint
  readonly receivedAt: DateTime.Utc
  readonly by: CustomerId
}

const skusOf = ({ reservation: { state } }: Group): ReadonlyArray<string> =>
  state._tag === "Active" ? state.lines.map(({ sku }) => sku) : []

/** The payment as this unit has left it. */
const paid = (transaction: Transaction, group: Group) => {
  const state = transaction.state(group.payment)
  if (state._tag === "Absent") throw new Error("an order without its payment")
  return state
}

const statusOf = (transaction: Transaction, group: Group): OrderPaymentStatus =>
  orderPaymentStatus[paid(transaction, group).status]

/** Binds the claimed lines; `false` when the claim is gone. */
const commit = (transaction: Transaction, group: Group, { terms: { attempt } }: PlacedOrder): boolean => {
  const committed = transaction.execute(group.reservation, `commit:${attempt}`, { _tag: "Commit" })
  return Result.isSuccess(committed)
}

const confirm = (
  transaction: Transaction,
  group: Group,
  { terms: { attempt } }: PlacedOrder,
  by?: CustomerId
): void => {
  const paymentStatus = statusOf(transaction, group)
  const command = { _tag: "Confirm", paymentStatus, ...(by === undefined ? {} : { by }) } as const
  must(transaction, transaction.execute(group.order, `confirm:${attempt}`, command))
}

/** What the end of a waiting order has in common: nothing is claimed any more, and what has come in is to be given back. */
const end = (transaction: Transaction, group: Group, order: PlacedOrder, reason: ReasonCode): void => {
  const { attempt } = order.terms
  if (transaction.state(group.reservation)._tag === "Active") {
    must(transaction, transaction.execute(group.reservation, `release:${attempt}`, { _tag: "Release" }))
  }
  must(transaction, transaction.execute(group.payment, `voided:${attempt}`, { _tag: "Voided" }))
  const settlementOpen = owedOf(paid(transaction, group)) > 0n
  const ended = { reason, paymentStatus: statusOf(transaction, group), settlementOpen }
  must(
    transaction,
    transaction.execute(
      group.order,
      `end:${attempt}`,
      reason === "stock_confirmation_failed" ? { _tag: "Fail", ...ended } : { _tag: "Cancel", ...ended }
    )
  )
}

const lapse = (transaction: Transaction, group: Group, order: PlacedOrder): void =>
  end(transaction, group, order, expiries[order.terms.paymentMethod ?? "bank_transfer"])

/** REQ-CNF-03. */
const fail = (transaction: Transaction, group: Group, order: PlacedOrder): void =>
  end(transaction, group, order, "stock_confirmation_failed")

/** Whether this very money was recorded before: then nothing is done. The same under its name with another amount is refused. */
const isKnown = (transaction: Transaction, group: Group, { amount, id }: NewReceipt): boolean => {
  const known = receiptNamed(paid(transaction, group), id)
  if (known !== undefined && known.amount !== amount) transaction.abort(new IdempotencyConflict({ key: id }))
  return known !== undefined
}

/** The money stands with the payment, and the order shows it. */
const record = (transaction: Transaction, group: Group, { id: receipt, ...rest }: NewReceipt): void => {
  const command = { _tag: "RecordReceipt", receipt, ...rest } as const
  must(transaction, transaction.execute(group.payment, `receipt:${receipt}`, command))
  const payment = paid(transaction, group)
  const order = transaction.state(group.order)
  if (order._tag === "Absent") return
  const dead = order.status === "cancelled" || order.status === "failed"
  const settlementOpen = order.settlementOpen || (dead && owedOf(payment) > 0n)
  const seen = { _tag: "MoneyReceived", received: receivedOf(payment), settlementOpen } as const
  must(transaction, transaction.execute(group.order, `received:${receipt}`, seen))
  if (order.status !== "pending") followMoney(transaction, group, `received:${receipt}`)
}

/** What the money has come to; with money that came before it, and none that came after. */
const paidBy = (transaction: Transaction, group: Group, { id }: NewReceipt): TransferOutcome => {
  const payment = paid(transaction, group)
  if (payment.captured === 0n) return payment.status === "pending" ? "short" : "late"
  let sum = 0n
  for (const { amount, disputed, id: other } of payment.receipts ?? []) {
    if (disputed === true) continue
    if (sum >= payment.amount) return "late"
    sum += amount
    if (other === id) break
  }
  if (sum < payment.amount) return "short"
  return sum === payment.amount ? "captured" : "over"
}
