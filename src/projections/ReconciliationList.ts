/** What reconciliation has looked at and found, newest first; of one run its findings, oldest first. Read from its own tables. */
import { Context, Effect, Layer, Option, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import {
  ReconciliationFinding,
  type ReconciliationId,
  ReconciliationReport,
  type ReconciliationStatus
} from "../domain/ReconciliationReport.ts"
import type { InvalidRequest, Unavailable } from "../domain/Refusals.ts"
import { bounded, pageOf, placeAfter, rowsOf, utc } from "./Pages.ts"

export interface ReconciliationRequest {
  readonly status?: ReconciliationStatus
  readonly after?: string
  readonly limit: number
}

export interface ReconciliationPage {
  readonly reconciliations: ReadonlyArray<ReconciliationReport>
  readonly next?: string
}

export interface FindingsPage {
  readonly report: ReconciliationReport
  readonly findings: ReadonlyArray<ReconciliationFinding>
  /** Behind the last finding of the page; absent when there are no more. */
  readonly nextFinding?: number
}

export class ReconciliationList extends Context.Service<
  ReconciliationList,
  {
    readonly page: (request: ReconciliationRequest) => Effect.Effect<ReconciliationPage, InvalidRequest | Unavailable>
    readonly get: (
      id: ReconciliationId,
      findings: { readonly after?: number; readonly limit: number }
    ) => Effect.Effect<Option.Option<FindingsPage>, Unavailable>
  }
>()("cartwright/projections/ReconciliationList") {
  static readonly layer: Layer.Layer<ReconciliationList, never, SqlClient> = Layer.effect(
    ReconciliationList,
    Effect.suspend(() => make)
  )
}

const decode = rowsOf(Schema.Struct({ at: Schema.String, report: Schema.toCodecJson(ReconciliationReport) }))
const decodeFindings = rowsOf(Schema.Struct({ seq: Schema.Int, finding: Schema.toCodecJson(ReconciliationFinding) }))

const columns = `${utc("created_at")} as at, jsonb_strip_nulls(jsonb_build_object(
  'id', id, 'status', status, 'checks', checks, 'requestedBy', requested_by, 'createdAt', ${utc("created_at")},
  'startedAt', ${utc("started_at")}, 'finishedAt', ${utc("finished_at")}, 'results', results)) as report`

const make = Effect.gen(function* () {
  const sql = yield* SqlClient

  const page = Effect.fn("ReconciliationList.page")(function* ({ after, limit, status }: ReconciliationRequest) {
    const behind = after === undefined ? undefined : yield* Effect.fromResult(placeAfter(after))
    const rows = yield* bounded(sql`
      select ${sql.literal(columns)} from ops.reconciliations
      where ${sql.and([
        sql`true`,
        ...(status === undefined ? [] : [sql`status = ${status}`]),
        ...(behind === undefined ? [] : [sql`(created_at, id) < (${behind.at}::timestamptz, ${behind.id})`])
      ])}
      order by created_at desc, id desc
      limit ${limit + 1}`)
    const { shown, ...rest } = pageOf(yield* decode(rows), limit, ({ at, report: { id } }) => ({ at, id }))
    return { reconciliations: shown.map(({ report }) => report), ...rest }
  })

  const get = Effect.fn("ReconciliationList.get")(function* (
    id: ReconciliationId,
    { after = 0, limit }: { readonly after?: number; readonly limit: number }
  ) {
    const [found] = yield* decode(
      yield* bounded(sql`select ${sql.literal(columns)} from ops.reconciliations where id = ${id}`)
    )
    if (found === undefined) return Option.none()
    const rows = yield* decodeFindings(
      yield* bounded(sql`
        select seq::int as seq, jsonb_strip_nulls(jsonb_build_object(
          'check', check_name, 'subject', subject, 'outcome', outcome, 'text', text, 'orderId', order_id, 'amount', amount::text,
          'currency', currency, 'authorization', authorization_hash, 'at', ${sql.literal(utc("at"))})) as finding
        from ops.reconciliation_findings where reconciliation_id = ${id} and seq > ${after} and outcome <> 'open' order by seq limit ${limit + 1}`)
    )
    const shown = rows.slice(0, limit)
    const last = shown.at(-1)
    return Option.some({
      report: found.report,
      findings: shown.map(({ finding }) => finding),
      ...(rows.length > limit && last !== undefined ? { nextFinding: last.seq } : {})
    })
  })

  return ReconciliationList.of({ page, get })
})
