/** What the edge does with a payment provider's webhook: find out whether it is one, and hand it to its payment. REQ-API-05. */
import { Context, Effect, Layer } from "effect"

/** How it ended, for the answer and for the figures. */
export type Reception =
  /** Durable: it has its effect, or will have it whatever happens to this node. */
  | "accepted"
  /** Known already; nothing is done. */
  | "duplicate"
  /** Authentic, and about something that is of no interest here. */
  | "ignored"
  /** No such provider is set up. */
  | "unknown"
  | "forged"
  | "unreadable"
  /** The event's id was used before for something else. */
  | "contradiction"
  /** Not now; the provider repeats it. */
  | "unavailable"

export class WebhookReceiver extends Context.Service<
  WebhookReceiver,
  {
    /** `provider` as it stands in the address; headers with names in lower case; the body as it came. */
    readonly receive: (
      provider: string,
      request: { readonly headers: Readonly<Record<string, string | undefined>>; readonly body: Uint8Array }
    ) => Effect.Effect<Reception>
  }
>()("cartwright/rpc/webhooks/WebhookReceiver") {
  /** No provider is set up. */
  static readonly layerNone: Layer.Layer<WebhookReceiver> = Layer.succeed(WebhookReceiver, {
    receive: () => Effect.succeed("unknown")
  })
}
