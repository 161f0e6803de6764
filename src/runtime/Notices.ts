/**
 * Facts for actors of other processes. Written with the transition, delivered in order per (source, receiver) right after the commit,
 * repeated until acknowledged, and set aside for an operator after their attempts. One that is set aside holds up those behind it, from
 * the same source to the same receiver, and nobody else. REQ-GEN-07, REQ-GEN-09, REQ-MSG-01, REQ-MSG-03.
 *
 * A notice to an actor in memory on the same node is carried out in the transaction that raises it, and needs no row; see the journal.
 *
 * Order rests on this: of a bucket that is `current` all pending notices are in memory, so that a new one may go behind them. Those of
 * other buckets stay in their rows until a read has found everything before them. The last owner of a bucket may still finish a flush of
 * its own afterwards; whoever writes next to that actor has read it since, and then its notices have to be read again as well.
 */
import {
  Array as Arr,
  Cause,
  Context,
  DateTime,
  Duration,
  Effect,
  Exit,
  type Fiber,
  FiberSet,
  Layer,
  Metric,
  Queue,
  Semaphore
} from "effect"
import type { Notice } from "./Actor.ts"
import { acknowledge, Journal } from "./Journal.ts"
import { Placement } from "./Placement.ts"
import { type NoticeRow, Store } from "./Store.ts"
import { noticeRowOf } from "./StoredRows.ts"
import { type Row, toJson } from "./Table.ts"

export interface NoticesOptions {
  /** Deliveries before a notice is set aside. N-020. */
  readonly attemptsMax: number
  /** The first pause; it doubles up to `backoffMax`. N-023. */
  readonly backoff: Duration.Duration
  readonly backoffMax: Duration.Duration
  /** How long acknowledgements are collected before they are written. */
  readonly acknowledgeWithin: Duration.Duration
  /** How often pending notices are read again, for what a crash, a lost answer or an operator left behind. */
  readonly sweepInterval: Duration.Duration
  /** What is told, and to whom, before one is set aside: until that is durable it is not. */
  readonly onParked?: (notice: NoticeRow, error: string) => Notice
  /** Notices in memory at the most, the others wait in their rows; 20 000 unless given. */
  readonly residentMax?: number
}

/** Names one notice for good. */
export type NoticeAddress = Pick<NoticeRow, "sourceType" | "sourceId" | "seq" | "ordinal">

/** Delivery is at work as long as this service lives. */
export class Notices extends Context.Service<
  Notices,
  {
    /** Notices in memory: not delivered yet, or not yet acknowledged. */
    readonly pending: Effect.Effect<number>
  }
>()("cartwright/runtime/Notices") {}

const delivered = Metric.counter("notices_delivered_total", { description: "Notices acknowledged", incremental: true })
const parked = Metric.counter("notices_parked_total", { description: "Notices set aside", incremental: true })

/** Deliveries under way at once. */
const concurrency = 256
const pageSize = 1000
/** How long a read that failed, or found no room, waits before the next one. */
const rereadAfter = Duration.millis(250)
/** How long a node which is just starting waits for an actor to be served, before that counts as an attempt. */
const startWithin = Duration.seconds(30)

const keyOf = ({ ordinal, seq, sourceId, sourceType }: NoticeAddress) =>
  `notice:${sourceType}:${sourceId}:${seq}:${ordinal}`
const wayOf = ({ receiverId, receiverType, sourceId, sourceType }: NoticeRow) =>
  `${sourceType}/${sourceId}>${receiverType}/${receiverId}`

/** From one source to one receiver. */
interface Way {
  readonly bucket: number
  /** The first one is under way. */
  readonly waiting: Array<NoticeRow>
  fiber: Fiber.Fiber<void> | undefined
}

