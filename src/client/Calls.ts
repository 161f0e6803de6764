/** Calls which keep their key until they have their answer: repeated at the next node while one is down, silent or overloaded. */
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import type * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Rpc from "effect/rpc/Rpc"
import type { InvalidRequest } from "../domain/Refusals.ts"
import { CustomerApi, type CustomerRpc } from "../rpc/CustomerApi.ts"
import { fromSchemaError, strictly } from "../rpc/InvalidRequests.ts"
import { OfOrder } from "../rpc/orders/OrdersRpc.ts"
import { askForGuestToken } from "./GuestToken.ts"
import * as Nodes from "./Nodes.ts"
import { newId } from "./NewId.ts"

/** A token of the shop's issuer, or where to get one; asked for with each call, so that a refreshed one is used at once. */
export type Token = string | (() => string | Promise<string>)

export interface ClientOptions {
  /** Addresses of nodes, in the order in which they are tried. A client that knows two goes on when one stops. */
  readonly urls: string | ReadonlyArray<string>
  /** Absent: a guest's, which the shop makes at the first call, and which is kept while this client lives. */
  readonly token?: Token | undefined
  /** `websocket` where there is one, else `http`. */
  readonly transport?: Nodes.Transport | undefined
  /** Until when a call is repeated before it fails as `Unreachable`: 30 s. A confirmation has half a minute more. */
  readonly deadline?: Duration.Input | undefined
  /** How long one node may take to answer: 10 s. A confirmation has 30 s. */
  readonly answerWithin?: Duration.Input | undefined
}

/** Nobody answered until the deadline. A command may still have been carried out: repeat it with the same `key` to find out. */
export class Unreachable extends Data.TaggedError("Unreachable")<{
  readonly key: string | undefined
  readonly cause: unknown
}> {}

/** The application's own `token` function failed. */
export class TokenUnavailable extends Data.TaggedError("TokenUnavailable")<{ readonly cause: unknown }> {}

/** What this side may add to the refusals of an operation. Arguments are checked before anything is sent. */
export type ClientFault = InvalidRequest | TokenUnavailable | Unreachable

export type Keyed<P> = P extends { readonly key: string } ? Omit<P, "key"> & { readonly key?: string } : P

/** A value without its brands: plain strings and numbers will do, since they are checked before they are sent. */
export type Loose<T> = T extends { readonly "~effect/Brand": unknown }
  ? T extends string
    ? string
    : number
  : T extends DateTime.Utc
    ? T
    : T extends object
      ? { readonly [K in keyof T]: Loose<T[K]> }
      : T

type OfTag<Tag extends string> = Extract<CustomerRpc, { readonly _tag: Tag }>

/** What a call takes. A key that is left out is made up, and kept over all repetitions of the call. */
export type Input<Tag extends CustomerRpc["_tag"]> = Keyed<Loose<Rpc.Payload<OfTag<Tag>>>>
export type Answer<Tag extends CustomerRpc["_tag"]> = Rpc.SuccessExit<OfTag<Tag>>
export type Failure<Tag extends CustomerRpc["_tag"]> = Rpc.ErrorExit<OfTag<Tag>> | ClientFault
export type Change = Rpc.SuccessChunk<OfTag<"WatchOrder">>

export interface CallSettings {
  /** Stands in the nodes' log lines about this call. */
  readonly requestId?: string | undefined
}

/** The operations which have one answer. */
export type Unary = Exclude<CustomerRpc["_tag"], "WatchOrder">

export interface Calls {
  readonly call: <const Tag extends Unary>(
    tag: Tag,
    input: Input<Tag>,
    settings?: CallSettings
  ) => Effect.Effect<Answer<Tag>, Failure<Tag>>
  /** Every change behind `afterSeq`, each once; goes on from the last one seen when its node stops. Ends with the order. */
  readonly watch: (input: Input<"WatchOrder">, settings?: CallSettings) => Stream.Stream<Change, Failure<"WatchOrder">>
  /** The token which a call made now would carry. */
  readonly token: Effect.Effect<string, TokenUnavailable | Unreachable>
}

