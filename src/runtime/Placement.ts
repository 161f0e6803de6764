/**
 * Which node an actor lives on, and how to reach it from any other. Ids fall into buckets, buckets into shards, and the cluster gives
 * each shard to one node. The node which has the actor calls it directly, in memory; everybody else goes through the cluster once.
 *
 * Remote calls arrive at one cluster entity a bucket and not at one an actor: activating an entity costs 120 us and 15 KB, four times a
 * checkout; see docs/decisions/0002-one-host-per-bucket.md.
 */
import { type Cause, Context, Duration, Effect, Exit, Layer, Option, Predicate, Schedule, Schema } from "effect"
import { ClusterSchema, Entity, Sharding } from "effect/cluster"
import * as EntityId from "effect/cluster/EntityId"
import { Rpc } from "effect/rpc"
import { placeOf } from "../domain/Placed.ts"
import { IdempotencyConflict, Unavailable } from "../domain/Refusals.ts"
import { withTimeLimit } from "../domain/TimeLimit.ts"

/** What may go wrong with any call, besides what its contract names. */
export type Fault = Unavailable | IdempotencyConflict

/** Any contract. */
// oxlint-disable-next-line typescript/no-explicit-any -- an entity is invariant in its messages
export type AnyContract = Entity.Entity<any, any>

export type Messages<E> = E extends Entity.Entity<any, infer Rpcs> ? Rpcs : never

/** The calls of one contract, to one actor. */
export type ClientOf<E> = {
  readonly [R in Messages<E> as R["_tag"]]: (
    payload: Rpc.Payload<R>
  ) => Effect.Effect<Rpc.Success<R>, Rpc.Error<R> | Fault>
}

/** What answers the calls of a contract on the node which has the actor. */
export type HandlersOf<E> = {
  readonly [R in Messages<E> as R["_tag"]]: (
    id: string,
    payload: Rpc.Payload<R>
  ) => Effect.Effect<Rpc.Success<R>, Rpc.Error<R> | Fault>
}

type AnyHandler = (id: string, payload: unknown) => Effect.Effect<unknown, unknown>

interface Asked {
  readonly contract: string
  readonly id: string
  readonly tag: string
}

interface Codecs {
  readonly encodePayload: (payload: unknown) => Effect.Effect<unknown, unknown>
  readonly decodePayload: (payload: unknown) => Effect.Effect<unknown, unknown>
  readonly payloadOf: (value: unknown) => Option.Option<unknown>
  readonly encodeSuccess: (value: unknown) => Effect.Effect<unknown, unknown>
  readonly decodeSuccess: (value: unknown) => Effect.Effect<unknown, unknown>
  readonly encodeError: (value: unknown) => Effect.Effect<unknown, unknown>
  readonly decodeError: (value: unknown) => Effect.Effect<unknown, unknown>
}

const makeCodecs = (rpc: Rpc.AnyWithProps): Codecs => {
  const payload = Schema.toCodecJson(rpc.payloadSchema) as unknown as Schema.Codec<unknown, unknown>
  const success = Schema.toCodecJson(rpc.successSchema) as unknown as Schema.Codec<unknown, unknown>
  const error = Schema.toCodecJson(
    Schema.Union([rpc.errorSchema, Unavailable, IdempotencyConflict])
  ) as unknown as Schema.Codec<unknown, unknown>
  return {
    encodePayload: Schema.encodeUnknownEffect(payload),
    decodePayload: Schema.decodeUnknownEffect(payload),
    payloadOf: Schema.decodeUnknownOption(payload),
    encodeSuccess: Schema.encodeUnknownEffect(success),
    decodeSuccess: Schema.decodeUnknownEffect(success),
    encodeError: Schema.encodeUnknownEffect(error),
    decodeError: Schema.decodeUnknownEffect(error)
  }
}

const Answer = Schema.TaggedUnion({
  Success: { value: Schema.Unknown },
  Refusal: { error: Schema.Unknown },
  /** The actor failed in a way nobody planned for; what happened stands in the log of its node. */
  Fault: {},
  /** Its node does not answer this message: it is starting, of a version which does not know it, or has just lost the actor. */
  Unknown: {}
})