export const make = Effect.fnUntraced(function* (options: NoticesOptions) {
  const store = yield* Store
  const journal = yield* Journal
  const placement = yield* Placement
  const residentMax = options.residentMax ?? 20_000
  /** Ways in memory which end at a parked notice. */
  const blockedMax = Math.ceil(residentMax / 4)
  const ways = new Map<string, Way>()
  /** Keys of notices in memory. */
  const known = new Set<string>()
  /** Buckets of which everything pending is in memory, or behind a parked one; with the count of reads of actors when that was read. */
  const current = new Map<number, number>()
  /** Ways which end at a parked notice, with their bucket. */
  const blocked = new Map<string, number>()
  /** What was committed, and which ways were blocked, while a read is under way; `overflown` when that was too much to keep. */
  let reading:
    | {
        readonly committed: Array<readonly [notice: NoticeRow, readAt: number]>
        readonly parked: Set<string>
        overflown: boolean
      }
    | undefined
  let away = false
  const fork = yield* FiberSet.makeRuntime()
  const permits = Semaphore.makeUnsafe(concurrency)
  const acknowledged = yield* Queue.unbounded<NoticeRow>()
  const wakeUps = yield* Queue.sliding<void>(1)

  const awaitServed = (type: string) =>
    Effect.sleep(100).pipe(
      Effect.repeat({ while: () => !placement.serves(type) }),
      Effect.timeoutOption(startWithin),
      Effect.when(Effect.sync(() => !placement.serves(type)))
    )

  /** Nothing is set aside without anybody hearing of it; the word about it is not a reason for another one. */
  const toldOf = Effect.fnUntraced(function* (notice: NoticeRow, error: string) {
    const told = options.onParked?.(notice, error)
    if (told === undefined || told.receiver.type === notice.receiverType) return true
    const message = { ...told.message, key: `parked:${keyOf(notice)}` }
    const exit = yield* Effect.exit(placement.send(told.receiver.type, told.receiver.id, message))
    if (Exit.isFailure(exit)) yield* Effect.logWarning(`Nobody hears of notice ${keyOf(notice)} yet`, exit.cause)
    return Exit.isSuccess(exit)
  })

  /** Gives whether the notice was delivered; otherwise it is parked. */
  const deliver = Effect.fnUntraced(function* (notice: NoticeRow) {
    let { attempts } = notice
    let tries = attempts
    const now = yield* DateTime.now
    // What was tried before waits for its time again.
    if (attempts > 0)
      yield* Effect.sleep(
        Duration.clamp(DateTime.distance(now, notice.dueAt), { minimum: Duration.zero, maximum: options.backoffMax })
      )
    yield* awaitServed(notice.receiverType)
    while (true) {
      const message = { ...(notice.message as object), key: keyOf(notice) }
      const exit = yield* Effect.exit(
        permits.withPermits(1)(placement.send(notice.receiverType, notice.receiverId, message))
      )
      if (Exit.isSuccess(exit)) {
        yield* Metric.update(delivered, 1)
        yield* Queue.offer(acknowledged, notice)
        return true
      }
      const error = Cause.pretty(exit.cause).slice(0, 500)
      const pause = Duration.min(Duration.times(options.backoff, 2 ** tries++), options.backoffMax)
      const enough = attempts + 1 >= options.attemptsMax
      const dueAt = DateTime.addDuration(yield* DateTime.now, pause)
      if (enough && !(yield* toldOf(notice, error))) {
        yield* Effect.sleep(pause)
        continue
      }
      // Only what is recorded counts: nothing is parked because our own database is away.
      const recorded = yield* Effect.exit(store.noticeFailed(notice, { error, dueAt, parked: enough }))
      if (Exit.isSuccess(recorded)) attempts++
      if (Exit.isSuccess(recorded) && enough) {
        yield* Metric.update(parked, 1)
        yield* Effect.logError(`Notice ${keyOf(notice)} is parked after ${attempts} attempts`, exit.cause)
        return false
      }
      yield* Effect.sleep(pause)
    }
  })

  const work = (name: string, way: Way): Effect.Effect<void> =>
    Effect.gen(function* () {
      while (way.waiting.length > 0) {
        if (!(yield* deliver(way.waiting[0]!))) {
          blocked.set(name, way.bucket)
          reading?.parked.add(name)
          return
        }
        way.waiting.shift()
      }
    }).pipe(
      Effect.catchCause((cause) =>
        Effect.andThen(
          Effect.logError(`Notices from ${name} stopped; the next read finds them`, cause),
          // New ones must not overtake them.
          Effect.sync(() => current.delete(way.bucket))
        )
      ),
      Effect.ensuring(
        Effect.sync(() => {
          for (const notice of way.waiting) known.delete(keyOf(notice))
          if (ways.get(name) === way) ways.delete(name)
        })
      )
    )

  const enqueue = (notice: NoticeRow): void => {
    const key = keyOf(notice)
    if (known.has(key)) return
    known.add(key)
    const name = wayOf(notice)
    const way = ways.get(name)
    if (way !== undefined) way.waiting.push(notice)
    else {
      const made: Way = { bucket: notice.bucket, waiting: [notice], fiber: undefined }
      ways.set(name, made)
      made.fiber = fork(work(name, made))
    }
  }

  /** A notice which was just committed. When it cannot go at once, it stays in its row. */
  const offer = (notice: NoticeRow, readAt: number): void => {
    const since = current.get(notice.bucket)
    if (since === undefined || blocked.has(wayOf(notice))) return
    // Its source was read later than the pending ones: somebody else may have written to it in between.
    if (readAt > since) Queue.offerUnsafe(wakeUps, undefined)
    else if (known.size < residentMax) enqueue(notice)
    else current.delete(notice.bucket)
  }

  // Only when nothing older is on the same way: of a bucket that is current, and not being read, all of that is in memory.
  journal.onNotice(({ readAt, row }) => {
    if (reading !== undefined) return undefined
    const notice = fromRow(row)
    const way = wayOf(notice)
    if (readAt > (current.get(notice.bucket) ?? -1) || blocked.has(way) || ways.has(way)) return undefined
    if (!placement.isLocal(notice.bucket) || !placement.isLocal(placement.bucketOf(notice.receiverId))) return undefined
    const key = keyOf(notice)
    const command = placement.commandOf(notice.receiverType, { ...(notice.message as object), key })
    return command === undefined ? undefined : { key, command }
  })
  journal.onCommit(({ carriedOut, notices }) => {
    if (carriedOut > 0) fork(Metric.update(delivered, carriedOut))
    for (const { readAt, row } of notices) {
      const notice = fromRow(row)
      if (!placement.isLocal(notice.bucket)) continue
      if (reading === undefined) offer(notice, readAt)
      else if (reading.committed.length < residentMax) reading.committed.push([notice, readAt])
      else reading.overflown = true
    }
  })

  /** Reads what is pending; gives when it is to be read again. */
  const read = Effect.gen(function* () {
    const buckets = yield* placement.owned
    if (buckets.length === 0) return options.sweepInterval
    const found: NonNullable<typeof reading> = { committed: [], parked: new Set(), overflown: false }
    reading = found
    const since = journal.reads()
    const parkedNow = yield* store.notices({ buckets, parked: true, limit: blockedMax })
    const stillBlocked = new Set(parkedNow.map(wayOf))
    let after: NoticeRow | undefined
    let complete = false
    while (!complete && known.size < residentMax) {
      const page: ReadonlyArray<NoticeRow> = yield* store.notices({ buckets, parked: false, after, limit: pageSize })
      for (const notice of page) if (!found.parked.has(wayOf(notice))) enqueue(notice)
      complete = page.length < pageSize
      after = page.at(-1)
    }
    if (complete)
      for (const way of blocked.keys()) if (!stillBlocked.has(way) && !found.parked.has(way)) blocked.delete(way)
    for (const notice of parkedNow) blocked.set(wayOf(notice), notice.bucket)
    // When not all ways which end at a parked one are known, then only the rows tell what may go on.
    if (found.overflown || blocked.size >= blockedMax) {
      current.clear()
      blocked.clear()
      return Duration.min(Duration.seconds(1), options.sweepInterval)
    }
    if (!complete) return rereadAfter
    for (const bucket of buckets) if (placement.isLocal(bucket)) current.set(bucket, since)
    return options.sweepInterval
  }).pipe(
    Effect.ensuring(
      Effect.sync(() => {
        const committed = reading?.committed ?? []
        reading = undefined
        for (const [notice, readAt] of committed) offer(notice, readAt)
      })
    )
  )

  placement.onAcquired((buckets) =>
    Effect.sync(() => {
      // While another node had them it may have left some behind.
      for (const bucket of buckets) current.delete(bucket)
      Queue.offerUnsafe(wakeUps, undefined)
    })
  )
  placement.onLost((buckets) =>
    Effect.sync(() => {
      for (const bucket of buckets) current.delete(bucket)
      for (const [way, bucket] of blocked) if (buckets.has(bucket)) blocked.delete(way)
      for (const [name, way] of ways) {
        if (!buckets.has(way.bucket)) continue
        ways.delete(name)
        way.fiber?.interruptUnsafe()
      }
    })
  )

  yield* read.pipe(
    Effect.flatMap((next) => {
      if (!away) return Effect.succeed(next)
      away = false
      return Effect.as(Effect.logInfo("Pending notices can be read again"), next)
    }),
    Effect.catchCause((cause) => {
      if (away) return Effect.succeed(rereadAfter)
      away = true
      return Effect.as(Effect.logWarning("Pending notices cannot be read", cause), rereadAfter)
    }),
    Effect.flatMap((next) => Effect.timeoutOption(Queue.take(wakeUps), next)),
    Effect.forever,
    Effect.forkScoped
  )

  const forget = (notices: ReadonlyArray<NoticeAddress>) =>
    journal.unit<void>({
      cells: [],
      cause: "notices",
      body: ({ write }) => {
        for (const { ordinal, seq, sourceId, sourceType } of notices) {
          write(acknowledge, { source_id: sourceId, source_type: sourceType, seq, ordinal })
        }
      }
    })

  yield* Queue.takeBetween(acknowledged, 1, pageSize).pipe(
    // Collected for a moment, so that under load many share one flush, and alone they ride with the next step.
    Effect.tap(() => Effect.sleep(options.acknowledgeWithin)),
    Effect.flatMap((first) =>
      Effect.map(Queue.clear(acknowledged), (rest) => Arr.chunksOf([...first, ...rest], pageSize))
    ),
    Effect.flatMap(
      Effect.forEach((notices) =>
        forget(notices).pipe(
          // Unacknowledged, they are delivered again, and the receiver knows their keys.
          Effect.catchCause((cause) => Effect.logDebug("Notices are not acknowledged", cause)),
          Effect.ensuring(
            Effect.sync(() => {
              for (const notice of notices) known.delete(keyOf(notice))
            })
          )
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

/** One which is about to be written: the store that gives it back has read its JSON, and knows of no attempts. */
const fromRow = (row: Row): NoticeRow =>
  noticeRowOf({ ...row, message: JSON.parse(toJson(row["message"])), attempts: 0 })
