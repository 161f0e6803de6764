/**
 * What stands between us and any payment provider: a time limit on each call, the circuit breaker, and figures on both. Knows no
 * provider: an adapter says which of its failures speak against the provider's health.
 */
import { Cause, Clock, Duration, Effect, Exit, Metric, Option, Semaphore, Stream } from "effect"
import type { Scope } from "effect"
import { CircuitBreaker } from "effect/persistence"
import { withTimeLimit } from "../domain/TimeLimit.ts"
import type { PaymentGatewayLimits } from "./PaymentGateway.ts"
import { ProviderUnavailable } from "./PaymentGateway.ts"

export interface ProviderGuard<F> {
  /** Sends unless the breaker is open; a send which takes too long is interrupted and fails with `onTimeout`. */
  readonly call: <A>(operation: string, send: Effect.Effect<A, F>) => Effect.Effect<A, F | ProviderUnavailable>
  /** For lookups and voids: never refused by the breaker, but few at a time while it is not closed. REQ-CB-01. */
  readonly probe: <A>(operation: string, send: Effect.Effect<A, F>) => Effect.Effect<A, F | ProviderUnavailable>
  readonly breakerState: Effect.Effect<"closed" | "open" | "half-open">
}

/** How much a failed call says about the provider: it is ill, it is well, or neither. */
export type Health = "ill" | "well" | "unknown"

