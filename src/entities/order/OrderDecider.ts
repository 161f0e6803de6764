/** The order's state machine, pure. */
import { DateTime, type Duration, Result, Schema } from "effect"
import { type CustomerId, OrderId, OrderNumber, orderNumberOf } from "../../domain/Ids.ts"
import { AccessDenied } from "../../domain/Refusals.ts"
import {
  OrderPaymentStatus,
  type OrderState,
  type OrderStatus,
  OrderTransitionRefused,
  orderTransitions,
  type OrderView,
  ReasonCode,
  Terms
} from "./Order.ts"

export const Command = Schema.TaggedUnion({
  Place: { terms: Terms, paymentStatus: OrderPaymentStatus },
  /** All lines are committed and the money is taken. */
  Confirm: { paymentStatus: OrderPaymentStatus },
  Cancel: { reason: ReasonCode, paymentStatus: OrderPaymentStatus, settlementOpen: Schema.Boolean },
  Fail: { reason: ReasonCode, paymentStatus: OrderPaymentStatus, settlementOpen: Schema.Boolean },
  /** The payment has moved: a delivered order whose money is all given back is refunded, any other stays where it is. REQ-ORD-10. */
  PaymentMoved: { paymentStatus: OrderPaymentStatus },
  /** What was open after a cancellation has been given back. */
  Settle: { paymentStatus: OrderPaymentStatus }
})
export type Command = typeof Command.Type

const at = { at: Schema.DateTimeUtc }
const ended = { reason: ReasonCode, paymentStatus: OrderPaymentStatus, settlementOpen: Schema.Boolean, ...at }
export const Event = Schema.TaggedUnion({
  Placed: {
    number: OrderNumber,
    terms: Terms,
    paymentStatus: OrderPaymentStatus,
    expiresAt: Schema.DateTimeUtc,
    ...at
  },
  Confirmed: { paymentStatus: OrderPaymentStatus, ...at },
  Cancelled: ended,
  Failed: ended,
  PaymentMoved: { paymentStatus: OrderPaymentStatus, ...at },
  Refunded: { paymentStatus: OrderPaymentStatus, ...at },
  Settled: { paymentStatus: OrderPaymentStatus, ...at }
})
export type Event = typeof Event.Type

type Decision = Result.Result<ReadonlyArray<Event>, OrderTransitionRefused>

/** Whether B.1 lets a status become another. */
export const canMove = (from: OrderStatus, to: OrderStatus): boolean => orderTransitions[from].includes(to)

export interface OrderLimits {
  /** A pending order is cancelled after this. N-009. */
  readonly expireAfter: Duration.Duration
}

const refused = (state: OrderState, to: OrderStatus): Decision =>
  Result.fail(new OrderTransitionRefused({ from: state._tag === "Absent" ? "absent" : state.status, to }))

/** What happens next; no events when it has happened already. */
export const decide =
  (limits: OrderLimits) =>
  (state: OrderState, command: Command, { id, now }: { readonly id: string; readonly now: DateTime.Utc }): Decision => {
    switch (command._tag) {
      case "Place":
        if (state._tag === "Placed") return state.status === "pending" ? Result.succeed([]) : refused(state, "pending")
        return Result.succeed([
          {
            _tag: "Placed",
            number: orderNumberOf(OrderId.make(id)),
            terms: command.terms,
            paymentStatus: command.paymentStatus,
            expiresAt: DateTime.addDuration(now, limits.expireAfter),
            at: now
          }
        ])
      case "Confirm":
        if (state._tag === "Absent") return refused(state, "confirmed")
        if (state.status === "confirmed") return Result.succeed([])
        if (!canMove(state.status, "confirmed")) return refused(state, "confirmed")
        return Result.succeed([{ _tag: "Confirmed", paymentStatus: command.paymentStatus, at: now }])
      case "Cancel":
      case "Fail": {
        const to = command._tag === "Cancel" ? "cancelled" : "failed"
        if (state._tag === "Absent") return refused(state, to)
        if (state.status === to) return Result.succeed([])
        if (!canMove(state.status, to)) return refused(state, to)
        const { paymentStatus, reason, settlementOpen } = command
        return Result.succeed([
          { _tag: command._tag === "Cancel" ? "Cancelled" : "Failed", reason, paymentStatus, settlementOpen, at: now }
        ])
      }
      case "PaymentMoved":
        if (state._tag === "Absent") return refused(state, "pending")
        if (command.paymentStatus === "refunded" && canMove(state.status, "refunded")) {
          return Result.succeed([{ _tag: "Refunded", paymentStatus: command.paymentStatus, at: now }])
        }
        return Result.succeed(
          state.paymentStatus === command.paymentStatus
            ? []
            : [{ _tag: "PaymentMoved", paymentStatus: command.paymentStatus, at: now }]
        )
      case "Settle":
        if (state._tag === "Absent") return refused(state, "cancelled")
        return Result.succeed(
          state.settlementOpen ? [{ _tag: "Settled", paymentStatus: command.paymentStatus, at: now }] : []
        )
    }
  }

/** Total: events are facts, so replay cannot fail. */
export const evolve = (state: OrderState, event: Event): OrderState => {
  if (event._tag === "Placed") {
    const { expiresAt, number, paymentStatus, terms } = event
    return {
      _tag: "Placed",
      number,
      terms,
      status: "pending",
      paymentStatus,
      settlementOpen: false,
      placedAt: event.at,
      expiresAt
    }
  }
  if (state._tag === "Absent") return state
  const { paymentStatus } = event
  switch (event._tag) {
    case "Confirmed":
      return { ...state, status: "confirmed", paymentStatus, confirmedAt: event.at }
    case "Cancelled":
    case "Failed": {
      const { reason, settlementOpen } = event
      return event._tag === "Cancelled"
        ? { ...state, status: "cancelled", paymentStatus, reason, settlementOpen, cancelledAt: event.at }
        : { ...state, status: "failed", paymentStatus, reason, settlementOpen }
    }
    case "PaymentMoved":
      return { ...state, paymentStatus }
    case "Refunded":
      return { ...state, paymentStatus, status: "refunded" }
    case "Settled":
      return { ...state, paymentStatus, settlementOpen: false }
  }
}

/** The order as its customer, or with `by` absent an operator, sees it. */
export const view = (
  state: OrderState,
  id: string,
  seq: number,
  by: CustomerId | undefined
): Result.Result<OrderView, AccessDenied> => {
  if (state._tag === "Absent" || (by !== undefined && state.terms.customerId !== by))
    return Result.fail(new AccessDenied())
  const { cancelledAt, confirmedAt, number, paymentStatus, placedAt, reason, settlementOpen, status, terms } = state
  const { checkoutId, currency, lines, shippingAddress, shippingMethod, totals } = terms
  return Result.succeed({
    id: OrderId.make(id),
    number,
    checkoutId,
    status,
    paymentStatus,
    ...(reason === undefined ? {} : { reason }),
    settlementOpen,
    currency,
    lines,
    totals,
    ...(shippingAddress === undefined ? {} : { shippingAddress }),
    shippingMethod,
    placedAt,
    ...(confirmedAt === undefined ? {} : { confirmedAt }),
    ...(cancelledAt === undefined ? {} : { cancelledAt }),
    seq
  })
}
