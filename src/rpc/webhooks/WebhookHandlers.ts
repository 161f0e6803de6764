/** Checks a webhook, finds the payment it is about, and hands it over: durable before it is acknowledged. REQ-WHK-03. */
import { Effect, Layer, Option, Schema } from "effect"
import { CheckoutId } from "../../domain/Ids.ts"
import { eventKeyOf, Provider, ProviderEvent } from "../../entities/providerEvent/ProviderEvent.ts"
// oxlint-disable-next-line no-restricted-imports -- what comes from a provider is its gateway's to check
import { ProviderWebhooks } from "../../gateways/ProviderWebhooks.ts"
import { PaymentReferences } from "../../projections/PaymentReferences.ts"
import { Placement } from "../../runtime/Placement.ts"
import { type Reception, WebhookReceiver } from "./WebhookReceiver.ts"

const asProvider = Schema.decodeUnknownOption(Provider)
const asCheckout = Schema.decodeUnknownOption(CheckoutId)

export const layer: Layer.Layer<WebhookReceiver, never, PaymentReferences | Placement | ProviderWebhooks> =
  Layer.effect(
    WebhookReceiver,
    Effect.gen(function* () {
      const { read } = yield* ProviderWebhooks
      const placement = yield* Placement
      const references = yield* PaymentReferences
      const events = placement.client(ProviderEvent)

      const receive: WebhookReceiver["Service"]["receive"] = Effect.fn("WebhookReceiver.receive")(
        function* (name, request): Effect.fn.Return<Reception> {
          const provider = Option.getOrUndefined(asProvider(name))
          const adapter = provider === undefined ? undefined : read[provider]
          if (adapter === undefined) return "unknown"
          // Nothing of ours is asked or written before this has said that it is authentic. REQ-WHK-02.
          const reading = yield* Effect.result(adapter(request))
          if (reading._tag === "Failure") {
            switch (reading.failure._tag) {
              case "NotAuthentic":
                yield* Effect.logDebug("A webhook is not authentic", {
                  provider: name,
                  because: reading.failure.because
                })
                return "forged"
              case "NotReadable":
                yield* Effect.logWarning("An authentic webhook is not what the provider's manual says", {
                  provider: name
                })
                return "unreadable"
              case "NotVerifiable":
                return "unavailable"
            }
          }
          const { checkoutId, news } = reading.success
          if (news === undefined) return "ignored"
          return yield* Effect.gen(function* () {
            const named = Option.getOrUndefined(asCheckout(checkoutId))
            const payment = named ?? (news.intent === undefined ? undefined : yield* references.paymentOf(news.intent))
            // Of no payment of ours, it lives where its own name puts it.
            return yield* events(payment ?? eventKeyOf(news)).Receive({ news, payment: payment !== undefined })
          }).pipe(
            Effect.catchTags({
              EventContradiction: () => Effect.succeed<Reception>("contradiction"),
              IdempotencyConflict: () => Effect.succeed<Reception>("contradiction"),
              Unavailable: () => Effect.succeed<Reception>("unavailable")
            })
          )
        }
      )
      return WebhookReceiver.of({ receive })
    })
  )