/** Opens after `breakerFailures` within `breakerWindow`, stays open for `breakerOpen`, then lets one call through to see. REQ-GW-02. */
export const make = Effect.fnUntraced(function* <F>(options: {
  /** Label of the figures, e.g. `payment`. */
  readonly name: string
  readonly limits: PaymentGatewayLimits
  readonly onTimeout: F
  readonly healthOf: (failure: F) => Health
}): Effect.fn.Return<ProviderGuard<F>, never, Scope.Scope> {
  const { name, limits, onTimeout, healthOf } = options
  // The library's policies count failures in a row, or their share: neither is "5 in 10 s". So it is asked to open at the first
  // failure, and hears only of the one that fills the window.
  const breaker = yield* CircuitBreaker.make({
    tripPolicy: CircuitBreaker.consecutive(1),
    openDuration: limits.breakerOpen
  }).pipe(Effect.provide(CircuitBreaker.layerStoreMemory()))
  const state = Effect.orDie(breaker.state(name))
  let failedAt: Array<number> = []

  const classify = (exit: Exit.Exit<unknown, F>): Effect.Effect<CircuitBreaker.Outcome> => {
    const failure = Exit.isFailure(exit) ? Cause.findErrorOption(exit.cause) : Option.none<F>()
    const health = Exit.isSuccess(exit) ? "well" : Option.isSome(failure) ? healthOf(failure.value) : "unknown"
    if (health === "well") return Effect.succeed(CircuitBreaker.success)
    if (health === "unknown") return Effect.succeed(CircuitBreaker.ignored)
    return Effect.gen(function* () {
      const { _tag } = yield* state
      // Sent before it opened: said too late to count.
      if (_tag === "Open") return CircuitBreaker.ignored
      const now = yield* Clock.currentTimeMillis
      const since = now - Duration.toMillis(limits.breakerWindow)
      failedAt = [...failedAt.filter((at) => at > since), now]
      if (_tag === "Closed" && failedAt.length < limits.breakerFailures) return CircuitBreaker.ignored
      failedAt = []
      return CircuitBreaker.failure()
    })
  }

  const figures = new Map<string, { seconds: Metric.Histogram<number>; timeouts: Metric.Counter<number> }>()
  const figuresOf = (operation: string) => {
    const known = figures.get(operation)
    if (known !== undefined) return known
    // Made once: a metric finds its series faster than its attributes do.
    const attributes = { service: name, op: operation }
    const made = {
      seconds: Metric.withAttributes(callSeconds, attributes),
      timeouts: Metric.withAttributes(callTimeouts, attributes)
    }
    figures.set(operation, made)
    return made
  }

  const limited = <A>(operation: string, send: Effect.Effect<A, F>): Effect.Effect<A, F> => {
    const { seconds, timeouts } = figuresOf(operation)
    return send.pipe(
      withTimeLimit(limits.timeout, () => Effect.andThen(Metric.update(timeouts, 1), Effect.fail(onTimeout))),
      measured(seconds)
    )
  }

  /** Through the breaker, or else as `refused` says. */
  const guarded = <A>(
    operation: string,
    send: Effect.Effect<A, F>,
    refused: (error: CircuitBreaker.CircuitBreakerError) => Effect.Effect<A, F | ProviderUnavailable>
  ): Effect.Effect<A, F | ProviderUnavailable> =>
    breaker.execute(limited(operation, send), { key: name, classify }).pipe(Effect.catchIf(isRejection, refused))

  const retryAfter = ({ reason }: CircuitBreaker.CircuitBreakerError): Duration.Duration =>
    reason._tag === "CircuitOpen" ? reason.retryAfter : Duration.seconds(1)

  const lane = yield* Semaphore.make(laneWidth)
  const inLane = <A>(send: Effect.Effect<A, F>): Effect.Effect<A, F | ProviderUnavailable> =>
    Effect.uninterruptibleMask((restore) =>
      restore(
        Effect.timeoutOrElse(lane.take(1), {
          duration: limits.timeout,
          orElse: () => Effect.fail(new ProviderUnavailable({ retryAfter: Duration.seconds(1) }))
        })
      ).pipe(Effect.andThen(Effect.ensuring(restore(send), lane.release(1))))
    )

  yield* breaker.transitions.pipe(
    Stream.runForEach(({ to }) =>
      Effect.all([
        Metric.update(Metric.withAttributes(breakerGauge, { name }), gaugeValues[to]),
        to === "Open" ? Metric.update(Metric.withAttributes(breakerOpens, { name }), 1) : Effect.void,
        Effect.logWarning(`The breaker of the ${name} provider is now ${to}`)
      ])
    ),
    Effect.forkScoped({ startImmediately: true })
  )
  // A figure is exported once it was touched: a healthy breaker shows as closed from the start.
  yield* Metric.update(Metric.withAttributes(breakerGauge, { name }), gaugeValues.Closed)

  return {
    call: (operation, send) =>
      guarded(operation, send, (error) => Effect.fail(new ProviderUnavailable({ retryAfter: retryAfter(error) }))),
    probe: (operation, send) => guarded(operation, send, () => inLane(limited(operation, send))),
    breakerState: Effect.map(state, (found) => {
      if (found._tag === "Closed") return "closed"
      return found._tag === "Open" && Duration.toMillis(found.retryAfter) > 0 ? "open" : "half-open"
    })
  }
})

/** How many lookups and voids may be under way at once while the breaker is open; enough for compensation, too few to hurt. */
const laneWidth = 4

const isRejection = (error: unknown): error is CircuitBreaker.CircuitBreakerError =>
  error instanceof CircuitBreaker.CircuitBreakerError

const measured =
  (histogram: Metric.Histogram<number>) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.clockWith((clock) => {
      const start = clock.currentTimeMillisUnsafe()
      return Effect.onExit(self, () => Metric.update(histogram, (clock.currentTimeMillisUnsafe() - start) / 1000))
    })

// Names: MET-13 and MET-15.
const callSeconds = Metric.histogram("provider_call_seconds", {
  description: "How long a call to a provider took, whatever came of it",
  boundaries: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30]
})
const callTimeouts = Metric.counter("provider_timeouts_total", {
  description: "Calls to a provider which ran out of time",
  incremental: true
})
const breakerGauge = Metric.gauge("breaker_state", { description: "0 closed, 1 half open, 2 open" })
const breakerOpens = Metric.counter("breaker_opens_total", {
  description: "How often a breaker opened",
  incremental: true
})
const gaugeValues = { Closed: 0, HalfOpen: 1, Open: 2 } as const
