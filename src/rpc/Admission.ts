/**
 * Which calls a node takes on. Up to the most it may have at once; fewer while work waits: then the places shrink until it hardly does, and
 * whoever finds none is refused before anything is looked at, and told when to come back. What was let in is never turned out.
 *
 * One caller alone has a quarter of the places at the most, and the last fifth of them is for callers who have none. One whose calls can never
 * be carried out, and who goes on sending them, is let in a few times a second only: each costs the node more than the one who sends it.
 */
import { Context, Duration, Effect, Layer, Metric } from "effect"
import { Unavailable } from "../domain/Refusals.ts"

export interface AdmissionLimits {
  /** Calls at once at the most, however little there is to do. REQ-GW-08. */
  readonly callsMax: number
  /** How long work may wait for the processor, or to become durable, before calls are turned away. */
  readonly delayMax: Duration.Duration
  /** How long the oldest step has waited to become durable. */
  readonly waitingFor?: Effect.Effect<Duration.Duration>
}

export class Admission extends Context.Service<Admission, Places>()("cartwright/rpc/Admission") {
  /** Adapts to how long work waits on this node, while the scope is open. */
  static readonly layer = (limits: AdmissionLimits): Layer.Layer<Admission> =>
    Layer.effect(
      Admission,
      Effect.suspend(() => measured(limits))
    )
}

/** So many calls a node takes on however slow it is. */
const placesMin = 64

/** Time between two decisions; work which waits all that while is a queue, and not a burst. */
const interval = 100

/** The decision, without clocks. Times are milliseconds. */
export class Places {
  /** How many calls may be under way now. */
  limit: number
  inFlight = 0
  refused = 0
  private readonly most: number
  private readonly least: number
  private readonly of = new Map<string, number>()
  /** What callers have cost lately by calls which can never be carried out. */
  private readonly blamed = new Map<string, number>()
  private let = { in: 0, out: 0 }
  /** Milliseconds of the quickest call which has ended lately, of those that wait for nobody outside. */
  private quickest = Number.POSITIVE_INFINITY
  /** One for all of an interval: an error of its own for each call would cost more than the refusal. */
  private busy = new Unavailable({ retryAfterMs: retryAfterLeast })

  constructor(callsMax: number) {
    this.most = callsMax
    this.least = Math.min(placesMin, callsMax)
    this.limit = Math.min(placesFirst, callsMax)
  }

  /** Why a call of this caller is not taken on now; it has taken no place. */
  refusal(caller: string): Unavailable | undefined {
    if ((this.blamed.get(caller) ?? 0) >= blameMax) {
      this.refused++
      return later
    }
    const own = this.of.get(caller) ?? 0
    const full =
      this.inFlight >= this.limit ||
      own >= Math.max(shareLeast, this.limit / 4) ||
      (own > 0 && this.inFlight >= this.limit - Math.floor(this.limit / 5))
    if (!full) return undefined
    this.refused++
    this.let.out++
    return this.busy
  }

  enter(caller: string): void {
    this.inFlight++
    this.let.in++
    this.of.set(caller, (this.of.get(caller) ?? 0) + 1)
  }

  /** `took`: milliseconds, of a call which waits for nobody outside. */
  leave(caller: string, took = Number.POSITIVE_INFINITY): void {
    this.inFlight--
    this.quickest = Math.min(this.quickest, took)
    const own = this.of.get(caller)! - 1
    if (own === 0) this.of.delete(caller)
    else this.of.set(caller, own)
  }

  /** A call of this caller has ended as one which will never be carried out, however often it is sent. */
  blame(caller: string, kind: "conflict" | "fault"): void {
    this.blamed.set(caller, (this.blamed.get(caller) ?? 0) + (kind === "fault" ? 1 : conflictCosts))
  }

