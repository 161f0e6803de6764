/**
 * What is said to the provider, and what its answers mean for the payment. It stands beside the mailbox: intents are durable before a
 * call, outcomes after it, and no call runs inside a transaction. An unknown outcome is looked up by the intent's id before anything else.
 */
import { randomUUID } from "node:crypto"
import { type DateTime, Duration, Effect, Redacted } from "effect"
import type {
  Intent,
  IntentId,
  OutcomeUnknown,
  PaymentGateway,
  ProviderUnavailable
} from "../../gateways/PaymentGateway.ts"
import { IntentReference, type PresentPayment, providerKeys } from "./Payment.ts"
import { compensationRefund } from "./Refund.ts"

type Gateway = PaymentGateway["Service"]

export type Creation =
  | { readonly _tag: "Created"; readonly intent: IntentReference }
  | { readonly _tag: "Declined"; readonly code: string; readonly message: string }
  /** Nothing can be held by an intent that was never confirmed, whether it was made or not. */
  | { readonly _tag: "Away"; readonly retryAfterMs: number }

export type Authorization =
  | { readonly _tag: "Authorized"; readonly amount: bigint; readonly holdUntil?: DateTime.Utc }
  | { readonly _tag: "RequiresAction"; readonly clientSecret: Redacted.Redacted<string> }
  | { readonly _tag: "Declined"; readonly code: string; readonly message: string }
  /** `afterMs` when the limit ran out, `retryAfterMs` when the provider could not be asked. */
  | { readonly _tag: "Unknown"; readonly afterMs?: number; readonly retryAfterMs?: number }

export type Capture =
  | { readonly _tag: "Captured"; readonly amount: bigint }
  /** `answered`: the provider may have stored this failure under its key, so the next call takes another. */
  | { readonly _tag: "Failed"; readonly code: string; readonly definite: boolean; readonly answered: boolean }

export type Settlement =
  /** Nothing is held or taken any more. */
  | { readonly _tag: "Voided" }
  /** It was captured: to be given back by a refund. */
  | { readonly _tag: "Taken"; readonly captured: bigint }
  | { readonly _tag: "Unsettled"; readonly error: string }

const defaultRetryMs = 5000

const reference = (intent: IntentReference): IntentId => Redacted.make(intent, { label: "authorization" })

const retryAfterMs = ({ retryAfter }: ProviderUnavailable): number =>
  Math.max(1, Math.round(Duration.toMillis(retryAfter)))

/** Prepares the charge; the card is not touched. */
export const create = (
  gateway: Gateway,
  id: string,
  payment: PresentPayment,
  paymentMethod: string
): Effect.Effect<Creation> =>
  gateway
    .createIntent({
      key: providerKeys.create(id, payment.attempt),
      amount: { amount: payment.amount, currency: payment.currency },
      checkoutId: id,
      customerId: payment.customerId,
      paymentMethod: Redacted.make(paymentMethod, { label: "payment method" })
    })
    .pipe(
      Effect.map((intent): Creation => ({ _tag: "Created", intent: IntentReference.make(Redacted.value(intent.id)) })),
      Effect.catchTags({
        Declined: ({ code, message }) => Effect.succeed<Creation>({ _tag: "Declined", code, message }),
        NotPossible: ({ code }) =>
          Effect.succeed<Creation>({ _tag: "Declined", code, message: "This payment method cannot be used." }),
        ProviderUnavailable: (error) => Effect.succeed<Creation>({ _tag: "Away", retryAfterMs: retryAfterMs(error) }),
        OutcomeUnknown: () => Effect.succeed<Creation>({ _tag: "Away", retryAfterMs: defaultRetryMs })
      }),
      Effect.withSpan("payment.create", {}, { captureStackTrace: false })
    )

/** What an intent's status means for an authorization; undefined when it has not been confirmed yet. */
const authorizationOf = (intent: Intent): Authorization | undefined => {
  switch (intent._tag) {
    case "Authorized":
      return {
        _tag: "Authorized",
        amount: intent.amount,
        ...(intent.capturableUntil === undefined ? {} : { holdUntil: intent.capturableUntil })
      }
    case "RequiresAction":
      return { _tag: "RequiresAction", clientSecret: intent.clientSecret }
    case "Captured":
      return { _tag: "Unknown" }
    case "Voided":
      return { _tag: "Declined", code: "canceled", message: "The payment was cancelled." }
    case "Processing":
      return { _tag: "Unknown" }
    case "Unconfirmed":
      return undefined
  }
}

