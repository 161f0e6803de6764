/** The nodes a client knows, connected to on first use. Any of them answers any call, so one that does not is left for the next. */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import type * as Rpc from "effect/rpc/Rpc"
import * as RpcClient from "effect/rpc/RpcClient"
import type * as RpcClientError from "effect/rpc/RpcClientError"
import * as RpcMiddleware from "effect/rpc/RpcMiddleware"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as Socket from "effect/socket/Socket"
import type { CustomerApi, CustomerRefusal, CustomerRpc } from "../rpc/CustomerApi.ts"
import { Authentication } from "../rpc/Auth.ts"
import type { OrderChange } from "../rpc/orders/OrdersRpc.ts"

/** A group of operations, with which a client is made for them alone. */
export interface AnyApi {
  readonly requests: ReadonlyMap<string, Rpc.AnyWithProps>
}

export type Transport = "websocket" | "http"

export type Headers = Readonly<Record<string, string>>

/** What a call may end in besides its success. */
export type NodeFailure = CustomerRefusal | RpcClientError.RpcClientError | Silent

/** Which answer belongs to which call is for Calls.ts to say. */
export interface NodeClient {
  readonly call: (tag: string, payload: unknown, headers: Headers) => Effect.Effect<unknown, NodeFailure>
  readonly watch: (
    payload: Rpc.Payload<WatchOrder>,
    headers: Headers
  ) => Stream.Stream<OrderChange, Rpc.ErrorExit<WatchOrder> | RpcClientError.RpcClientError>
}
type WatchOrder = Extract<CustomerRpc, { readonly _tag: "WatchOrder" }>

export interface Node {
  readonly url: string
  readonly client: Effect.Effect<NodeClient>
  /** Fails once the node has been silent for too long, and never ends otherwise. A WebSocket notices that by itself. */
  readonly silence: Effect.Effect<never, Silent>
}

type UntypedClient = (
  tag: string,
  payload: unknown,
  options: { readonly headers: Headers }
) => Effect.Effect<unknown, NodeFailure>

/** A node that took a call and did not answer. */
export class Silent extends Data.TaggedError("Silent")<{ readonly url: string }> {}

export interface Nodes {
  readonly count: number
  readonly current: () => Node
  /** From now on calls go to the next, unless they do already. */
  readonly leave: (node: Node) => void
}

/** Addresses such as `https://orders.shop.example`, with or without a path below which the API stands. */
export const make = Effect.fnUntraced(function* (
  urls: ReadonlyArray<string>,
  transport: Transport,
  api: AnyApi
): Effect.fn.Return<Nodes, never, Scope.Scope> {
  const scope = yield* Scope.Scope
  const nodes = yield* Effect.forEach(urls, (address) => {
    const url = httpUrl(address)
    const protocol = transport === "websocket" ? overWebSocket(url) : overHttp(url)
    const connect = Effect.gen(function* () {
      const context = yield* Layer.build(Layer.merge(protocol, tokenIsInHeaders))
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- whichever group it is: which answer belongs to what is said in Calls.ts
      const client = yield* Effect.provide(RpcClient.make(api as typeof CustomerApi, { flatten: true }), context)
      return {
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- of all operations at once the compiler knows nothing
        call: (tag, payload, headers) => (client as UntypedClient)(tag, payload, { headers }),
        watch: (payload, headers) => client("WatchOrder", payload, { headers })
      } satisfies NodeClient
    })
    return Effect.map(Effect.cached(Effect.uninterruptible(Scope.provide(connect, scope))), (client): Node => ({
      url,
      client,
      silence: transport === "websocket" ? Effect.never : silenceOf(url)
    }))
  })
  let current = 0
  return {
    count: nodes.length,
    current: () => nodes[current]!,
    leave: (node) => {
      if (nodes[current] === node) current = (current + 1) % nodes.length
    }
  }
})

export const httpUrl = (address: string): string => address.replace(/^ws/, "http").replace(/\/+$/, "")

/** A frozen node is noticed within twice this. */
const pingInterval = Duration.seconds(3)
const openTimeout = Duration.seconds(5)

const overWebSocket = (url: string) =>
  RpcClient.layerProtocolSocket({
    pingInterval,
    retryPolicy: Schedule.min([Schedule.exponential("200 millis", 1.5), Schedule.spaced("2 seconds")])
  }).pipe(
    Layer.provide([
      RpcSerialization.layerJson,
      Layer.provide(
        Socket.layerWebSocket(`${url.replace(/^http/, "ws")}/rpc/ws`, { openTimeout }),
        Socket.layerWebSocketConstructorGlobal
      )
    ])
  )

const overHttp = (url: string) =>
  RpcClient.layerProtocolHttp({ url: `${url}/rpc` }).pipe(
    Layer.provide([RpcSerialization.layerNdjson, FetchHttpClient.layer])
  )

/** Each call carries its own token, see Calls.ts. */
const tokenIsInHeaders = RpcMiddleware.layerClient(Authentication, ({ next, request }) => next(request))

/** HTTP has no pings: while a call is under way, any answer at all says that the node lives. */
const silenceOf = (url: string): Effect.Effect<never, Silent> =>
  Effect.tryPromise((signal) => fetch(`${url}/healthz`, { signal, mode: "no-cors", cache: "no-store" })).pipe(
    Effect.timeout(pingInterval),
    Effect.mapError(() => new Silent({ url })),
    Effect.delay(pingInterval),
    Effect.forever
  )
