import { Duration, Effect } from "effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"

/** For how long a statement of reconciliation may look. */
export interface StatementLimits {
  readonly page: Duration.Duration
  /** At one thing: there is no smaller page. */
  readonly thing: Duration.Duration
}

export const usualLimits: StatementLimits = { page: Duration.seconds(10), thing: Duration.minutes(1) }

/**
 * Looking must never be in the way of selling: within a transaction of its own, a statement of reconciliation is ended by Postgres after its
 * time, and waits for nobody's lock longer than a second.
 */
export const withinStatementLimit = <A>(
  sql: SqlClient,
  query: Effect.Effect<A, SqlError>,
  limit = usualLimits.page
): Effect.Effect<A, SqlError> =>
  sql.withTransaction(
    Effect.andThen(
      sql`select set_config('statement_timeout', ${`${Duration.toMillis(limit)}ms`}, true), set_config('lock_timeout', '1s', true)`,
      query
    )
  )

/** What a page was asked for, and how many things it was allowed. */
export interface Looked<A> {
  readonly found: A
  readonly limit: number
}

/**
 * Runs a statement over a page, which is told how many things it may look at. A page that takes too long is looked at in smaller ones from
 * then on, down to one thing, which may take longer; what is quick again grows back.
 */
export const inPages = (
  sql: SqlClient,
  { page, thing }: StatementLimits = usualLimits
): (<A>(most: number, query: (limit: number) => Effect.Effect<A, SqlError>) => Effect.Effect<Looked<A>, SqlError>) => {
  const quick = Duration.times(page, 1 / shrinking)
  let allowed = Number.POSITIVE_INFINITY
  const look = <A>(
    limit: number,
    query: (limit: number) => Effect.Effect<A, SqlError>
  ): Effect.Effect<Looked<A>, SqlError> =>
    withinStatementLimit(sql, query(limit), limit === 1 ? thing : page).pipe(
      Effect.timed,
      Effect.map(([took, found]) => {
        if (Duration.isLessThan(took, quick)) allowed = limit * shrinking
        return { found, limit }
      }),
      Effect.catchIf(
        ({ reason }) => reason._tag === "StatementTimeoutError" && limit > 1,
        () => {
          allowed = Math.max(1, Math.floor(limit / shrinking))
          return look(allowed, query)
        }
      )
    )
  return (most, query) => Effect.suspend(() => look(Math.min(most, allowed), query))
}

/** How many times less a page has after one that took too long. */
const shrinking = 8
