/**
 * Makes the transitions of one step durable in one transaction, for one or several co-located actors.
 *
 * Units queued while a flush is under way go into the next one. A flush locks the counters it needs, runs the pure bodies in order, and
 * writes one statement with its guards inside; state reaches memory only after the commit. A unit that the database refuses is searched
 * for by halves, so that it never fails its neighbours and hardly slows them down; after a lost connection the actors are reloaded and
 * the bodies run again, and whatever had been committed answers from its keys.
 */
import { Cause, Clock, Context, DateTime, Deferred, Duration, Effect, Exit, Layer, Metric, Queue, Result } from "effect"
import { IdempotencyConflict, Unavailable } from "../domain/Refusals.ts"
import { addressOf, type AnyDefinition, Cell, type CommandOf, type RefusalOf, type StateOf } from "./Actor.ts"
import { codecsOf } from "./Codecs.ts"
import * as Decision from "./Decision.ts"
import { fingerprintOf } from "./Fingerprint.ts"
import { Store, type StoreError } from "./Store.ts"
import { acknowledgeNotices, type CounterTable } from "./Table.ts"
import type { UnitOptions } from "./Transaction.ts"

export interface JournalOptions {
  readonly counters: CounterTable
  /** Units of one flush at the most. */
  readonly batchMax: number
  /** Units waiting at the most; one more is refused as `Unavailable`. */
  readonly queueMax: number
  /** Actors kept in memory without being needed. */
  readonly residentMax: number
  /** How long units are tried again while the database is away. */
  readonly retryFor: Duration.Duration
}

/** What an actor was right after a command was first carried out. */
export interface Answer<State> {
  readonly state: State
  readonly version: number
}

/** How often a unit is decided again because others were first. */
const conflictsMax = 8

/** How long the last owner of a bucket may still be writing to it: longer than a flush takes before it is given up. */
export const settleFor = Duration.seconds(15)

/** Remembered keys of one actor in memory; the older half goes when there are more. */
const keysMax = 1000

interface Unit extends Decision.Undecided {
  readonly done: Deferred.Deferred<unknown, unknown>
  readonly since: number
  /** How often it was decided in vain. */
  conflicts: number
  plain: boolean
}

const flushed = Metric.counter("journal_commits_total", {
  description: "Flushes made durable by this node",
  incremental: true
})
const unitsTotal = Metric.counter("journal_units_total", { description: "Units made durable", incremental: true })
const conflictsTotal = Metric.counter("journal_conflicts_total", {
  description: "Flushes decided again because another write came first",
  incremental: true
})
/** So that an operator sees whether the limit on them is what keeps a node reading. */
const residentGauge = Metric.gauge("journal_actors_resident", { description: "Actors in this node's memory" })

export class Journal extends Context.Service<
  Journal,
  {
    /** Resolves when what the body did is durable. */
    readonly unit: <A, E = never>(options: UnitOptions<A>) => Effect.Effect<A, E | IdempotencyConflict | Unavailable>
    /** One keyed command to one actor; a repeated key gives the actor as it was right after the first time, or its refusal. */
    readonly command: <D extends AnyDefinition>(options: {
      readonly cell: Cell<D>
      readonly key: string
      readonly command: CommandOf<D>
      readonly counters?: () => ReadonlyArray<string>
      readonly cause: string
    }) => Effect.Effect<Answer<StateOf<D>>, RefusalOf<D> | IdempotencyConflict | Unavailable>
    /** The actor in memory, loaded when it was not. */
    readonly cell: <D extends AnyDefinition>(
      definition: D,
      id: string,
      bucket: number
    ) => Effect.Effect<Cell<D>, Unavailable>
    /** Several actors of one id with one round trip. */
    readonly cells: <const Ds extends ReadonlyArray<AnyDefinition>>(
      definitions: Ds,
      id: string,
      bucket: number
    ) => Effect.Effect<{ readonly [K in keyof Ds]: Cell<Ds[K]> }, Unavailable>
    /**
     * The same for actors which cannot exist yet, since only their process could have made them: nothing is read. Should somebody have
     * made one all the same, the first write meets it, and is decided again on what is there.
     */
    readonly absent: <const Ds extends ReadonlyArray<AnyDefinition>>(
      definitions: Ds,
      id: string,
      bucket: number
    ) => { readonly [K in keyof Ds]: Cell<Ds[K]> }
    /** Brings actors in memory to what their rows say: for whoever has reason to believe that another node has changed them. */
    readonly reread: (cells: ReadonlyArray<Cell>) => Effect.Effect<void, Unavailable>
    /** Has the actors under an id read again before they are used next: another node may have changed them. */
    readonly doubt: (id: string) => Effect.Effect<void>
    /** Forgets the actors of buckets which another node owns now. */
    readonly release: (buckets: ReadonlySet<number>) => Effect.Effect<void>
    /** Resolves when the actor is at a version above `version`, or has left this node; never fails, so bound the wait. */
    readonly changed: (type: string, id: string, version: number) => Effect.Effect<void>
    /** Notices to this kind of actor may be carried out in the flush that raises them: no command of it needs counters. */
    readonly takesNotices: (definition: AnyDefinition) => void
    /**
     * Asked of each notice to such an actor in memory: how it is carried out at once, in the transaction that raises it; or nothing, when
     * it has to wait for others before it, or its receiver lives elsewhere. Then it is written as a row.
     */
    readonly onNotice: (carryOut: (notice: Decision.Raised) => Decision.NoticeCommand | undefined) => void
    /** Called with what each flush has made durable, right after it. */
    readonly onCommit: (listener: (committed: Decision.Committed) => void) => void
    readonly resident: Effect.Effect<number>
    /** How often actors have been read so far; see `Committed.notices`. */
    readonly reads: () => number
    /** How long the unit has waited which waits for longest. */
    readonly waitingFor: Effect.Effect<Duration.Duration>
  }
