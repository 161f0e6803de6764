/** What a database did: commits which wrote something, statements, and bytes of its write-ahead log. */
import * as PgConnection from "@effect/sql-pg/PgConnection"
import { Effect, type Redacted, Schema, type Scope } from "effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"

export interface Figures {
  /** Transactions which wrote. */
  readonly commits: number
  readonly statements: number
  readonly walBytes: number
  /** Calls by statement. */
  readonly calls: ReadonlyMap<string, { readonly calls: number; readonly ms: number }>
}

export interface DatabaseFigures {
  readonly read: Effect.Effect<Figures, SqlError>
  /** The statements behind the ids of `calls`. */
  readonly texts: Effect.Effect<ReadonlyMap<string, string>, SqlError>
  /** Whether nothing is left to do behind the answers: every notice delivered and acknowledged, no checkout under way. */
  readonly settled: Effect.Effect<boolean, SqlError>
}

/** Counts what happens in the database of `sql`, which has its server to itself; asks from another one, so as not to count itself. */
export const make = Effect.fnUntraced(function* (options: {
  readonly sql: SqlClient
  readonly name: string
  /** Another database of the same server. */
  readonly beside: Redacted.Redacted
}): Effect.fn.Return<DatabaseFigures, SqlError, Scope.Scope> {
  const beside = yield* PgConnection.make({ url: options.beside, applicationName: "cartwright-bench" })
  yield* beside.query("create extension if not exists pg_stat_statements", [], false)
  const mine = `dbid = (select oid from pg_database where datname = $1) and query not like '%${mark}%'`
  return {
    read: Effect.gen(function* () {
      // Only transactions which write get a number.
      const totals = yield* beside.query(
        "select pg_snapshot_xmax(pg_current_snapshot())::text::float8 as commits, pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 as wal"
      )
      const { rows } = yield* beside.query(
        `select queryid::text as id, sum(calls)::float8 as calls, sum(total_exec_time + total_plan_time)::float8 as ms from pg_stat_statements where ${mine} group by 1`,
        [options.name]
      )
      const [total] = yield* Effect.orDie(decodeTotals(totals.rows))
      const calls = yield* Effect.orDie(decodeCalls(rows))
      return {
        commits: total?.commits ?? 0,
        walBytes: total?.wal ?? 0,
        statements: calls.reduce((sum, one) => sum + one.calls, 0),
        calls: new Map(calls.map(({ id, ...counted }) => [id, counted]))
      }
    }),
    texts: Effect.flatMap(
      beside.query(`select queryid::text as id, min(query) as query from pg_stat_statements where ${mine} group by 1`, [
        options.name
      ]),
      ({ rows }) =>
        Effect.map(Effect.orDie(decodeTexts(rows)), (found) => new Map(found.map(({ id, query }) => [id, query])))
    ),
    settled: Effect.map(
      options.sql<{ settled: boolean }>`
        select not exists (select from runtime.notices) and not exists (select from checkout.sessions where status = 'confirming') as settled
        /* ${options.sql.literal(mark)} */`,
      ([row]) => row?.settled === true
    )
  }
})

/** Our own question inside the database is told apart by this. */
const mark = "bench: settled"

const decodeTotals = Schema.decodeUnknownEffect(
  Schema.Array(Schema.Struct({ commits: Schema.Finite, wal: Schema.Finite }))
)
const decodeCalls = Schema.decodeUnknownEffect(
  Schema.Array(Schema.Struct({ id: Schema.String, calls: Schema.Finite, ms: Schema.Finite }))
)
const decodeTexts = Schema.decodeUnknownEffect(Schema.Array(Schema.Struct({ id: Schema.String, query: Schema.String })))