const Host = Entity.make("Host", [
  Rpc.make("Ask", {
    payload: { contract: Schema.String, id: Schema.String, tag: Schema.String, payload: Schema.Unknown },
    success: Answer
  }),
  Rpc.make("AwaitChange", {
    payload: { type: Schema.String, id: Schema.String, version: Schema.Int, atMostMs: Schema.Int }
  })
    // It may wait for long, and the bucket's next owner must not.
    .annotate(ClusterSchema.InterruptOnTermination, true)
])

export interface PlacementOptions {
  /** Fixed for the life of a database. */
  readonly buckets: number
  /** How often this node looks which buckets it has. */
  readonly pollInterval: Duration.Duration
  /** How long a call may take unless its caller says otherwise. */
  readonly callTimeout: Duration.Duration
}

export class Placement extends Context.Service<
  Placement,
  {
    readonly bucketOf: (id: string) => number
    /** Whether this node has the bucket now. Another may have taken it a moment ago: the version guard decides then. */
    readonly isLocal: (bucket: number) => boolean
    readonly client: <E extends AnyContract>(
      contract: E,
      options?: { readonly timeout?: Duration.Duration }
    ) => (id: string) => ClientOf<E>
    /** One call with a message which is known only at run time, in the contract's JSON. */
    readonly send: (contract: string, id: string, message: unknown) => Effect.Effect<unknown, unknown>
    /** A keyed message, given in the contract's JSON, as the command it stands for; nothing when it is none. */
    readonly commandOf: (contract: string, message: unknown) => { readonly _tag: string } | undefined
    readonly serve: <E extends AnyContract>(contract: E, handlers: HandlersOf<E>) => void
    /** Whether this node answers the contract's calls: a starting one has buckets before it has all of its actors. */
    readonly serves: (contract: string) => boolean
    /** Resolves when the actor has gone beyond `version`, or after `atMost`. */
    readonly awaitChange: (
      type: string,
      id: string,
      version: number,
      atMost: Duration.Duration
    ) => Effect.Effect<void, Unavailable>
    /** How changes are awaited on the node that has the actor. */
    readonly serveChanges: (wait: (type: string, id: string, version: number) => Effect.Effect<void>) => void
    readonly owned: Effect.Effect<ReadonlyArray<number>>
    /**
     * Called with buckets this node has got, also those it had before the listener came; and with those it has lost. It does not look
     * again before they have returned: what takes long belongs into a fiber.
     */
    readonly onAcquired: (listener: (buckets: ReadonlyArray<number>) => Effect.Effect<void>) => void
    readonly onLost: (listener: (buckets: ReadonlySet<number>) => Effect.Effect<void>) => void
  }
>()("cartwright/runtime/Placement") {}

/** The bucket of an id. */
export const bucketOf = (id: string, buckets: number): number => placeOf(id) % buckets

/** How often and how soon an actor is asked again that was on its way to another node; who called comes back if that was not enough. */
const again = { times: 5, schedule: Schedule.spaced("50 millis") } as const

const hostId = (bucket: number) => `bucket-${bucket}`

