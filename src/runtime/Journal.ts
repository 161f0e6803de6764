/**
 * Makes the transitions of one step durable in one transaction, for one or several co-located actors.
 *
 * Units queued while a flush is under way go into the next one. A flush locks the counters it needs, runs the pure bodies in order, and
 * writes one statement with its guards inside; state reaches memory only after the commit. A unit that the database refuses is isolated,
 * so that it never fails its neighbours; after a lost connection the actors are reloaded and the bodies run again, and whatever had been
 * committed answers from its keys.
 */
import { createHash } from "node:crypto"
import { Context, DateTime, Deferred, Duration, Effect, Exit, Layer, Metric, Queue, Result, Schema } from "effect"
import { IdempotencyConflict, Unavailable } from "../domain/Refusals.ts"
import {
  type AnyDefinition,
  Cell,
  type CommandOf,
  type DecisionContext,
  type Notice,
  type RefusalOf,
  type Remembered,
  type StateOf,
  type Tagged,
  type Timer
} from "./Actor.ts"
import { type Batch, type Conflict, Lost, type Rejected, Store, type StoreError } from "./Store.ts"
import {
  acknowledgeNotices,
  appendRows,
  changeCounters,
  clearTimers,
  type CounterChange,
  counterLedger,
  type Counters,
  type CounterTable,
  history,
  insertState,
  type LogTable,
  notices as noticeTable,
  type Part,
  type Row,
  setTimers,
  type StateColumns,
  toJson,
  updateState
} from "./Table.ts"

/** The transitions of one unit. Whatever is done through it becomes durable together, or not at all. */
export interface Transaction {
  readonly now: DateTime.Utc
  /**
   * One command to one actor. A key met before gives what the actor is now, or its first refusal, and changes nothing. A refusal is
   * an answer: it is remembered like one, and the unit goes on.
   */
  readonly execute: <D extends AnyDefinition>(
    cell: Cell<D>,
    key: string,
    command: CommandOf<D>
  ) => Result.Result<StateOf<D>, RefusalOf<D>>
  /** The actor as the commands before in this unit have left it. */
  readonly state: <D extends AnyDefinition>(cell: Cell<D>) => StateOf<D>
  /** Adds a row beside the transitions; `part` says what happens when it is there already. */
  readonly write: (part: Part, row: Row) => void
  /** Ends the unit: nothing of it is written, and the caller gets `error`. */
  readonly abort: (error: unknown) => never
}

export interface UnitOptions<A> {
  readonly cells: ReadonlyArray<Cell>
  /** The counters to lock; asked again when the unit runs again. */
  readonly counters?: () => ReadonlyArray<string>
  /** Why this happens: a request, a timer, a notice. Stands in the history. */
  readonly cause: string
  /** Pure, and safe to run again. */
  readonly body: (transaction: Transaction) => A
}

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

class Aborted {
  readonly error: unknown
  constructor(error: unknown) {
    this.error = error
  }
}

interface Unit {
  readonly options: UnitOptions<unknown>
  readonly done: Deferred.Deferred<unknown, unknown>
  readonly since: number
  conflicts: number
}

/** What the flush makes of one actor before anything is durable. */
interface Staged {
  state: unknown
  version: number
  readonly keys: Map<string, Remembered>
}

const canonical = (value: unknown): unknown => {
  if (value === null || typeof value !== "object") return typeof value === "bigint" ? value.toString() : value
  if (Array.isArray(value)) return value.map(canonical)
  if (DateTime.isDateTime(value)) return DateTime.formatIso(value)
  const record = value as Readonly<Record<string, unknown>>
  return Object.fromEntries(
    Object.keys(record)
      .filter((name) => record[name] !== undefined)
      .sort()
      .map((name) => [name, canonical(record[name])])
  )
}

/** The content of a command in a form which does not depend on the order of its fields. */
export const fingerprintOf = (command: Tagged): string =>
  createHash("sha256").update(JSON.stringify(canonical(command))).digest("base64url").slice(0, 22)