/** What storefronts call. */
export const make = (options: ClientOptions): Effect.Effect<Calls, never, Scope.Scope> => makeFor(options, CustomerApi)

/** The same for any group: who asks for it says which answer belongs to which of its operations. */
export const makeFor = Effect.fnUntraced(function* (
  options: ClientOptions,
  api: Nodes.AnyApi
): Effect.fn.Return<Calls, never, Scope.Scope> {
  const requests = requestsOf(api)
  const urls = typeof options.urls === "string" ? [options.urls] : options.urls
  if (urls.length === 0) return yield* Effect.die(new TypeError("urls must name at least one node"))
  const transport = options.transport ?? (typeof WebSocket === "undefined" ? "http" : "websocket")
  const nodes = yield* Nodes.make(urls, transport, api)
  const deadline = Duration.fromInputUnsafe(options.deadline ?? "30 seconds")
  const answerWithin = Duration.fromInputUnsafe(options.answerWithin ?? "10 seconds")
  const { token } = yield* tokenSource(options.token, urls, deadline)

  const headersFor = (requestId: string) =>
    Effect.map(token, (value) => ({ authorization: `Bearer ${value}`, "x-request-id": requestId }))

  /**
   * Leaves a node which did not answer, and waits a little where every node has been asked. One that says when to come back is believed,
   * and so for all nodes: what it has too much of would only go to the next.
   */
  const leave = (node: Nodes.Node, failures: number, cause: unknown) => {
    nodes.leave(node)
    const asked = Predicate.hasProperty(cause, "retryAfterMs") ? Number(cause.retryAfterMs) : undefined
    if (asked === undefined && failures % nodes.count !== 0) return Effect.void
    const backoff = Math.min(100 * 2 ** Math.floor((failures - 1) / nodes.count), 2000)
    // Spread, so that those who were turned away together do not come back together.
    return Effect.flatMap(Random.nextBetween(1, 2), (jitter) => Effect.sleep(Math.max(asked ?? 0, backoff) * jitter))
  }

  const call = Effect.fnUntraced(function* (tag: string, input: unknown, settings?: CallSettings) {
    const { key, payload } = yield* prepare(requests, tag, input)
    const patience = patient.has(tag) ? confirmPatience : undefined
    const perNode = patience ?? answerWithin
    const requestId = settings?.requestId ?? newId()
    let cause: unknown

    const attempts = Effect.gen(function* () {
      let failures = 0
      let refused: string | undefined
      while (true) {
        const headers = yield* headersFor(requestId)
        const node = nodes.current()
        const answer = yield* node.client.pipe(
          Effect.flatMap((client) => client.call(tag, payload, headers)),
          Effect.raceFirst(node.silence),
          Effect.timeoutOrElse({ duration: perNode, orElse: () => Effect.fail(new Nodes.Silent({ url: node.url })) }),
          Effect.result
        )
        if (Result.isSuccess(answer)) return answer.success
        const { failure } = answer
        if (failure._tag === "Unauthenticated" && typeof options.token === "function" && refused === undefined) {
          refused = headers.authorization
          if ((yield* headersFor(requestId)).authorization !== refused) continue
        }
        if (!passes(failure)) return yield* failure
        cause = failure
        failures++
        yield* leave(node, failures, failure)
      }
    })
    return yield* Effect.timeoutOrElse(attempts, {
      duration: patience === undefined ? deadline : Duration.sum(deadline, patience),
      orElse: () => Effect.fail(new Unreachable({ key, cause }))
    })
  })

  const watch: Calls["watch"] = (input, settings) =>
    Stream.callback((queue) =>
      Effect.gen(function* () {
        const payload = yield* Effect.mapError(checkWatch(input), fromSchemaError)
        const requestId = settings?.requestId ?? newId()
        let seen = payload.afterSeq ?? 0
        let failures = 0
        let downSince = yield* Clock.currentTimeMillis
        while (true) {
          const headers = yield* headersFor(requestId)
          const node = nodes.current()
          const subscribedAt = yield* Clock.currentTimeMillis
          let heard = false
          const end = yield* node.client.pipe(
            Effect.flatMap((client) =>
              Stream.runForEach(client.watch({ ...payload, afterSeq: seen }, headers), (change) => {
                heard = true
                if (change.seq <= seen) return Effect.void
                seen = change.seq
                return Queue.offer(queue, change)
              })
            ),
            Effect.raceFirst(node.silence),
            Effect.result
          )
          if (Result.isSuccess(end)) return
          const { failure } = end
          if (!passes(failure)) return yield* failure
          const now = yield* Clock.currentTimeMillis
          if (heard || now - subscribedAt > settledMs) {
            failures = 0
            downSince = now
          }
          if (now - downSince > Duration.toMillis(deadline)) {
            return yield* new Unreachable({ key: undefined, cause: failure })
          }
          failures++
          yield* leave(node, failures, failure)
        }
      }).pipe(
        Effect.matchCauseEffect({
          onFailure: (cause) => Queue.failCause(queue, cause),
          onSuccess: () => Queue.end(queue)
        })
      )
    )

  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the answer of an operation is what its contract says
  return { call, watch, token } as Calls
})

