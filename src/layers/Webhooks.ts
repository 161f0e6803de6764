/** Whose webhooks this node takes, each checked by its provider's rules. */
import { Effect, Layer } from "effect"
import * as PayPalCertificates from "../gateways/PayPalCertificates.ts"
import * as PayPalWebhooks from "../gateways/PayPalWebhooks.ts"
import { ProviderWebhooks, type ProviderWebhooksOptions } from "../gateways/ProviderWebhooks.ts"
import * as StripeWebhooks from "../gateways/StripeWebhooks.ts"

export const layer = ({ paypal, stripe }: ProviderWebhooksOptions): Layer.Layer<ProviderWebhooks> =>
  Layer.effect(
    ProviderWebhooks,
    Effect.gen(function* () {
      const certificates =
        paypal === undefined
          ? undefined
          : yield* PayPalCertificates.make({
              environment: paypal.environment,
              fetch: PayPalCertificates.fetchCertificates
            })
      return ProviderWebhooks.of({
        read: {
          ...(stripe === undefined ? {} : { stripe: yield* StripeWebhooks.make(stripe) }),
          ...(paypal === undefined || certificates === undefined
            ? {}
            : { paypal: PayPalWebhooks.make({ ...paypal, certificates }) })
        }
      })
    })
  )
