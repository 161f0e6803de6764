/**
 * Everything a node answers on its port: the typed RPC over WebSocket and HTTP, plain HTTP, health. Which handlers stand behind it, who
 * verifies tokens and what readiness means is given to it.
 */
import { createServer } from "node:http"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { ByteSize, Data, Duration, Effect, Layer, type Scope } from "effect"
import {
  Headers,
  HttpEffect,
  HttpIncomingMessage,
  HttpMiddleware,
  HttpRouter,
  type HttpServer,
  HttpServerError,
  HttpServerRequest,
  HttpServerResponse
} from "effect/http"
import { type Rpc, RpcSerialization, RpcServer } from "effect/rpc"
import * as Socket from "effect/socket/Socket"
import { Admission, type AdmissionLimits } from "./Admission.ts"
import type { ApiRpc } from "./Api.ts"
import type { Authentication } from "./Auth.ts"
import type { AuthTokens } from "./AuthTokens.ts"
import { CallGuard, type CallLimits, GuardedApi } from "./CallGuard.ts"
import type { Draining } from "./Draining.ts"
import { guarded, tolerant } from "./EdgeProtocol.ts"
import * as Health from "./Health.ts"
import * as HttpHandlers from "./http/HttpHandlers.ts"
import type { OperatorAccess } from "./operator/OperatorAccess.ts"
import { requestIdHeader, requestIdOf } from "./RequestId.ts"
import type { WebhookReceiver } from "./webhooks/WebhookReceiver.ts"
import * as WebhookRoutes from "./webhooks/WebhookRoutes.ts"

export interface ServerOptions {
  readonly host: string
  /** 0 takes a free one; the `HttpServer` of the layer says which. */
  readonly port: number
  /** Health and metrics get a port of their own; absent, they are on `port`. */
  readonly healthPort?: number
  /** Web pages of which origins may call, e.g. `https://shop.example`. `*` means all, and is refused unless `dev`. REQ-GW-04. */
  readonly corsOrigins: ReadonlyArray<string>
  readonly dev: boolean
  readonly limits?: Partial<ServerLimits>
}

export interface ServerLimits extends AdmissionLimits, CallLimits {
  /** One body, and one WebSocket message. REQ-GW-06. */
  readonly bodyMax: number
  /** One body of a payment provider's webhook. */
  readonly webhookMax: number
  readonly headersMax: number
  /** A WebSocket from which nothing came for so long is closed. Clients ping every few seconds, hidden browser tabs once a minute. */
  readonly silentFor: Duration.Duration
  /** How long what is under way may take once the node stops. */
  readonly shutdownWithin: Duration.Duration
}

export const defaultLimits: ServerLimits = {
  timeLimit: Duration.seconds(30),
  callsMax: 4_000,
  delayMax: Duration.millis(25),
  streamsMax: 10_000,
  bodyMax: 1024 * 1024,
  webhookMax: 2 * 1024 * 1024,
  headersMax: 16 * 1024,
  silentFor: Duration.seconds(150),
  shutdownWithin: Duration.seconds(2)
}

/** The node cannot start with these options. */
export class ServerRefused extends Data.TaggedError("ServerRefused")<{ readonly message: string }> {}

/** What `layer` stands on. `Rpc.ToHandler` comes from the layers of StorefrontHandlers.ts, OrdersHandlers.ts and OperatorHandlers.ts. */
export type ServerServices =
  | Rpc.ToHandler<ApiRpc>
  | Authentication
  | OperatorAccess
  | AuthTokens
  | Draining
  | Health.Readiness
  | WebhookReceiver

export const layer = (
  options: ServerOptions
): Layer.Layer<HttpServer.HttpServer, HttpServerError.ServeError | ServerRefused, ServerServices> => {
  const limits = { ...defaultLimits, ...options.limits }
  const anyOrigin = options.corsOrigins.includes("*")
  if (anyOrigin && !options.dev) {
    return Layer.effectContext(
      Effect.fail(new ServerRefused({ message: "corsOrigins must name origins; * is for development only" }))
    )
  }
  const allows = (origin: string) => anyOrigin || options.corsOrigins.includes(origin)

  const calls = Layer.mergeAll(
    rpc(
      "/rpc/ws",
      "GET",
      Effect.map(RpcServer.makeProtocolWithHttpEffectWebsocket, fromBrowsersOf(allows, limits.silentFor))
    ).pipe(Layer.provide(serialization(RpcSerialization.json))),
    rpc("/rpc", "POST", RpcServer.makeProtocolWithHttpEffect()).pipe(
      Layer.provide(serialization(RpcSerialization.makeNdjson({ maxBufferSize: limits.bodyMax })))
    ),
    rpc("/rpc/json", "POST", RpcServer.makeProtocolWithHttpEffect()).pipe(
      Layer.provide(serialization(RpcSerialization.json))
    ),
    HttpHandlers.routes,
    WebhookRoutes.routes({ bodyMax: limits.webhookMax, timeLimit: limits.timeLimit })
  ).pipe(Layer.provide(CallGuard.layer(limits)), Layer.provide(Admission.layer(limits)))

  const everyRequest = Layer.mergeAll(
    HttpRouter.middleware(withRequestId, { global: true }),
    HttpRouter.middleware(withLimit(limits.bodyMax), { global: true }),
    options.corsOrigins.length === 0 ? Layer.empty : cors(allows)
  )

  const listen = (port: number) =>
    NodeHttpServer.layer(
      () =>
        createServer({
          maxHeaderSize: limits.headersMax,
          headersTimeout: 10_000,
          requestTimeout: 30_000
        }),
      {
        port,
        host: options.host,
        gracefulShutdownTimeout: limits.shutdownWithin,
        websocket: { maxPayload: limits.bodyMax }
      }
    )
  const quiet = { disableLogger: true, disableListenLog: true }
  const { healthPort } = options
  const main = HttpRouter.serve(
    Layer.mergeAll(calls, healthPort === undefined ? Health.routes : Layer.empty).pipe(Layer.provide(everyRequest)),
    quiet
  ).pipe(Layer.provideMerge(listen(options.port)))
  return healthPort === undefined
    ? main
    : Layer.merge(main, HttpRouter.serve(Health.routes, quiet).pipe(Layer.provide(listen(healthPort))))
}

