import { DateTime, Result } from "effect"
import type { ActorDefinition } from "../../runtime/Actor.ts"
import type { ActorOptions } from "../../runtime/Actors.ts"
import { Payment, PaymentConflict, type PaymentState } from "./Payment.ts"
import { type Command, decide, Event, evolve, type PaymentLimits, view } from "./PaymentDecider.ts"
import { paymentTable } from "./PaymentTable.ts"

/** An authorization whose outcome is unknown is looked into. */
export const resolveTimer = "resolve"
/** The time for the customer's second factor is over. */
export const actionTimer = "action"
/** The hold cannot be captured any more. REQ-CAP-05. */
export const holdTimer = "hold"

export type PaymentDefinition = ActorDefinition<PaymentState, Command, Event, PaymentConflict>

export const make = (limits: PaymentLimits): PaymentDefinition => ({
  type: Payment.type,
  initial: { _tag: "Absent" },
  decide: decide(limits),
  evolve,
  event: Event,
  refusal: PaymentConflict,
  table: paymentTable,
  timers: (state) => {
    if (state._tag === "Absent") return {}
    if (state.saga === "none" && state.nextAttemptAt !== undefined) {
      return { [resolveTimer]: { dueAt: state.nextAttemptAt, urgent: true } }
    }
    if (state.saga === "none" && state.actionUntil !== undefined && state.status === "processing") {
      return { [actionTimer]: { dueAt: state.actionUntil } }
    }
    if ((state.saga === "authorized" || state.saga === "capture_failed") && state.authorizedAt !== undefined) {
      return { [holdTimer]: { dueAt: state.holdUntil ?? DateTime.addDuration(state.authorizedAt, limits.holdFor) } }
    }
    return {}
  }
})

export const hosting = (definition: PaymentDefinition): ActorOptions<PaymentDefinition, typeof Payment> => ({
  definition,
  contract: Payment,
  reply: (state) => state as never,
  questions: { GetPayment: (state) => Result.succeed(view(state)) }
})