export const make = Effect.fnUntraced(function* (options: PlacementOptions) {
  const sharding = yield* Sharding.Sharding
  const handlersOf = new Map<string, Readonly<Record<string, AnyHandler>>>()
  const codecsOf = new Map<string, ReadonlyMap<string, Codecs>>()
  const everyBucket = Array.from({ length: options.buckets }, (_, bucket) => bucket)
  const shards = everyBucket.map((bucket) => sharding.getShardId(EntityId.make(hostId(bucket)), "default"))
  const acquiredListeners: Array<(buckets: ReadonlyArray<number>) => Effect.Effect<void>> = []
  const lostListeners: Array<(buckets: ReadonlySet<number>) => Effect.Effect<void>> = []
  let waitForChange: (type: string, id: string, version: number) => Effect.Effect<void> = () => Effect.never
  const isLocal = (bucket: number) => sharding.hasShardId(shards[bucket]!)
  const of = (id: string) => bucketOf(id, options.buckets)

  const answer = Effect.fnUntraced(function* (request: {
    readonly contract: string
    readonly id: string
    readonly tag: string
    readonly payload: unknown
  }): Effect.fn.Return<typeof Answer.Type> {
    const codecs = codecsOf.get(request.contract)?.get(request.tag)
    const handler = handlersOf.get(request.contract)?.[request.tag]
    if (codecs === undefined || handler === undefined) return { _tag: "Unknown" }
    const payload = yield* Effect.orDie(codecs.decodePayload(request.payload))
    const exit = yield* Effect.exit(handler(request.id, payload))
    if (Exit.isSuccess(exit)) {
      return { _tag: "Success", value: yield* Effect.orDie(codecs.encodeSuccess(exit.value)) }
    }
    const refusal = exit.cause.reasons.find((reason) => reason._tag === "Fail")
    if (refusal === undefined) return yield* Effect.failCause(exit.cause as Cause.Cause<never>)
    if (Predicate.isTagged(refusal.error, "Unavailable") && !isLocal(of(request.id))) return { _tag: "Unknown" }
    return { _tag: "Refusal", error: yield* Effect.orDie(codecs.encodeError(refusal.error)) }
  })

  yield* sharding.registerEntity(
    Host,
    Effect.succeed(
      Host.of({
        Ask: ({ payload }) =>
          answer(payload).pipe(
            Effect.catchDefect((defect) =>
              Effect.as(Effect.logError(`${payload.contract}.${payload.tag} failed`, defect), {
                _tag: "Fault" as const
              })
            )
          ),
        AwaitChange: ({ payload }) =>
          waitForChange(payload.type, payload.id, payload.version).pipe(
            Effect.timeoutOption(payload.atMostMs),
            Effect.asVoid
          )
      })
    ),
    { concurrency: "unbounded", mailboxCapacity: "unbounded", maxIdleTime: "1 hour", disableFatalDefects: true }
  )
  const host = yield* Host.client

  const unavailable = new Unavailable({ retryAfterMs: 500 })
  /** The actor is on its way from one node to another, and is asked where it is then. */
  const moving = Symbol("moving")

  const askOnce = Effect.fnUntraced(function* (
    codecs: Codecs,
    { contract, id, tag }: Asked,
    payload: unknown
  ): Effect.fn.Return<unknown, unknown> {
    const bucket = of(id)
    if (isLocal(bucket)) {
      const handler = handlersOf.get(contract)?.[tag]
      if (handler === undefined) return yield* Effect.fail(moving)
      return yield* Effect.mapError(handler(id, payload), (error) =>
        Predicate.isTagged(error, "Unavailable") && !isLocal(bucket) ? moving : error
      )
    }
    const encoded = yield* Effect.orDie(codecs.encodePayload(payload))
    const reply = yield* host(hostId(bucket))
      .Ask({ contract, id, tag, payload: encoded })
      .pipe(Effect.mapError(() => unavailable))
    switch (reply._tag) {
      case "Success":
        return yield* Effect.orDie(codecs.decodeSuccess(reply.value))
      case "Refusal":
        return yield* Effect.fail(yield* Effect.orDie(codecs.decodeError(reply.error)))
      case "Fault":
        return yield* Effect.die(new Error(`${contract}.${tag} failed on its node`))
      case "Unknown":
        return yield* Effect.fail(moving)
    }
  })

  const ask = (
    contract: string,
    id: string,
    tag: string,
    payload: unknown,
    timeout: Duration.Duration
  ): Effect.Effect<unknown, unknown> => {
    const codecs = codecsOf.get(contract)?.get(tag)
    if (codecs === undefined) return Effect.die(new Error(`unknown message ${contract}.${tag}`))
    return askOnce(codecs, { contract, id, tag }, payload).pipe(
      Effect.retry({ while: (error) => error === moving, ...again }),
      Effect.mapError((error) => (error === moving ? unavailable : error)),
      withTimeLimit(timeout, () => Effect.fail(unavailable))
    )
  }

  const learn = (contract: AnyContract) => {
    if (codecsOf.has(contract.type)) return
    const requests: Iterable<[string, unknown]> = contract.protocol.requests
    codecsOf.set(contract.type, new Map([...requests].map(([tag, rpc]) => [tag, makeCodecs(rpc as Rpc.AnyWithProps)])))
  }

  const client: Placement["Service"]["client"] = (contract, clientOptions) => {
    const timeout = clientOptions?.timeout ?? options.callTimeout
    learn(contract)
    const calls = [...contract.protocol.requests.keys()].map(
      (tag) => [tag, (id: string) => (payload: unknown) => ask(contract.type, id, tag, payload, timeout)] as const
    )
    return (id) => Object.fromEntries(calls.map(([tag, call]) => [tag, call(id)])) as never
  }

  let before: ReadonlySet<number> = new Set()
  /** One listener's trouble is not the others'. */
  const tell = <A>(listeners: ReadonlyArray<(buckets: A) => Effect.Effect<void>>, buckets: A) =>
    Effect.forEach(
      listeners,
      (listener) =>
        Effect.suspend(() => listener(buckets)).pipe(
          Effect.catchCause((cause) => Effect.logError("Buckets have moved, and not all is done about it", cause))
        ),
      { concurrency: "unbounded", discard: true }
    )
  const look = Effect.gen(function* () {
    const now = new Set(everyBucket.filter(isLocal))
    const lost = new Set([...before].filter((bucket) => !now.has(bucket)))
    const acquired = [...now].filter((bucket) => !before.has(bucket))
    before = now
    if (lost.size > 0) yield* tell(lostListeners, lost)
    if (acquired.length > 0) yield* tell(acquiredListeners, acquired)
  })
  yield* look.pipe(
    Effect.catchCause((cause) => Effect.logError("Looking after buckets failed", cause)),
    Effect.andThen(Effect.sleep(options.pollInterval)),
    Effect.forever,
    Effect.forkScoped
  )
  const runFork = Effect.runForkWith(yield* Effect.context<never>())

  return Placement.of({
    bucketOf: of,
    isLocal,
    client,
    send: (contract, id, message) =>
      Effect.suspend(() => {
        const tag = Predicate.hasProperty(message, "_tag") ? String(message._tag) : ""
        const codecs = codecsOf.get(contract)?.get(tag)
        if (codecs === undefined) return Effect.die(new Error(`unknown message ${contract}.${tag}`))
        return Effect.flatMap(Effect.orDie(codecs.decodePayload(message)), (payload) =>
          ask(contract, id, tag, payload, options.callTimeout)
        )
      }),
    commandOf: (contract, message) => {
      const tag = Predicate.hasProperty(message, "_tag") ? String(message._tag) : ""
      const payload = Option.getOrUndefined(codecsOf.get(contract)?.get(tag)?.payloadOf(message) ?? Option.none())
      if (!Predicate.hasProperty(payload, "key")) return undefined
      const { key: _, ...content } = payload
      return { _tag: tag, ...content }
    },
    serve: (contract, handlers) => {
      learn(contract)
      handlersOf.set(contract.type, handlers as unknown as Readonly<Record<string, AnyHandler>>)
    },
    serves: (contract) => handlersOf.has(contract),
    awaitChange: (type, id, version, atMost) =>
      Effect.suspend(() => {
        const bucket = of(id)
        return isLocal(bucket)
          ? waitForChange(type, id, version).pipe(Effect.timeoutOption(atMost), Effect.asVoid)
          : host(hostId(bucket))
              .AwaitChange({ type, id, version, atMostMs: Math.ceil(Duration.toMillis(atMost)) })
              .pipe(
                Effect.mapError(() => unavailable),
                Effect.timeoutOrElse({
                  duration: Duration.sum(atMost, options.callTimeout),
                  orElse: () => Effect.fail(unavailable)
                })
              )
      }),
    serveChanges: (wait) => {
      waitForChange = wait
    },
    owned: Effect.sync(() => everyBucket.filter(isLocal)),
    onAcquired: (listener) => {
      acquiredListeners.push(listener)
      if (before.size > 0) runFork(tell([listener], [...before]))
    },
    onLost: (listener) => {
      lostListeners.push(listener)
    }
  })
})

export const layer = (options: PlacementOptions): Layer.Layer<Placement, never, Sharding.Sharding> =>
  Layer.effect(Placement, make(options))
