/** The payment provider Stripe, through its own SDK. */
import { Agent as HttpAgent } from "node:http"
import { Agent as HttpsAgent } from "node:https"
import { Duration, Effect, Layer, Redacted } from "effect"
import type Stripe from "stripe"
import type { PaymentGatewayLimits } from "./PaymentGateway.ts"
import { PaymentGateway } from "./PaymentGateway.ts"
import { PayoutGateway } from "./PayoutGateway.ts"
import * as StripePayouts from "./StripePayouts.ts"
import * as StripeProtocol from "./StripeProtocol.ts"
import type { StripeFailure, StripeTransport } from "./StripeProtocol.ts"

export interface StripeGatewayOptions {
  readonly secretKey: Redacted.Redacted<string>
  /** Stripe's own unless given, e.g. that of a sandbox. */
  readonly host?: string
  readonly port?: number
  readonly protocol?: "http" | "https"
  readonly limits: PaymentGatewayLimits
  /** Connections kept open; as many calls can be under way at once, further ones wait. 256 unless given. */
  readonly connectionsMax?: number
}

/** Loads the SDK at the first call: it takes a tenth of a second, which a node that takes over for another one does not have. */
export const layer = (options: StripeGatewayOptions): Layer.Layer<PaymentGateway | PayoutGateway> =>
  Layer.merge(paymentLayer(options), payoutLayer(options))

const paymentLayer = (options: StripeGatewayOptions) =>
  Layer.effect(
    PaymentGateway,
    Effect.gen(function* () {
      const transport = transportOn(yield* makeSend(options))
      return yield* StripeProtocol.make({ transport, limits: options.limits })
    })
  )

/** What sellers get goes over connections of its own, so that neither waits for the other. */
const payoutLayer = (options: StripeGatewayOptions) =>
  Layer.effect(
    PayoutGateway,
    Effect.gen(function* () {
      const send = yield* makeSend({ ...options, connectionsMax: payoutConnections })
      const transport: StripePayouts.PayoutTransport = {
        transfer: (params, idempotencyKey) => send((stripe) => stripe.transfers.create(params, { idempotencyKey })),
        transfers: (params) => send((stripe) => stripe.transfers.list(params))
      }
      return yield* StripePayouts.make({ transport, limits: options.limits })
    })
  )

const payoutConnections = 4

type Send = <A>(call: (stripe: Stripe) => Promise<A>) => Effect.Effect<A, StripeFailure>

const makeSend = Effect.fnUntraced(function* (options: StripeGatewayOptions) {
  const agent = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const settings = {
        keepAlive: true,
        maxSockets: options.connectionsMax ?? 256,
        // Closed by us before the provider closes it: a connection that it closes under a request is an unknown outcome.
        timeout: 20_000
      }
      return options.protocol === "http" ? new HttpAgent(settings) : new HttpsAgent(settings)
    }),
    (opened) => Effect.sync(() => opened.destroy())
  )
  const client = yield* Effect.cached(Effect.promise(() => makeClient(options, agent)))
  const send: Send = (call) =>
    Effect.flatMap(client, (stripe) =>
      Effect.tryPromise({ try: () => withoutStack(() => call(stripe)), catch: toFailure })
    )
  return send
})

const transportOn = (send: Send): StripeTransport => ({
  create: (params, idempotencyKey) => send((stripe) => stripe.paymentIntents.create(params, { idempotencyKey })),
  confirm: (id, params, idempotencyKey) =>
    send((stripe) => stripe.paymentIntents.confirm(id, params, { idempotencyKey })),
  capture: (id, params, idempotencyKey) =>
    send((stripe) => stripe.paymentIntents.capture(id, params, { idempotencyKey })),
  cancel: (id, params, idempotencyKey) =>
    send((stripe) => stripe.paymentIntents.cancel(id, params, { idempotencyKey })),
  refund: (params, idempotencyKey) => send((stripe) => stripe.refunds.create(params, { idempotencyKey })),
  refunds: (params) => send((stripe) => stripe.refunds.list(params)),
  retrieve: (id, params) => send((stripe) => stripe.paymentIntents.retrieve(id, params)),
  list: (params) => send((stripe) => stripe.paymentIntents.list(params))
})

/** The SDK notes where each call comes from, for its errors, which we drop; that is a fifth of what a call costs. */
const withoutStack = <A>(call: () => A): A => {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  try {
    return call()
  } finally {
    Error.stackTraceLimit = limit
  }
}

const makeClient = async (options: StripeGatewayOptions, agent: HttpAgent | HttpsAgent): Promise<Stripe> => {
  const { default: StripeSdk } = await import("stripe")
  const httpClient = StripeSdk.createNodeHttpClient(agent)
  const makeRequest = httpClient.makeRequest.bind(httpClient)
  // The SDK sends a request again when its connection was reset, whatever it is told about retries; a refusal of the second send would
  // then be taken for one of the first, which may have done the work. Without its code a reset is a failure like any other: one call
  // is one send.
  httpClient.makeRequest = (...request) =>
    makeRequest(...request).catch((error: unknown) => {
      throw isReset(error) ? Object.assign(new Error("Connection lost"), { cause: error }) : error
    })
  return new StripeSdk(Redacted.value(options.secretKey), {
    httpClient,
    maxNetworkRetries: 0,
    telemetry: false,
    // Of the silence on a socket. The limit on the whole call is ours: the SDK knows none, and cannot be interrupted.
    timeout: Math.ceil(Duration.toMillis(options.limits.timeout)),
    ...(options.host === undefined ? {} : { host: options.host }),
    ...(options.port === undefined ? {} : { port: options.port }),
    ...(options.protocol === undefined ? {} : { protocol: options.protocol })
  })
}

const isReset = (error: unknown): boolean => {
  const { code } = (error ?? {}) as { readonly code?: unknown }
  return code === "ECONNRESET" || code === "EPIPE"
}

/** Reads the SDK's error; keeps nothing of it but codes, since it carries intents and secrets. */
const toFailure = (cause: unknown): StripeFailure => {
  const error = (cause ?? {}) as SdkError
  if (error.type === "StripeConnectionError") {
    if (neverConnected(error.detail)) return { _tag: "NotSent" }
    return error.detail?.code === "ETIMEDOUT" ? { _tag: "TimedOut" } : { _tag: "AnswerLost" }
  }
  const retryAfter = Number(error.headers?.["retry-after"])
  return StripeProtocol.failureOf({
    status: error.statusCode,
    type: error.rawType,
    code: error.code,
    // The SDK makes an empty text of an absent one.
    declineCode: error.decline_code === "" ? undefined : error.decline_code,
    message: error.message,
    retryAfterSeconds: Number.isFinite(retryAfter) ? retryAfter : undefined
  })
}

/** The name was not found, or nobody took the connection: of several addresses, at all of them. */
const neverConnected = (detail: SdkError["detail"]): boolean => {
  if (detail === undefined) return false
  const attempts = detail.errors ?? [detail]
  return attempts.length > 0 && attempts.every(({ syscall }) => syscall === "connect" || syscall === "getaddrinfo")
}

/** Fields of `Stripe.errors.StripeError`; what is not one of those has none of them, and counts as a lost answer. */
interface SdkError {
  readonly type?: string
  readonly rawType?: string
  readonly code?: string
  readonly decline_code?: string
  readonly message?: string
  readonly statusCode?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly detail?: NetworkError & { readonly errors?: ReadonlyArray<NetworkError> }
}
interface NetworkError {
  readonly code?: string
  readonly syscall?: string
}