  /** Called once an interval with the least that work has waited in it. */
  adapt(waited: number, delayMax: number): void {
    // A queue before the database, or anywhere else that nobody looks at: even the quickest call has stood in it.
    const delay = this.quickest === Number.POSITIVE_INFINITY ? waited : Math.max(waited, this.quickest - quickWithin)
    this.quickest = Number.POSITIVE_INFINITY
    if (delay > delayMax) this.limit = Math.max(this.least, Math.floor(Math.min(this.limit, this.inFlight + 1) * 0.8))
    // Places nobody has asked for say nothing of whether there could be more.
    else if (this.let.out > 0 || this.inFlight >= this.limit / 2)
      this.limit = Math.min(this.most, this.limit + Math.max(1, Math.floor(this.limit / 10)))
    for (const [caller, cost] of this.blamed) {
      if (cost > forgivenAtOnce) this.blamed.set(caller, cost - forgivenAtOnce)
      else this.blamed.delete(caller)
    }
    // As many as were let in will be again in the next interval: the others are asked to spread over the ones after it.
    const queue = this.let.out / Math.max(1, this.let.in)
    const retryAfterMs = Math.min(retryAfterMost, Math.round(retryAfterLeast * (1 + queue)))
    if (retryAfterMs !== this.busy.retryAfterMs) this.busy = new Unavailable({ retryAfterMs })
    this.let = { in: 0, out: 0 }
  }
}

const placesFirst = 512
/** A storefront's page asks a few things at once. */
const shareLeast = 8
const retryAfterLeast = 250
const retryAfterMost = 5000
/** The quickest of all calls takes less while none waits, also with all processors at work. */
const quickWithin = 100
/** So many faults a caller may cause at once, and two a second from then on. */
const blameMax = 10
const forgivenAtOnce = (2 * interval) / 1000
/** A conflict is answered from memory; a fault may have had a whole flush written anew. */
const conflictCosts = 0.1
const later = new Unavailable({ retryAfterMs: 1000 })

const measured = Effect.fnUntraced(function* (limits: AdmissionLimits) {
  const places = new Places(limits.callsMax)
  const delayMax = Duration.toMillis(limits.delayMax)
  const inFlight = Metric.gauge("calls_in_flight", { description: "Calls under way" })
  const limit = Metric.gauge("calls_limit", { description: "Calls which may be under way now" })
  const delays = Metric.gauge("work_delay_seconds", {
    description: "How long work has waited for the processor, or to become durable"
  })
  const shed = Metric.counter("calls_shed_total", { description: "Calls turned away at the door", incremental: true })
  const waiting = limits.waitingFor ?? Effect.succeed(Duration.zero)

  const every = interval / 5
  let expected = performance.now() + every
  let least = Number.POSITIVE_INFINITY
  let looks = 0
  let counted = 0
  const runSync = Effect.runSyncWith(yield* Effect.context<never>())
  /** In real time, whatever clock a test has: it is the processor that is waited for. */
  const look = () => {
    const now = performance.now()
    const delay = Math.max(now - expected, Duration.toMillis(runSync(waiting)) - durableWithin, 0)
    expected = now + every
    least = Math.min(least, delay)
    if (++looks % 5 !== 0) return
    places.adapt(least, delayMax)
    runSync(
      Effect.all(
        [
          Metric.update(inFlight, places.inFlight),
          Metric.update(limit, places.limit),
          Metric.update(delays, least / 1000),
          Metric.update(shed, places.refused - counted)
        ],
        { discard: true }
      )
    )
    counted = places.refused
    least = Number.POSITIVE_INFINITY
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => setInterval(look, every).unref()),
    (timer) => Effect.sync(() => clearInterval(timer))
  )
  return places
})

/** What a step takes to become durable when nothing waits. */
const durableWithin = 50

/** Who calls, as far as one can tell without verifying anything: the token itself. */
export const callerOf = (headers: Iterable<readonly [string, string]>): string => {
  let caller = ""
  for (const [name, value] of headers) if (name.toLowerCase() === "authorization") caller = value
  return caller
}
