/** Alerts, newest first: read from their own table. */
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { InvalidRequest, Unavailable } from "../domain/Refusals.ts"
import { type AlertSeverity, type AlertStatus, AlertView } from "../entities/alert/Alert.ts"
import { bounded, pageOf, placeAfter, rowsOf, utc } from "./Pages.ts"

export interface AlertRequest {
  readonly status?: AlertStatus
  readonly severity?: AlertSeverity
  /** Those which not every sink has accepted, or those which all have. */
  readonly unsent?: boolean
  readonly after?: string
  readonly limit: number
}

export interface AlertPage {
  readonly alerts: ReadonlyArray<AlertView>
  readonly next?: string
}

export class AlertList extends Context.Service<
  AlertList,
  { readonly page: (request: AlertRequest) => Effect.Effect<AlertPage, InvalidRequest | Unavailable> }
>()("cartwright/projections/AlertList") {
  static readonly layer: Layer.Layer<AlertList, never, SqlClient> = Layer.effect(
    AlertList,
    Effect.suspend(() => make)
  )
}

/** The view as the contract's JSON has it, and where the page would end with it. */
const decode = rowsOf(Schema.Struct({ at: Schema.String, view: Schema.toCodecJson(AlertView) }))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient
  const page = Effect.fn("AlertList.page")(function* ({ after, limit, severity, status, unsent }: AlertRequest) {
    const behind = after === undefined ? undefined : yield* Effect.fromResult(placeAfter(after))
    const rows = yield* bounded(sql`
      select ${sql.literal(utc("raised_at"))} as at, jsonb_strip_nulls(jsonb_build_object(
        'id', id, 'status', status, 'kind', kind, 'severity', severity, 'summary', summary, 'details', details, 'raises', raises,
        'raisedAt', ${sql.literal(utc("raised_at"))}, 'lastRaisedAt', ${sql.literal(utc("last_raised_at"))}, 'sinks', sinks,
        'sentAt', ${sql.literal(utc("sent_at"))}, 'acknowledgedBy', acknowledged_by, 'clearedBy', cleared_by, 'reason', clear_reason
      )) as view
      from ops.alerts
      where ${sql.and([
        sql`true`,
        ...(status === undefined ? [] : [sql`status = ${status}`]),
        ...(severity === undefined ? [] : [sql`severity = ${severity}`]),
        ...(unsent === undefined ? [] : [unsent ? sql`sent_at is null` : sql`sent_at is not null`]),
        ...(behind === undefined ? [] : [sql`(raised_at, id) < (${behind.at}::timestamptz, ${behind.id})`])
      ])}
      order by raised_at desc, id desc
      limit ${limit + 1}`)
    const { shown, ...rest } = pageOf(yield* decode(rows), limit, ({ at, view: { id } }) => ({ at, id }))
    return { alerts: shown.map(({ view }) => view), ...rest }
  })
  return AlertList.of({ page })
})
