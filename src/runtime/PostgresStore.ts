/**
 * The journal's store on Postgres: one dedicated connection for flushes, two for reading actors and what is due, and the pool for what
 * others ask.
 */
import type * as PgConnection from "@effect/sql-pg/PgConnection"
import { DateTime, Duration, Effect, Exit, Fiber, Layer, Metric, Option, type Redacted, Semaphore } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { withTimeLimit } from "../domain/TimeLimit.ts"
import * as Fence from "./Fence.ts"
import { loadsTogether } from "./LoadsTogether.ts"
import * as PostgresLane from "./PostgresLane.ts"
import { Conflict, Fenced, type LoadedActor, Lost, Rejected, Store, type StoreError } from "./Store.ts"
import { historyRowOf, noticeRowOf, rememberedOf, timerRowOf } from "./StoredRows.ts"
import { type Counters, type CounterTable, flushStatement, type Row, toJson } from "./Table.ts"

/** Connections which read actors and what is due. */
const readersMax = 2

/** How many remembered keys are loaded with an actor; older ones are looked up. */
const loadedKeys = 500

const statements = Metric.counter("journal_statements_total", {
  description: "Statements sent for flushes, loads and sweeps",
  incremental: true
})

export interface PostgresStoreOptions {
  readonly url: Redacted.Redacted<string>
  /** The counters which units of this program may lock. */
  readonly counters: CounterTable
  /** How long a flush may take before its connection is given up. */
  readonly flushTimeout: Duration.Duration
  /** How long a frozen node may keep rows locked: Postgres then ends its transaction. */
  readonly idleInTransaction: Duration.Duration
  /**
   * Shorter than it takes until another node has this one's work. After a pause of this process as long as that nothing is written until
   * it knows again what is its own, and Postgres itself has ended its connection by then.
   */
  readonly pauseMax?: Duration.Duration
}

const causeOf = (
  error: SqlError
): { readonly code?: unknown; readonly constraint?: unknown; readonly message?: unknown } => error.reason.cause ?? {}

/**
 * SQLSTATE classes which speak of the content, so that it would be refused again: cardinality, data, integrity, syntax or access, check
 * option, program limit, raised by a function. The others are the database's own trouble, and pass.
 */
const aboutContent = ["21", "22", "23", "42", "44", "54", "P0"]

/** Of the history: two owners have written the same step of an actor, and the other one was first. */
const raced = "history_pkey"

const classify = (error: SqlError): StoreError => {
  const { code, constraint } = causeOf(error)
  const state = typeof code === "string" ? code : ""
  const named = typeof constraint === "string" ? constraint : undefined
  // The flush's own guard divides by zero.
  if (state === "22012" || (state === "23505" && named === raced)) return new Conflict({})
  // Another owner's ledger row stands there already, or somebody else has this number: reload, and decide again.
  if (state === "23505") return new Conflict({ constraint: named ?? state })
  if (aboutContent.includes(state.slice(0, 2)))
    return new Rejected({ constraint: named ?? state, detail: detailOf(error) })
  return lost(error)
}

/** What the database said, without the statement, in a line. */
export const detailOf = (error: SqlError): string => {
  const { code, message } = causeOf(error)
  return [error.reason._tag, code, message].filter((part) => typeof part === "string" && part !== "").join(" ")
}

/** A question which the database does not take has no answer, like one that it could not be asked. */
const lostOf = (error: Lost | Rejected) => (error._tag === "Lost" ? error : new Lost({ detail: error.detail }))

const addressOf = (type: string, id: string) => `${type}/${id}`

const lost = (error: SqlError) => new Lost({ detail: detailOf(error) })