const unknownOf = ({ afterMs }: OutcomeUnknown): Authorization => ({
  _tag: "Unknown",
  ...(afterMs === undefined ? {} : { afterMs })
})

/** Looks the intent up. `Unconfirmed` becomes `whenUnconfirmed`. */
const look = (
  gateway: Gateway,
  intent: IntentReference,
  whenUnconfirmed: Effect.Effect<Authorization>,
  whenUnknown: Authorization
): Effect.Effect<Authorization> =>
  gateway.retrieve(reference(intent)).pipe(
    Effect.matchEffect({
      onFailure: () => Effect.succeed(whenUnknown),
      onSuccess: (found) => {
        const meaning = authorizationOf(found)
        return meaning === undefined ? whenUnconfirmed : Effect.succeed(meaning)
      }
    })
  )

/**
 * Sets the funds aside. With `again` something may have been said before, so the provider is asked first; that it knows of nothing yet does not
 * mean that nothing will come.
 */
export const authorize = (
  gateway: Gateway,
  id: string,
  payment: PresentPayment,
  intent: IntentReference,
  again: boolean
): Effect.Effect<Authorization> => {
  const confirm = gateway.confirmIntent({ key: providerKeys.confirm(id, payment.attempt), id: reference(intent) }).pipe(
    Effect.map((confirmed): Authorization => authorizationOf(confirmed) ?? { _tag: "Unknown" }),
    Effect.catchTags({
      Declined: ({ code, message }) => Effect.succeed<Authorization>({ _tag: "Declined", code, message }),
      NotPossible: ({ code }) =>
        // It was moved on by an earlier call of ours, or by the customer: what it is now decides.
        look(
          gateway,
          intent,
          Effect.succeed({ _tag: "Declined", code, message: "The payment could not be confirmed." }),
          { _tag: "Unknown" }
        ),
      // What was not carried out now may be on its way from before, or from another node which believes to have the order.
      ProviderUnavailable: (error) =>
        Effect.succeed<Authorization>({ _tag: "Unknown", retryAfterMs: retryAfterMs(error) }),
      OutcomeUnknown: (error) => look(gateway, intent, Effect.succeed(unknownOf(error)), unknownOf(error))
    })
  )
  return (again ? look(gateway, intent, confirm, { _tag: "Unknown" }) : confirm).pipe(
    Effect.withSpan("payment.authorize", {}, { captureStackTrace: false })
  )
}

/** After the customer's second factor: what came of it, or that it is still awaited. */
export const afterAction = (gateway: Gateway, intent: IntentReference): Effect.Effect<Authorization> =>
  look(
    gateway,
    intent,
    Effect.succeed({ _tag: "Declined", code: "authentication_failed", message: "The payment was not authenticated." }),
    { _tag: "Unknown" }
  )

/** Takes the stored amount of the hold. With `again` the provider is asked first: never a second key while an outcome is unknown. */
export const capture = (
  gateway: Gateway,
  id: string,
  payment: PresentPayment,
  again: boolean
): Effect.Effect<Capture> => {
  const { amount, attempt, captureKey, currency, intent } = payment
  if (intent === undefined) return Effect.die(new Error("a capture without an authorization"))
  const afterLookup = (failure: Extract<Capture, { readonly _tag: "Failed" }>): Effect.Effect<Capture> =>
    gateway.retrieve(reference(intent)).pipe(
      Effect.match({
        onFailure: (): Capture => ({ ...failure, answered: false }),
        onSuccess: (found): Capture => {
          if (found._tag === "Captured") return { _tag: "Captured", amount: found.amount }
          if (found._tag === "Voided") return { _tag: "Failed", code: "hold_gone", definite: true, answered: true }
          return failure
        }
      })
    )
  const send = gateway
    .capture({
      key: providerKeys.capture(id, attempt, captureKey),
      id: reference(intent),
      amount: { amount, currency }
    })
    .pipe(
      Effect.map((captured): Capture =>
        captured._tag === "Captured"
          ? { _tag: "Captured", amount: captured.amount }
          : { _tag: "Failed", code: captured._tag.toLowerCase(), definite: false, answered: false }
      ),
      Effect.catchTags({
        Declined: ({ code }) => afterLookup({ _tag: "Failed", code, definite: true, answered: true }),
        NotPossible: ({ code }) => afterLookup({ _tag: "Failed", code, definite: true, answered: true }),
        ProviderUnavailable: () =>
          Effect.succeed<Capture>({ _tag: "Failed", code: "provider_unavailable", definite: false, answered: false }),
        OutcomeUnknown: ({ answered }) =>
          afterLookup({ _tag: "Failed", code: "outcome_unknown", definite: false, answered: answered === true })
      })
    )
  if (!again) return Effect.withSpan(send, "payment.capture", { captureStackTrace: false })
  return gateway.retrieve(reference(intent)).pipe(
    Effect.matchEffect({
      onFailure: () =>
        Effect.succeed<Capture>({ _tag: "Failed", code: "outcome_unknown", definite: false, answered: false }),
      onSuccess: (found): Effect.Effect<Capture> => {
        if (found._tag === "Captured") return Effect.succeed({ _tag: "Captured", amount: found.amount })
        if (found._tag === "Voided") {
          return Effect.succeed({ _tag: "Failed", code: "hold_gone", definite: true, answered: true })
        }
        return send
      }
    }),
    Effect.withSpan("payment.capture", {}, { captureStackTrace: false })
  )
}

