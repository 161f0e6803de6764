/**
 * What payment providers tell us by themselves, as the edge sees it: one interface, whoever the provider is. An adapter decides whether a
 * request is authentic, on the bytes as they came, and says in our words what it is about. It knows no payment and changes nothing.
 */
import { Context, type Duration, type Effect, type Redacted, Schema } from "effect"
import type { Provider, ProviderNews } from "../entities/providerEvent/ProviderEvent.ts"

export interface WebhookRequest {
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly body: Uint8Array
}

/** Not from the provider, not meant for us, altered, too old or too early. Nothing tells the sender which. REQ-WHK-02. */
export class NotAuthentic extends Schema.TaggedError<NotAuthentic>()("NotAuthentic", {
  /** For our own figures. */
  because: Schema.Literals(["unsigned", "malformed", "signature", "time", "certificate"])
}) {}

/** From the provider, and not what its manual says. */
export class NotReadable extends Schema.TaggedError<NotReadable>()("NotReadable", {}) {}

/** Whether it is authentic cannot be found out now; the provider repeats it. */
export class NotVerifiable extends Schema.TaggedError<NotVerifiable>()("NotVerifiable", {}) {}

/** An authentic event; `undefined` news are about something that is of no interest to us. */
export interface Authentic {
  readonly news: ProviderNews | undefined
  /** Our own id of the checkout, where the provider was told it and repeats it. */
  readonly checkoutId: string | undefined
}

export type Reading = Effect.Effect<Authentic, NotAuthentic | NotReadable | NotVerifiable>

/** How one provider's webhooks are read. */
export type ReadWebhook = (request: WebhookRequest) => Reading

export class ProviderWebhooks extends Context.Service<
  ProviderWebhooks,
  {
    /** Of those providers which are set up. */
    readonly read: Readonly<Partial<Record<Provider, ReadWebhook>>>
  }
>()("cartwright/gateways/ProviderWebhooks") {}

/** Of each provider which is set up, what its adapter needs. */
export interface ProviderWebhooksOptions {
  readonly stripe?: {
    /** Of the endpoint, `whsec_...`; two while one is exchanged for the other. REQ-WHK-02. */
    readonly secrets: ReadonlyArray<Redacted.Redacted<string>>
    /** How old a webhook may be, and how much ahead of our clock. N-047. */
    readonly tolerance: Duration.Duration
  }
  readonly paypal?: {
    /** PayPal's ids of our webhook, which are part of what is signed; two while one is exchanged for the other. */
    readonly webhookIds: ReadonlyArray<string>
    readonly environment: "live" | "sandbox"
    /** How old a transmission may be, and how much ahead of our clock. */
    readonly tolerance: Duration.Duration
  }
}
