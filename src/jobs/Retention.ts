/**
 * Bounds the growth of what the runtime writes: keys and histories of actors that are over, what payment providers told, executions that have
 * ended, and answers nobody came for, each past its horizon. Delivered notices go at once; parked ones wait for an operator, and ledgers, orders, payments and their
 * histories are business records, not touched here. REQ-MSG-05, REQ-DAT-04.
 */
import { Clock, DateTime, Duration, Effect, type Layer, Metric, Option } from "effect"
import { type Sharding, Singleton } from "effect/cluster"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { detailOf } from "../runtime/PostgresStore.ts"
import * as Purge from "../runtime/Purge.ts"

/** Actors, and how long they are remembered after they are over. */
export interface Kept extends Purge.Forgettable {
  readonly keptFor: Duration.Duration
}

/** Actors which go altogether, and how long they stay after they are settled. */
export interface Removed extends Purge.Removable {
  readonly keptFor: Duration.Duration
}

export interface RetentionOptions {
  readonly actors: ReadonlyArray<Kept>
  readonly removed: ReadonlyArray<Removed>
  /** Executions of workflows, after they have ended. */
  readonly executionsKeptFor: Duration.Duration
  readonly interval: Duration.Duration
  /** Actors or executions looked at by one statement. */
  readonly page: number
}

const purged = Metric.counter("retention_purged_rows_total", {
  description: "Rows forgotten past their horizon",
  incremental: true
})
const passes = Metric.counter("retention_passes_total", {
  description: "Times everything was looked through for what is past its horizon",
  incremental: true
})

/** Rests for this many times as long as a page took: serving goes first. */
const restFactor = 4

/** After a start other things come first. */
const settleFor = Duration.minutes(1)

/** Looks through everything once; gives the rows that went, by what they were. */
export const pass = Effect.fn("Retention.pass")(function* ({
  actors,
  executionsKeptFor,
  page: limit,
  removed
}: Omit<RetentionOptions, "interval">): Effect.fn.Return<ReadonlyMap<string, number>, SqlError, SqlClient> {
  const now = yield* DateTime.now
  const gone = new Map<string, number>()
  const through = Effect.fnUntraced(function* (
    what: string,
    keptFor: Duration.Duration,
    purge: (page: Purge.Page) => Effect.Effect<Purge.Purged, SqlError, SqlClient>
  ) {
    const before = DateTime.subtractDuration(now, keptFor)
    let after: Option.Option<Purge.Mark> = Option.none()
    do {
      const started = yield* Clock.currentTimeMillis
      const { next, rows }: Purge.Purged = yield* purge({ before, after, limit })
      gone.set(what, (gone.get(what) ?? 0) + rows)
      yield* Metric.update(Metric.withAttributes(purged, { what }), rows)
      after = next
      if (Option.isSome(next)) yield* Effect.sleep(restFactor * ((yield* Clock.currentTimeMillis) - started))
    } while (Option.isSome(after))
  })
  for (const { keptFor, ...forgettable } of actors) {
    yield* through(forgettable.definition.type, keptFor, (page) => Purge.histories(forgettable, page))
  }
  for (const { keptFor, ...removable } of removed) {
    yield* through(removable.definition.type, keptFor, (page) => Purge.actors(removable, page))
  }
  for (const status of ["completed", "failed"] as const) {
    yield* through("executions", executionsKeptFor, (page) => Purge.executions(status, page))
  }
  yield* through("steps", executionsKeptFor, Purge.orphanedSteps)
  yield* Metric.update(passes, 1)
  return gone
})

const stopped = (why: unknown) => Effect.logWarning("Retention stopped half-way; it begins anew", why)

/** On one node at a time. For a moment two may think they are the one, when a node was cut off: each row goes once all the same. */
export const layer = (options: RetentionOptions): Layer.Layer<never, never, Sharding.Sharding | SqlClient> =>
  Singleton.make(
    "Retention",
    pass(options).pipe(
      Effect.tap((gone) => {
        const rows = [...gone.values()].reduce((sum, count) => sum + count, 0)
        return rows === 0 ? Effect.void : Effect.logInfo("Forgotten past its horizon", Object.fromEntries(gone))
      }),
      // What could not be looked through this time is next time.
      Effect.catchTag("SqlError", (error) => stopped(detailOf(error))),
      Effect.catchCause(stopped),
      Effect.andThen(Effect.sleep(options.interval)),
      Effect.forever,
      Effect.delay(Duration.min(settleFor, options.interval))
    )
  )