/**
 * Drops whatever the provider still holds. What it turns out to have taken is told, to be given back on the record; except where nothing of
 * ours ever captured it, since that attempt is closed. Each `retry` has keys of its own.
 */
export const settle = (gateway: Gateway, id: string, payment: PresentPayment, retry = 0): Effect.Effect<Settlement> => {
  const { attempt, currency, intent, saga } = payment
  if (intent === undefined) return Effect.succeed({ _tag: "Voided" })
  if (saga === "captured") return Effect.succeed({ _tag: "Taken", captured: payment.captured })
  const unsettled = (error: { readonly _tag: string; readonly code?: string }): Settlement => ({
    _tag: "Unsettled",
    error: error.code === undefined ? error._tag : `${error._tag}: ${error.code}`
  })
  return gateway.retrieve(reference(intent)).pipe(
    Effect.flatMap((found): Effect.Effect<Settlement, { readonly _tag: string; readonly code?: string }> => {
      switch (found._tag) {
        case "Voided":
          return Effect.succeed({ _tag: "Voided" })
        case "Captured": {
          if (saga !== "none") return Effect.succeed({ _tag: "Taken", captured: found.amount })
          const owed = found.amount - found.refunded
          const refund = compensationRefund(attempt)
          return owed === 0n
            ? Effect.succeed({ _tag: "Voided" })
            : gateway
                .refund({
                  key: providerKeys.refund(id, refund, 1),
                  id: reference(intent),
                  amount: { amount: owed, currency },
                  checkoutId: id,
                  refund
                })
                .pipe(
                  Effect.map(({ status }): Settlement =>
                    status === "completed" ? { _tag: "Voided" } : unsettled({ _tag: `refund ${status}` })
                  )
                )
        }
        case "Processing":
          // Can neither be dropped nor captured: what comes of it is looked up again.
          return Effect.succeed(unsettled({ _tag: "still Processing" }))
        default:
          return dropHold(gateway, id, attempt, intent, retry).pipe(
            Effect.map((voided) =>
              voided._tag === "Voided" ? { _tag: "Voided" as const } : unsettled({ _tag: `still ${voided._tag}` })
            )
          )
      }
    }),
    Effect.catch((error) => Effect.succeed(unsettled(error))),
    Effect.withSpan("payment.settle", {}, { captureStackTrace: false })
  )
}

/** Keys for one hold at a time: a provider that fails for all is not to be asked without end. */
const voidKeysMax = 3

/**
 * A fault or refusal which the provider has answered with is stored under its key, for a day: another call needs another key, and none that
 * may have been used up before. That is safe whatever became of the others, since a hold can be dropped only once.
 */
const dropHold = (gateway: Gateway, id: string, attempt: number, intent: IntentReference, retry: number) => {
  const tryWith = (key: string, left: number): ReturnType<Gateway["void"]> =>
    gateway.void({ key, id: reference(intent) }).pipe(
      Effect.catchIf(
        (error) =>
          left > 0 && (error._tag === "OutcomeUnknown" ? error.answered === true : error._tag === "NotPossible"),
        () => tryWith(providerKeys.void(id, attempt, randomUUID()), left - 1)
      )
    )
  return tryWith(providerKeys.void(id, attempt, retry === 0 ? undefined : `${retry}`), voidKeysMax - 1)
}

/** Whether the provider says that nothing is held any more; when it does not answer, that is not known. */
export const isVoided = (gateway: Gateway, intent: IntentReference): Effect.Effect<boolean> =>
  gateway.retrieve(reference(intent)).pipe(
    Effect.map(({ _tag }) => _tag === "Voided"),
    Effect.orElseSucceed(() => false)
  )
