/** Failed compensations, newest first: read from their own table. The authorization leaves the database as its hash. REQ-SEC-02. */
import { Context, DateTime, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { OrderId } from "../domain/Ids.ts"
import type { InvalidRequest, Unavailable } from "../domain/Refusals.ts"
import {
  type CompensationOperation,
  type CompensationStatus,
  FailedCompensationView
} from "../entities/failedCompensation/FailedCompensation.ts"
import { bounded, pageOf, placeAfter, rowsOf, utc } from "./Pages.ts"

export interface FailedCompensationRequest {
  readonly status?: CompensationStatus
  readonly orderId?: OrderId
  readonly operation?: CompensationOperation
  /** Recorded before this instant. */
  readonly before?: DateTime.Utc
  readonly after?: string
  readonly limit: number
}

export interface FailedCompensationPage {
  readonly compensations: ReadonlyArray<FailedCompensationView>
  readonly next?: string
}

export class FailedCompensationList extends Context.Service<
  FailedCompensationList,
  {
    readonly page: (
      request: FailedCompensationRequest
    ) => Effect.Effect<FailedCompensationPage, InvalidRequest | Unavailable>
  }
>()("cartwright/projections/FailedCompensationList") {
  static readonly layer: Layer.Layer<FailedCompensationList, never, SqlClient> = Layer.effect(
    FailedCompensationList,
    Effect.suspend(() => make)
  )
}

/** The view as the contract's JSON has it, and where the page would end with it. */
const decode = rowsOf(Schema.Struct({ at: Schema.String, view: Schema.toCodecJson(FailedCompensationView) }))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient
  const page = Effect.fn("FailedCompensationList.page")(function* (request: FailedCompensationRequest) {
    const { after, before, limit, operation, orderId, status } = request
    const behind = after === undefined ? undefined : yield* Effect.fromResult(placeAfter(after))
    const rows = yield* bounded(sql`
      select ${sql.literal(utc("created_at"))} as at, jsonb_strip_nulls(jsonb_build_object(
        'id', id, 'orderId', order_id, 'operation', operation_type, 'status', status,
        'authorization', 'sha256:' || left(encode(sha256(convert_to(authorization_id, 'UTF8')), 'hex'), 12),
        'reservationIds', reservation_ids, 'customerId', customer_id, 'totalAmount', total_amount::text, 'currency', currency,
        'reason', reason, 'error', error_message, 'retryCount', retry_count, 'maxRetries', max_retries, 'alertSent', alert_sent,
        'recordedAt', ${sql.literal(utc("recorded_at"))}, 'nextAttemptAt', ${sql.literal(utc("next_attempt_at"))},
        'startedBy', started_by, 'resolvedAt', ${sql.literal(utc("resolved_at"))}, 'resolvedBy', resolved_by,
        'resolution', resolution, 'note', note, 'seq', version
      )) as view
      from payment.failed_compensations
      where ${sql.and([
        sql`true`,
        ...(status === undefined ? [] : [sql`status = ${status}`]),
        ...(orderId === undefined ? [] : [sql`order_id = ${orderId}`]),
        ...(operation === undefined ? [] : [sql`operation_type = ${operation}`]),
        ...(before === undefined ? [] : [sql`created_at < ${DateTime.formatIso(before)}::timestamptz`]),
        ...(behind === undefined ? [] : [sql`(created_at, id) < (${behind.at}::timestamptz, ${behind.id})`])
      ])}
      order by created_at desc, id desc
      limit ${limit + 1}`)
    const { shown, ...rest } = pageOf(yield* decode(rows), limit, ({ at, view: { id } }) => ({ at, id }))
    return { compensations: shown.map(({ view }) => view), ...rest }
  })
  return FailedCompensationList.of({ page })
})
