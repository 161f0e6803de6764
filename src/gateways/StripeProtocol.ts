/**
 * A `PaymentGateway` for a provider which speaks Stripe's protocol, whatever carries the calls: the SDK, or the sandbox in the same
 * process. Says what each answer and each way of failing means for the one who asked. No id, secret or token of a payment gets into a
 * log or an error from here. REQ-SEC-02.
 */
import { DateTime, Duration, Effect, Redacted, Schedule } from "effect"
import type { Scope } from "effect"
import type Stripe from "stripe"
import { Currency, type Money } from "../domain/Money.ts"
import type {
  Intent,
  IntentId,
  ListedIntent,
  PaymentGatewayLimits,
  ProviderRefund,
  TransportError
} from "./PaymentGateway.ts"
import { Declined, NotPossible, OutcomeUnknown, PaymentGateway, ProviderUnavailable } from "./PaymentGateway.ts"
import * as ProviderGuard from "./ProviderGuard.ts"

/** Carries calls to the provider. Every write takes its key: the SDK would silently make one up, and a repeat be a second charge. */
export interface StripeTransport {
  readonly create: (params: Stripe.PaymentIntentCreateParams, key: string) => Call<StripeIntent>
  readonly confirm: (id: string, params: Stripe.PaymentIntentConfirmParams, key: string) => Call<StripeIntent>
  readonly capture: (id: string, params: Stripe.PaymentIntentCaptureParams, key: string) => Call<StripeIntent>
  readonly cancel: (id: string, params: Stripe.PaymentIntentCancelParams, key: string) => Call<StripeIntent>
  readonly refund: (params: Stripe.RefundCreateParams, key: string) => Call<StripeRefund>
  readonly refunds: (params: Stripe.RefundListParams) => Call<StripeRefundPage>
  readonly retrieve: (id: string, params: Stripe.PaymentIntentRetrieveParams) => Call<StripeIntent>
  readonly list: (params: Stripe.PaymentIntentListParams) => Call<StripeIntentPage>
}
type Call<A> = Effect.Effect<A, StripeFailure>

/** What we read of a refund. */
export type StripeRefund = Pick<Stripe.Refund, "id" | "amount" | "currency" | "status" | "metadata" | "failure_reason">

export interface StripeRefundPage {
  readonly data: ReadonlyArray<StripeRefund>
  readonly has_more: boolean
}

/** What we read of a payment intent. */
export type StripeIntent = Pick<
  Stripe.PaymentIntent,
  | "id"
  | "status"
  | "amount"
  | "amount_capturable"
  | "amount_received"
  | "created"
  | "currency"
  | "client_secret"
  | "metadata"
> & {
  readonly last_payment_error: {
    readonly code?: string
    readonly decline_code?: string
    readonly message?: string
  } | null
  readonly latest_charge: string | StripeCharge | null
}

export interface StripeIntentPage {
  readonly data: ReadonlyArray<StripeIntent>
  readonly has_more: boolean
}

interface StripeCharge {
  readonly amount_refunded: number
  readonly payment_method_details: { readonly card?: { readonly capture_before?: number } } | null
}

/** How a call can fail. */
export type StripeFailure =
  /** No connection was ever made. */
  | { readonly _tag: "NotSent" }
  /**
   * The answer is lost, or says that the provider does not know itself: connection cut, 5xx, not JSON. `answered`: the API itself spoke,
   * so that this call is over there and its fault is stored under the key.
   */
  | { readonly _tag: "AnswerLost"; readonly answered?: true }
  | { readonly _tag: "TimedOut" }
  /** 429: too many calls, or another one is at work on this intent. */
  | { readonly _tag: "TooMany"; readonly retryAfterSeconds: number | undefined }
  /** 409: an earlier send with this key is still being worked on. */
  | { readonly _tag: "KeyInUse" }
  /** 401, 403: our own key is wrong. */
  | { readonly _tag: "Unauthorized"; readonly status: number }
  /** The same key came with other parameters: a mistake of ours. */
  | { readonly _tag: "KeyMisused" }
  | { readonly _tag: "CardRefused"; readonly code: string; readonly message: string }
  | { readonly _tag: "Refused"; readonly code: string }

/** The error body, as far as it decides. Its texts stay behind: they name intents. */
export interface StripeErrorFields {
  readonly status: number | undefined
  readonly type?: string | undefined
  readonly code?: string | undefined
  readonly declineCode?: string | undefined
  readonly message?: string | undefined
  readonly retryAfterSeconds?: number | undefined
}

