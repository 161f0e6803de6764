import { DateTime, Result, Schema } from "effect"
import { IdempotencyConflict } from "../../domain/Refusals.ts"
import type { ActorDefinition } from "../../runtime/Actor.ts"
import type { ActorOptions } from "../../runtime/Actors.ts"
import { Payment, PaymentConflict, type PaymentState } from "./Payment.ts"
import { paymentNotices } from "./PaymentNotices.ts"
import { sellerNotices } from "./SellerNotices.ts"
import { type Command, decide, Event, evolve, holdEndOf, type PaymentLimits, view } from "./PaymentDecider.ts"
import { paymentRows, paymentTable } from "./PaymentTable.ts"
import { RefundNotPossible, RefundTooLarge } from "./Refund.ts"
import { refundTimerOf } from "./RefundDecider.ts"

/** An authorization whose outcome is unknown is looked into. */
export const resolveTimer = "resolve"
/** The time for the customer's second factor is over. */
export const actionTimer = "action"
/** The hold cannot be captured any more. REQ-CAP-05. */
export const holdTimer = "hold"
/** A hold whose capture was deferred is captured now, or its capture is gone on with. REQ-CAP-08. */
export const captureTimer = "capture"
/** A refund is tried, or looked into. REQ-RFD-03. */
export const refundTimer = "refund"

/** All that a payment may refuse. */
export const PaymentRefusal = Schema.Union([PaymentConflict, RefundTooLarge, RefundNotPossible, IdempotencyConflict])
export type PaymentRefusal = typeof PaymentRefusal.Type

export type PaymentDefinition = ActorDefinition<PaymentState, Command, Event, PaymentRefusal>

export const make = (limits: PaymentLimits): PaymentDefinition => ({
  type: Payment.type,
  initial: { _tag: "Absent" },
  decide: decide(limits),
  evolve,
  event: Event,
  refusal: PaymentRefusal,
  table: paymentTable,
  rows: paymentRows,
  notices: (event, state, id, before) => [...sellerNotices(before, state, id), ...paymentNotices(event, state, id)],
  timers: (state) => {
    if (state._tag === "Absent") return {}
    if (state.saga === "none" && state.nextAttemptAt !== undefined) {
      return { [resolveTimer]: { dueAt: state.nextAttemptAt, urgent: true } }
    }
    if (state.saga === "none" && state.actionUntil !== undefined && state.status === "processing") {
      return { [actionTimer]: { dueAt: state.actionUntil } }
    }
    if (state.saga === "captured" || state.saga === "refunded") {
      const refund = refundTimerOf(state, limits.refund)
      return refund === undefined ? {} : { [refundTimer]: refund }
    }
    const holdEnd = holdEndOf(state, limits)
    if (holdEnd === undefined || state.saga === "voided") return {}
    // What is being captured is no more to be given up by the clock alone.
    const hold = state.saga === "capture_pending" ? {} : { [holdTimer]: { dueAt: holdEnd } }
    if (state.captureMode !== "deferred") return hold
    const dueAt = DateTime.subtractDuration(holdEnd, limits.captureLead)
    return { ...hold, [captureTimer]: { dueAt, urgent: state.saga !== "authorized" } }
  }
})

export const hosting = (definition: PaymentDefinition): ActorOptions<PaymentDefinition, typeof Payment> => ({
  definition,
  contract: Payment,
  reply: (state) => view(state)!,
  questions: { GetPayment: (state) => Result.succeed(view(state)) }
})
