/** The journal's store on Postgres: one dedicated connection for flushes, the pool for everything else. */
import * as PgConnection from "@effect/sql-pg/PgConnection"
import {
  DateTime,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Metric,
  type Redacted,
  Scope,
  Semaphore
} from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { Conflict, type HistoryRow, type LoadedActor, Lost, type NoticeRow, Rejected, Store, type StoreError } from "./Store.ts"
import { type Counters, type CounterTable, flushStatement, type Row, toJson } from "./Table.ts"

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
}

const causeOf = (error: SqlError): { readonly code?: unknown; readonly constraint?: unknown; readonly message?: unknown } =>
  (error.reason.cause ?? {}) as { code?: unknown; constraint?: unknown }

const classify = (error: SqlError): StoreError => {
  const { code, constraint, message } = causeOf(error)
  if (code === "22012") return new Conflict({})
  const text = typeof code === "string" ? code : ""
  // Another owner's history or ledger row stands there already: its actors are reloaded, and the key found.
  if (text === "23505") return new Conflict({ constraint: String(constraint) })
  // 21: one statement would write a row twice; 22: a value does not fit its type; 23: a constraint is violated.
  if (text.startsWith("21") || text.startsWith("22") || text.startsWith("23") || text.startsWith("42")) {
    return new Rejected({ constraint: typeof constraint === "string" ? constraint : text, detail: String(message ?? "") })
  }
  return new Lost({ detail: text === "" ? error.reason._tag : text })
}

const lost = (error: SqlError) => new Lost({ detail: error.reason._tag })

interface Lane {
  readonly connection: PgConnection.PgConnection
  readonly scope: Scope.Closeable
}

/** A connection that is made when first needed, given up when it failed, and made again for the next flush. */
const makeLane = Effect.fnUntraced(function* (options: PostgresStoreOptions) {
  const parent = yield* Effect.scope
  let current: Lane | undefined
  const mutex = Semaphore.makeUnsafe(1)
  const connect = Effect.gen(function* () {
    const scope = yield* Scope.fork(parent)
    const made = yield* Effect.exit(
      PgConnection.make({
        url: options.url,
        multiplex: true,
        applicationName: "cartwright-journal",
        preparedStatementCacheSize: 512,
        keepAlive: "5 seconds",
        startupParameters: {
          idle_in_transaction_session_timeout: `${Duration.toMillis(options.idleInTransaction)}`,
          statement_timeout: `${Duration.toMillis(options.flushTimeout)}`,
          plan_cache_mode: "force_generic_plan",
          jit: "off"
        }
      }).pipe(Effect.provideService(Scope.Scope, scope))
    )
    if (Exit.isFailure(made)) {
      yield* Scope.close(scope, Exit.void)
      return yield* Effect.failCause(made.cause)
    }
    current = { connection: made.value, scope }
    return current
  })
  const acquire = mutex.withPermits(1)(Effect.suspend(() => (current === undefined ? connect : Effect.succeed(current))))
  const release = (lane: Lane) =>
    Effect.suspend(() => {
      if (current === lane) current = undefined
      return Scope.close(lane.scope, Exit.void)
    })
  return { acquire, release }
})

