/**
 * Answers those who confirm, hold and record orders that are paid in cash or by transfer, and the timer which confirms by itself. The end of
 * an order's window is with the checkout, which knows what else may run out.
 */
import { Effect, Layer, Result } from "effect"
import { Promotions } from "../../catalog/Promotions.ts"
import { type CustomerId, type IdempotencyKey, OrderId } from "../../domain/Ids.ts"
import { IllegalTransition, NotFound, Unavailable } from "../../domain/Refusals.ts"
import { Order } from "../../entities/order/Order.ts"
import { confirmTimer } from "../../entities/order/OrderActor.ts"
import { view as orderView } from "../../entities/order/OrderDecider.ts"
import { view as paymentView } from "../../entities/payment/PaymentDecider.ts"
import { type BankTransactionId, CashMismatch, ReceiptId } from "../../entities/payment/Receipt.ts"
import { Placement } from "../../runtime/Placement.ts"
import { Timers } from "../../runtime/Timers.ts"
import type { Group } from "../checkout/CheckoutActors.ts"
import { CheckoutContext } from "../checkout/CheckoutContext.ts"
import { promotionUse } from "../checkout/CheckoutTerms.ts"
import { OfflinePayments } from "./OfflinePayments.ts"
import type { Confirming, NewReceipt, Recording } from "./OfflineSteps.ts"

interface By {
  readonly by: CustomerId
}

/** The actors are not where a step thought they were, again and again: whoever asks anew is answered. */
const busy = new Unavailable({ retryAfterMs: 500 })

const make = Effect.gen(function* () {
  const { offline, withGroup } = yield* CheckoutContext
  const placement = yield* Placement
  const promotions = yield* Promotions
  const timers = yield* Timers

  /** An order which does not stand any more uses no promotion. Safe to repeat. */
  const released = (group: Group): Effect.Effect<void> => {
    const order = group.order.state
    const session = group.session.state
    const dead = order._tag === "Placed" && (order.status === "cancelled" || order.status === "failed")
    return dead && session._tag === "Present" && session.promotionCode !== undefined
      ? promotions.release(promotionUse(group.id, order.terms.attempt, session.promotionCode))
      : Effect.void
  }

  const confirmCash = (group: Group, by?: CustomerId) =>
    Effect.tap(offline.confirmCash(group, by), () => released(group))

  timers.onDue(Order.type, (id) => withGroup(id, (group) => confirmCash(group)), confirmTimer)

  const statusOf = ({ order: { state } }: Group): string => (state._tag === "Absent" ? "absent" : state.status)
  const illegal = (group: Group, command: string) =>
    Effect.fail(new IllegalTransition({ status: statusOf(group), command }))

  const orderOf = (group: Group) => {
    const seen = orderView(group.order.state, group.id, group.order.version, undefined)
    return Result.isSuccess(seen) ? Effect.succeed(seen.success) : Effect.fail(new NotFound({ id: group.id }))
  }
  const paymentOf = (group: Group) => {
    const seen = paymentView(group.payment.state)
    return seen === null ? Effect.fail(new NotFound({ id: group.id })) : Effect.succeed(seen)
  }

  /** What an operator hears who wanted the order to be `wanted`. */
  const told = Effect.fnUntraced(function* (group: Group, command: string, came: Confirming, wanted: Confirming) {
    if (came === "absent") return yield* new NotFound({ id: group.id })
    return yield* came === wanted ? orderOf(group) : illegal(group, command)
  })

  /** Whether something was recorded; otherwise why not. */
  const recorded = Effect.fnUntraced(function* (group: Group, command: string, came: Recording) {
    if (came === "absent") return yield* new NotFound({ id: group.id })
    return came === "not_ours" || came === "too_early" ? yield* illegal(group, command) : came
  })

  placement.serve(OfflinePayments, {
    ConfirmCash: (id: string, { by }: By) =>
      withGroup(id, (group) =>
        confirmCash(group, by).pipe(
          Effect.catchTag(["StepConflict", "IdempotencyConflict"], () => Effect.fail(busy)),
          Effect.flatMap((came) => told(group, "ConfirmCashOnDelivery", came, "confirmed"))
        )
      ),
    HoldCash: (id: string, { by, reason }: By & { readonly reason: string }) =>
      withGroup(id, (group) =>
        offline.hold(group, by, reason).pipe(
          Effect.catchTag(["StepConflict", "IdempotencyConflict"], () => Effect.fail(busy)),
          Effect.flatMap((came) => told(group, "HoldCashOnDelivery", came, "held"))
        )
      ),
    RecordCash: (id: string, { key, ...cash }: Omit<NewReceipt, "id"> & { readonly key: IdempotencyKey }) =>
      withGroup(
        id,
        Effect.fnUntraced(function* (group) {
          const receipt = { ...cash, id: ReceiptId.make(`cash:${key}`) }
          const came = yield* offline
            .recordCash(group, receipt)
            .pipe(Effect.catchTag("StepConflict", () => Effect.fail(busy)))
          yield* recorded(group, "RecordCash", came)
          const payment = yield* paymentOf(group)
          const disputed = payment.receipts?.some((one) => one.id === receipt.id && one.disputed === true) === true
          return disputed ? yield* new CashMismatch({ due: payment.amount ?? 0n, recorded: cash.amount }) : payment
        })
      ),
    RecordTransfer: (
      id: string,
      { bankTransactionId, ...transfer }: Omit<NewReceipt, "id"> & { readonly bankTransactionId: BankTransactionId }
    ) =>
      withGroup(
        id,
        Effect.fnUntraced(function* (group) {
          const came = yield* offline
            .recordTransfer(group, { ...transfer, id: ReceiptId.make(`bank:${bankTransactionId}`) })
            .pipe(
              Effect.tap(() => released(group)),
              Effect.catchTag("StepConflict", () => Effect.fail(busy))
            )
          const outcome = yield* recorded(group, "RecordBankTransfer", came)
          const { status } = yield* orderOf(group)
          return { orderId: OrderId.make(id), outcome, status, payment: yield* paymentOf(group) }
        })
      ),
    RecordGivenBack: (
      id: string,
      { key, ...given }: By & { readonly key: IdempotencyKey; readonly amount: bigint; readonly reason: string }
    ) =>
      withGroup(
        id,
        Effect.fnUntraced(function* (group) {
          yield* paymentOf(group)
          yield* offline
            .recordGivenBack(group, key, given)
            .pipe(Effect.catchTag(["StepConflict", "PaymentConflict"], () => Effect.fail(busy)))
          return yield* paymentOf(group)
        })
      )
  })
})

export const layer: Layer.Layer<never, never, CheckoutContext | Placement | Promotions | Timers> =
  Layer.effectDiscard(make)