>()("cartwright/runtime/Journal") {}

export const make = Effect.fnUntraced(function* (options: JournalOptions) {
  const store = yield* Store
  const queue = yield* Queue.unbounded<Unit>()
  const directory = new Map<string, Cell>()
  /** Kinds of actors which this node has had. */
  const types = new Set<string>()
  const watchers = new Map<string, Set<{ readonly above: number; readonly wake: () => void }>>()
  const listeners: Array<(committed: Decision.Committed) => void> = []
  const takers = new Set<AnyDefinition>()
  let carryOut: (notice: Decision.Raised) => Decision.NoticeCommand | undefined = () => undefined
  const decide = Decision.make({
    counters: options.counters,
    direct: (notice) => {
      const cell = directory.get(`${String(notice.row["receiver_type"])}/${String(notice.row["receiver_id"])}`)
      if (cell === undefined || !cell.loaded || !cell.keysComplete || !takers.has(cell.definition)) return undefined
      const command = carryOut(notice)
      return command === undefined ? undefined : { cell, ...command }
    }
  })
  /** Actors which are being read, so that many who ask for one read it once. */
  const loading = new Map<Cell, Deferred.Deferred<void, Unavailable>>()
  const scope = yield* Effect.scope
  /** Of the flush under way. */
  const beside: Decision.Beside<Unit> = { receivers: [], units: new Set() }
  /** Units without an answer yet. */
  const open = new Set<Unit>()
  let closed = false
  let away = false
  /** Reads of actors so far. */
  let reads = 0
  const clock = yield* Clock.Clock
  const monotonic = () => Number(clock.monotonicTimeNanosUnsafe() / 1_000_000n)
  /** From when on what is read of a bucket's actors stays as it was read, unless it is written here. */
  const settledAt = new Map<number, number>()
  /** An actor whose last owner may have written to it after it was read here: it is read once more. */
  const mayHaveChanged = ({ bucket, readMillis }: Cell): boolean => {
    const settled = settledAt.get(bucket)
    return settled !== undefined && readMillis < settled && settled <= monotonic()
  }

  /** `flushing`: nothing is committed meanwhile, so that what is read counts, whatever it is. */
  const reload = Effect.fnUntraced(function* (cells: ReadonlyArray<Cell>, flushing: boolean) {
    if (cells.length === 0) return
    const now = monotonic()
    const loaded = yield* store.load(cells)
    reads++
    cells.forEach((cell, index) => {
      const { keys, keysComplete, row } = loaded[index]!
      cell.readMillis = now
      // A flush may have overtaken this read.
      if (!flushing && cell.version > Number(row?.["version"] ?? 0)) return
      cell.state = row === undefined ? cell.definition.initial : cell.definition.table.fromRow(row)
      cell.version = row === undefined ? 0 : Number(row["version"])
      cell.keys = new Map(keys.map(({ key, ...remembered }) => [key, remembered]))
      cell.keysComplete = keysComplete
      cell.newKeys = undefined
      cell.loaded = true
      cell.readAt = reads
    })
    for (const { address, version } of cells) wakeWatchers(address, version)
  })

  /** Those who wait for a version that has been reached by now. */
  const wakeWatchers = (address: string, version: number) => {
    const waiters = watchers.get(address)
    if (waiters === undefined) return
    // A copy: who is woken may wait again at once, and would be woken for ever.
    for (const waiter of Array.from(waiters)) if (version > waiter.above) waiter.wake()
  }

  const settle = (unit: Unit, exit: Exit.Exit<unknown, unknown>) => {
    if (!open.delete(unit)) return
    for (const cell of unit.options.cells) cell.pending--
    Deferred.doneUnsafe(unit.done, exit)
  }

  const refuse = (units: Iterable<Unit>) => {
    for (const unit of units) settle(unit, Exit.fail(new Unavailable({ retryAfterMs: 1000 })))
  }

  /** Gives what listeners have thrown: it is durable all the same. */
  const apply = ({ committed, outcomes, staged }: Decision.Decision<Unit>) => {
    for (const [cell, { keys, state, version }] of staged) {
      cell.state = state as never
      cell.version = version
      // The guard has seen that nobody else wrote.
      cell.loaded = true
      for (const [key, remembered] of keys) {
        cell.keys.set(key, remembered)
        cell.newKeys?.delete(key)
      }
      if (cell.keys.size > keysMax) forgetKeys(cell)
    }
    const failures = listeners.flatMap((listener): ReadonlyArray<unknown> => {
      try {
        listener(committed)
        return []
      } catch (error) {
        return [error]
      }
    })
    // Whoever waits goes on at once, in the middle of this: by now all of it must have happened.
    for (const { address, version } of staged.keys()) wakeWatchers(address, version)
    for (const [unit, exit] of outcomes) settle(unit, exit)
    return failures
  }

  /** The counters a batch needs. A unit which cannot tell them fails alone. */
  const counterKeys = (batch: ReadonlyArray<Unit>): ReadonlyArray<string> => {
    const keys = new Set<string>()
    for (const unit of batch) {
      try {
        for (const key of unit.options.counters?.() ?? []) keys.add(key)
      } catch (error) {
        settle(unit, Exit.die(error))
      }
    }
    return [...keys].sort()
  }

  const lookUp = Effect.fnUntraced(function* (cell: Cell, key: string) {
    const found = yield* store.findKey(cell.definition, cell.id, key)
    if (found !== undefined) cell.keys.set(key, found)
    else {
      if (cell.newKeys === undefined || cell.newKeys.size >= keysMax) cell.newKeys = new Set()
      cell.newKeys.add(key)
    }
  })

  /** One attempt to make a batch durable; gives what has to run again. */
  const write = (batch: ReadonlyArray<Unit>) =>
    Effect.onExit(writeOnce(batch), (exit) =>
      Effect.sync(() => {
        for (const cell of beside.receivers) {
          cell.pending--
          if (Exit.isFailure(exit)) cell.loaded = false
        }
        beside.receivers.length = 0
      })
    )

  const writeOnce = Effect.fnUntraced(function* (batch: ReadonlyArray<Unit>) {
    beside.units.clear()
    const missing = new Set(batch.flatMap(({ options: { cells: needed } }) => needed.filter(({ loaded }) => !loaded)))
    yield* reload([...missing], true)
    const keys = counterKeys(batch)
    const ready = batch.filter((unit) => open.has(unit))
    const now = yield* DateTime.now
    let decided: Decision.Decision<Unit> | undefined
    yield* store.transact(keys, (locked) => {
      decided = decide(ready, locked, now, beside)
      return decided.write
    })
    for (const error of apply(decided!)) yield* Effect.logError("A listener of the journal failed", error)
    yield* Metric.update(flushed, 1)
    yield* Metric.update(residentGauge, directory.size)
    yield* Metric.update(unitsTotal, ready.length - decided!.again.length)
    return decided!.again
  })

  /** Refuses those which have been tried, or have waited, for long enough. */
  const withoutExpired = (batch: ReadonlyArray<Unit>) =>
    Effect.map(DateTime.now, ({ epochMilliseconds }) => {
      refuse(batch.filter(({ since }) => epochMilliseconds - since > Duration.toMillis(options.retryFor)))
      return batch.filter((unit) => open.has(unit))
    })

  /** Flushes a batch until each of its units has an answer. */
  const flush: (batch: ReadonlyArray<Unit>) => Effect.Effect<void> = Effect.fnUntraced(function* (batch) {
    let attempt = 0
    let missing: ReadonlyArray<NonNullable<Decision.Again["missing"]>> = []
    // Each try may take its time: those behind must not wait for as many of them as there are batches.
    if (away) batch = yield* withoutExpired(batch)
    while (batch.length > 0) {
      const lookedUp = Effect.forEach(missing, ({ cell, key }) => lookUp(cell, key), { discard: true })
      const written = yield* Effect.exit(missing.length === 0 ? write(batch) : Effect.andThen(lookedUp, write(batch)))
      if (Exit.isSuccess(written)) {
        if (away) {
          away = false
          yield* Effect.logInfo("The database answers again")
        }
        if (written.value.length === 0) return
        for (const [unit, { missing: lacking, reason }] of written.value) {
          // A key is looked up once; counters may change hands again and again.
          if (lacking === undefined && ++unit.conflicts > conflictsMax) settle(unit, Exit.die(new Error(reason)))
        }
        batch = written.value.map(([unit]) => unit).filter((unit) => open.has(unit))
        missing = written.value.flatMap(([, again]) => again.missing ?? [])
        continue
      }
      const failure = written.cause.reasons.find(({ _tag }) => _tag !== "Interrupt")
      if (failure === undefined) return yield* Effect.interrupt
      if (failure._tag === "Die" || (failure._tag === "Fail" && failure.error._tag === "Rejected")) {
        // One of them has a content which the database, or its actor's table, does not take.
        if (batch.length > 1) return yield* inHalves(batch)
        // Its own, or that of an actor which it has only told something?
        if (beside.units.has(batch[0]!)) {
          batch[0]!.plain = true
          continue
        }
        yield* Effect.logError(`A unit is refused: ${batch[0]!.options.cause}`, written.cause)
        const defect = failure._tag === "Die" ? failure.defect : new Error(`refused by ${nameOf(failure.error)}`)
        settle(batch[0]!, Exit.die(defect))
        return
      }
      for (const unit of batch) for (const cell of unit.options.cells) cell.loaded = false
      if (failure._tag === "Fail" && failure.error._tag === "Fenced") {
        yield* Effect.logWarning(`${batch.length} steps are given up: ${failure.error.message}`)
        return refuse(batch)
      }
      if (failure._tag === "Fail" && failure.error._tag === "Conflict") {
        const { constraint } = failure.error
        yield* Metric.update(conflictsTotal, 1)
        for (const unit of batch) {
          if (++unit.conflicts <= conflictsMax) continue
          if (constraint === undefined) refuse([unit])
          else settle(unit, Exit.die(new Error(`refused by ${constraint}`)))
        }
        batch = batch.filter((unit) => open.has(unit))
        if (batch.length > 1 && attempt > 0) return yield* inHalves(batch)
      } else {
        if (!away) {
          away = true
          yield* Effect.logWarning("The database does not answer", written.cause)
        }
        batch = yield* withoutExpired(batch)
        if (batch.length > 0) yield* Effect.sleep(Math.min(25 * 2 ** attempt, 500))
      }
      attempt++
    }
  })

  /** Whoever is to blame is found with a few flushes, however many the batch has. */
  const inHalves = (batch: ReadonlyArray<Unit>): Effect.Effect<void> => {
    const middle = Math.ceil(batch.length / 2)
    return Effect.andThen(flush(batch.slice(0, middle)), flush(batch.slice(middle)))
  }

  let evictAbove = options.residentMax
  const evict = () => {
    if (directory.size <= evictAbove) return
    for (const [address, cell] of directory) {
      if (cell.pending > 0 || watchers.has(address)) continue
      directory.delete(address)
      if (directory.size <= options.residentMax * 0.9) break
    }
    // When all the others are needed, they are not looked through again before many more have come.
    evictAbove = Math.max(options.residentMax, directory.size * 1.1)
  }

  // Whoever waits when this node stops must hear of it; what became of the last flush is unknown.
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      closed = true
      refuse([...open])
      // Nothing will change here any more: whoever waits has to ask the next owner.
      for (const address of Array.from(watchers.keys())) wakeWatchers(address, Number.POSITIVE_INFINITY)
    })
  )
  yield* Queue.takeBetween(queue, 1, options.batchMax).pipe(
    Effect.flatMap((batch) =>
      flush(batch).pipe(
        Effect.catchCause((cause) =>
          Effect.andThen(
            Effect.logError("A flush failed", cause),
            Effect.sync(() => refuse(batch))
          )
        )
      )
    ),
    Effect.forever,
    Effect.forkScoped
  )

  const resident = <D extends AnyDefinition>(definition: D, id: string, bucket: number): Cell<D> => {
    const address = addressOf(definition, id)
    let cell = directory.get(address)
    if (cell === undefined) {
      evict()
      types.add(definition.type)
      cell = new Cell(definition, id, bucket)
    }
    // Most recently used last.
    else directory.delete(address)
    directory.set(address, cell)
    return cell as unknown as Cell<D>
  }

  const unit: Journal["Service"]["unit"] = (unitOptions) =>
    Effect.suspend(() => {
      if (closed || open.size >= options.queueMax) return Effect.fail(new Unavailable({ retryAfterMs: 500 }))
      return Effect.flatMap(DateTime.now, (now) => {
        const made: Unit = {
          options: unitOptions,
          done: Deferred.makeUnsafe(),
          since: now.epochMilliseconds,
          conflicts: 0,
          plain: false
        }
        open.add(made)
        for (const cell of unitOptions.cells) {
          cell.pending++
          // Forgotten between being asked for and being used: two of one actor would get in each other's way.
          if (!directory.has(cell.address)) directory.set(cell.address, cell)
        }
        Queue.offerUnsafe(queue, made)
        return Deferred.await(made.done) as Effect.Effect<never, never>
      })
    })

  const ensureLoaded = Effect.fnUntraced(function* (cells: ReadonlyArray<Cell>) {
    const missing = cells.filter((cell) => !cell.loaded || mayHaveChanged(cell))
    if (missing.length === 0) return
    if (closed) return yield* new Unavailable({ retryAfterMs: 1000 })
    const others = new Set(missing.flatMap((cell) => loading.get(cell) ?? []))
    const mine = missing.filter((cell) => !loading.has(cell))
    if (mine.length > 0) {
      const done = Deferred.makeUnsafe<void, Unavailable>()
      others.add(done)
      for (const cell of mine) loading.set(cell, done)
      // Not in the fiber of who asked first: others wait for it as well.
      yield* reload(mine, false).pipe(
        Effect.andThen(Metric.update(residentGauge, directory.size)),
        Effect.mapError(() => new Unavailable({ retryAfterMs: 1000 })),
        Effect.onExit((exit) =>
          Effect.sync(() => {
            for (const cell of mine) loading.delete(cell)
            const stopped = Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)
            Deferred.doneUnsafe(done, stopped ? Exit.fail(new Unavailable({ retryAfterMs: 1000 })) : exit)
          })
        ),
        Effect.forkIn(scope)
      )
    }
    for (const other of others) yield* Deferred.await(other)
  })

  const cells: Journal["Service"]["cells"] = Effect.fnUntraced(function* (definitions, id, bucket) {
    const found = definitions.map((definition) => resident(definition, id, bucket))
    for (const cell of found) cell.pending++
    yield* ensureLoaded(found).pipe(
      Effect.ensuring(
        Effect.sync(() => {
          for (const cell of found) cell.pending--
        })
      )
    )
    return found as never
  })

  const absent: Journal["Service"]["absent"] = (definitions, id, bucket) =>
    definitions.map((definition) => {
      const cell = resident(definition, id, bucket)
      if (!cell.loaded) cell.readMillis = monotonic()
      cell.loaded = true
      return cell
    }) as never

  /** The answer to an earlier command: folded from the history, since replies are not stored twice. */
  const answerAt = Effect.fnUntraced(function* (
    cell: Cell,
    seq: number
  ): Effect.fn.Return<Answer<unknown>, Unavailable> {
    if (seq === cell.version) return { state: cell.state, version: seq }
    const definition: AnyDefinition = cell.definition
    const { decodeEvents } = codecsOf(definition)
    let state: unknown = definition.initial
    let after = 0
    while (after < seq) {
      const page = yield* store
        .history(definition.type, cell.id, after, Math.min(200, seq - after))
        .pipe(Effect.mapError(() => new Unavailable({ retryAfterMs: 1000 })))
      // An old history may have been purged: what the actor is now, and said to be that, is then the nearest answer there is.
      if (page.length === 0 || page[0]!.seq !== after + 1) return { state: cell.state, version: cell.version }
      for (const { events } of page) state = decodeEvents(events).reduce(definition.evolve, state)
      after = page.at(-1)!.seq
    }
    return { state, version: seq }
  })

  const command = Effect.fnUntraced(function* ({
    cause,
    cell,
    command: given,
    counters,
    key
  }: Parameters<Journal["Service"]["command"]>[0]): Effect.fn.Return<Answer<unknown>, unknown> {
    if (!cell.keysComplete && !cell.keys.has(key)) {
      yield* Effect.mapError(lookUp(cell, key), () => new Unavailable({ retryAfterMs: 1000 }))
    }
    const known = cell.loaded ? cell.keys.get(key) : undefined
    if (known !== undefined) {
      if (known.fingerprint !== fingerprintOf(given)) return yield* new IdempotencyConflict({ key })
      if (known.refusal !== undefined) return yield* Effect.fail(codecsOf(cell.definition).decodeRefusal(known.refusal))
      return yield* answerAt(cell, known.seq)
    }
    const { before, result, version } = yield* unit({
      cells: [cell],
      ...(counters === undefined ? {} : { counters }),
      cause,
      body: (transaction) => {
        const first = transaction.seqOf(cell, key)
        const decided: Result.Result<unknown, unknown> = transaction.execute(cell, key, given as never)
        return { before: first, result: decided, version: first ?? transaction.seqOf(cell, key) ?? 0 }
      }
    })
    const state = yield* Effect.fromResult(result)
    // The same key came twice at once, and others may have come between them.
    return before === undefined ? { state, version } : yield* answerAt(cell, before)
  }) as Journal["Service"]["command"]

  return Journal.of({
    unit,
    command,
    cell: (definition, id, bucket) => Effect.map(cells([definition], id, bucket), ([cell]) => cell as never),
    cells,
    absent,
    reread: (given) =>
      Effect.suspend(() =>
        closed
          ? Effect.fail(new Unavailable({ retryAfterMs: 1000 }))
          : // A read which has begun before this one may not know of what is looked for: it is not joined.
            Effect.mapError(reload(given, false), () => new Unavailable({ retryAfterMs: 1000 }))
      ),
    doubt: (id) =>
      Effect.sync(() => {
        for (const type of types) {
          const cell = directory.get(`${type}/${id}`)
          if (cell !== undefined) cell.loaded = false
        }
      }),
    release: (buckets) =>
      Effect.sync(() => {
        const settled = monotonic() + Duration.toMillis(settleFor)
        for (const bucket of buckets) settledAt.set(bucket, settled)
        for (const [address, cell] of directory) {
          if (!buckets.has(cell.bucket)) continue
          // One that units wait for stays what they and everybody after them get, and is read again.
          if (cell.pending > 0) cell.loaded = false
          else directory.delete(address)
          wakeWatchers(address, Number.POSITIVE_INFINITY)
        }
      }),
    changed: (type, id, version) =>
      Effect.callback((resume) => {
        const address = `${type}/${id}`
        if ((directory.get(address)?.version ?? 0) > version) return resume(Effect.void)
        const waiter = { above: version, wake: () => resume(Effect.void) }
        const set = watchers.get(address) ?? new Set()
        set.add(waiter)
        watchers.set(address, set)
        return Effect.sync(() => {
          set.delete(waiter)
          if (set.size === 0 && watchers.get(address) === set) watchers.delete(address)
        })
      }),
    takesNotices: (definition) => {
      takers.add(definition)
    },
    onNotice: (given) => {
      carryOut = given
    },
    onCommit: (listener) => {
      listeners.push(listener)
    },
    resident: Effect.sync(() => directory.size),
    waitingFor: Effect.map(DateTime.now, ({ epochMilliseconds }) => {
      const oldest = open.values().next().value
      return Duration.millis(oldest === undefined ? 0 : epochMilliseconds - oldest.since)
    }),
    reads: () => reads
  })
})

export const layer = (options: JournalOptions): Layer.Layer<Journal, never, Store> =>
  Layer.effect(Journal, make(options))

/** Acknowledges delivered notices with whatever else is written next. */
export const acknowledge = acknowledgeNotices

const nameOf = (error: StoreError) => (error._tag === "Rejected" ? error.constraint : error._tag)

/** The older half; they are looked up from now on. */
const forgetKeys = (cell: Cell) => {
  let surplus = cell.keys.size - keysMax / 2
  for (const key of cell.keys.keys()) {
    if (surplus-- <= 0) break
    cell.keys.delete(key)
  }
  cell.keysComplete = false
}
