/**
 * What may happen to a payment intent and to the money behind it, as pure functions: intent, request and time in; the changed intent,
 * what really happened, and the answer out. Statuses, codes and texts are those of the provider. Times are milliseconds, amounts minor
 * units.
 */
import type { Decline, TestToken } from "./TestTokens.ts"

export type Status =
  | "requires_payment_method"
  | "requires_confirmation"
  | "requires_action"
  | "processing"
  | "requires_capture"
  | "canceled"
  | "succeeded"

/** What was agreed when the intent was made; never changes. */
export interface Terms {
  readonly id: string
  readonly clientSecret: string
  readonly amount: number
  /** Lower case. */
  readonly currency: string
  readonly captureMethod: "manual" | "automatic" | "automatic_async"
  readonly customer: string | null
  readonly description: string | null
  readonly metadata: Readonly<Record<string, string>>
  /** Absent where only cards are allowed. */
  readonly automaticMethods: { readonly redirects: "always" | "never" } | null
  readonly createdAt: number
}

export interface PaymentError extends Decline {
  readonly type: "card_error" | "invalid_request_error"
}

export interface Charge {
  readonly id: string
  readonly createdAt: number
  /** The first instant at which the hold is gone. */
  readonly captureBefore: number
  readonly failed: boolean
}

export interface Intent {
  readonly terms: Terms
  readonly status: Status
  /** The card's token. */
  readonly paymentMethod: string | null
  readonly returnUrl: string | null
  readonly charge: Charge | null
  readonly received: number
  /** Given back, or on its way: what fails for good is taken off again. */
  readonly refunded: number
  /** Withdrawn by the customer's bank; absent while it never was. */
  readonly disputed?: "open" | "won" | "lost"
  readonly lastError: PaymentError | null
  readonly canceledAt: number | null
  readonly cancellationReason: string | null
  /** When `processing` ends. */
  readonly settlesAt: number | null
}

export interface Refund {
  readonly id: string
  readonly intentId: string
  readonly chargeId: string
  readonly amount: number
  readonly currency: string
  readonly reason: string | null
  readonly metadata: Readonly<Record<string, string>>
  readonly createdAt: number
  readonly status: "pending" | "succeeded" | "failed"
  /** What it comes to later, by itself. */
  readonly settles: { readonly at: number; readonly as: "succeeded" | "failed" } | null
}

export interface Dispute {
  readonly id: string
  readonly intentId: string
  readonly chargeId: string
  readonly amount: number
  readonly currency: string
  readonly reason: string
  readonly status: "needs_response" | "won" | "lost"
  readonly createdAt: number
}

/** What really happened to money, or to the promise of it: never a repeat, never a refusal. */
export interface Movement {
  readonly operation:
    | "create"
    | "authorize"
    | "decline"
    | "capture"
    | "void"
    | "refund"
    /** A refund that had gone out came back: the customer's bank did not take it. */
    | "refund_returned"
    | "chargeback"
    | "chargeback_returned"
  readonly amount: number
}

/** Kinds of webhook. */
export type EventName =
  | "payment_intent.created"
  | "payment_intent.requires_action"
  | "payment_intent.processing"
  | "payment_intent.amount_capturable_updated"
  | "payment_intent.succeeded"
  | "payment_intent.payment_failed"
  | "payment_intent.canceled"
  | "refund.created"
  | "refund.updated"
  | "refund.failed"
  | "charge.refunded"
  | "charge.dispute.created"
  | "charge.dispute.funds_withdrawn"
  | "charge.dispute.funds_reinstated"
  | "charge.dispute.closed"

/** An error as the provider words it. */
export interface ProviderError {
  readonly status: number
  readonly type: "card_error" | "invalid_request_error" | "idempotency_error" | "api_error"
  readonly code?: string
  readonly decline_code?: string
  readonly param?: string
  readonly message: string
  /** The intent as it is after the error. */
  readonly intent?: Intent
  readonly chargeId?: string
}

/** What a request came to. A refused one may still have changed the intent: a declined card leaves it without one. */
export interface Decision {
  readonly intent: Intent
  readonly movements: ReadonlyArray<Movement>
  /** The webhooks which tell of it. */
  readonly events: ReadonlyArray<EventName>
  readonly error?: ProviderError
}

/** How long a hold lasts. Source: the provider's manual on holds, for cards paid online. */
export const holdFor = 7 * 24 * 60 * 60 * 1000

export const createIntent = (terms: Terms, paymentMethod: string | null, returnUrl: string | null): Decision => ({
  intent: {
    terms,
    status: paymentMethod === null ? "requires_payment_method" : "requires_confirmation",
    paymentMethod,
    returnUrl,
    charge: null,
    received: 0,
    refunded: 0,
    lastError: null,
    canceledAt: null,
    cancellationReason: null,
    settlesAt: null
  },
  movements: [{ operation: "create", amount: terms.amount }],
  events: ["payment_intent.created"]
})