const serialization = (inner: RpcSerialization.RpcSerialization["Service"]) =>
  Layer.succeed(RpcSerialization.RpcSerialization, tolerant(inner))

interface HttpProtocol {
  readonly protocol: RpcServer.Protocol["Service"]
  readonly httpEffect: Effect.Effect<
    HttpServerResponse.HttpServerResponse,
    never,
    HttpServerRequest.HttpServerRequest | Scope.Scope
  >
}

/** The API behind one transport. */
const rpc = <R>(path: `/${string}`, method: "GET" | "POST", transport: Effect.Effect<HttpProtocol, never, R>) =>
  HttpRouter.use(
    Effect.fnUntraced(function* (router) {
      const { httpEffect, protocol } = yield* transport
      yield* RpcServer.make(GuardedApi, { disableFatalDefects: true }).pipe(
        Effect.provideService(RpcServer.Protocol, guarded(protocol, yield* Admission)),
        Effect.forkScoped
      )
      yield* router.add(method, path, httpEffect)
    })
  )

/** Browsers let any page open a WebSocket, so that who may is checked here; and a peer that vanished is let go. */
const fromBrowsersOf =
  (allows: (origin: string) => boolean, silentFor: Duration.Duration) =>
  ({ httpEffect, protocol }: HttpProtocol): HttpProtocol => ({
    protocol,
    httpEffect: Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
      const origin = request.headers["origin"]
      if (origin !== undefined && !allows(origin)) return Effect.succeed(HttpServerResponse.empty({ status: 403 }))
      if (request.headers["upgrade"]?.toLowerCase() !== "websocket") {
        return Effect.succeed(HttpServerResponse.empty({ status: 426, headers: { upgrade: "websocket" } }))
      }
      const upgrade = Effect.map(request.upgrade, (socket) => untilSilent(socket, silentFor))
      return Effect.provideService(
        httpEffect,
        HttpServerRequest.HttpServerRequest,
        Object.create(request, { upgrade: { value: upgrade } })
      )
    })
  })

const untilSilent = (socket: Socket.Socket, silentFor: Duration.Duration): Socket.Socket => {
  const silence = new Socket.SocketError({
    reason: new Socket.SocketCloseError({ code: 1001, closeReason: "silent for too long" })
  })
  return Socket.make({
    writer: socket.writer,
    reader: Effect.map(socket.reader, ({ pull, upgrade }) => ({
      upgrade,
      pull: Effect.timeoutOrElse(pull, { duration: silentFor, orElse: () => Effect.fail(silence) })
    }))
  })
}

type Answer<E, R> = Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>

/** Gives each request its id, and says it in the reply, in logs and in the span. On a WebSocket each call has its own. REQ-GW-05. */
const withRequestId = <E, R>(effect: Answer<E, R>): Answer<E, R | HttpServerRequest.HttpServerRequest> =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request): Answer<E, R | HttpServerRequest.HttpServerRequest> => {
    if (request.headers["upgrade"] !== undefined) return effect
    const requestId = requestIdOf(request.headers)
    return HttpEffect.appendPreResponseHandler((_, response) =>
      Effect.succeed(HttpServerResponse.setHeader(response, requestIdHeader, requestId))
    ).pipe(
      Effect.andThen(Effect.annotateCurrentSpan("request.id", requestId)),
      Effect.andThen(
        Effect.provideService(
          effect,
          HttpServerRequest.HttpServerRequest,
          request.modify({ headers: Headers.set(request.headers, requestIdHeader, requestId) })
        )
      ),
      Effect.tapDefect((defect) =>
        HttpServerError.isHttpServerError(defect)
          ? Effect.void
          : Effect.logError("A request failed outside of any call", defect)
      ),
      Effect.annotateLogs({ requestId })
    )
  })

/** A body which says that it is too long is not read at all; one which does not say so is read up to the limit. */
const withLimit =
  (bodyMax: number) =>
  <E, R>(effect: Answer<E, R>): Answer<E, R | HttpServerRequest.HttpServerRequest> =>
    Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers, url }) =>
      // Webhooks have a limit of their own.
      Number(headers["content-length"] ?? 0) > bodyMax && !url.startsWith(WebhookRoutes.webhookPath)
        ? Effect.succeed(HttpServerResponse.empty({ status: 413, headers: { connection: "close" } }))
        : Effect.provideService(effect, HttpIncomingMessage.MaxBodySize, ByteSize.bytes(bodyMax))
    )

const cors = (allows: (origin: string) => boolean) =>
  HttpRouter.middleware(
    HttpMiddleware.cors({
      allowedOrigins: allows,
      allowedMethods: ["GET", "POST"],
      allowedHeaders: [
        "authorization",
        // Both are what Effect's own clients send of a trace.
        "b3",
        "content-type",
        "idempotency-key",
        "traceparent",
        "x-customer-id",
        requestIdHeader,
        "x-session-id"
      ],
      exposedHeaders: ["retry-after", requestIdHeader],
      maxAge: 600
    }),
    { global: true }
  )