export const make = Effect.fnUntraced(function* (options: PostgresStoreOptions) {
  const sql = yield* SqlClient
  const { idleInTransaction, pauseMax } = options
  const lane = yield* PostgresLane.make({
    url: options.url,
    applicationName: "cartwright-journal",
    parameters: {
      idle_in_transaction_session_timeout: `${Duration.toMillis(Duration.min(idleInTransaction, pauseMax ?? idleInTransaction))}`,
      ...(pauseMax === undefined ? {} : { idle_session_timeout: `${Duration.toMillis(pauseMax)}` }),
      statement_timeout: `${Duration.toMillis(options.flushTimeout)}`
    }
  })
  const readers = yield* Effect.replicateEffect(
    PostgresLane.make({
      url: options.url,
      applicationName: "cartwright-actors",
      parameters: { statement_timeout: `${Duration.toMillis(options.flushTimeout)}` }
    }),
    readersMax
  )
  const scope = yield* Effect.scope
  const cache = new Map<string, string>()
  const alone = Semaphore.makeUnsafe(1)
  const tooSlow = new Lost({ detail: `no answer within ${Duration.format(options.flushTimeout)}` })

  const run = (connection: PgConnection.PgConnection, text: string, parameters: ReadonlyArray<unknown> = []) =>
    Effect.andThen(Metric.update(statements, 1), connection.query(text, parameters))

  const write = Effect.fnUntraced(function* (
    connection: PgConnection.PgConnection,
    keys: ReadonlyArray<string>,
    body: Parameters<Store["Service"]["transact"]>[1]
  ) {
    const locked =
      keys.length === 0
        ? []
        : (yield* Effect.all([run(connection, "begin"), run(connection, options.counters.lock, [keys])], {
            concurrency: "unbounded"
          }))[1].rows
    const batch = body(locked.map((row) => countersOf(options.counters, row)))
    const filled = batch.parts.filter(({ rows }) => rows.length > 0)
    if (filled.length === 0) {
      if (keys.length > 0) yield* run(connection, "commit")
      return
    }
    const name = filled.map(({ part }) => part.name).join("|")
    let text = cache.get(name)
    if (text === undefined) {
      text = flushStatement(filled.map(({ part }) => part))
      if (cache.size >= PostgresLane.preparedStatements) cache.clear()
      cache.set(name, text)
    }
    const flush = run(connection, text, [batch.guarded, ...filled.map(({ rows }) => toJson(rows))])
    if (keys.length === 0) return yield* Effect.asVoid(flush)
    // The commit goes out right behind: after a failed statement it is a rollback.
    yield* Effect.all([flush, run(connection, "commit")], { concurrency: "unbounded", discard: true })
  })

  /** A multiplexed connection cannot be interrupted, so the limit is watched from beside it. */
  const within = <A, E>(effect: Effect.Effect<A, E>) =>
    Effect.forkIn(effect, scope).pipe(
      Effect.flatMap((fiber) => Fiber.await(fiber)),
      Effect.asSome,
      withTimeLimit(options.flushTimeout, () => Effect.succeedNone)
    )

  const fence = options.pauseMax === undefined ? Fence.open : yield* Fence.make(options.pauseMax)
  let answeredAt = performance.now()
  const answered = Effect.sync(() => {
    answeredAt = performance.now()
  })

  const transact: Store["Service"]["transact"] = (keys, body) =>
    // What is sent on one connection for two transactions would be mixed.
    alone.withPermits(1)(
      Effect.suspend(() => (fence.isClosed() ? Effect.fail(new Fenced()) : transactAlone(keys, body)))
    )

  /** Keeps the lane open, which would be taken for that of a frozen process, and tells whether it still leads anywhere. */
  const beat = alone.withPermits(1)(
    Effect.gen(function* () {
      const held = yield* lane.acquire.pipe(Effect.mapError(lost))
      const exit = yield* within(held.connection.query("select 1", []))
      if (Option.isNone(exit) || Exit.isFailure(exit.value)) yield* lane.release(held)
      else yield* answered
    })
  )
  const beatEvery = Math.min(1000, Duration.toMillis(options.pauseMax ?? Duration.seconds(4)) / 4)
  const runFork = Effect.runForkWith(yield* Effect.context<never>())
  let beating = false
  const beatWhenQuiet = () => {
    if (beating || performance.now() - answeredAt < beatEvery) return
    beating = true
    runFork(
      Effect.ensuring(
        Effect.ignoreCause(beat),
        Effect.sync(() => {
          beating = false
        })
      ).pipe(Effect.forkIn(scope))
    )
  }
  // In real time, whatever clock a test has: it is Postgres that waits.
  yield* Effect.acquireRelease(
    Effect.sync(() => setInterval(beatWhenQuiet, beatEvery).unref()),
    (timer) => Effect.sync(() => clearInterval(timer))
  )

  const transactAlone: Store["Service"]["transact"] = (keys, body) =>
    Effect.gen(function* () {
      const held = yield* lane.acquire.pipe(Effect.mapError(lost))
      const exit = yield* within(write(held.connection, keys, body))
      if (Option.isNone(exit)) {
        yield* lane.release(held)
        return yield* tooSlow
      }
      if (Exit.isSuccess(exit.value)) return yield* answered
      const reason = exit.value.cause.reasons.find(({ _tag }) => _tag !== "Interrupt")
      const error = reason?._tag === "Fail" ? classify(reason.error) : undefined
      if (error !== undefined && error._tag !== "Lost") yield* answered
      if (error?._tag === "Lost" || reason === undefined) yield* lane.release(held)
      else if (keys.length > 0) {
        const ended = yield* within(run(held.connection, "rollback"))
        if (Option.isNone(ended) || Exit.isFailure(ended.value)) yield* lane.release(held)
      }
      if (error !== undefined) return yield* error
      return reason?._tag === "Die" ? yield* Effect.die(reason.defect) : yield* new Lost({ detail: "interrupted" })
    })

  const query: Store["Service"]["query"] = (text, parameters) =>
    sql.unsafe<Row>(text, parameters).pipe(
      Effect.mapError(lost),
      withTimeLimit(options.flushTimeout, () => Effect.fail(tooSlow)),
      Effect.tap(Metric.update(statements, 1))
    )

  const reading = readers.map((reader) => ({ reader, underWay: 0 }))

  /** By a connection which plans by keys, as flushes are. One that turns out to be broken is made anew, once. */
  const planned = (text: string, parameters: ReadonlyArray<unknown>) =>
    Effect.suspend(() => {
      const chosen = reading.reduce((least, one) => (one.underWay < least.underWay ? one : least))
      const attempt = Effect.gen(function* (): Effect.fn.Return<ReadonlyArray<Row>, Lost | Rejected> {
        const held = yield* chosen.reader.acquire.pipe(Effect.mapError(lost))
        const exit = yield* within(run(held.connection, text, parameters))
        if (Option.isNone(exit)) {
          yield* chosen.reader.release(held)
          return yield* tooSlow
        }
        if (Exit.isSuccess(exit.value)) return exit.value.value.rows
        const reason = exit.value.cause.reasons.find(({ _tag }) => _tag === "Fail")
        const error = reason?._tag === "Fail" ? classify(reason.error) : undefined
        if (error?._tag === "Rejected") return yield* error
        yield* chosen.reader.release(held)
        return yield* error?._tag === "Lost" ? error : new Lost({ detail: "interrupted" })
      })
      chosen.underWay++
      return attempt.pipe(
        Effect.retry({ times: 1, while: (error) => error._tag === "Lost" && error !== tooSlow }),
        Effect.ensuring(
          Effect.sync(() => {
            chosen.underWay--
          })
        )
      )
    })
  const read = (text: string, parameters: ReadonlyArray<unknown>) => Effect.mapError(planned(text, parameters), lostOf)

  // One statement, and so one snapshot: a row that was read after its keys would have its last command carried out again.
  const loadNow = Effect.fnUntraced(function* (
    actors: Parameters<Store["Service"]["load"]>[0]
  ): Effect.fn.Return<ReadonlyArray<LoadedActor>, Lost | Rejected> {
    const asked = [...new Map(actors.map((actor) => [addressOf(actor.definition.type, actor.id), actor])).values()]
    // In one order, so that there are few texts to plan.
    const types = [...new Set(asked.map(({ definition }) => definition))].toSorted((one, other) =>
      one.type < other.type ? -1 : 1
    )
    const found = yield* planned(
      [
        `select a.type, a.id, null::jsonb as state, h.seq, h.key, h.fingerprint, h.refusal from unnest($1::text[], $2::text[]) as a(id, type) cross join lateral (select seq, key, fingerprint, refusal from runtime.history where actor_id = a.id and actor_type = a.type order by seq desc limit ${loadedKeys}) h`,
        ...types.map(
          ({ table }, index) =>
            `select $${2 * index + 3}::text, t.id, to_jsonb(t), null, null, null, null from ${table.name} t where t.id = any($${2 * index + 4}::text[])`
        )
      ].join(" union all "),
      [
        asked.map(({ id }) => id),
        asked.map(({ definition }) => definition.type),
        ...types.flatMap((type) => [
          type.type,
          asked.flatMap(({ definition, id }) => (definition === type ? [id] : []))
        ])
      ]
    )
    const rowsOf = new Map<string, Row>()
    const keysOf = new Map<string, Array<LoadedActor["keys"][number]>>()
    for (const row of found) {
      const address = addressOf(String(row["type"]), String(row["id"]))
      if (row["seq"] === null) {
        rowsOf.set(address, row["state"] as Row)
        continue
      }
      const keys = keysOf.get(address) ?? []
      keys.push(rememberedOf(row))
      keysOf.set(address, keys)
    }
    return actors.map(({ definition, id }): LoadedActor => {
      const address = addressOf(definition.type, id)
      const keys = keysOf.get(address) ?? []
      return {
        row: rowsOf.get(address),
        keys: keys.sort((left, right) => left.seq - right.seq),
        keysComplete: keys.length < loadedKeys
      }
    })
  })

  const load = yield* loadsTogether({ load: loadNow, atOnce: readersMax })

  return Store.of({
    transact,
    silentFor: Effect.sync(() => Duration.millis(performance.now() - answeredAt)),
    load,
    query,
    findKey: (definition, id, key) =>
      read(
        "select seq, key, fingerprint, refusal from runtime.history where actor_id = $1 and actor_type = $2 and key = $3 limit 1",
        [id, definition.type, key]
      ).pipe(Effect.map((rows) => (rows[0] === undefined ? undefined : rememberedOf(rows[0])))),
    history: (type, id, afterSeq, limit) =>
      read(
        "select seq, command, events, refusal is not null as refused, cause, at from runtime.history where actor_id = $1 and actor_type = $2 and seq > $3 order by seq limit $4",
        [id, type, afterSeq, limit]
      ).pipe(Effect.map((rows) => rows.map(historyRowOf))),
    timers: ({ after, before, buckets, limit, urgent }) =>
      read(
        `select actor_type, actor_id, name, bucket, due_at from runtime.timers where bucket = any($1::int[]) and due_at < $2::timestamptz ${urgent ? "and urgent" : ""} ${after === undefined ? "" : "and (due_at, actor_id, actor_type, name) > ($4::timestamptz, $5, $6, $7)"} order by due_at, actor_id, actor_type, name limit $3`,
        [
          buckets,
          DateTime.formatIso(before),
          limit,
          ...(after === undefined ? [] : [DateTime.formatIso(after.dueAt), after.actorId, after.actorType, after.name])
        ]
      ).pipe(Effect.map((rows) => rows.map(timerRowOf))),
    notices: ({ after, buckets, limit, parked }) =>
      read(
        `select bucket, source_type, source_id, seq, ordinal, receiver_type, receiver_id, message, attempts, due_at from runtime.notices n where bucket = any($1::int[]) and parked_at is ${parked ? "not " : ""}null ${after === undefined ? "" : "and (source_id, source_type, seq, ordinal) > ($3, $4, $5, $6)"} and not exists (select 1 from runtime.notices p where p.source_id = n.source_id and p.source_type = n.source_type and p.receiver_type = n.receiver_type and p.receiver_id = n.receiver_id and p.parked_at is not null and (p.seq, p.ordinal) < (n.seq, n.ordinal)) order by source_id, source_type, seq, ordinal limit $2`,
        [buckets, limit, ...(after === undefined ? [] : [after.sourceId, after.sourceType, after.seq, after.ordinal])]
      ).pipe(Effect.map((rows) => rows.map(noticeRowOf))),
    noticeFailed: (notice, outcome) =>
      read(
        "update runtime.notices set attempts = attempts + 1, error = $5, due_at = $6::timestamptz, parked_at = case when $7::boolean then $6::timestamptz end where source_id = $1 and source_type = $2 and seq = $3 and ordinal = $4",
        [
          notice.sourceId,
          notice.sourceType,
          notice.seq,
          notice.ordinal,
          outcome.error,
          DateTime.formatIso(outcome.dueAt),
          outcome.parked
        ]
      ).pipe(Effect.asVoid)
  })
})

export const layer = (options: PostgresStoreOptions): Layer.Layer<Store, never, SqlClient> =>
  Layer.effect(Store, make(options))

const countersOf = (table: CounterTable, row: PgConnection.Row): Counters => ({
  key: String(row["key"]),
  part: String(row["part"]),
  rank: Number(row["rank"]),
  values: Object.fromEntries(table.counters.map((name) => [name, Number(row[name])]))
})