/** Asks the issuer for the money, or the customer for proof first. */
export const confirm = (
  before: Intent,
  request: {
    readonly card: TestToken | undefined
    readonly returnUrl: string | null
    readonly chargeId: string
    readonly processingFor: number | undefined
  },
  now: number
): Decision => {
  const confirmable = ["requires_payment_method", "requires_confirmation", "requires_action"]
  if (before.status === "succeeded") {
    return unexpectedState(
      before,
      "You cannot confirm this PaymentIntent because it has already succeeded after being previously confirmed."
    )
  }
  if (!confirmable.includes(before.status)) {
    return unexpectedState(
      before,
      wrongState("You cannot confirm this PaymentIntent because", before, "confirmed", confirmable)
    )
  }
  const card = request.card
  if (card === undefined) {
    return unexpectedState(
      before,
      "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the " +
        "PaymentIntent with a payment method and then confirm it again, or confirm it again directly with a payment method " +
        "or ConfirmationToken."
    )
  }
  const returnUrl = request.returnUrl ?? before.returnUrl
  if (before.terms.automaticMethods?.redirects === "always" && returnUrl === null) {
    return refused(before, {
      param: "return_url",
      message:
        "This PaymentIntent is configured to accept payment methods enabled in your Dashboard. Because some of these payment " +
        "methods might redirect your customer off of your page, you must provide a `return_url`. If you don't want to accept " +
        "redirect-based payment methods, set `automatic_payment_methods[enabled]` to `true` and " +
        "`automatic_payment_methods[allow_redirects]` to `never` when creating Setup Intents and Payment Intents."
    })
  }
  const intent = { ...before, paymentMethod: card.token, returnUrl, lastError: null }
  if (card.authentication === true) {
    return changed({ ...intent, status: "requires_action" }, [], ["payment_intent.requires_action"])
  }
  return charge(intent, { ...request, card }, now)
}

/** The customer came back from the page where they prove who they are. */
export const authenticate = (
  before: Intent,
  result: { readonly passed: boolean; readonly card: TestToken; readonly chargeId: string },
  now: number
): Decision => {
  if (before.status !== "requires_action") return unexpectedState(before, "Nothing is asked of the customer.")
  if (result.passed) return charge(before, { ...result, processingFor: undefined }, now)
  const lastError = {
    type: "invalid_request_error",
    code: "payment_intent_authentication_failure",
    message:
      "The provided PaymentMethod has failed authentication. You can provide payment_method_data or a new PaymentMethod to " +
      "attempt to fulfill this PaymentIntent again."
  } as const
  return changed(
    { ...before, status: "requires_payment_method", paymentMethod: null, lastError },
    [],
    ["payment_intent.payment_failed"]
  )
}

/** Takes `amount` of the hold, all of it unless told otherwise; the rest is let go. */
export const capture = (before: Intent, amount: number | undefined): Decision => {
  if (before.status === "succeeded") {
    return unexpectedState(before, "This PaymentIntent could not be captured because it has already been captured.")
  }
  if (before.status !== "requires_capture") {
    return unexpectedState(
      before,
      wrongState("This PaymentIntent could not be captured because", before, "captured", ["requires_capture"])
    )
  }
  const taken = amount ?? before.terms.amount
  if (taken > before.terms.amount) {
    return refused(before, {
      code: "amount_too_large",
      param: "amount_to_capture",
      message: `Requested capture amount ${taken} is greater than the amount you can capture for this charge, ${before.terms.amount}.`
    })
  }
  return changed(
    { ...before, status: "succeeded", received: taken },
    [{ operation: "capture", amount: taken }],
    ["payment_intent.succeeded"]
  )
}

/** Lets the hold go, or makes sure that there will never be one. */
export const cancel = (before: Intent, reason: string | null, now: number): Decision => {
  const cancelable = ["requires_payment_method", "requires_capture", "requires_confirmation", "requires_action"]
  if (!cancelable.includes(before.status)) {
    return unexpectedState(
      before,
      wrongState("You cannot cancel this PaymentIntent because", before, "canceled", cancelable)
    )
  }
  return changed(
    { ...before, status: "canceled", canceledAt: now, cancellationReason: reason },
    [{ operation: "void", amount: before.status === "requires_capture" ? before.terms.amount : 0 }],
    ["payment_intent.canceled"]
  )
}

/** Gives `amount` back, all that is left unless told otherwise. A pending one has moved nothing yet, but counts against what is left. */
export const refund = (before: Intent, amount: number | undefined, pending: boolean): Decision => {
  if (before.status !== "succeeded" || before.charge === null) {
    return refused(before, {
      message: `This PaymentIntent (${before.terms.id}) does not have a successful charge to refund.`
    })
  }
  if (before.disputed === "open" || before.disputed === "lost") {
    return refused(before, {
      code: "charge_disputed",
      message: `Charge ${before.charge.id} has been charged back; cannot issue a refund.`
    })
  }
  const left = before.received - before.refunded
  if (left === 0) {
    return refused(before, {
      code: "charge_already_refunded",
      message: `Charge ${before.charge.id} has already been refunded.`
    })
  }
  const given = amount ?? left
  if (given > left) {
    return refused(before, {
      param: "amount",
      message: `Refund amount (${given}) is greater than unrefunded amount on charge (${left}).`
    })
  }
  return changed(
    { ...before, refunded: before.refunded + given },
    pending ? [] : [{ operation: "refund", amount: given }],
    ["refund.created", "charge.refunded"]
  )
}

