import { DateTime, type Duration, Result } from "effect"
import type { CheckoutId } from "../../domain/Ids.ts"
import type { ActorDefinition, Notice } from "../../runtime/Actor.ts"
import type { ActorOptions } from "../../runtime/Actors.ts"
import { Cart } from "../cart/Cart.ts"
import {
  CheckoutRefusal,
  CheckoutSession,
  type CheckoutState,
  checkoutTransitions,
  type PresentCheckout
} from "./CheckoutSession.ts"
import { type Command, decide, Event, evolve, mayBegin, view } from "./CheckoutSessionDecider.ts"
import { checkoutSessionTable } from "./CheckoutSessionTable.ts"

export interface CheckoutSessionLimits {
  /** An untouched checkout expires after this. N-061. */
  readonly idleFor: Duration.Duration
  /** A confirmation which has not ended by then is looked after; a new owner does so at once. */
  readonly watchAfter: Duration.Duration
}

/** Set while a confirmation is under way; the checkout process answers it. */
export const watchdogTimer = "watchdog"

export type CheckoutSessionDefinition = ActorDefinition<CheckoutState, Command, Event, CheckoutRefusal>

export const make = (limits: CheckoutSessionLimits): CheckoutSessionDefinition => ({
  type: CheckoutSession.type,
  initial: { _tag: "Absent" },
  decide,
  evolve,
  event: Event,
  refusal: CheckoutRefusal,
  table: checkoutSessionTable,
  over: (state) => state._tag === "Present" && checkoutTransitions[state.status].length === 0,
  timers: (state) => {
    if (state._tag === "Absent") return {}
    if (state.confirmingSince !== undefined) {
      return {
        [watchdogTimer]: { dueAt: DateTime.addDuration(state.confirmingSince, limits.watchAfter), urgent: true }
      }
    }
    return mayBegin(state.status) ? { idle: { dueAt: DateTime.addDuration(state.changedAt, limits.idleFor) } } : {}
  },
  notices: (event, state, id) =>
    event._tag === "Ended" && state._tag === "Present" ? toCart(event, state, id as CheckoutId) : []
})

/** The cart hears how each attempt ended: it becomes an order's, or is free again. REQ-CART-03, REQ-CART-04. */
const toCart = (
  { attempt, outcome }: Extract<Event, { readonly _tag: "Ended" }>,
  { cartId }: PresentCheckout,
  checkoutId: CheckoutId
): ReadonlyArray<Notice> => {
  const message: Notice["message"] & Record<string, unknown> =
    outcome._tag === "Confirmed" || outcome._tag === "Placed"
      ? { _tag: "Complete", checkoutId, orderId: outcome.orderId }
      : { _tag: "Unlock", checkoutId, attempt }
  return [{ receiver: { type: Cart.type, id: cartId }, message }]
}

export const hosting = (
  definition: CheckoutSessionDefinition
): ActorOptions<CheckoutSessionDefinition, typeof CheckoutSession> => ({
  definition,
  contract: CheckoutSession,
  reply: (state, id) => Result.getOrThrow(view(state, id)),
  questions: { GetCheckout: (state, { by }, id) => view(state, id, by) },
  wake: (name) => (name === "idle" ? { _tag: "Expire" } : undefined)
})
