/**
 * Durable wake-ups. A timer is a row, set and cleared in the transaction of the transition it belongs to; a node which gets a bucket
 * wakes its urgent ones at once, due or not, since those processes were under way when the last owner stopped.
 */
import {
  type Cause,
  Clock,
  Context,
  DateTime,
  Duration,
  Effect,
  Exit,
  type Fiber,
  FiberSet,
  Layer,
  Metric,
  Predicate,
  Semaphore
} from "effect"
import { Journal } from "./Journal.ts"
import { Placement } from "./Placement.ts"
import { Store, type TimerRow } from "./Store.ts"
import { timerRowOf } from "./StoredRows.ts"
import { clearTimers } from "./Table.ts"

export interface TimersOptions {
  /** How often due timers are read. They fire at their instant all the same: each read looks further ahead than the next one. */
  readonly sweepInterval: Duration.Duration
  /** Timers handled at once. REQ-EXP-05. */
  readonly concurrency: number
  /** Timers read at once. */
  readonly page: number
  /** How long one firing may take; a minute unless given. */
  readonly handleWithin?: Duration.Duration
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
    /** Timers in memory: near ones, and those at work. */
    readonly scheduled: Effect.Effect<number>
  }
>()("cartwright/runtime/Timers") {}

const fired = Metric.counter("timers_fired_total", { description: "Timers handled", incremental: true })
const late = Metric.histogram("timers_late_seconds", {
  description: "From a timer's instant to its handling",
  boundaries: [0.01, 0.1, 0.5, 1, 5, 30, 60, 600]
})

/** Pages of timers in memory at the most; the others wait in their rows. */
const pagesMax = 10

/** Timers which are remembered because they failed, or came to nothing. */
const failedMax = 100_000

const backoffMax = 300_000

/** A timer in memory. */
interface Entry {
  timer: TimerRow
  /** How often it has failed on end. */
  failures: number
  /** Its handler is at work: it must not be stopped, whatever becomes of the timer meanwhile. */
  running: boolean
  /** What became of it while its handler was at work. */
  next: TimerRow | "gone" | undefined
  fiber: Fiber.Fiber<void> | undefined
}

interface Takeover {
  readonly buckets: ReadonlySet<number>
  readonly known: Set<string>
}

interface Failed {
  readonly dueAt: number
  readonly bucket: number
  readonly failures: number
  readonly at: number
}

/** The oldest one is gone by now, or comes again and begins anew. */
const dropOldest = (from: Map<string, unknown>): void => {
  if (from.size > failedMax) for (const oldest of from.keys()) return void from.delete(oldest)
}

const addressOf = ({ actorId, actorType, name }: Pick<TimerRow, "actorId" | "actorType" | "name">) =>
  `${actorType}/${actorId}/${name}`

