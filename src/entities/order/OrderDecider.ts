/** The order's state machine, pure. */
import { DateTime, type Duration, Result, Schema } from "effect"
import { CustomerId, OrderId, OrderNumber, orderNumberOf } from "../../domain/Ids.ts"
import { Amount } from "../../domain/Money.ts"
import type { OfflineMethod } from "../../domain/OfflineMethod.ts"
import { AccessDenied } from "../../domain/Refusals.ts"
import {
  OrderPaymentStatus,
  type OrderState,
  type OrderStatus,
  OrderTransitionRefused,
  orderTransitions,
  type OrderView,
  type PlacedOrder,
  ReasonCode,
  Terms
} from "./Order.ts"

export const Command = Schema.TaggedUnion({
  Place: { terms: Terms, paymentStatus: OrderPaymentStatus },
  /** All lines are committed, and the money is taken or will be at the door; `by` an operator where one has said so. */
  Confirm: { paymentStatus: OrderPaymentStatus, by: Schema.optionalKey(CustomerId) },
  Cancel: { reason: ReasonCode, paymentStatus: OrderPaymentStatus, settlementOpen: Schema.Boolean },
  Fail: { reason: ReasonCode, paymentStatus: OrderPaymentStatus, settlementOpen: Schema.Boolean },
  /** The payment has moved: a delivered order whose money is all given back is refunded, any other stays where it is. REQ-ORD-10. */
  PaymentMoved: { paymentStatus: OrderPaymentStatus },
  /** What was open after a cancellation has been given back. */
  Settle: { paymentStatus: OrderPaymentStatus },
  /** An operator wants to look at it: it is confirmed by nobody else. */
  HoldForReview: { by: CustomerId, reason: Schema.String },
  /** Money has come in: all there is so far, and whether it is to be given back since the order does not stand. */
  MoneyReceived: { received: Amount, settlementOpen: Schema.Boolean }
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
  Confirmed: { paymentStatus: OrderPaymentStatus, by: Schema.optionalKey(CustomerId), ...at },
  Cancelled: ended,
  Failed: ended,
  PaymentMoved: { paymentStatus: OrderPaymentStatus, ...at },
  Refunded: { paymentStatus: OrderPaymentStatus, ...at },
  Settled: { paymentStatus: OrderPaymentStatus, ...at },
  HeldForReview: { by: CustomerId, reason: Schema.String, ...at },
  MoneyReceived: { received: Amount, settlementOpen: Schema.Boolean, ...at }
})
export type Event = typeof Event.Type

type Decision = Result.Result<ReadonlyArray<Event>, OrderTransitionRefused>

/** Whether B.1 lets a status become another. */
export const canMove = (from: OrderStatus, to: OrderStatus): boolean => orderTransitions[from].includes(to)

export interface OrderLimits {
  /** A pending order is cancelled after this. N-009. */
  readonly expireAfter: Duration.Duration
  /** The same for orders which wait for their money, or to be confirmed. CONF-08, N-046. */
  readonly offline: Readonly<Record<OfflineMethod, Duration.Duration>>
  /** An order with cash on delivery is confirmed by itself after this; undefined: by operators only. REQ-COD-01. */
  readonly confirmCashAfter: Duration.Duration | undefined
}

/** Reasons which the end of a window gives: not before it is there. */
const ofWindows: ReadonlyArray<ReasonCode> = ["cod_confirmation_window_expired", "bank_transfer_expired"]

/** Whether the window of an order which waits is over: from this instant on it cannot be confirmed, before it cannot lapse. REQ-COD-03. */
export const windowIsOver = (
  { expiresAt, terms }: Pick<PlacedOrder, "expiresAt" | "terms">,
  now: DateTime.Utc
): boolean => terms.paymentMethod !== undefined && DateTime.isGreaterThanOrEqualTo(now, expiresAt)

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
            expiresAt: DateTime.addDuration(
              now,
              command.terms.paymentMethod === undefined
                ? limits.expireAfter
                : limits.offline[command.terms.paymentMethod]
            ),
            at: now
          }
        ])
      case "Confirm":
        if (state._tag === "Absent") return refused(state, "confirmed")
        if (state.status === "confirmed") return Result.succeed([])
        if (!canMove(state.status, "confirmed") || windowIsOver(state, now)) return refused(state, "confirmed")
        return Result.succeed([{ ...command, _tag: "Confirmed", at: now }])
      case "Cancel":
      case "Fail": {
        const to = command._tag === "Cancel" ? "cancelled" : "failed"
        if (state._tag === "Absent") return refused(state, to)
        if (state.status === to) return Result.succeed([])
        if (!canMove(state.status, to)) return refused(state, to)
        if (ofWindows.includes(command.reason) && !windowIsOver(state, now)) return refused(state, to)
        const { _tag: _, ...why } = command
        return Result.succeed([
          to === "cancelled" ? { _tag: "Cancelled", ...why, at: now } : { _tag: "Failed", ...why, at: now }
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
      case "HoldForReview":
        if (state._tag === "Absent" || state.status !== "pending") return refused(state, "pending")
        if (state.terms.paymentMethod !== "cash_on_delivery") return refused(state, "pending")
        return Result.succeed(state.review === true ? [] : [{ ...command, _tag: "HeldForReview", at: now }])
      case "MoneyReceived": {
        const { received, settlementOpen } = command
        if (state._tag === "Absent") return refused(state, "pending")
        return Result.succeed(
          state.received === received && state.settlementOpen === settlementOpen
            ? []
            : [{ _tag: "MoneyReceived", received, settlementOpen, at: now }]
        )
      }
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
  if (event._tag === "HeldForReview") return { ...state, review: true }
  if (event._tag === "MoneyReceived") {
    const { received, settlementOpen } = event
    return { ...state, received, settlementOpen }
  }
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
  const { checkoutId, currency, lines, paymentMethod, shippingAddress, shippingMethod, totals, transferReference } =
    terms
  const { expiresAt, received } = state
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
    ...(paymentMethod === undefined ? {} : { paymentMethod }),
    ...(transferReference === undefined ? {} : { transferReference }),
    ...(received === undefined ? {} : { received }),
    ...(paymentMethod !== undefined && status === "pending" ? { expiresAt } : {}),
    seq
  })
}
