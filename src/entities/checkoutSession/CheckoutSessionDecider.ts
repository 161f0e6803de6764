/** The checkout's state machine, pure. REQUIREMENTS B.13. */
import { Result, Schema } from "effect"
import type { DateTime } from "effect"
import { Address, problems } from "../../domain/Address.ts"
import { CartId, CheckoutId, CustomerId, IdempotencyKey, orderIdOf } from "../../domain/Ids.ts"
import { Currency, Money } from "../../domain/Money.ts"
import { AccessDenied } from "../../domain/Refusals.ts"
import {
  AddressRefused,
  AttemptOutcome,
  AttemptTerms,
  CheckoutClosed,
  CheckoutLocked,
  type CheckoutRefusal,
  type CheckoutState,
  type CheckoutStatus,
  checkoutTransitions,
  type CheckoutView,
  PaymentMethod,
  type PresentCheckout,
  PromotionCode,
  ShippingMethod
} from "./CheckoutSession.ts"

const attempt = { attempt: Schema.Int, confirmKey: IdempotencyKey, expectedTotal: Schema.optionalKey(Money) }
const asked = { by: CustomerId }
export const Command = Schema.TaggedUnion({
  StartCheckout: { ...asked, cartId: CartId, currency: Currency },
  SetAddress: { ...asked, address: Address },
  SetShippingMethod: { ...asked, method: ShippingMethod },
  SetPaymentMethod: { ...asked, paymentMethod: PaymentMethod },
  ApplyPromotion: { ...asked, code: PromotionCode },
  RemovePromotion: asked,
  AbandonCheckout: asked,
  AbortAttempt: { attempt: Schema.Int },
  /** The cart is frozen and everything was checked: from here on money may move. */
  Begin: { ...attempt, terms: AttemptTerms },
  /** Ends an attempt, also one which did not get as far as beginning. */
  End: { ...attempt, outcome: AttemptOutcome },
  /** Idle for too long. */
  Expire: {}
})
export type Command = typeof Command.Type

const at = { at: Schema.DateTimeUtc }
export const Event = Schema.TaggedUnion({
  Started: { owner: CustomerId, cartId: CartId, currency: Currency, ...at },
  AddressSet: { address: Address, ...at },
  ShippingMethodSet: { method: ShippingMethod, ...at },
  PaymentMethodSet: { paymentMethod: PaymentMethod, ...at },
  PromotionApplied: { code: PromotionCode, ...at },
  PromotionRemoved: at,
  Abandoned: at,
  AttemptAborted: { attempt: Schema.Int, ...at },
  Begun: { ...attempt, terms: AttemptTerms, ...at },
  Ended: { ...attempt, outcome: AttemptOutcome, ...at },
  Expired: at
})
export type Event = typeof Event.Type

type Decision = Result.Result<ReadonlyArray<Event>, CheckoutRefusal>
const nothing: Decision = Result.succeed([])

/** How many attempts are remembered with their keys. */
const attemptsKept = 20

const seen = (expectedTotal: Money | undefined) => (expectedTotal === undefined ? {} : { expectedTotal })

/** Whether each status on the way may become the next. */
const canWalk = (from: CheckoutStatus, way: ReadonlyArray<CheckoutStatus>): boolean => {
  let status = from
  for (const next of way) {
    if (!checkoutTransitions[status].includes(next)) return false
    status = next
  }
  return true
}

const beginning: Readonly<Partial<Record<CheckoutStatus, ReadonlyArray<CheckoutStatus>>>> = {
  open: ["validating", "confirming"],
  rejected: ["open", "validating", "confirming"]
}

/** Whether a new attempt may begin. */
export const mayBegin = (status: CheckoutStatus): boolean => {
  const way = beginning[status]
  return way !== undefined && canWalk(status, way)
}

const closedOr = (status: CheckoutStatus): CheckoutRefusal =>
  status === "confirming" || status === "validating" ? new CheckoutLocked() : new CheckoutClosed({ status })

const endStatus = {
  Confirmed: "confirmed",
  Placed: "confirmed",
  Rejected: "rejected",
  Compensated: "compensated"
} as const