const flushed = Metric.counter("journal_commits_total", {
  description: "Flushes made durable by this node",
  incremental: true
})
const unitsTotal = Metric.counter("journal_units_total", { description: "Units made durable", incremental: true })
const conflictsTotal = Metric.counter("journal_conflicts_total", {
  description: "Flushes decided again because another write came first",
  incremental: true
})

export class Journal extends Context.Service<
  Journal,
  {
    /** Resolves when what the body did is durable. */
    readonly unit: <A, E = never>(options: UnitOptions<A>) => Effect.Effect<A, E | IdempotencyConflict | Unavailable>
    /** One keyed command to one actor; a repeated key gives the state right after it was first carried out, or its refusal. */
    readonly command: <D extends AnyDefinition>(options: {
      readonly cell: Cell<D>
      readonly key: string
      readonly command: CommandOf<D>
      readonly counters?: () => ReadonlyArray<string>
      readonly cause: string
    }) => Effect.Effect<StateOf<D>, RefusalOf<D> | IdempotencyConflict | Unavailable>
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
    /** Forgets the actors of buckets which another node owns now. */
    readonly release: (buckets: ReadonlySet<number>) => Effect.Effect<void>
    /** Resolves when the actor is at a version above `version`; never fails, so bound the wait. */
    readonly changed: (type: string, id: string, version: number) => Effect.Effect<void>
    /** Called with what each flush has made durable, right after it. */
    readonly onCommit: (listener: (committed: Committed) => void) => void
    readonly resident: Effect.Effect<number>
  }
>()("cartwright/runtime/Journal") {}

/** What the rest of the runtime wants to know of a flush. */
export interface Committed {
  readonly notices: ReadonlyArray<Row>
  readonly timers: ReadonlyArray<Row>
}

const at = (now: DateTime.Utc) => DateTime.formatIso(now)

