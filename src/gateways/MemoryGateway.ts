/**
 * A `PaymentGateway` without a network, for unit tests: the sandbox's provider in the same process, so that every test token and every
 * fault behaves as it does over the wire, and time is the test's. The limits and the breaker are the real ones.
 */
/* oxlint-disable no-restricted-imports -- the one adapter whose provider is part of this program */
import { Effect, Layer } from "effect"
import { PaymentProvider } from "../sandbox/PaymentProvider.ts"
import type { Ending } from "../sandbox/PaymentProvider.ts"
import type { Params } from "../sandbox/FormBody.ts"
import type { Content } from "../sandbox/StripeObjects.ts"
import { paymentIntent, refund, transfer } from "../sandbox/StripeObjects.ts"
import type { PaymentGatewayLimits } from "./PaymentGateway.ts"
import { PaymentGateway } from "./PaymentGateway.ts"
import { PayoutGateway } from "./PayoutGateway.ts"
import * as StripePayouts from "./StripePayouts.ts"
import * as StripeProtocol from "./StripeProtocol.ts"
import type { StripeFailure, StripeIntent, StripeTransport } from "./StripeProtocol.ts"

/** Also provides the provider behind it: a test injects faults there, and counts in its ledger what really happened. */
export const layer = (limits: PaymentGatewayLimits): Layer.Layer<PaymentGateway | PaymentProvider | PayoutGateway> =>
  Layer.merge(
    Layer.effect(
      PaymentGateway,
      Effect.flatMap(PaymentProvider, (provider) => StripeProtocol.make({ transport: transportTo(provider), limits }))
    ),
    Layer.effect(
      PayoutGateway,
      Effect.flatMap(PaymentProvider, (provider) => StripePayouts.make({ transport: payoutsTo(provider), limits }))
    )
  ).pipe(Layer.provideMerge(PaymentProvider.layer))

const askOf =
  (provider: PaymentProvider["Service"]) => (method: "GET" | "POST", path: string, params: object, key?: string) =>
    Effect.callback<Content, StripeFailure>((resume) => {
      provider.handle({ method, path: `/v1/${path}`, params: toParams(params), key, credential: "secret" }, (ending) =>
        resume(read(ending))
      )
    })

const payoutsTo = (provider: PaymentProvider["Service"]): StripePayouts.PayoutTransport => {
  const ask = askOf(provider)
  return {
    transfer: (params, key) =>
      Effect.flatMap(ask("POST", "transfers", params, key), (content) =>
        content._tag === "Transfer" ? Effect.succeed(transfer(content.transfer)) : Effect.die(content)
      ),
    transfers: (params) =>
      Effect.flatMap(ask("GET", "transfers", params), (content) =>
        content._tag === "List"
          ? Effect.succeed({
              data: content.items.flatMap((item) => (item._tag === "Transfer" ? [transfer(item.transfer)] : []))
            })
          : Effect.die(content)
      )
  }
}

const transportTo = (provider: PaymentProvider["Service"]): StripeTransport => {
  const ask = askOf(provider)
  const askForIntent = (...request: Parameters<typeof ask>): Effect.Effect<StripeIntent, StripeFailure> =>
    Effect.flatMap(ask(...request), (content) =>
      content._tag === "Intent"
        ? Effect.succeed(paymentIntent(content.intent, { url: "memory:", expandCharge: content.expandCharge }))
        : Effect.die(content)
    )
  return {
    create: (params, key) => askForIntent("POST", "payment_intents", params, key),
    confirm: (id, params, key) => askForIntent("POST", `payment_intents/${id}/confirm`, params, key),
    capture: (id, params, key) => askForIntent("POST", `payment_intents/${id}/capture`, params, key),
    cancel: (id, params, key) => askForIntent("POST", `payment_intents/${id}/cancel`, params, key),
    refund: (params, key) =>
      Effect.flatMap(ask("POST", "refunds", params, key), (content) =>
        content._tag === "Refund" ? Effect.succeed(refund(content.refund)) : Effect.die(content)
      ),
    refunds: (params) =>
      Effect.flatMap(ask("GET", "refunds", params), (content) =>
        content._tag === "List"
          ? Effect.succeed({
              data: content.items.flatMap((item) => (item._tag === "Refund" ? [refund(item.refund)] : [])),
              has_more: content.more
            })
          : Effect.die(content)
      ),
    retrieve: (id, params) => askForIntent("GET", `payment_intents/${id}`, params),
    list: (params) =>
      Effect.flatMap(ask("GET", "payment_intents", params), (content) =>
        content._tag === "List"
          ? Effect.succeed({
              data: content.items.flatMap((item) =>
                item._tag === "Intent"
                  ? [paymentIntent(item.intent, { url: "memory:", expandCharge: item.expandCharge })]
                  : []
              ),
              has_more: content.more
            })
          : Effect.die(content)
      )
  }
}

/** Parameters as they arrive from a form: all of them text. */
const toParams = (params: object): Params =>
  JSON.parse(JSON.stringify(params), (_, value: unknown) =>
    typeof value === "number" || typeof value === "boolean" ? String(value) : value
  )

const read = (ending: Ending): Effect.Effect<Content, StripeFailure> => {
  switch (ending._tag) {
    case "Answered": {
      const { content, retryAfterSeconds } = ending.answer
      if (content._tag !== "Error") return Effect.succeed(content)
      const { status, type, code, decline_code: declineCode, message } = content.error
      return Effect.fail(StripeProtocol.failureOf({ status, type, code, declineCode, message, retryAfterSeconds }))
    }
    case "Unavailable":
    case "Cut":
      return Effect.fail({ _tag: "AnswerLost" })
    case "Silent":
      return Effect.never
    case "Down":
      return Effect.fail({ _tag: "NotSent" })
  }
}
