/** The database of a node: looked at before anything is built on it, then a pool of connections. */
import { randomUUID } from "node:crypto"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as PgConnection from "@effect/sql-pg/PgConnection"
import { Duration, Effect, Layer, Option, Redacted, Schedule, Schema } from "effect"
import * as SqlRunnerStorage from "effect/cluster/SqlRunnerStorage"
import type { MigrationError } from "effect/sql/Migrator"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as Migrations from "../migrations/Migrations.ts"
import { detailsOf } from "./ErrorDetails.ts"
import type { Values } from "./Settings.ts"

export const settingsKeys = [
  "DATABASE_CONNECT_TIMEOUT",
  "DATABASE_POOL_SIZE",
  "DATABASE_STARTUP_WAIT",
  "DATABASE_STATEMENT_TIMEOUT",
  "DATABASE_URL",
  "JOURNAL_IDLE_IN_TRANSACTION"
] as const

export type SqlSettings = Pick<Values, (typeof settingsKeys)[number]>

/**
 * Why this database cannot be used. `message` is for the person who starts the node; the password is not in it.
 *
 * - `Unreachable`: nobody answered all the time we waited.
 * - `Refused`: it answered, and does not let us in.
 * - `TooOld`: a Postgres before 14, which cannot free the shards of a frozen node.
 * - `Pooled`: a pooler stands between, and deals connections out by transaction or drops their settings.
 * - `Outdated`: it waits for migrations.
 */
export class DatabaseUnusable extends Schema.TaggedError<DatabaseUnusable>()("DatabaseUnusable", {
  reason: Schema.Literals(["Unreachable", "Refused", "TooOld", "Pooled", "Outdated"]),
  message: Schema.String
}) {}

/** Waits for the database, makes sure of it, and gives a pool of connections to it. */
export const layer = (settings: SqlSettings): Layer.Layer<PgClient.PgClient | SqlClient, DatabaseUnusable> =>
  Layer.unwrap(
    Effect.as(
      inspect(settings),
      // It connects when it is first used: nothing can fail here.
      Layer.orDie(
        PgClient.layer({
          url: settings.DATABASE_URL,
          maxConnections: settings.DATABASE_POOL_SIZE,
          connectTimeout: settings.DATABASE_CONNECT_TIMEOUT,
          // A node whose database host has vanished must notice.
          keepAlive: "10 seconds",
          applicationName: "cartwright",
          startupParameters: startupParameters(settings)
        })
      )
    )
  )

/**
 * Brings the database up to date and gives what was applied, on a connection of its own: a migration may take longer than a statement
 * of the pool. Needs no rights on the schema when there is nothing to do.
 */
export const migrate = (
  settings: SqlSettings
): Effect.Effect<ReadonlyArray<string>, DatabaseUnusable | MigrationError | SqlError> =>
  Effect.gen(function* () {
    const missing = yield* pending
    if (missing.length === 0) return []
    yield* Migrations.migrate
    yield* Layer.build(SqlRunnerStorage.layerMigrations({}))
    return missing
  }).pipe(Effect.scoped, Effect.provide(single(settings)))

/** What `migrate` would apply. */
export const pendingMigrations = (
  settings: SqlSettings
): Effect.Effect<ReadonlyArray<string>, DatabaseUnusable | SqlError> => Effect.provide(pending, single(settings))

/** The same on the pool. A node is ready only when there is nothing. */
export const pending: Effect.Effect<ReadonlyArray<string>, SqlError, SqlClient> = Effect.gen(function* () {
  const sql = yield* SqlClient
  const ours = yield* Migrations.pending
  const [found] = yield* sql<{ exists: boolean }>`select to_regclass('cluster_runners') is not null as exists`
  return found?.exists === true ? ours : [...ours, runnerTables]
})

/** Waits while another program migrates. */
export const awaitMigrations = Effect.fn("Sql.awaitMigrations")(function* (
  settings: Pick<SqlSettings, "DATABASE_STARTUP_WAIT">
): Effect.fn.Return<void, DatabaseUnusable | SqlError, SqlClient> {
  const missing = yield* pending.pipe(
    Effect.repeat({
      until: (names) => names.length === 0,
      schedule: Schedule.spaced("500 millis").pipe(Schedule.upTo({ duration: settings.DATABASE_STARTUP_WAIT }))
    })
  )
  if (missing.length === 0) return
  return yield* new DatabaseUnusable({
    reason: "Outdated",
    message: `The database waits for ${missing.join(", ")}. Run \`cartwright migrate\`, or start with MIGRATE_ON_START=true.`
  })
})

/** The tables in which the cluster's nodes find each other; Effect's own migrations. */
const runnerTables = "cluster_runners"

const single = (settings: SqlSettings) =>
  Layer.unwrap(
    Effect.as(
      inspect(settings),
      PgClient.layer({
        url: settings.DATABASE_URL,
        maxConnections: 2,
        connectTimeout: settings.DATABASE_CONNECT_TIMEOUT,
        applicationName: "cartwright-migrate"
      })
    )
  )

