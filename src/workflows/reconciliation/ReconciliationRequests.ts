/** Asks for a run of reconciliation, which the node that has the job begins within seconds. */
import { Context, Duration, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { CustomerId, IdempotencyKey } from "../../domain/Ids.ts"
import { ReconciliationId } from "../../domain/ReconciliationReport.ts"
import { IdempotencyConflict, InvalidRequest, Unavailable } from "../../domain/Refusals.ts"

export class ReconciliationRequests extends Context.Service<
  ReconciliationRequests,
  {
    /** Durable, and in the audit trail, once it answers. The same key is the same run; without `checks` it is all there are. */
    readonly start: (request: {
      readonly key: IdempotencyKey
      readonly by: CustomerId
      readonly checks?: ReadonlyArray<string>
    }) => Effect.Effect<ReconciliationId, IdempotencyConflict | InvalidRequest | Unavailable>
  }
>()("cartwright/workflows/reconciliation/ReconciliationRequests") {
  /** `known`: the names of all checks, in the order in which they are run. */
  static readonly layer = (known: ReadonlyArray<string>): Layer.Layer<ReconciliationRequests, never, SqlClient> =>
    Layer.effect(
      ReconciliationRequests,
      Effect.map(SqlClient, (sql) => ReconciliationRequests.of({ start: starting(sql, known) }))
    )
}

const unavailable = new Unavailable({ retryAfterMs: 1000 })

const starting = (sql: SqlClient, known: ReadonlyArray<string>): ReconciliationRequests["Service"]["start"] =>
  Effect.fn("ReconciliationRequests.start")(function* ({ by, checks, key }) {
    const unknown = checks?.find((name) => !known.includes(name))
    if (unknown !== undefined) {
      return yield* new InvalidRequest({
        field: "checks",
        message: `There is no check ${unknown}: ${known.join(", ")}`
      })
    }
    const wanted = checks === undefined ? known : known.filter((name) => checks.includes(name))
    const id = ReconciliationId.make(`operator:${key}`)
    const asked = JSON.stringify(wanted)
    const [row] = yield* sql<{ readonly same: boolean }>`
      with asked as (
        insert into ops.reconciliations (id, checks, requested_by, status, created_at, updated_at)
        values (${id}, ${asked}::text::jsonb, ${by}, 'queued', now(), now()) on conflict do nothing returning id
      ), audited as (
        insert into ops.audit (at, actor, role, operation, subject, outcome, details)
        select now(), ${by}, 'operator', 'StartReconciliation', id, 'done', jsonb_build_object('key', ${key}::text, 'checks', ${asked}::text::jsonb)
        from asked
      )
      select true as same from asked
      union all
      select checks = ${asked}::text::jsonb and requested_by = ${by} from ops.reconciliations where id = ${id}`.pipe(
      Effect.timeout(Duration.seconds(5)),
      Effect.tapError((error) => Effect.logWarning("Reconciliation cannot be asked for", error)),
      Effect.mapError(() => unavailable)
    )
    // None: another request with this key is being written right now.
    if (row === undefined) return yield* unavailable
    return row.same ? id : yield* new IdempotencyConflict({ key })
  })