export const make = Effect.fnUntraced(function* (options: JournalOptions) {
  const store = yield* Store
  const queue = yield* Queue.unbounded<Unit>()
  const directory = new Map<string, Cell>()
  const watchers = new Map<string, Set<{ readonly above: number; readonly wake: () => void }>>()
  const listeners: Array<(committed: Committed) => void> = []
  const ledger = appendRows(counterLedger(options.counters))
  const changes = changeCounters(options.counters)
  const parts = new Map<unknown, { readonly insert: Part; readonly update: Part }>()
  const logs = new Map<LogTable, Part>()
  const historyPart = appendRows(history)
  const noticePart = appendRows(noticeTable)
  let waiting = 0

  const partsOf = (table: StateColumns) => {
    let made = parts.get(table)
    if (made === undefined) parts.set(table, (made = { insert: insertState(table), update: updateState(table) }))
    return made
  }
  const logOf = (table: LogTable) => {
    let made = logs.get(table)
    if (made === undefined) logs.set(table, (made = appendRows(table)))
    return made
  }

  const reload = Effect.fnUntraced(function* (cells: ReadonlyArray<Cell>) {
    if (cells.length === 0) return
    const loaded = yield* store.load(cells)
    cells.forEach((cell, index) => {
      const { keys, keysComplete, row } = loaded[index]!
      // A flush may have overtaken this read.
      if (cell.loaded && cell.version > Number(row?.["version"] ?? 0)) return
      cell.state = row === undefined ? cell.definition.initial : cell.definition.table.fromRow(row)
      cell.version = row === undefined ? 0 : Number(row["version"])
      cell.keys = new Map(keys.map(({ key, ...remembered }) => [key, remembered]))
      cell.keysComplete = keysComplete
      cell.loaded = true
    })
  })

  /** Runs the bodies of a batch; gives what to write, and what to do when it is durable. */
  const decide = (batch: ReadonlyArray<Unit>, locked: ReadonlyArray<Counters>, now: DateTime.Utc) => {
    const rows = new Map<Part, Array<Row>>()
    const unguarded = new Map<Part, Map<string, Row>>()
    const staged = new Map<Cell, Staged>()
    const outcomes: Array<readonly [Unit, Exit.Exit<unknown, unknown>]> = []
    const byKey = new Map<string, Array<Counters & { readonly values: Record<string, number> }>>()
    for (const counters of locked) {
      const rowsOfKey = byKey.get(counters.key) ?? []
      rowsOfKey.push({ ...counters, values: { ...counters.values } })
      byKey.set(counters.key, rowsOfKey)
    }
    const touched = new Map<string, { readonly change: CounterChange; readonly deltas: Record<string, number> }>()
    const noticeRows: Array<Row> = []
    const put = (part: Part, row: Row) => {
      const into = rows.get(part) ?? []
      into.push(row)
      rows.set(part, into)
    }

    for (const unit of batch) {
      const mine = new Map<Cell, Staged>()
      const writes: Array<readonly [Part, Row]> = []
      const applied: Array<CounterChange> = []
      const raised: Array<Row> = []
      const view = (cell: Cell): Staged => {
        const own = mine.get(cell)
        if (own !== undefined) return own
        const before = staged.get(cell)
        return { state: before?.state ?? cell.state, version: before?.version ?? cell.version, keys: new Map(before?.keys) }
      }
      const count = (change: CounterChange, sign: 1 | -1) => {
        const row = byKey.get(change.key)?.find(({ part }) => part === change.part)
        if (row === undefined) throw new Error(`counters of ${change.key} at ${change.part} are not locked`)
        for (const [name, delta] of Object.entries(change.deltas)) row.values[name] = row.values[name]! + sign * delta
      }
      const execute = (cell: Cell, key: string, command: Tagged): Result.Result<unknown, unknown> => {
        const definition: AnyDefinition = cell.definition
        const current = view(cell)
        const fingerprint = fingerprintOf(command)
        const remembered = current.keys.get(key) ?? cell.keys.get(key)
        if (remembered !== undefined) {
          if (remembered.fingerprint !== fingerprint) throw new Aborted(new IdempotencyConflict({ key }))
          return remembered.refusal === undefined
            ? Result.succeed(current.state)
            : Result.fail(Schema.decodeUnknownSync(Schema.toCodecJson(definition.refusal))(remembered.refusal))
        }
        const context: DecisionContext = { id: cell.id, now, counters: (of) => byKey.get(of) ?? [] }
        const decision = definition.decide(current.state, command, context) as Result.Result<ReadonlyArray<Tagged>, Tagged>
        // What does not exist has no memory: otherwise every mistyped id would become a row.
        if (Result.isFailure(decision) && current.version === 0) return decision
        const seq = current.version + 1
        let state = current.state
        const events = Result.isSuccess(decision) ? decision.success : []
        events.forEach((event) => {
          const before = state
          for (const change of definition.counterChanges?.(event, before, cell.id) ?? []) {
            count(change, 1)
            applied.push(change)
          }
          state = definition.evolve(before, event)
          for (const { row, table } of definition.rows?.(event, state, cell.id) ?? []) writes.push([logOf(table), row])
          for (const notice of (definition.notices?.(event, state, cell.id) ?? []) as ReadonlyArray<Notice>) {
            raised.push({
              source_id: cell.id,
              source_type: definition.type,
              seq,
              ordinal: raised.filter((row) => row["seq"] === seq && row["source_type"] === definition.type).length,
              bucket: cell.bucket,
              receiver_type: notice.receiver.type,
              receiver_id: notice.receiver.id,
              message: notice.message,
              due_at: at(now)
            })
          }
        })
        const refusal = Result.isFailure(decision)
          ? Schema.encodeUnknownSync(Schema.toCodecJson(definition.refusal))(decision.failure)
          : undefined
        writes.push([
          historyPart,
          {
            actor_id: cell.id,
            actor_type: definition.type,
            seq,
            key,
            fingerprint,
            command: command._tag,
            events,
            refusal,
            cause: unit.options.cause,
            at: at(now)
          }
        ])
        const keys = current.keys
        keys.set(key, { fingerprint, seq, refusal })
        mine.set(cell, { state, version: seq, keys })
        return Result.isSuccess(decision) ? Result.succeed(state) : decision
      }
      const transaction: Transaction = {
        now,
        execute: execute as Transaction["execute"],
        state: (cell) => view(cell).state as never,
        write: (part, row) => writes.push([part, row]),
        abort: (error) => {
          throw new Aborted(error)
        }
      }
      let outcome: Exit.Exit<unknown, unknown>
      try {
        outcome = Exit.succeed(unit.options.body(transaction))
      } catch (error) {
        outcome = error instanceof Aborted ? Exit.fail(error.error) : Exit.die(error)
        for (const change of applied) count(change, -1)
        outcomes.push([unit, outcome])
        continue
      }
      outcomes.push([unit, outcome])
      for (const [cell, made] of mine) staged.set(cell, made)
      for (const [part, row] of writes) {
        if (part.identity === undefined) put(part, row)
        else {
          // The last one counts, and one statement must not touch a row twice.
          const into = unguarded.get(part) ?? new Map<string, Row>()
          into.set(toJson(part.identity.map((name) => row[name])), row)
          unguarded.set(part, into)
        }
      }
      for (const row of raised) {
        noticeRows.push(row)
        put(noticePart, row)
      }
      for (const change of applied) {
        const place = `${change.key}\n${change.part}`
        const sum = touched.get(place) ?? { change, deltas: {} }
        for (const [name, delta] of Object.entries(change.deltas)) sum.deltas[name] = (sum.deltas[name] ?? 0) + delta
        touched.set(place, sum)
        put(ledger, {
          op: change.operation,
          reference: change.reference,
          [options.counters.key]: change.key,
          [options.counters.part]: change.part,
          ...Object.fromEntries(options.counters.counters.map((name) => [name, change.deltas[name] ?? 0])),
          actor: unit.options.cause,
          at: at(now)
        })
      }
    }

    for (const { change, deltas } of touched.values()) {
      put(changes, {
        key: change.key,
        part: change.part,
        ...Object.fromEntries(options.counters.counters.map((name) => [name, deltas[name] ?? 0]))
      })
    }
    const timerRows: Array<Row> = []
    for (const [cell, { state, version }] of staged) {
      const definition: AnyDefinition = cell.definition
      const { insert, update } = partsOf(definition.table)
      const row = { ...definition.table.toRow(state, cell.id), id: cell.id, version, at: at(now) }
      put(cell.version === 0 ? insert : update, cell.version === 0 ? row : { ...row, expected: cell.version })
      const before: Readonly<Record<string, Timer>> = definition.timers?.(cell.state) ?? {}
      const after: Readonly<Record<string, Timer>> = definition.timers?.(state) ?? {}
      const address = { actor_id: cell.id, actor_type: definition.type }
      for (const name of Object.keys(before)) if (after[name] === undefined) put(clearTimers, { ...address, name })
      for (const [name, timer] of Object.entries(after)) {
        const same = before[name]
        const urgent = timer.urgent === true
        if (same !== undefined && DateTime.Equivalence(same.dueAt, timer.dueAt) && (same.urgent === true) === urgent) continue
        const set = { ...address, name, bucket: cell.bucket, due_at: at(timer.dueAt), urgent }
        timerRows.push(set)
        put(setTimers, set)
      }
    }
    for (const [part, once] of unguarded) {
      const into = rows.get(part) ?? []
      into.push(...once.values())
      rows.set(part, into)
      if (part === setTimers) timerRows.push(...once.values())
    }
    const all = [...rows].map(([part, partRows]) => ({ part, rows: partRows }))
    const write: Batch = {
      guarded: all.reduce((sum, { part, rows: partRows }) => sum + (part.guarded ? partRows.length : 0), 0),
      parts: all.sort((left, right) => (left.part.name < right.part.name ? -1 : 1))
    }
    return { write, staged, outcomes, committed: { notices: noticeRows, timers: timerRows } satisfies Committed }
  }

  const settle = (unit: Unit, exit: Exit.Exit<unknown, unknown>) => {
    waiting--
    for (const cell of unit.options.cells) cell.pending--
    Deferred.doneUnsafe(unit.done, exit)
  }

  const apply = ({ committed, outcomes, staged }: ReturnType<typeof decide>) => {
    for (const [cell, { keys, state, version }] of staged) {
      cell.state = state as never
      cell.version = version
      for (const [key, remembered] of keys) cell.keys.set(key, remembered)
      const waiters = watchers.get(cell.address)
      if (waiters !== undefined) for (const waiter of waiters) if (version > waiter.above) waiter.wake()
    }
    for (const [unit, exit] of outcomes) settle(unit, exit)
    for (const listener of listeners) listener(committed)
  }

  const refuse = (units: ReadonlyArray<Unit>) => {
    for (const unit of units) settle(unit, Exit.fail(new Unavailable({ retryAfterMs: 1000 })))
  }

  /** Flushes a batch until each of its units has an answer. */
  const flush: (batch: ReadonlyArray<Unit>) => Effect.Effect<void> = Effect.fnUntraced(function* (batch) {
    let attempt = 0
    while (batch.length > 0) {
      const cells = [...new Set(batch.flatMap(({ options: { cells: needed } }) => needed))]
      const missing = cells.filter(({ loaded }) => !loaded)
      const keys = [...new Set(batch.flatMap(({ options: { counters } }) => counters?.() ?? []))].sort()
      let decided: ReturnType<typeof decide> | undefined
      const written: Exit.Exit<void, StoreError> = yield* reload(missing).pipe(
        Effect.andThen(DateTime.now),
        Effect.flatMap((now) =>
          store.transact(keys, (locked) => {
            decided = decide(batch, locked, now)
            return decided.write
          })
        ),
        Effect.exit
      )
      if (Exit.isSuccess(written)) {
        apply(decided!)
        yield* Metric.update(flushed, 1)
        yield* Metric.update(unitsTotal, batch.length)
        return
      }
      const error = errorOf(written)
      for (const cell of cells) cell.loaded = false
      switch (error._tag) {
        case "Rejected": {
          if (batch.length > 1) {
            // One of them is refused for its content: on its own it fails only itself.
            for (const unit of batch) yield* flush([unit])
            return
          }
          yield* Effect.logError("The database refuses a unit", { constraint: error.constraint, cause: batch[0]!.options.cause })
          settle(batch[0]!, Exit.die(new Error(`refused by ${error.constraint}`)))
          return
        }
        case "Conflict": {
          yield* Metric.update(conflictsTotal, 1)
          const hopeless = batch.filter((unit) => ++unit.conflicts > 5)
          if (error.constraint === undefined) refuse(hopeless)
          else for (const unit of hopeless) settle(unit, Exit.die(new Error(`refused by ${error.constraint}`)))
          batch = batch.filter((unit) => !hopeless.includes(unit))
          if (batch.length > 1 && attempt > 0) {
            for (const unit of batch) yield* flush([unit])
            return
          }
          break
        }
        case "Lost": {
          const now = (yield* DateTime.now).epochMilliseconds
          const expired = batch.filter(({ since }) => now - since > Duration.toMillis(options.retryFor))
          refuse(expired)
          batch = batch.filter((unit) => !expired.includes(unit))
          yield* Effect.sleep(Math.min(25 * 2 ** attempt, 500))
          break
        }
      }
      attempt++
    }
  })

  const evict = () => {
    if (directory.size <= options.residentMax) return
    for (const [address, cell] of directory) {
      if (cell.pending > 0 || watchers.has(address)) continue
      directory.delete(address)
      if (directory.size <= options.residentMax * 0.9) return
    }
  }

  yield* Queue.takeBetween(queue, 1, options.batchMax).pipe(
    Effect.flatMap((batch) =>
      flush(batch).pipe(
        Effect.catchCause((cause) =>
          Effect.andThen(
            Effect.logError("A flush failed", cause),
            Effect.sync(() => refuse(batch.filter(({ done }) => !Deferred.isDoneUnsafe(done))))
          )
        )
      )
    ),
    Effect.andThen(Effect.sync(evict)),
    Effect.forever,
    Effect.forkScoped
  )

  const resident = <D extends AnyDefinition>(definition: D, id: string, bucket: number): Cell<D> => {
    const address = `${definition.type}/${id}`
    let cell = directory.get(address)
    if (cell === undefined) cell = new Cell(definition, id, bucket)
    // Most recently used last.
    else directory.delete(address)
    directory.set(address, cell)
    return cell as unknown as Cell<D>
  }

  const unit: Journal["Service"]["unit"] = (unitOptions) =>
    Effect.suspend(() => {
      if (waiting >= options.queueMax) return Effect.fail(new Unavailable({ retryAfterMs: 500 }))
      return Effect.flatMap(DateTime.now, (now) => {
        const made: Unit = {
          options: unitOptions,
          done: Deferred.makeUnsafe(),
          since: now.epochMilliseconds,
          conflicts: 0
        }
        waiting++
        for (const cell of unitOptions.cells) cell.pending++
        Queue.offerUnsafe(queue, made)
        return Deferred.await(made.done) as Effect.Effect<never, never>
      })
    })

  const ensureLoaded = Effect.fnUntraced(function* (cells: ReadonlyArray<Cell>) {
    const missing = cells.filter(({ loaded }) => !loaded)
    if (missing.length === 0) return
    yield* reload(missing).pipe(Effect.mapError(() => new Unavailable({ retryAfterMs: 1000 })))
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
      cell.loaded = true
      return cell
    }) as never

  /** The state right after an earlier command: folded from the history, since replies are not stored twice. */
  const stateAt = Effect.fnUntraced(function* (cell: Cell, seq: number) {
    if (seq === cell.version) return cell.state
    const definition: AnyDefinition = cell.definition
    const decodeEvents = Schema.decodeUnknownEffect(Schema.Array(Schema.toCodecJson(definition.event)))
    let state: unknown = definition.initial
    let after = 0
    while (after < seq) {
      const page = yield* store
        .history(definition.type, cell.id, after, Math.min(200, seq - after))
        .pipe(Effect.mapError(() => new Unavailable({ retryAfterMs: 1000 })))
      // The start of a long history may have been purged: what the actor is now is then the nearest answer there is.
      if (page.length === 0 || page[0]!.seq !== after + 1) return cell.state
      for (const { events } of page) state = (yield* Effect.orDie(decodeEvents(events))).reduce(definition.evolve, state)
      after = page.at(-1)!.seq
    }
    return state
  })

  const command = Effect.fnUntraced(function* ({ cause, cell, command: given, counters, key }: Parameters<Journal["Service"]["command"]>[0]) {
    const any = cell as unknown as Cell
    if (!any.keysComplete && !any.keys.has(key)) {
      const found = yield* store
        .findKey(any.definition, any.id, key)
        .pipe(Effect.mapError(() => new Unavailable({ retryAfterMs: 1000 })))
      if (found !== undefined) any.keys.set(key, found)
    }
    const known = any.keys.get(key)
    if (known !== undefined && known.refusal === undefined && any.loaded) {
      if (known.fingerprint !== fingerprintOf(given)) return yield* new IdempotencyConflict({ key })
      return (yield* stateAt(any, known.seq)) as never
    }
    const result = yield* unit<Result.Result<unknown, unknown>>({
      cells: [any],
      ...(counters === undefined ? {} : { counters }),
      cause,
      body: (transaction) => transaction.execute(any, key, given as never)
    })
    return (yield* Effect.fromResult(result)) as never
  }) as Journal["Service"]["command"]

  return Journal.of({
    unit,
    command,
    cell: (definition, id, bucket) => Effect.map(cells([definition], id, bucket), ([cell]) => cell as never),
    cells,
    absent,
    release: (buckets) =>
      Effect.sync(() => {
        for (const [address, cell] of directory) if (buckets.has(cell.bucket)) directory.delete(address)
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
    onCommit: (listener) => {
      listeners.push(listener)
    },
    resident: Effect.sync(() => directory.size)
  })
})

export const layer = (options: JournalOptions): Layer.Layer<Journal, never, Store> => Layer.effect(Journal, make(options))

/** Acknowledges delivered notices with whatever else is written next. */
export const acknowledge = acknowledgeNotices

const errorOf = (exit: Exit.Failure<unknown, StoreError>): Conflict | Rejected | Lost => {
  const reason = exit.cause.reasons.find(({ _tag }) => _tag === "Fail")
  if (reason?._tag === "Fail") return reason.error
  throw exit.cause
}