const startupParameters = (
  settings: Pick<SqlSettings, "DATABASE_STATEMENT_TIMEOUT" | "JOURNAL_IDLE_IN_TRANSACTION">
): Readonly<Record<string, string>> => ({
  // A plan kept from when a table was small would read it through when it is large.
  plan_cache_mode: "force_custom_plan",
  // A frozen node must not keep rows locked for the one that takes over.
  idle_in_transaction_session_timeout: String(Duration.toMillis(settings.JOURNAL_IDLE_IN_TRANSACTION)),
  statement_timeout: String(Duration.toMillis(settings.DATABASE_STATEMENT_TIMEOUT))
})

// ---- before the pool

/** The first with `idle_session_timeout`. */
const oldestVersion = 140_000

const inspect = (settings: SqlSettings): Effect.Effect<void, DatabaseUnusable> =>
  Effect.gen(function* () {
    const connect = PgConnection.make({
      url: settings.DATABASE_URL,
      connectTimeout: settings.DATABASE_CONNECT_TIMEOUT,
      applicationName: "cartwright",
      startupParameters: startupParameters(settings)
    })
    const first = yield* connect
    const { rows } = yield* first.query(
      "select current_setting('server_version_num')::int as number, current_setting('server_version') as text, (select setting from pg_settings where name = 'idle_in_transaction_session_timeout') as timeout",
      [],
      false
    )
    const [version] = rows
    if (Number(version?.["number"]) < oldestVersion) {
      return yield* new DatabaseUnusable({
        reason: "TooOld",
        message: `${placeOf(settings.DATABASE_URL)} is Postgres ${String(version?.["text"])}. Cartwright needs 14 or later.`
      })
    }
    const kept = String(version?.["timeout"]) === startupParameters(settings)["idle_in_transaction_session_timeout"]
    if (!kept || (yield* isDealtOut(first, yield* connect))) return yield* pooled(settings)
  }).pipe(
    Effect.scoped,
    Effect.catchTag("SqlError", (error) => Effect.fail(explain(settings, error))),
    Effect.retry({
      while: ({ reason }) => reason === "Unreachable",
      schedule: Schedule.spaced("500 millis").pipe(Schedule.upTo({ duration: settings.DATABASE_STARTUP_WAIT }))
    }),
    Effect.withSpan("Sql.inspect")
  )

/**
 * Whether transactions of one connection end up on different ones of the server: then locks and settings of a session would be lost or
 * met by strangers. A pooler which deals out the connection used last does so while another client holds that one; a pooler which deals
 * them out in turn does so on its own.
 */
export const isDealtOut = Effect.fn("Sql.isDealtOut")(function* (
  first: Pick<PgConnection.PgConnection, "query">,
  second: Pick<PgConnection.PgConnection, "query">
) {
  const token = randomUUID()
  const run = (connection: typeof first, statement: string) => connection.query(statement, [], false)
  const session = "select pg_backend_pid() as pid, current_setting('cartwright.probe', true) as probe"
  yield* run(first, `select set_config('cartwright.probe', '${token}', false)`)
  const [before] = (yield* run(first, session)).rows
  // A pool of one connection would keep the second waiting for the first, or the first for the second.
  const stays = Effect.map(
    Effect.timeoutOption(run(first, session), "2 seconds"),
    Option.exists(({ rows: [now] }) => now?.["pid"] === before?.["pid"] && now?.["probe"] === token)
  )
  if (before?.["probe"] !== token) return true
  yield* run(second, "begin")
  yield* run(second, "select 1")
  if (!(yield* stays)) return true
  yield* run(second, "rollback")
  return !(yield* stays) || !(yield* stays)
})

const pooled = ({ DATABASE_URL }: SqlSettings) =>
  new DatabaseUnusable({
    reason: "Pooled",
    message:
      `DATABASE_URL leads to a connection pooler at ${placeOf(DATABASE_URL)} which shares connections out by transaction, or drops their ` +
      "settings. The locks by which nodes share out the work belong to a connection. Give the address of Postgres itself, or of a pooler in " +
      "session mode which passes startup parameters on (most providers name both)."
  })

const explain = (settings: SqlSettings, error: SqlError): DatabaseUnusable => {
  const place = placeOf(settings.DATABASE_URL)
  const { code = "", message = "" } = detailsOf(error.reason.cause)
  const said = message || code || error.reason._tag
  if (said.includes("unsupported startup parameter")) return pooled(settings)
  // Starting up, shutting down, out of connections: it will be back.
  const passes = /^(08|53|57P)/.test(code)
  return /^[0-9A-Z]{5}$/.test(code) && !passes
    ? new DatabaseUnusable({ reason: "Refused", message: `${place} refuses DATABASE_URL: ${said}.` })
    : new DatabaseUnusable({
        reason: "Unreachable",
        message: `No database answers at ${place}: ${said}. DATABASE_URL says where it is.`
      })
}

/** Host, port and database; nothing of user and password. */
const placeOf = (url: Redacted.Redacted<string>): string => {
  const text = Redacted.value(url)
  const { hostname, pathname, port } = URL.canParse(text) ? new URL(text) : { hostname: "", pathname: "", port: "" }
  return hostname === "" ? "the given address" : `${hostname}:${port === "" ? "5432" : port}${pathname}`
}
