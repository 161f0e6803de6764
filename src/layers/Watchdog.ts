/**
 * Ends a node that makes no progress, so that the others get its work and its supervisor starts it again. Two things are watched: whether
 * the process runs code at all, from a thread of its own; and whether flushes still get through. A database which is away, or locks of
 * somebody else, are no reason: another process would fare no better.
 */
import { Worker } from "node:worker_threads"
import { Duration, Effect, Layer, Metric } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { Journal } from "../runtime/Journal.ts"
import { Store } from "../runtime/Store.ts"

export interface WatchdogOptions {
  readonly exitAfter: Duration.Duration
  /** What ends the process; given in tests. */
  readonly exit?: (code: number) => void
}

/** Of a process that ended itself. A blocked one cannot: it is killed, and has said so on its standard error. */
export const stalledExitCode = 70

const silence = Metric.gauge("journal_silent_seconds", {
  description: "How long flushes have not got through, or the oldest step has waited"
})

export const layer = (options: WatchdogOptions): Layer.Layer<never, never, Journal | SqlClient | Store> =>
  Layer.effectDiscard(Effect.andThen(watchProgress(options), watchEventLoop(options)))

/** How long nothing has got through, whatever the reason. */
export const silentFor: Effect.Effect<Duration.Duration, never, Journal | Store> = Effect.gen(function* () {
  const { waitingFor } = yield* Journal
  const store = yield* Store
  return Duration.max(yield* waitingFor, yield* store.silentFor)
})

const lookEvery = Duration.millis(500)

/** From here on the database is asked. */
const suspicious = Duration.seconds(1)

const watchProgress = Effect.fnUntraced(function* ({
  exit = (code) => process.exit(code),
  exitAfter
}: WatchdogOptions) {
  const sql = yield* SqlClient
  /** Whether it answers others, and no flush of any node waits for a lock in it. */
  const answers = sql<{ readonly locked: boolean }>`select exists (select from pg_stat_activity
    where application_name = 'cartwright-journal' and wait_event_type = 'Lock' and now() - query_start > interval '1 second') as locked`.pipe(
    Effect.timeout("1 second"),
    Effect.map(([row]) => row?.locked === false),
    Effect.orElseSucceed(() => false)
  )
  /** Looks, and not the time: a process that was frozen as a whole has missed nothing. */
  let inVain = 0
  const look = Effect.gen(function* () {
    const silent = yield* silentFor
    yield* Metric.update(silence, Duration.toSeconds(silent))
    inVain = Duration.isLessThan(silent, suspicious) || !(yield* answers) ? 0 : inVain + 1
    if ((inVain - 1) * Duration.toMillis(lookEvery) < Duration.toMillis(exitAfter)) return
    yield* Effect.logFatal(
      `No step has become durable for ${Math.round(Duration.toSeconds(silent))} s, although the database answers: this node ends itself`
    )
    exit(stalledExitCode)
  })
  yield* look.pipe(Effect.ignoreCause, Effect.andThen(Effect.sleep(lookEvery)), Effect.forever, Effect.forkScoped)
})

const watchEventLoop = ({ exitAfter }: WatchdogOptions) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const beats = new Int32Array(new SharedArrayBuffer(4))
      const worker = new Worker(new URL("watchdogThread.ts", import.meta.url), {
        workerData: { beats, blockedFor: Duration.toMillis(exitAfter) } satisfies ThreadOptions,
        stderr: false
      })
      worker.unref()
      const timer = setInterval(() => Atomics.add(beats, 0, 1), 250).unref()
      return { timer, worker }
    }),
    ({ timer, worker }) =>
      Effect.promise(async () => {
        clearInterval(timer)
        await worker.terminate()
      })
  )

/** What the thread is told. */
export interface ThreadOptions {
  /** Counted up by the watched thread as long as it runs. */
  readonly beats: Int32Array
  /** In milliseconds. */
  readonly blockedFor: number
}