/** A confirmation answers within 25 s, if only to say that it is not done; so does the retry of a compensation. */
const patient: ReadonlySet<string> = new Set(["ConfirmCheckout", "GetConfirmStatus", "RetryCompensation"])
const confirmPatience = Duration.seconds(30)

/** A watch which lasted for so long had found a living node: longer than a silent one takes to be noticed. */
const settledMs = 10_000

/** What may be otherwise at another node, or later. */
const passes = <E extends { readonly _tag: string }>(failure: E): failure is Extract<E, { readonly _tag: Passing }> =>
  passing.has(failure._tag)
type Passing = "RequestTimeout" | "RpcClientError" | "Silent" | "Unavailable"
const passing: ReadonlySet<string> = new Set<Passing>(["RequestTimeout", "RpcClientError", "Silent", "Unavailable"])

const prepare = Effect.fnUntraced(function* (requests: ReturnType<typeof requestsOf>, tag: string, input: unknown) {
  const { check, keyed } = requests.get(tag)!
  const given: unknown = { ...(keyed ? { key: newId() } : {}), ...Object(withoutUndefined(input)) }
  const payload = yield* Effect.mapError(check(given), fromSchemaError)
  return { payload, key: "key" in payload ? String(payload.key) : undefined }
})

const checkWatch = (input: unknown) => decodeWatch(withoutUndefined(input))
const decodeWatch = Schema.decodeUnknownEffect(Schema.toType(OfOrder), strictly)

const requestsOf = ({ requests }: Nodes.AnyApi) =>
  new Map(
    Array.from(requests, ([tag, { payloadSchema }]) => {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- every payload of ours is a struct, or nothing
      const { fields = {} } = payloadSchema as { readonly fields?: object }
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the same
      const payload = payloadSchema as unknown as Schema.Codec<object, unknown>
      return [tag, { check: Schema.decodeUnknownEffect(Schema.toType(payload), strictly), keyed: "key" in fields }]
    })
  )

/** Fields of a form which were left empty are as good as absent. */
const withoutUndefined = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(withoutUndefined)
  if (!Predicate.isObject(value) || Object.getPrototypeOf(value) !== Object.prototype) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, field]) => field !== undefined)
      .map(([name, field]) => [name, withoutUndefined(field)])
  )
}

const tokenSource = Effect.fnUntraced(function* (
  token: Token | undefined,
  urls: ReadonlyArray<string>,
  deadline: Duration.Duration
): Effect.fn.Return<Pick<Calls, "token">> {
  if (typeof token === "string") return { token: Effect.succeed(token) }
  if (token !== undefined) {
    return { token: Effect.tryPromise({ try: async () => token(), catch: (cause) => new TokenUnavailable({ cause }) }) }
  }
  const asked = askForGuestToken(urls).pipe(
    Effect.map((guest) => guest.token),
    Effect.retry(Schedule.spaced("500 millis").pipe(Schedule.upTo({ duration: deadline }))),
    Effect.mapError((cause) => new Unreachable({ key: undefined, cause }))
  )
  const [cached, invalidate] = yield* Effect.cachedInvalidateWithTTL(asked, Duration.infinity)
  return { token: Effect.tapError(cached, () => invalidate) }
})
