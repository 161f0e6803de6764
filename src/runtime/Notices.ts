/**
 * Facts for actors of other processes. Written with the transition, delivered in order per (source, receiver) right after the commit,
 * repeated until acknowledged, and set aside for an operator after their attempts. REQ-GEN-07, REQ-GEN-09, REQ-MSG-01, REQ-MSG-03.
 */
import { Cause, Context, DateTime, Duration, Effect, FiberMap, Layer, Metric, Queue } from "effect"
import { acknowledge, Journal } from "./Journal.ts"
import { Placement } from "./Placement.ts"
import { type NoticeRow, Store } from "./Store.ts"
import { type Row, toJson } from "./Table.ts"

export interface NoticesOptions {
  /** Deliveries before a notice is set aside. N-020. */
  readonly attemptsMax: number
  /** The first pause; it doubles up to `backoffMax`. N-023. */
  readonly backoff: Duration.Duration
  readonly backoffMax: Duration.Duration
  /** How long acknowledgements are collected before they are written. */
  readonly acknowledgeWithin: Duration.Duration
  /** How often pending notices are read again, for what a crash or a lost answer left behind. */
  readonly sweepInterval: Duration.Duration
}

/** Delivery is at work as long as this service lives; there is nothing to call. */
export class Notices extends Context.Service<Notices, { readonly pending: Effect.Effect<number> }>()(
  "cartwright/runtime/Notices"
) {}

const delivered = Metric.counter("notices_delivered_total", { description: "Notices acknowledged", incremental: true })
const parked = Metric.counter("notices_parked_total", { description: "Notices set aside", incremental: true })

const keyOf = ({ ordinal, seq, sourceId, sourceType }: NoticeRow) => `notice:${sourceType}:${sourceId}:${seq}:${ordinal}`
const wayOf = ({ receiverId, receiverType, sourceId, sourceType }: NoticeRow) =>
  `${sourceType}/${sourceId}>${receiverType}/${receiverId}`

export const make = Effect.fnUntraced(function* (options: NoticesOptions) {
  const store = yield* Store
  const journal = yield* Journal
  const placement = yield* Placement
  const ways = new Map<string, Array<NoticeRow>>()
  const known = new Set<string>()
  const fibers = yield* FiberMap.make<string>()
  const runFork = Effect.runForkWith(yield* Effect.context<never>())
  const acknowledged = yield* Queue.unbounded<NoticeRow>()

  const deliver = Effect.fnUntraced(function* (notice: NoticeRow) {
    let attempts = notice.attempts
    const now = yield* DateTime.now
    // What was tried before waits for its time again.
    if (attempts > 0) yield* Effect.sleep(Math.max(0, notice.dueAt.epochMilliseconds - now.epochMilliseconds))
    while (true) {
      const exit = yield* Effect.exit(
        placement.send(notice.receiverType, notice.receiverId, {
          ...(notice.message as object),
          key: keyOf(notice)
        })
      )
      if (exit._tag === "Success") {
        yield* Metric.update(delivered, 1)
        yield* Queue.offer(acknowledged, notice)
        return
      }
      attempts++
      const error = Cause.pretty(exit.cause).slice(0, 500)
      const pause = Duration.min(Duration.times(options.backoff, 2 ** (attempts - 1)), options.backoffMax)
      const enough = attempts >= options.attemptsMax
      const dueAt = DateTime.addDuration(yield* DateTime.now, pause)
      yield* Effect.ignore(store.noticeFailed(notice, { error, dueAt, parked: enough }))
      if (enough) {
        yield* Metric.update(parked, 1)
        yield* Effect.logError(`Notice ${keyOf(notice)} is parked after ${attempts} attempts`, exit.cause)
        known.delete(keyOf(notice))
        return
      }
      yield* Effect.sleep(pause)
    }
  })

  const work = (way: string) =>
    Effect.gen(function* () {
      const waiting = ways.get(way)
      while (waiting !== undefined && waiting.length > 0) {
        yield* deliver(waiting[0]!)
        waiting.shift()
      }
      ways.delete(way)
    })

  const enqueue = (notice: NoticeRow) => {
    const key = keyOf(notice)
    if (known.has(key)) return
    known.add(key)
    const way = wayOf(notice)
    const waiting = ways.get(way)
    if (waiting !== undefined) waiting.push(notice)
    else {
      ways.set(way, [notice])
      runFork(FiberMap.run(fibers, way, work(way)))
    }
  }

  journal.onCommit(({ notices }) => {
    for (const row of notices) enqueue(fromRow(row))
  })

  const readPending = (buckets: ReadonlyArray<number>) =>
    store.notices({ buckets, limit: 1000 }).pipe(
      Effect.map((rows) => {
        // In order of their source: an older one must not overtake.
        for (const notice of [...rows].sort((left, right) => left.seq - right.seq || left.ordinal - right.ordinal)) enqueue(notice)
      }),
      Effect.catch((error) => Effect.logWarning("Pending notices could not be read", error))
    )
  placement.onAcquired(readPending)
  placement.onLost((buckets) =>
    Effect.forEach(
      [...ways].filter(([, [notice]]) => notice !== undefined && buckets.has(placement.bucketOf(notice.sourceId))),
      ([way, waiting]) => {
        for (const notice of waiting) known.delete(keyOf(notice))
        ways.delete(way)
        return FiberMap.remove(fibers, way)
      },
      { discard: true }
    )
  )
  yield* Effect.sleep(options.sweepInterval).pipe(
    Effect.andThen(placement.owned),
    Effect.flatMap(readPending),
    Effect.forever,
    Effect.forkScoped
  )

  yield* Queue.takeBetween(acknowledged, 1, 1000).pipe(
    // Collected for a moment, so that under load many share one flush, and alone they ride with the next step.
    Effect.tap(() => Effect.sleep(options.acknowledgeWithin)),
    Effect.flatMap((first) => Effect.map(Queue.clear(acknowledged), (rest) => [...first, ...rest])),
    Effect.flatMap((notices) =>
      journal
        .unit({
          cells: [],
          cause: "notices",
          body: ({ write }) => {
            for (const { ordinal, seq, sourceId, sourceType } of notices) {
              write(acknowledge, { source_id: sourceId, source_type: sourceType, seq, ordinal })
            }
          }
        })
        .pipe(
          Effect.andThen(
            Effect.sync(() => {
              for (const notice of notices) known.delete(keyOf(notice))
            })
          ),
          // Unacknowledged, they are delivered again, and the receiver knows their keys.
          Effect.catch(() =>
            Effect.sync(() => {
              for (const notice of notices) known.delete(keyOf(notice))
            })
          )
        )
    ),
    Effect.forever,
    Effect.forkScoped
  )

  return Notices.of({ pending: Effect.sync(() => known.size) })
})

export const layer = (options: NoticesOptions): Layer.Layer<Notices, never, Store | Journal | Placement> =>
  Layer.effect(Notices, make(options))

const fromRow = (row: Row): NoticeRow => ({
  sourceType: String(row["source_type"]),
  sourceId: String(row["source_id"]),
  seq: Number(row["seq"]),
  ordinal: Number(row["ordinal"]),
  receiverType: String(row["receiver_type"]),
  receiverId: String(row["receiver_id"]),
  message: JSON.parse(toJson(row["message"])),
  attempts: 0,
  dueAt: DateTime.toUtc(DateTime.makeUnsafe(String(row["due_at"])))
})