/** What an answer other than 200 means. Without a status, it was not the provider's API that spoke. */
export const failureOf = (error: StripeErrorFields): StripeFailure => {
  const { status, code = error.type ?? "unknown" } = error
  if (status === undefined) return { _tag: "AnswerLost" }
  if (status >= 500) return { _tag: "AnswerLost", answered: true }
  if (status === 409) return { _tag: "KeyInUse" }
  if (status === 429 || code === "rate_limit" || code === "lock_timeout")
    return { _tag: "TooMany", retryAfterSeconds: error.retryAfterSeconds }
  if (status === 401 || status === 403) return { _tag: "Unauthorized", status }
  if (error.type === "idempotency_error") return { _tag: "KeyMisused" }
  if (error.type === "card_error") {
    return { _tag: "CardRefused", code: error.declineCode ?? code, message: error.message ?? defaultDeclineText }
  }
  return { _tag: "Refused", code }
}

/** Intents are made to be captured by hand; the provider knows the checkout and the customer by our ids, in the metadata. */
export const make = Effect.fnUntraced(function* (options: {
  readonly transport: StripeTransport
  readonly limits: PaymentGatewayLimits
}): Effect.fn.Return<PaymentGateway["Service"], never, Scope.Scope> {
  const { transport, limits } = options
  const guard = yield* ProviderGuard.make<StripeFailure>({
    name: "payment",
    limits,
    onTimeout: { _tag: "TimedOut" },
    healthOf
  })

  const explained =
    (operation: string) =>
    <A>(call: Effect.Effect<A, Failure>): Effect.Effect<A, Declined | NotPossible | TransportError> =>
      call.pipe(
        Effect.catch((failure) => explain(operation, failure, limits.timeout)),
        Effect.withSpan(`PaymentGateway.${operation}`, {}, { captureStackTrace: false })
      )

  const lookUp = (id: IntentId): Effect.Effect<Intent, Failure> =>
    Effect.map(guard.probe("retrieve", transport.retrieve(Redacted.value(id), { expand: ["latest_charge"] })), toIntent)

  const listRefunds = Effect.fnUntraced(function* (
    id: IntentId
  ): Effect.fn.Return<ReadonlyArray<ProviderRefund>, Failure> {
    const found: Array<ProviderRefund> = []
    let after: string | undefined
    for (let page = 0; page < refundPagesMax; page++) {
      const { data, has_more: more } = yield* guard.probe(
        "list_refunds",
        transport.refunds({
          payment_intent: Redacted.value(id),
          limit: refundsPage,
          ...(after === undefined ? {} : { starting_after: after })
        })
      )
      found.push(...data.map(toRefund))
      after = data.at(-1)?.id
      if (!more || after === undefined) return found
    }
    // What was not looked at may be the one that is looked for.
    return yield* Effect.fail<Failure>({ _tag: "AnswerLost" })
  })

  /** A write which met the intent in another state than it needs: what it is now decides. */
  const orAsItIs =
    (id: IntentId) =>
    (write: Effect.Effect<Intent, Failure>): Effect.Effect<Intent, Failure> =>
      Effect.catchIf(
        write,
        (failure) => failure._tag === "Refused" && failure.code === unexpectedState,
        () => lookUp(id)
      )

  return PaymentGateway.of({
    createIntent: ({ key, amount, checkoutId, customerId, paymentMethod }) =>
      guard
        .call(
          "create",
          transport.create(
            {
              amount: toProviderAmount(amount),
              currency: amount.currency.toLowerCase(),
              capture_method: "manual",
              payment_method: Redacted.value(paymentMethod),
              // Without redirects the provider asks for no address to come back to.
              automatic_payment_methods: { enabled: true, allow_redirects: "never" },
              metadata: { checkout: checkoutId, customer: customerId }
            },
            key
          )
        )
        .pipe(onceFree, Effect.map(toIntent), explained("createIntent")),

    confirmIntent: ({ key, id }) =>
      guard.call("confirm", transport.confirm(Redacted.value(id), { expand: ["latest_charge"] }, key)).pipe(
        onceFree,
        Effect.map(toIntent),
        orAsItIs(id),
        Effect.filterOrElse((intent) => intent._tag !== "Unconfirmed" && intent._tag !== "Voided", notConfirmed),
        explained("confirmIntent")
      ),

    capture: ({ key, id, amount }) =>
      guard
        .call("capture", transport.capture(Redacted.value(id), { amount_to_capture: toProviderAmount(amount) }, key))
        .pipe(
          onceFree,
          Effect.map(toIntent),
          orAsItIs(id),
          Effect.filterOrElse((intent) => intent._tag === "Captured" && intent.amount === amount.amount, inOtherState),
          explained("capture")
        ),

    void: ({ key, id }) =>
      guard.probe("cancel", transport.cancel(Redacted.value(id), {}, key)).pipe(
        onceFree,
        Effect.map(toIntent),
        orAsItIs(id),
        Effect.filterOrElse((intent) => intent._tag === "Voided", inOtherState),
        explained("void"),
        Effect.catchTag("Declined", notDeclinable)
      ),

    refund: ({ key, id, amount, checkoutId, refund }) =>
      guard
        .call(
          "refund",
          transport.refund(
            {
              payment_intent: Redacted.value(id),
              amount: toProviderAmount(amount),
              metadata: { checkout: checkoutId, refund, key }
            },
            key
          )
        )
        .pipe(onceFree, Effect.map(toRefund), explained("refund"), Effect.catchTag("Declined", notDeclinable)),

    refunds: (id) => listRefunds(id).pipe(explained("refunds"), Effect.catchTag("Declined", notDeclinable)),

    retrieve: (id) => lookUp(id).pipe(explained("retrieve"), Effect.catchTag("Declined", notDeclinable)),

    list: ({ after, before, from }) =>
      guard
        .call(
          "list",
          transport.list({
            created: { gte: secondsOf(from), lt: secondsOf(before) },
            limit: intentsPage,
            expand: ["data.latest_charge"],
            ...(after === undefined ? {} : { starting_after: Redacted.value(after) })
          })
        )
        .pipe(
          Effect.map(({ data, has_more: more }) => {
            const last = data.at(-1)
            return {
              intents: data.map(toListed),
              ...(more && last !== undefined ? { next: Redacted.make(last.id, { label: "authorization" }) } : {})
            }
          }),
          explained("list"),
          Effect.catchTag("Declined", notDeclinable)
        ),

    breakerState: guard.breakerState
  })
})

