/**
 * The payment provider as Payment sees it: one interface, whoever the provider is. A call ends in a definite answer, a definite refusal,
 * or in `OutcomeUnknown`: the work may have been done, and is looked up by the intent's id before anything else happens.
 *
 * The intent is created without touching the card, and its id stored, before it is confirmed: so every unknown outcome stays decidable
 * at any age. Source: the provider's manual forgets idempotency keys after 24 hours.
 */
import { Context, DateTime, Duration, Effect, Redacted, Schema } from "effect"
import { type Currency, Money } from "../domain/Money.ts"

/** Names the intent at the provider, e.g. `pi_...`. Redacted: it never reaches a log. REQ-SEC-02. */
export type IntentId = Redacted.Redacted<string>

/** What became of an intent, as the provider says now. Amounts are minor units. */
export type Intent =
  /** `declined` is set when it was confirmed and the issuer refused: confirming it again is answered with that refusal. */
  | { readonly _tag: "Unconfirmed"; readonly id: IntentId; readonly declined?: Declined }
  /** The customer must prove who they are; `clientSecret` is what the provider's browser code needs for that. */
  | { readonly _tag: "RequiresAction"; readonly id: IntentId; readonly clientSecret: Redacted.Redacted<string> }
  /** Being worked on by the provider; ask again. */
  | { readonly _tag: "Processing"; readonly id: IntentId }
  /** The hold exists until `capturableUntil`; absent where the provider gives no date. */
  | {
      readonly _tag: "Authorized"
      readonly id: IntentId
      readonly amount: bigint
      readonly capturableUntil?: DateTime.Utc
    }
  | { readonly _tag: "Captured"; readonly id: IntentId; readonly amount: bigint; readonly refunded: bigint }
  /** The hold was dropped, or never was: nothing can be taken any more. */
  | { readonly _tag: "Voided"; readonly id: IntentId }

/** An intent in the provider's own list. */
export interface ListedIntent {
  readonly intent: Intent
  readonly currency: Currency
  readonly createdAt: DateTime.Utc
  /** The checkout it was made for; absent when it was not made by us. */
  readonly checkoutId?: string
}

/** A refund as the provider has it. */
export interface ProviderRefund {
  /** The provider's name of it. */
  readonly id: Redacted.Redacted<string>
  /** `pending`: taken on, and neither done nor failed yet. */
  readonly status: "pending" | "completed" | "failed"
  readonly amount: bigint
  /** The key it was asked for with; absent when somebody else asked. */
  readonly key?: string
  /** Why it failed, in the provider's word. */
  readonly failure?: string
}

/** The issuer or the provider said no, for good. `code` is one of the provider's decline codes; `message` is fit for buyers. */
export class Declined extends Schema.TaggedError<Declined>()("Declined", {
  code: Schema.String,
  message: Schema.String
}) {}

/** Refused for what was asked, not for who asked: repeating it is of no use (an expired hold, an intent in another state). */
export class NotPossible extends Schema.TaggedError<NotPossible>()("NotPossible", { code: Schema.String }) {}

/** Surely not carried out: never sent, the breaker is open, or refused as too many. Safe to repeat with the same key. */
export class ProviderUnavailable extends Schema.TaggedError<ProviderUnavailable>()("ProviderUnavailable", {
  retryAfter: Schema.Duration
}) {}

/** Timed out, cut off or answered with a fault after it was sent: it may have been done. Look the intent up before going on. */
export class OutcomeUnknown extends Schema.TaggedError<OutcomeUnknown>()("OutcomeUnknown", {
  service: Schema.Literal("payment"),
  /** Set when the limit ran out; absent when the provider answered with a fault or hung up. */
  afterMs: Schema.optionalKey(Schema.Int),
  /** The provider has answered with a fault, so this call is over there; otherwise it may still be at work. */
  answered: Schema.optionalKey(Schema.Boolean)
}) {}

export type TransportError = ProviderUnavailable | OutcomeUnknown

export class PaymentGateway extends Context.Service<
  PaymentGateway,
  {
    /** Prepares a charge; touches no card. A repeat with the same key and content gives the same intent. */
    readonly createIntent: (request: {
      readonly key: string
      readonly amount: Money
      readonly checkoutId: string
      readonly customerId: string
      /** The provider's name for the card, as the storefront's browser code got it from the provider. */
      readonly paymentMethod: Redacted.Redacted<string>
    }) => Effect.Effect<Intent, Declined | NotPossible | TransportError>
    /** Sets the funds aside. Ends Authorized or RequiresAction (or Processing). */
    readonly confirmIntent: (request: {
      readonly key: string
      readonly id: IntentId
    }) => Effect.Effect<Intent, Declined | NotPossible | TransportError>
    /** Takes `amount` of the hold. */
    readonly capture: (request: {
      readonly key: string
      readonly id: IntentId
      readonly amount: Money
    }) => Effect.Effect<Intent, Declined | NotPossible | TransportError>
    /** Drops the hold, or makes sure that an unconfirmed intent can never be confirmed. Already dropped is success. */
    readonly void: (request: {
      readonly key: string
      readonly id: IntentId
    }) => Effect.Effect<Intent, NotPossible | TransportError>
    /** Gives captured money back. `checkoutId` and `refund` are our names, which the provider tells when it speaks of it by itself. */
    readonly refund: (request: {
      readonly key: string
      readonly id: IntentId
      readonly amount: Money
      readonly checkoutId: string
      readonly refund: string
    }) => Effect.Effect<ProviderRefund, NotPossible | TransportError>
    /** All refunds of the intent, whoever asked for them, newest first. Passes an open breaker as `retrieve` does. */
    readonly refunds: (id: IntentId) => Effect.Effect<ReadonlyArray<ProviderRefund>, NotPossible | TransportError>
    /** What the provider knows of the intent now. Passes an open breaker as a probe, so that compensation is not starved. REQ-CB-01. */
    readonly retrieve: (id: IntentId) => Effect.Effect<Intent, NotPossible | TransportError>
    /** All intents there are, whoever made them, newest first: those made in [`from`, `before`), behind `after`. */
    readonly list: (request: {
      readonly from: DateTime.Utc
      readonly before: DateTime.Utc
      readonly after?: IntentId
    }) => Effect.Effect<
      { readonly intents: ReadonlyArray<ListedIntent>; readonly next?: IntentId },
      NotPossible | TransportError
    >
    /** Closed, open or half open, for readiness pages and metrics. */
    readonly breakerState: Effect.Effect<"closed" | "open" | "half-open">
  }
>()("cartwright/gateways/PaymentGateway") {}

/** How long any one call may take, N-001; and when the breaker opens, N-036. */
export interface PaymentGatewayLimits {
  readonly timeout: Duration.Duration
  readonly breakerFailures: number
  readonly breakerWindow: Duration.Duration
  readonly breakerOpen: Duration.Duration
}
