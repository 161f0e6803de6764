/**
 * Durable wake-ups. A timer is a row, set and cleared in the transaction of the transition it belongs to; a node which gets a bucket
 * wakes its urgent ones at once, due or not, since those processes were under way when the last owner stopped.
 */
import { Clock, Context, DateTime, Duration, Effect, FiberMap, Layer, Metric, Semaphore } from "effect"
import { clearTimers } from "./Table.ts"
import { Journal } from "./Journal.ts"
import { Placement } from "./Placement.ts"
import { Store, type TimerRow } from "./Store.ts"

export interface TimersOptions {
  /** How often due timers are read. They fire at their instant all the same: each read looks further ahead than the next one. */
  readonly sweepInterval: Duration.Duration
  /** Timers handled at once. REQ-EXP-05. */
  readonly concurrency: number
  /** Timers read at once. */
  readonly page: number
}

type Handler = (id: string, name: string, dueAt: DateTime.Utc, bucket: number) => Effect.Effect<void, unknown>

export class Timers extends Context.Service<
  Timers,
  {
    /**
     * What to do when a timer of this kind of actor is due. It must lead to a state in which the timer is gone or moved; until then
     * it is repeated, with growing pauses. A handler for one `name` goes before the one for all names.
     */
    readonly onDue: (actorType: string, handler: Handler, name?: string) => void
  }
>()("cartwright/runtime/Timers") {}

const fired = Metric.counter("timers_fired_total", { description: "Timers handled", incremental: true })
const late = Metric.histogram("timers_late_seconds", {
  description: "From a timer's instant to its handling",
  boundaries: [0.01, 0.1, 0.5, 1, 5, 30, 60, 600]
})

/** With its instant: a handler which sets the same timer anew must not be replaced by it while it runs. */
const addressOf = ({ actorId, actorType, dueAt, name }: TimerRow) =>
  `${actorType}/${actorId}/${name}@${dueAt.epochMilliseconds}`

export const make = Effect.fnUntraced(function* (options: TimersOptions) {
  const store = yield* Store
  const journal = yield* Journal
  const placement = yield* Placement
  const handlers = new Map<string, Handler>()
  const fibers = yield* FiberMap.make<string>()
  const scheduled = new Map<string, { readonly dueAt: number; readonly bucket: number; failures: number }>()
  const permits = Semaphore.makeUnsafe(options.concurrency)
  const runFork = Effect.runForkWith(yield* Effect.context<never>())
  const clock = yield* Clock.Clock
  const lookAhead = Duration.times(options.sweepInterval, 3)

  const handlerOf = ({ actorType, name }: TimerRow) => handlers.get(`${actorType}/${name}`) ?? handlers.get(actorType)

  const handle = Effect.fnUntraced(function* (timer: TimerRow, handler: Handler) {
    const now = yield* DateTime.now
    yield* Metric.update(late, Math.max(0, now.epochMilliseconds - timer.dueAt.epochMilliseconds) / 1000)
    yield* handler(timer.actorId, timer.name, timer.dueAt, timer.bucket)
    yield* Metric.update(fired, 1)
  })

  const schedule = (timer: TimerRow, immediately: boolean): Effect.Effect<void> =>
    Effect.gen(function* () {
      const address = addressOf(timer)
      if (scheduled.has(address) && !immediately) return
      const entry = { dueAt: timer.dueAt.epochMilliseconds, bucket: timer.bucket, failures: 0 }
      scheduled.set(address, entry)
      const now = (yield* DateTime.now).epochMilliseconds
      const run = Effect.gen(function* () {
        if (!immediately) yield* Effect.sleep(Math.max(0, entry.dueAt - now))
        while (placement.isLocal(timer.bucket)) {
          const handler = handlerOf(timer)
          if (handler === undefined) {
            // A starting node has its buckets before it has all of its actors.
            yield* Effect.sleep(100)
            continue
          }
          const exit = yield* Effect.exit(permits.withPermits(1)(handle(timer, handler)))
          if (exit._tag === "Success") {
            // The row should be gone by now; when it is not, it comes up again after a pause.
            yield* Effect.sleep(lookAhead)
            return
          }
          entry.failures++
          yield* Effect.logWarning(`Timer ${address} failed ${entry.failures} times`, exit.cause)
          yield* Effect.sleep(Math.min(1000 * 2 ** entry.failures, 300_000))
        }
      }).pipe(
        Effect.ensuring(
          Effect.sync(() => {
            if (scheduled.get(address) === entry) scheduled.delete(address)
          })
        )
      )
      yield* FiberMap.run(fibers, address, run)
    })

  const sweep = Effect.gen(function* () {
    const buckets = yield* placement.owned
    if (buckets.length === 0) return
    const before = DateTime.addDuration(yield* DateTime.now, lookAhead)
    const due = yield* store.timers({ buckets, before, urgent: false, limit: options.page })
    yield* Effect.forEach(due, (timer) => schedule(timer, false), { discard: true })
  })

  placement.onAcquired((buckets) =>
    Effect.gen(function* () {
      // What was read of them while another node had them may be old.
      yield* journal.release(new Set(buckets))
      const far = DateTime.makeUnsafe("9999-01-01T00:00:00Z")
      const urgent = yield* store.timers({ buckets, before: far, urgent: true, limit: 100_000 })
      yield* Effect.forEach(urgent, (timer) => schedule(timer, true), { discard: true })
    }).pipe(Effect.catch((error) => Effect.logWarning("Urgent timers could not be read; the sweep will find them", error)))
  )
  placement.onLost((buckets) =>
    Effect.forEach(
      [...scheduled].filter(([, { bucket }]) => buckets.has(bucket)),
      ([address]) => FiberMap.remove(fibers, address),
      { discard: true }
    )
  )
  // Near ones need no sweep: they are seen as they are committed.
  journal.onCommit(({ timers }) => {
    if (timers.length === 0) return
    const horizon = clock.currentTimeMillisUnsafe() + Duration.toMillis(lookAhead)
    for (const row of timers) {
      const dueAt = DateTime.makeUnsafe(String(row["due_at"]))
      if (dueAt.epochMilliseconds > horizon) continue
      const timer: TimerRow = {
        actorType: String(row["actor_type"]),
        actorId: String(row["actor_id"]),
        name: String(row["name"]),
        bucket: Number(row["bucket"]),
        dueAt: DateTime.toUtc(dueAt)
      }
      runFork(schedule(timer, false))
    }
  })

  yield* sweep.pipe(
    Effect.catchCause((cause) => Effect.logWarning("Timers could not be read", cause)),
    Effect.andThen(Effect.sleep(options.sweepInterval)),
    Effect.forever,
    Effect.forkScoped
  )

  return Timers.of({
    onDue: (actorType, handler, name) => {
      handlers.set(name === undefined ? actorType : `${actorType}/${name}`, handler)
    }
  })
})

export const layer = (options: TimersOptions): Layer.Layer<Timers, never, Store | Journal | Placement> =>
  Layer.effect(Timers, make(options))

/** Removes a timer which belongs to no actor's state, such as a workflow's clock. */
export const clear = clearTimers