type Failure = StripeFailure | ProviderUnavailable

/** An earlier send with this key, of ours or of a node that is dead by now, is about to have its outcome: the repeat gets the same. */
export const onceFree = <A>(write: Effect.Effect<A, Failure>): Effect.Effect<A, Failure> =>
  Effect.retry(write, {
    while: (failure) => failure._tag === "KeyInUse",
    schedule: Schedule.exponential("50 millis", 1.5).pipe(Schedule.upTo({ duration: "5 seconds" }))
  })

/** The most the provider gives at once, and the most we ask for: a payment has far fewer. */
const refundsPage = 100
const refundPagesMax = 10
const intentsPage = 100

const secondsOf = ({ epochMilliseconds }: DateTime.Utc): number => Math.floor(epochMilliseconds / 1000)

/** The provider's code for a write which does not fit the intent's status. */
const unexpectedState = "payment_intent_unexpected_state"

const inOtherState = (): Effect.Effect<never, Failure> => Effect.fail({ _tag: "Refused", code: unexpectedState })

const notConfirmed = (intent: Intent): Effect.Effect<never, Failure> =>
  intent._tag === "Unconfirmed" && intent.declined !== undefined
    ? Effect.fail({ _tag: "CardRefused", code: intent.declined.code, message: intent.declined.message })
    : inOtherState()

export const notDeclinable = ({ code }: Declined): Effect.Effect<never, NotPossible> =>
  Effect.fail(new NotPossible({ code }))

/** Whether a failure speaks against the provider's health; a refusal shows that it is well. REQ-GW-02. */
export const healthOf = (failure: StripeFailure): ProviderGuard.Health => {
  switch (failure._tag) {
    case "NotSent":
    case "AnswerLost":
    case "TimedOut":
      return "ill"
    case "TooMany":
    case "KeyInUse":
    case "Unauthorized":
      return "unknown"
    case "KeyMisused":
    case "CardRefused":
    case "Refused":
      return "well"
  }
}

