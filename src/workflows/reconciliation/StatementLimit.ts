import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"

/**
 * Looking must never be in the way of selling: within a transaction of its own, a statement of reconciliation is ended by Postgres after ten
 * seconds, and waits for nobody's lock longer than one.
 */
export const withinStatementLimit = <A>(
  sql: SqlClient,
  query: Effect.Effect<A, SqlError>
): Effect.Effect<A, SqlError> =>
  sql.withTransaction(
    Effect.andThen(
      sql`select set_config('statement_timeout', '10s', true), set_config('lock_timeout', '1s', true)`,
      query
    )
  )
