/** Who did what, newest first: read from the audit trail itself. */
import { Context, DateTime, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { CustomerId } from "../domain/Ids.ts"
import { InvalidRequest, type Unavailable } from "../domain/Refusals.ts"
import { bounded, Instant, pageOf, placeAfter, rowsOf, utc } from "./Pages.ts"

const Row = Schema.Struct({
  id: Schema.String,
  at: Schema.String,
  actor: Schema.String,
  role: Schema.Literals(["operator", "customer", "guest", "anonymous"]),
  operation: Schema.String,
  subject: Schema.optionalKey(Schema.String),
  outcome: Schema.String,
  details: Schema.Json,
  requestId: Schema.optionalKey(Schema.String)
})

export interface AuditRequest {
  readonly actor?: CustomerId
  readonly operation?: string
  readonly subject?: string
  /** Inclusive. */
  readonly since?: DateTime.Utc
  /** Exclusive. */
  readonly before?: DateTime.Utc
  readonly after?: string
  readonly limit: number
}

export interface AuditPage {
  readonly records: ReadonlyArray<Omit<typeof Row.Type, "at"> & { readonly at: DateTime.Utc }>
  readonly next?: string
}

export class AuditList extends Context.Service<
  AuditList,
  { readonly page: (request: AuditRequest) => Effect.Effect<AuditPage, InvalidRequest | Unavailable> }
>()("cartwright/projections/AuditList") {
  static readonly layer: Layer.Layer<AuditList, never, SqlClient> = Layer.effect(
    AuditList,
    Effect.suspend(() => make)
  )
}

const decode = rowsOf(Row)
const decodeInstant = Schema.decodeSync(Instant)

const make = Effect.gen(function* () {
  const sql = yield* SqlClient
  const page = Effect.fn("AuditList.page")(function* (request: AuditRequest) {
    const { actor, after, before, limit, operation, since, subject } = request
    const behind = after === undefined ? undefined : yield* Effect.fromResult(placeAfter(after))
    if (behind !== undefined && !/^\d{1,18}$/.test(behind.id)) {
      return yield* new InvalidRequest({ field: "after", message: "Expected the `next` of the page before" })
    }
    const rows = yield* bounded(sql`
      select id::text, ${sql.literal(utc("at"))} as at, actor, role, operation, subject, outcome, details, request_id as "requestId"
      from ops.audit
      where ${sql.and([
        sql`true`,
        ...(actor === undefined ? [] : [sql`actor = ${actor}`]),
        ...(operation === undefined ? [] : [sql`operation = ${operation}`]),
        ...(subject === undefined ? [] : [sql`subject = ${subject}`]),
        ...(since === undefined ? [] : [sql`at >= ${DateTime.formatIso(since)}::timestamptz`]),
        ...(before === undefined ? [] : [sql`at < ${DateTime.formatIso(before)}::timestamptz`]),
        ...(behind === undefined ? [] : [sql`id < ${behind.id}::bigint`])
      ])}
      order by id desc
      limit ${limit + 1}`)
    const { shown, ...rest } = pageOf(yield* decode(rows), limit, ({ at, id }) => ({ at, id }))
    return { records: shown.map((record) => ({ ...record, at: decodeInstant(record.at) })), ...rest }
  })
  return AuditList.of({ page })
})
