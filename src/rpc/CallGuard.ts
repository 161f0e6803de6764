/** What stands around each call, whichever way it came: its request id, its time limit, its place among the calls at once, and the end of defects. */
import { Cause, Clock, Duration, Effect, Exit, Layer, Metric, Predicate } from "effect"
import { type Rpc, RpcMiddleware, RpcSchema } from "effect/rpc"
import { Unavailable } from "../domain/Refusals.ts"
import { withTimeLimit } from "../domain/TimeLimit.ts"
import { Admission } from "./Admission.ts"
import { Api } from "./Api.ts"
import { Draining } from "./Draining.ts"
import { EdgeRefusal, InternalError, RequestTimeout } from "./Edge.ts"
import { requestIdOf } from "./RequestId.ts"

export class CallGuard extends RpcMiddleware.Service<CallGuard>()("cartwright/rpc/CallGuard", { error: EdgeRefusal }) {
  static readonly layer = (limits: CallLimits): Layer.Layer<CallGuard, never, Admission | Draining> =>
    Layer.effect(
      CallGuard,
      Effect.suspend(() => make(limits))
    )
}

export interface CallLimits {
  /** How long a call may take; streams last as long as they are listened to. REQ-GW-01. */
  readonly timeLimit: Duration.Duration
  /** Above this many streams at once, one more is `Unavailable`. REQ-GW-08. For calls see `Admission`. */
  readonly streamsMax: number
}

/** The API as a node serves it. */
export const GuardedApi = Api.middleware(CallGuard)

const make = Effect.fnUntraced(function* (limits: CallLimits) {
  const admission = yield* Admission
  const draining = yield* Draining
  const metrics = yield* makeMetrics
  let streams = 0
  const busy = new Unavailable({ retryAfterMs: 1000 })
  const late = new RequestTimeout({ afterMs: Duration.toMillis(limits.timeLimit) })
  /** Another node answers already. */
  const elsewhere = new Unavailable({ retryAfterMs: 100 })

  return CallGuard.of((effect, { headers, payload, rpc }) => {
    const requestId = requestIdOf(headers)
    const streaming = RpcSchema.isStreamSchema(rpc.successSchema)
    const ended = Effect.andThen(draining.begun, Effect.fail(elsewhere))
    const bounded = streaming
      ? Effect.raceFirst(effect, ended)
      : withTimeLimit(limits.timeLimit, () => Effect.fail(late))(effect)

    const admitted = Effect.suspend(() => {
      if (streaming) {
        if (streams >= limits.streamsMax) return Effect.fail(busy)
        streams++
        return Effect.ensuring(
          bounded,
          Effect.sync(() => {
            streams--
          })
        )
      }
      const caller = headers["authorization"] ?? ""
      const refusal = admission.refusal(caller)
      if (refusal !== undefined) return Effect.fail(refusal)
      admission.enter(caller)
      const from = performance.now()
      return Effect.onExit(bounded, (exit) =>
        Effect.sync(() => {
          admission.leave(caller, waitsForOthers.has(rpc._tag) ? undefined : performance.now() - from)
          const kind = hopeless(exit)
          if (kind !== undefined) admission.blame(caller, kind)
        })
      )
    })
    // Only a command has a key. Questions are still answered, for whoever waits for the end of what is under way.
    const accepted = Predicate.hasProperty(payload, "key")
      ? Effect.flatMap(draining.hasBegun, (refusing) => (refusing ? Effect.fail(elsewhere) : admitted))
      : admitted

    const answered = Effect.catchCauseIf(accepted, Cause.hasDies, (cause) =>
      Effect.andThen(Effect.logError(`${rpc._tag} failed`, cause), Effect.fail(new InternalError({ requestId })))
    )
    return Effect.annotateCurrentSpan("request.id", requestId).pipe(
      Effect.andThen(streaming ? answered : metrics.timed(rpc, answered)),
      Effect.annotateLogs({ requestId, operation: rpc._tag })
    )
  })
})

/** Calls which are answered when a payment provider has answered, and say nothing of how busy the node is. */
const waitsForOthers: ReadonlySet<string> = new Set(["ConfirmCheckout", "CapturePayment", "RefundPayment"])

/** Why the same call will never be carried out, where that is so. */
const hopeless = (exit: Exit.Exit<unknown, unknown>): "conflict" | "fault" | undefined => {
  if (Exit.isSuccess(exit)) return undefined
  if (Cause.hasDies(exit.cause)) return "fault"
  return exit.cause.reasons.some(
    (reason) => reason._tag === "Fail" && Predicate.isTagged(reason.error, "IdempotencyConflict")
  )
    ? "conflict"
    : undefined
}

const seconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

/** MET-14. Every operation is there from the start, so that a scraper sees its zero. */
const makeMetrics = Effect.gen(function* () {
  const duration = Metric.histogram("request_seconds", { description: "Time to answer a call", boundaries: seconds })
  const refusals = Metric.counter("request_errors_total", { description: "Calls refused", incremental: true })
  const rateLimited = Metric.counter("rate_limited_total", {
    description: "Calls over a rate limit",
    incremental: true
  })
  const operations = new Map<
    string,
    { readonly seconds: typeof duration; readonly refused: Map<string, typeof refusals> }
  >()
  for (const op of Api.requests.keys()) {
    operations.set(op, { seconds: Metric.withAttributes(duration, { op }), refused: new Map() })
    yield* Metric.update(Metric.withAttributes(refusals, { op, reason: "InternalError" }), 0)
    yield* Metric.update(Metric.withAttributes(rateLimited, { op }), 0)
  }

  const refuse = (op: string, cause: Cause.Cause<unknown>) => {
    const error = cause.reasons.find((reason) => reason._tag === "Fail")?.error
    const reason = Predicate.hasProperty(error, "_tag") ? String(error._tag) : "Interrupted"
    const refused = operations.get(op)!.refused
    const counter = refused.get(reason) ?? Metric.withAttributes(refusals, { op, reason })
    refused.set(reason, counter)
    const count = Metric.update(counter, 1)
    return reason === "RateLimited"
      ? Effect.andThen(count, Metric.update(Metric.withAttributes(rateLimited, { op }), 1))
      : count
  }

  const timed = <A, E, R>(rpc: Rpc.AnyWithProps, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.flatMap(Clock.currentTimeMillis, (start) =>
      effect.pipe(
        Effect.tapCause((cause) => refuse(rpc._tag, cause)),
        Effect.ensuring(
          Effect.flatMap(Clock.currentTimeMillis, (end) =>
            Metric.update(operations.get(rpc._tag)!.seconds, (end - start) / 1000)
          )
        )
      )
    )
  return { timed }
})