export const make = Effect.fnUntraced(function* (options: TimersOptions) {
  const store = yield* Store
  const journal = yield* Journal
  const placement = yield* Placement
  const handlers = new Map<string, Handler>()
  const fork = yield* FiberSet.makeRuntime()
  const scheduled = new Map<string, Entry>()
  /** Those which have failed, and when they are to be tried again. */
  const failed = new Map<string, Failed>()
  /** Those whose handler had nothing to do, by their instant. */
  const vain = new Map<string, { readonly dueAt: number; readonly bucket: number }>()
  const permits = Semaphore.makeUnsafe(options.concurrency)
  const scope = yield* Effect.scope
  const clock = yield* Clock.Clock
  const lookAhead = Duration.times(options.sweepInterval, 3)
  const handleWithin = options.handleWithin ?? Duration.minutes(1)
  const room = () => scheduled.size < options.page * pagesMax
  /** Timers which were committed while a page was being read: what the page says of them may be old. */
  const reads = new Set<Set<string>>()
  let away = false

  const handlerOf = ({ actorType, name }: TimerRow) => handlers.get(`${actorType}/${name}`) ?? handlers.get(actorType)

  const handle = Effect.fnUntraced(function* (timer: TimerRow, handler: Handler) {
    const now = yield* DateTime.now
    yield* Metric.update(late, Math.max(0, now.epochMilliseconds - timer.dueAt.epochMilliseconds) / 1000)
    // Its row says otherwise: what is in memory may be older, since another node has had the actor meanwhile.
    if (vain.get(addressOf(timer))?.dueAt === timer.dueAt.epochMilliseconds) yield* journal.doubt(timer.actorId)
    yield* handler(timer.actorId, timer.name, timer.dueAt, timer.bucket).pipe(Effect.timeout(handleWithin))
    yield* Metric.update(fired, 1)
  })

  const horizon = () => clock.currentTimeMillisUnsafe() + Duration.toMillis(lookAhead)

  const until = (instant: number) =>
    Effect.suspend(() => {
      const left = instant - clock.currentTimeMillisUnsafe()
      return left > 0 ? Effect.sleep(left) : Effect.void
    })

  /** An overload or an outage passes, and many timers meet it at once. */
  const tellOf = (timer: TimerRow, failures: number, cause: Cause.Cause<unknown>) => {
    const passing = cause.reasons.some(
      (reason) => reason._tag === "Fail" && Predicate.isTagged(reason.error, "Unavailable")
    )
    return passing && failures < 5
      ? Effect.logDebug(`Timer ${addressOf(timer)} has to wait`)
      : Effect.logWarning(`Timer ${addressOf(timer)} failed ${failures} times`, cause)
  }

  const remember = (timer: TimerRow, failures: number, at: number) => {
    const address = addressOf(timer)
    failed.delete(address)
    failed.set(address, { dueAt: timer.dueAt.epochMilliseconds, bucket: timer.bucket, failures, at })
    dropOldest(failed)
  }

  const rememberVain = ({ bucket, dueAt, ...named }: TimerRow) => {
    const address = addressOf(named)
    vain.delete(address)
    vain.set(address, { dueAt: dueAt.epochMilliseconds, bucket })
    dropOldest(vain)
  }

  const run = (entry: Entry, from: number) =>
    Effect.gen(function* () {
      yield* until(from)
      while (placement.isLocal(entry.timer.bucket)) {
        const { timer } = entry
        const handler = handlerOf(timer)
        // A starting node has its buckets before it has all of its actors.
        let pause = entry.failures < 50 ? 100 : 30_000
        if (handler !== undefined) {
          const exit = yield* permits.withPermits(1)(
            Effect.suspend(() => {
              entry.running = true
              return Effect.exit(handle(timer, handler))
            })
          )
          entry.running = false
          const { next } = entry
          entry.next = undefined
          if (next !== undefined || Exit.isSuccess(exit)) failed.delete(addressOf(timer))
          if (next === undefined && Exit.isSuccess(exit)) rememberVain(timer)
          else vain.delete(addressOf(timer))
          if (next === "gone") return
          if (next !== undefined) {
            entry.timer = next
            entry.failures = 0
            if (next.dueAt.epochMilliseconds > horizon()) return
            yield* until(next.dueAt.epochMilliseconds)
            continue
          }
          if (Exit.isSuccess(exit)) {
            // The row should be gone by now; when it is not, it comes up again after a pause.
            return yield* Effect.sleep(lookAhead)
          }
          pause = Math.min(2000 * 2 ** entry.failures, backoffMax)
          yield* tellOf(timer, entry.failures + 1, exit.cause)
        }
        entry.failures++
        const at = clock.currentTimeMillisUnsafe() + pause
        remember(timer, entry.failures, at)
        // A sweep takes it up again: what fails for long takes no place from the others.
        if (at > horizon()) return
        yield* until(at)
      }
    }).pipe(
      Effect.ensuring(
        Effect.sync(() => {
          const address = addressOf(entry.timer)
          if (scheduled.get(address) === entry) scheduled.delete(address)
        })
      )
    )

  /** The newest instant of a timer counts. One whose handler is at work is told afterwards. */
  const schedule = (timer: TimerRow, immediately: boolean): void => {
    const address = addressOf(timer)
    const dueAt = timer.dueAt.epochMilliseconds
    const entry = scheduled.get(address)
    if (entry !== undefined) {
      const same = entry.timer.dueAt.epochMilliseconds === dueAt
      if (entry.running) {
        if (!same) entry.next = timer
        return
      }
      if (same && !immediately) return
    }
    const before = failed.get(address)
    const failures = before?.dueAt === dueAt ? before.failures : 0
    if (failures === 0) failed.delete(address)
    const from = immediately ? 0 : Math.max(dueAt, failures === 0 ? 0 : before!.at)
    if (from > horizon()) {
      if (entry !== undefined) drop(address, entry)
      return
    }
    const made: Entry = { timer, failures, running: false, next: undefined, fiber: undefined }
    scheduled.set(address, made)
    entry?.fiber?.interruptUnsafe()
    made.fiber = fork(run(made, from))
  }

  const forget = (address: string): void => {
    failed.delete(address)
    vain.delete(address)
    const entry = scheduled.get(address)
    if (entry === undefined) return
    if (entry.running) entry.next = "gone"
    else drop(address, entry)
  }

  const drop = (address: string, entry: Entry): void => {
    scheduled.delete(address)
    entry.fiber?.interruptUnsafe()
  }

  const read = (query: Parameters<Store["Service"]["timers"]>[0]) =>
    Effect.suspend(() => {
      const changed = new Set<string>()
      reads.add(changed)
      return store.timers(query).pipe(
        Effect.map((page) => ({ page, current: page.filter((timer) => !changed.has(addressOf(timer))) })),
        Effect.ensuring(Effect.sync(() => reads.delete(changed)))
      )
    })

  const readable = Effect.suspend(() => {
    if (!away) return Effect.void
    away = false
    return Effect.logInfo("Timers can be read again")
  })
  const unreadable = (error: unknown) =>
    Effect.suspend(() => {
      if (away) return Effect.void
      away = true
      return Effect.logWarning("Timers cannot be read", error)
    })

  /** What fails stays in front: the next sweep goes on where this one had to stop, until it is through and begins anew. */
  let sweptTo: TimerRow | undefined
  const sweep = Effect.gen(function* () {
    const buckets = yield* placement.owned
    if (buckets.length === 0) return
    const before = DateTime.addDuration(yield* DateTime.now, lookAhead)
    for (let pages = 0; pages < pagesMax && room(); pages++) {
      const { current, page } = yield* read({ buckets, before, urgent: false, after: sweptTo, limit: options.page })
      for (const timer of current) schedule(timer, false)
      sweptTo = page.length < options.page ? undefined : page.at(-1)
      if (sweptTo === undefined) break
    }
    yield* readable
  })

  /** Buckets which this node has got lately, and their urgent timers which it has woken or set itself since. */
  const takeovers = new Set<Takeover>()

  /**
   * Wakes what was under way elsewhere, a page at a time, until all have been woken or somebody else has the buckets. The last flush of
   * the owner before may still have been on its way then, so it is looked twice more.
   */
  const takeOver = (buckets: ReadonlyArray<number>) => {
    const takeover: Takeover = { buckets: new Set(buckets), known: new Set() }
    takeovers.add(takeover)
    return wakeUrgent(buckets, takeover.known).pipe(
      Effect.andThen(Effect.sleep("1 second")),
      Effect.andThen(wakeUrgent(buckets, takeover.known)),
      Effect.andThen(Effect.sleep("4 seconds")),
      Effect.andThen(wakeUrgent(buckets, takeover.known)),
      Effect.ensuring(Effect.sync(() => takeovers.delete(takeover)))
    )
  }

  const wakeUrgent = Effect.fnUntraced(function* (buckets: ReadonlyArray<number>, known: Set<string>) {
    const before = DateTime.makeUnsafe("9999-01-01T00:00:00Z")
    let after: TimerRow | undefined
    while (true) {
      const local = buckets.filter(placement.isLocal)
      if (local.length === 0) return
      if (!room()) {
        yield* Effect.sleep(50)
        continue
      }
      const found = yield* read({ buckets: local, before, urgent: true, after, limit: options.page }).pipe(
        Effect.tapError(unreadable),
        Effect.orElseSucceed(() => undefined)
      )
      if (found === undefined) {
        yield* Effect.sleep(250)
        continue
      }
      yield* readable
      for (const timer of found.current) {
        const address = addressOf(timer)
        if (known.has(address)) continue
        known.add(address)
        schedule(timer, true)
      }
      if (found.page.length < options.page) return
      after = found.page.at(-1)
    }
  })

  placement.onAcquired((buckets) =>
    // What was read of them while another node had them may be old.
    journal.release(new Set(buckets)).pipe(Effect.andThen(Effect.forkIn(takeOver(buckets), scope)), Effect.asVoid)
  )
  placement.onLost((buckets) =>
    Effect.sync(() => {
      for (const [address, entry] of scheduled) if (buckets.has(entry.timer.bucket)) drop(address, entry)
      for (const known of [failed, vain]) {
        for (const [address, { bucket }] of known) if (buckets.has(bucket)) known.delete(address)
      }
    })
  )
  // Near ones need no sweep: they are seen as they are committed.
  journal.onCommit(({ cleared, timers }) => {
    for (const row of cleared) {
      const address = addressOf({
        actorId: String(row["actor_id"]),
        actorType: String(row["actor_type"]),
        name: String(row["name"])
      })
      for (const changed of reads) changed.add(address)
      forget(address)
    }
    for (const row of timers) {
      const timer = timerRowOf(row)
      const address = addressOf(timer)
      for (const changed of reads) changed.add(address)
      for (const { buckets, known } of takeovers) if (buckets.has(timer.bucket)) known.add(address)
      const near = timer.dueAt.epochMilliseconds <= horizon()
      if (near && placement.isLocal(timer.bucket) && (room() || scheduled.has(address))) schedule(timer, false)
      else forget(address)
    }
  })

  yield* sweep.pipe(
    Effect.catchCause((cause) => unreadable(cause)),
    Effect.andThen(Effect.sleep(options.sweepInterval)),
    Effect.forever,
    Effect.forkScoped
  )

  return Timers.of({
    onDue: (actorType, handler, name) => {
      handlers.set(name === undefined ? actorType : `${actorType}/${name}`, handler)
    },
    scheduled: Effect.sync(() => scheduled.size)
  })
})

export const layer = (options: TimersOptions): Layer.Layer<Timers, never, Store | Journal | Placement> =>
  Layer.effect(Timers, make(options))

/** Removes a timer which belongs to no actor's state, such as a workflow's clock. */
export const clear = clearTimers