/** What becomes of a refund whose time has come; undefined if that is not now. */
export const settleRefund = (
  intent: Intent,
  before: Refund,
  now: number
): (Decision & { readonly refund: Refund }) | undefined => {
  if (before.settles === null || now < before.settles.at) return undefined
  const { amount } = before
  const settled: Refund = { ...before, status: before.settles.as, settles: null }
  if (settled.status === "succeeded") {
    return { ...changed(intent, [{ operation: "refund", amount }], ["refund.updated"]), refund: settled }
  }
  return {
    ...changed(
      { ...intent, refunded: intent.refunded - amount },
      before.status === "succeeded" ? [{ operation: "refund_returned", amount }] : [],
      ["refund.failed", "refund.updated"]
    ),
    refund: settled
  }
}

/** The customer's bank takes the money back while it looks into it. */
export const dispute = (before: Intent, amount: number): Decision => {
  if (before.status !== "succeeded" || before.disputed !== undefined || amount > before.received - before.refunded) {
    return refused(before, { message: `Nothing of ${before.terms.id} can be disputed.` })
  }
  return changed(
    { ...before, disputed: "open" },
    [{ operation: "chargeback", amount }],
    ["charge.dispute.created", "charge.dispute.funds_withdrawn"]
  )
}

/** The bank has decided: won is for the shop, which has its money back then. */
export const closeDispute = (before: Intent, amount: number, outcome: "won" | "lost"): Decision => {
  if (before.disputed !== "open") return refused(before, { message: "This dispute is closed." })
  return outcome === "won"
    ? changed(
        { ...before, disputed: "won" },
        [{ operation: "chargeback_returned", amount }],
        ["charge.dispute.funds_reinstated", "charge.dispute.closed"]
      )
    : changed({ ...before, disputed: "lost" }, [], ["charge.dispute.closed"])
}

/** What time alone has done by `now`: work in progress ends, and a hold which nobody captured lapses. Undefined if nothing. */
export const settle = (before: Intent, now: number): Decision | undefined => {
  if (before.status === "processing" && before.settlesAt !== null && now >= before.settlesAt) {
    return held({ ...before, settlesAt: null })
  }
  if (before.status === "requires_capture" && before.charge !== null && now >= before.charge.captureBefore) {
    return cancel(before, "automatic", before.charge.captureBefore)
  }
  return undefined
}

const charge = (
  before: Intent,
  request: { readonly card: TestToken; readonly chargeId: string; readonly processingFor: number | undefined },
  now: number
): Decision => {
  const decline = request.card.decline
  const made: Charge = {
    id: request.chargeId,
    createdAt: now,
    captureBefore: now + holdFor,
    failed: decline !== undefined
  }
  if (decline !== undefined) {
    const intent: Intent = {
      ...before,
      status: "requires_payment_method",
      paymentMethod: null,
      charge: made,
      lastError: { type: "card_error", ...decline }
    }
    return {
      intent,
      movements: [{ operation: "decline", amount: before.terms.amount }],
      events: ["payment_intent.payment_failed"],
      error: { status: 402, type: "card_error", ...decline, intent, chargeId: made.id }
    }
  }
  const intent = { ...before, charge: made, lastError: null }
  return request.processingFor === undefined
    ? held(intent)
    : changed(
        { ...intent, status: "processing", settlesAt: now + request.processingFor },
        [],
        ["payment_intent.processing"]
      )
}

const held = (intent: Intent): Decision => {
  const amount = intent.terms.amount
  return intent.terms.captureMethod === "manual"
    ? changed(
        { ...intent, status: "requires_capture" },
        [{ operation: "authorize", amount }],
        ["payment_intent.amount_capturable_updated"]
      )
    : changed(
        { ...intent, status: "succeeded", received: amount },
        [
          { operation: "authorize", amount },
          { operation: "capture", amount }
        ],
        ["payment_intent.succeeded"]
      )
}

const changed = (intent: Intent, movements: ReadonlyArray<Movement>, events: ReadonlyArray<EventName>): Decision => ({
  intent,
  movements,
  events
})

const refused = (intent: Intent, error: Pick<ProviderError, "code" | "param" | "message">): Decision => ({
  intent,
  movements: [],
  events: [],
  error: { status: 400, type: "invalid_request_error", ...error }
})

const unexpectedState = (intent: Intent, message: string): Decision => ({
  intent,
  movements: [],
  events: [],
  error: { status: 400, type: "invalid_request_error", code: "payment_intent_unexpected_state", message, intent }
})

const wrongState = (start: string, intent: Intent, participle: string, allowed: ReadonlyArray<string>): string =>
  `${start} it has a status of ${intent.status}. Only a PaymentIntent with one of the following statuses may be ` +
  `${participle}: ${allowed.join(", ")}.`