export const make = Effect.fnUntraced(function* (options: PostgresStoreOptions) {
  const sql = yield* SqlClient
  const lane = yield* makeLane(options)
  const scope = yield* Effect.scope
  const cache = new Map<string, string>()

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
      cache.set(name, text)
    }
    const flush = run(connection, text, [batch.guarded, ...filled.map(({ rows }) => toJson(rows))])
    if (keys.length === 0) return yield* Effect.asVoid(flush)
    // The commit goes out right behind: after a failed statement it is a rollback.
    yield* Effect.all([flush, run(connection, "commit")], { concurrency: "unbounded", discard: true })
  })

  const transact: Store["Service"]["transact"] = (keys, body) =>
    Effect.gen(function* () {
      const held = yield* lane.acquire.pipe(Effect.mapError(lost))
      // A multiplexed connection cannot be interrupted, so the limit is watched from beside it.
      const fiber = yield* Effect.forkIn(write(held.connection, keys, body), scope)
      const exit = yield* Fiber.await(fiber).pipe(Effect.timeoutOption(options.flushTimeout))
      if (exit._tag === "None") {
        yield* lane.release(held)
        return yield* new Lost({ detail: "timeout" })
      }
      if (Exit.isSuccess(exit.value)) return
      const error = yield* Effect.failCause(exit.value.cause).pipe(
        Effect.catchDefect(() => Effect.succeed(undefined)),
        Effect.flip,
        Effect.orElseSucceed(() => undefined)
      )
      const classified = error === undefined ? new Lost({ detail: "interrupted" }) : classify(error)
      if (classified._tag === "Lost") yield* lane.release(held)
      else if (keys.length > 0) yield* run(held.connection, "rollback").pipe(Effect.ignore)
      return yield* classified
    })

  const query: Store["Service"]["query"] = (text, parameters) =>
    sql.unsafe<Row>(text, parameters).pipe(
      Effect.timeout(options.flushTimeout),
      Effect.mapError((error) => (error._tag === "SqlError" ? lost(error) : new Lost({ detail: "timeout" }))),
      Effect.tap(Metric.update(statements, 1))
    )

  const load: Store["Service"]["load"] = Effect.fnUntraced(function* (actors) {
    const types = [...new Set(actors.map(({ definition }) => definition))]
    const ids = [...new Set(actors.map(({ id }) => id))]
    const [histories, ...states] = yield* Effect.all(
      [
        query(
          `select a.id as actor_id, a.type as actor_type, h.seq, h.key, h.fingerprint, h.refusal from unnest($1::text[], $2::text[]) as a(id, type) cross join lateral (select seq, key, fingerprint, refusal from runtime.history where actor_id = a.id and actor_type = a.type order by seq desc limit ${loadedKeys}) h`,
          [actors.map(({ id }) => id), actors.map(({ definition }) => definition.type)]
        ),
        ...types.map((definition) =>
          query(`select id, to_jsonb(t) as state from ${definition.table.name} t where id = any($1::text[])`, [ids])
        )
      ],
      { concurrency: "unbounded" }
    )
    const keysOf = new Map<string, Array<LoadedActor["keys"][number]>>()
    for (const row of histories!) {
      const address = `${row["actor_type"]}/${row["actor_id"]}`
      const keys = keysOf.get(address) ?? []
      keys.push(rememberedOf(row))
      keysOf.set(address, keys)
    }
    const rowsOf = new Map<string, Row>()
    types.forEach((definition, index) => {
      for (const row of states[index]!) rowsOf.set(`${definition.type}/${row["id"]}`, row["state"] as Row)
    })
    return actors.map(({ definition, id }): LoadedActor => {
      const keys = keysOf.get(`${definition.type}/${id}`) ?? []
      return { row: rowsOf.get(`${definition.type}/${id}`), keys, keysComplete: keys.length < loadedKeys }
    })
  })

  return Store.of({
    transact,
    load,
    query,
    findKey: (definition, id, key) =>
      query(
        "select seq, key, fingerprint, refusal from runtime.history where actor_id = $1 and actor_type = $2 and key = $3 limit 1",
        [id, definition.type, key]
      ).pipe(Effect.map((rows) => (rows[0] === undefined ? undefined : rememberedOf(rows[0])))),
    history: (type, id, afterSeq, limit) =>
      query(
        "select seq, command, events, refusal is not null as refused, cause, at from runtime.history where actor_id = $1 and actor_type = $2 and seq > $3 order by seq limit $4",
        [id, type, afterSeq, limit]
      ).pipe(Effect.map((rows) => rows.map(historyRowOf))),
    timers: ({ before, buckets, limit, urgent }) =>
      query(
        `select actor_type, actor_id, name, bucket, due_at from runtime.timers where bucket = any($1::int[]) and due_at < $2::timestamptz ${urgent ? "and urgent" : ""} order by due_at limit $3`,
        [buckets, DateTime.formatIso(before), limit]
      ).pipe(
        Effect.map((rows) =>
          rows.map((row) => ({
            actorType: String(row["actor_type"]),
            actorId: String(row["actor_id"]),
            name: String(row["name"]),
            bucket: Number(row["bucket"]),
            dueAt: instantOf(row["due_at"])
          }))
        )
      ),
    notices: ({ buckets, limit }) =>
      query(
        "select source_type, source_id, seq, ordinal, receiver_type, receiver_id, message, attempts, due_at from runtime.notices where bucket = any($1::int[]) and parked_at is null order by due_at limit $2",
        [buckets, limit]
      ).pipe(Effect.map((rows) => rows.map(noticeRowOf))),
    noticeFailed: (notice, outcome) =>
      query(
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

const rememberedOf = (row: Row): LoadedActor["keys"][number] => ({
  key: String(row["key"]),
  fingerprint: String(row["fingerprint"]),
  seq: Number(row["seq"]),
  refusal: row["refusal"] ?? undefined
})

const instantOf = (value: unknown): DateTime.Utc => DateTime.toUtc(DateTime.makeUnsafe(value as Date | string | number))

const historyRowOf = (row: Row): HistoryRow => ({
  seq: Number(row["seq"]),
  command: String(row["command"]),
  events: row["events"] as ReadonlyArray<unknown>,
  refused: row["refused"] === true,
  cause: typeof row["cause"] === "string" ? row["cause"] : undefined,
  at: instantOf(row["at"])
})

const noticeRowOf = (row: Row): NoticeRow => ({
  sourceType: String(row["source_type"]),
  sourceId: String(row["source_id"]),
  seq: Number(row["seq"]),
  ordinal: Number(row["ordinal"]),
  receiverType: String(row["receiver_type"]),
  receiverId: String(row["receiver_id"]),
  message: row["message"],
  attempts: Number(row["attempts"]),
  dueAt: instantOf(row["due_at"])
})
