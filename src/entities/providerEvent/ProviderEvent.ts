/**
 * What a payment provider has told us, once: kept before it is acknowledged, and settled together with its effect. Entity id in messages:
 * the payment's, on whose node the event lives; the event itself is named by provider and event id. REQUIREMENTS B.19, C.8.
 */
import { Schema } from "effect"
import { Entity } from "effect/cluster"
import { Rpc } from "effect/rpc"
import { CheckoutId } from "../../domain/Ids.ts"
import { Amount, Currency } from "../../domain/Money.ts"

export const Provider = Schema.Literals(["stripe", "paypal"])
export type Provider = typeof Provider.Type

/** A provider's own name for a thing. That of an authorization is a secret: it stands in rows, never in a log. REQ-SEC-02. */
export const ProviderReference = Schema.String.check(Schema.isPattern(/^[\w.:-]{1,200}$/)).pipe(
  Schema.brand("ProviderReference")
)
export type ProviderReference = typeof ProviderReference.Type

const money = { amount: Amount, currency: Currency }

/** What an event says, whoever the provider is. A hint: nothing changes on its word alone. REQ-WHK-04. */
export const PaymentFact = Schema.TaggedUnion({
  Authorized: money,
  RequiresAction: {},
  Processing: {},
  /** The issuer refused, or the customer did not prove who they are. */
  Failed: {},
  Captured: money,
  Voided: {},
  /** `refund` is the provider's id of it, `ours` the one which it was asked for with, where the provider repeats it. */
  Refund: {
    ...money,
    refund: ProviderReference,
    ours: Schema.optionalKey(Schema.String),
    status: Schema.Literals(["pending", "completed", "failed"]),
    code: Schema.optionalKey(Schema.String)
  },
  Chargeback: {
    ...money,
    chargeback: ProviderReference,
    reason: Schema.String,
    status: Schema.Literals(["opened", "won", "lost"])
  }
})
export type PaymentFact = typeof PaymentFact.Type

export const ProviderNews = Schema.Struct({
  provider: Provider,
  eventId: ProviderReference,
  /** In the provider's words. */
  type: Schema.String.check(Schema.isPattern(/^[\w.-]{1,100}$/)),
  /** What it is about: an intent, a refund, a dispute. */
  object: ProviderReference,
  /** The authorization behind it. */
  intent: Schema.optionalKey(ProviderReference),
  occurredAt: Schema.DateTimeUtc,
  fact: PaymentFact
})
export type ProviderNews = typeof ProviderNews.Type

/** `unmatched`: no payment of ours. `parked`: could not be handled; an operator may have it tried again. */
export const EventStatus = Schema.Literals(["received", "applied", "ignored", "unmatched", "parked"])
export type EventStatus = typeof EventStatus.Type

export const ProviderEventState = Schema.TaggedUnion({
  Absent: {},
  Present: {
    news: ProviderNews,
    /** The payment it is about, where one was named. */
    payment: Schema.optionalKey(CheckoutId),
    status: EventStatus,
    /** Vain tries so far. */
    attempts: Schema.Int,
    nextAttemptAt: Schema.optionalKey(Schema.DateTimeUtc),
    /** What it came to. */
    outcome: Schema.optionalKey(Schema.String),
    /** Why the last try was in vain. */
    error: Schema.optionalKey(Schema.String),
    receivedAt: Schema.DateTimeUtc,
    settledAt: Schema.optionalKey(Schema.DateTimeUtc),
    /** How often the same event id came with another content. */
    contradictions: Schema.Int
  }
})
export type ProviderEventState = typeof ProviderEventState.Type
export type PresentEvent = Extract<ProviderEventState, { readonly _tag: "Present" }>

/** The event's id was used before for another type or object: one of the two is not genuine, or the provider is mistaken. */
export class EventContradiction extends Schema.TaggedError<EventContradiction>()("EventContradiction", {}) {}

/** The event is not parked. */
export class EventConflict extends Schema.TaggedError<EventConflict>()("EventConflict", {
  status: Schema.String,
  command: Schema.String
}) {}

/** Names one event for good, over all providers. */
export const eventKeyOf = ({ eventId, provider }: Pick<ProviderNews, "eventId" | "provider">): string =>
  `${provider}:${eventId}`

export const ProviderEvent = Entity.make("ProviderEvent", [
  /** Durable when it answers. `payment` is false where no payment of ours is named: the entity id then only places the event. */
  Rpc.make("Receive", {
    payload: { news: ProviderNews, payment: Schema.Boolean },
    success: Schema.Literals(["accepted", "duplicate"]),
    error: EventContradiction
  }),
  /** Tries a parked event again, with all of its tries. */
  Rpc.make("Replay", { payload: { provider: Provider, eventId: ProviderReference }, error: EventConflict })
])