/** What a failed call means for the one who asked. */
export const explain = (
  operation: string,
  failure: Failure,
  limit: Duration.Duration
): Effect.Effect<never, Declined | NotPossible | TransportError> => {
  switch (failure._tag) {
    case "ProviderUnavailable":
      return Effect.fail(failure)
    case "NotSent":
      return warned(operation, failure._tag, new ProviderUnavailable({ retryAfter: Duration.seconds(1) }))
    case "TooMany":
      return Effect.fail(new ProviderUnavailable({ retryAfter: Duration.seconds(failure.retryAfterSeconds ?? 1) }))
    case "AnswerLost":
      return warned(
        operation,
        failure._tag,
        new OutcomeUnknown({ service: "payment", ...(failure.answered === true ? { answered: true } : {}) })
      )
    case "TimedOut":
      return warned(
        operation,
        failure._tag,
        new OutcomeUnknown({ service: "payment", afterMs: Math.round(Duration.toMillis(limit)) })
      )
    case "KeyInUse":
      // The send under way will have an outcome; only a lookup tells which.
      return Effect.fail(new OutcomeUnknown({ service: "payment" }))
    case "Unauthorized":
      // An operator can put this right, so nothing is given up: it is asked again until then.
      return Effect.andThen(
        Effect.logError(`The payment provider does not accept our key (${failure.status})`),
        Effect.fail(new ProviderUnavailable({ retryAfter: Duration.minutes(1) }))
      )
    case "KeyMisused":
      return Effect.andThen(
        Effect.logError(`An idempotency key was used again with other content (${operation})`),
        Effect.fail(new NotPossible({ code: "idempotency_error" }))
      )
    case "CardRefused":
      return Effect.fail(new Declined({ code: failure.code, message: failure.message }))
    case "Refused":
      return Effect.fail(new NotPossible({ code: failure.code }))
  }
}

const warned = <E>(operation: string, what: string, error: E): Effect.Effect<never, E> =>
  Effect.andThen(Effect.logWarning(`The payment provider did not answer ${operation} (${what})`), Effect.fail(error))

const defaultDeclineText = "Your card was declined."

const toIntent = (intent: StripeIntent): Intent => {
  const id: IntentId = Redacted.make(intent.id)
  const charge = typeof intent.latest_charge === "string" ? null : intent.latest_charge
  switch (intent.status) {
    case "requires_payment_method":
    case "requires_confirmation": {
      const refusal = intent.last_payment_error
      if (refusal === null) return { _tag: "Unconfirmed", id }
      const code = refusal.decline_code ?? refusal.code ?? "card_declined"
      return {
        _tag: "Unconfirmed",
        id,
        declined: new Declined({ code, message: refusal.message ?? defaultDeclineText })
      }
    }
    case "requires_action":
      return { _tag: "RequiresAction", id, clientSecret: Redacted.make(intent.client_secret ?? "") }
    case "processing":
      return { _tag: "Processing", id }
    case "requires_capture": {
      const amount = fromProviderAmount(intent.amount_capturable, intent.currency)
      const before = charge?.payment_method_details?.card?.capture_before
      return before === undefined
        ? { _tag: "Authorized", id, amount }
        : { _tag: "Authorized", id, amount, capturableUntil: DateTime.makeUnsafe(before * 1000) }
    }
    case "succeeded": {
      // What was let go of the hold counts as refunded with the provider; it was never taken.
      const released = intent.amount - intent.amount_received
      const refunded = Math.max(0, (charge?.amount_refunded ?? 0) - released)
      return {
        _tag: "Captured",
        id,
        amount: fromProviderAmount(intent.amount_received, intent.currency),
        refunded: fromProviderAmount(refunded, intent.currency)
      }
    }
    case "canceled":
      return { _tag: "Voided", id }
    default:
      // A status which the provider invented since: what it means is not decided here, so it is asked again.
      return { _tag: "Processing", id }
  }
}

const toListed = (intent: StripeIntent): ListedIntent => {
  const checkoutId = intent.metadata["checkout"]
  return {
    intent: toIntent(intent),
    currency: Currency.make(intent.currency.toUpperCase()),
    createdAt: DateTime.makeUnsafe(intent.created * 1000),
    ...(checkoutId === undefined ? {} : { checkoutId })
  }
}

const toRefund = (refund: StripeRefund): ProviderRefund => {
  const { amount, currency, failure_reason: failure, id, metadata, status } = refund
  const key = metadata?.["key"]
  return {
    id: Redacted.make(id),
    // A status which the provider invented since: not done, and not known to have failed.
    status: status === "succeeded" ? "completed" : status === "failed" || status === "canceled" ? "failed" : "pending",
    amount: fromProviderAmount(amount, currency),
    ...(key === undefined ? {} : { key }),
    ...(failure === undefined ? {} : { failure })
  }
}

/** Currencies without minor units which the provider writes with two decimals. Source: its manual on currencies, special cases. */
const twoDecimalsThere: ReadonlySet<string> = new Set(["ISK", "UGX"])

/** An amount as the provider writes it. */
export const toProviderAmount = ({ amount, currency }: Money): number =>
  Number(twoDecimalsThere.has(currency) ? amount * 100n : amount)

/** An amount as the provider writes it, in our minor units; `currency` in any case. */
export const fromProviderAmount = (amount: number, currency: string): bigint =>
  twoDecimalsThere.has(currency.toUpperCase()) ? BigInt(amount) / 100n : BigInt(amount)