/** What happens next; no events when it has happened already. */
export const decide = (state: CheckoutState, command: Command, { now }: { readonly now: DateTime.Utc }): Decision => {
  if (command._tag === "StartCheckout") {
    const { cartId, currency } = command
    if (state._tag === "Absent") {
      return Result.succeed([{ _tag: "Started", owner: command.by, cartId, currency, at: now }])
    }
    if (state.owner !== command.by) return Result.fail(new AccessDenied())
    return state.cartId === cartId && state.currency === currency
      ? nothing
      : Result.fail(new CheckoutClosed({ status: state.status }))
  }
  if (state._tag === "Absent") return Result.fail(new AccessDenied())
  const edit = (owner: CustomerId, event: Event): Decision => {
    if (state.owner !== owner) return Result.fail(new AccessDenied())
    return mayBegin(state.status) ? Result.succeed([event]) : Result.fail(closedOr(state.status))
  }
  switch (command._tag) {
    case "SetAddress": {
      const found = problems(command.address)
      // Only its owner is told what is wrong: to others it looks like one that does not exist.
      if (found.length > 0 && state.owner === command.by) return Result.fail(new AddressRefused({ problems: found }))
      return edit(command.by, { _tag: "AddressSet", address: command.address, at: now })
    }
    case "SetShippingMethod":
      return edit(command.by, { _tag: "ShippingMethodSet", method: command.method, at: now })
    case "SetPaymentMethod":
      return edit(command.by, { _tag: "PaymentMethodSet", paymentMethod: command.paymentMethod, at: now })
    case "ApplyPromotion":
      return edit(command.by, { _tag: "PromotionApplied", code: command.code, at: now })
    case "RemovePromotion":
      return edit(command.by, { _tag: "PromotionRemoved", at: now })
    case "AbandonCheckout":
      if (state.owner === command.by && state.status === "abandoned") return nothing
      return edit(command.by, { _tag: "Abandoned", at: now })
    case "AbortAttempt":
      return command.attempt === state.attempt + 1 && mayBegin(state.status)
        ? Result.succeed([{ _tag: "AttemptAborted", attempt: command.attempt, at: now }])
        : nothing
    case "Begin": {
      const { attempt: number, confirmKey, expectedTotal, terms } = command
      if (state.attempt === number && state.status === "confirming") return nothing
      if (!mayBegin(state.status) || number !== state.attempt + 1) return Result.fail(closedOr(state.status))
      return Result.succeed([{ _tag: "Begun", attempt: number, confirmKey, ...seen(expectedTotal), terms, at: now }])
    }
    case "End": {
      const { attempt: number, confirmKey, expectedTotal, outcome } = command
      const to = endStatus[outcome._tag]
      const known = state.attempts.find((other) => other.attempt === number)?.outcome
      if (known !== undefined && endStatus[known._tag] === to) return nothing
      const begun = state.attempt === number && canWalk(state.status, [to])
      const refusedBefore = to === "rejected" && number === state.attempt + 1 && mayBegin(state.status)
      if (!begun && !refusedBefore) return Result.fail(closedOr(state.status))
      return Result.succeed([{ _tag: "Ended", attempt: number, confirmKey, ...seen(expectedTotal), outcome, at: now }])
    }
    case "Expire":
      return mayBegin(state.status) ? Result.succeed([{ _tag: "Expired", at: now }]) : nothing
  }
}

/** Total: events are facts, so replay cannot fail. */
export const evolve = (state: CheckoutState, event: Event): CheckoutState => {
  if (event._tag === "Started") {
    const { at: changedAt, cartId, currency, owner } = event
    return {
      _tag: "Present",
      status: "open",
      owner,
      cartId,
      currency,
      shippingMethod: "standard",
      attempt: 0,
      attempts: [],
      changedAt
    }
  }
  if (state._tag === "Absent") return state
  const { confirmingSince: _, ...rest } = state
  const open = { ...rest, status: "open" as const, changedAt: event.at }
  switch (event._tag) {
    case "AddressSet":
      return { ...open, shippingAddress: event.address }
    case "ShippingMethodSet":
      return { ...open, shippingMethod: event.method }
    case "PaymentMethodSet":
      return { ...open, paymentMethod: event.paymentMethod }
    case "PromotionApplied":
      return { ...open, promotionCode: event.code }
    case "PromotionRemoved": {
      const { promotionCode: _code, ...without } = open
      return without
    }
    case "Abandoned":
      return { ...open, status: "abandoned" }
    case "Expired":
      return { ...open, status: "expired" }
    case "AttemptAborted":
      return { ...state, attempt: event.attempt }
    case "Begun":
      return {
        ...rest,
        status: "confirming",
        attempt: event.attempt,
        attempts: [
          ...state.attempts,
          { attempt: event.attempt, key: event.confirmKey, ...seen(event.expectedTotal) }
        ].slice(-attemptsKept),
        terms: event.terms,
        confirmingSince: event.at,
        changedAt: event.at
      }
    case "Ended": {
      const { attempt: number, confirmKey: key, expectedTotal, outcome } = event
      const others = state.attempts.filter((other) => other.attempt !== number)
      const begun = state.attempts.find((other) => other.attempt === number)
      return {
        ...rest,
        status: endStatus[outcome._tag],
        attempt: number,
        attempts: [...others, { ...begun, attempt: number, key, ...seen(expectedTotal), outcome }].slice(-attemptsKept),
        changedAt: event.at
      }
    }
  }
}

/** The attempt that was confirmed with `key`, with its outcome once it has ended. */
export const attemptWith = (
  state: PresentCheckout,
  key: IdempotencyKey
): PresentCheckout["attempts"][number] | undefined => state.attempts.find((other) => other.key === key)

/** What came of the latest attempt. */
export const latestOutcome = (state: PresentCheckout): AttemptOutcome | undefined => state.attempts.at(-1)?.outcome

/** The checkout as its owner sees it; somebody else's is refused like one that does not exist. */
export const view = (state: CheckoutState, id: string, by?: CustomerId): Result.Result<CheckoutView, AccessDenied> => {
  if (state._tag === "Absent" || (by !== undefined && state.owner !== by)) return Result.fail(new AccessDenied())
  const { attempt: number, cartId, currency, promotionCode, shippingAddress, shippingMethod, status } = state
  const outcome = latestOutcome(state)
  const checkoutId = CheckoutId.make(id)
  return Result.succeed({
    id: checkoutId,
    status,
    cartId,
    currency,
    ...(shippingAddress === undefined ? {} : { shippingAddress }),
    shippingMethod,
    paymentMethodSet: state.paymentMethod !== undefined,
    ...(promotionCode === undefined ? {} : { promotionCode }),
    attempt: number,
    ...(outcome !== undefined && outcome._tag !== "Rejected" ? { orderId: orderIdOf(checkoutId) } : {}),
    ...(outcome?._tag === "Rejected" && status === "rejected" ? { rejection: outcome.rejection } : {})
  })
}
