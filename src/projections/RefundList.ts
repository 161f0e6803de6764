/** Refunds of all payments, those of the payment which changed last first: read from the payments themselves. */
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { OrderId } from "../domain/Ids.ts"
import { Currency } from "../domain/Money.ts"
import type { InvalidRequest, Unavailable } from "../domain/Refusals.ts"
import { type ListedRefund, Refund, type RefundStatus, refundView } from "../entities/payment/Refund.ts"
import { bounded, pageOf, placeAfter, rowsOf, utc } from "./Pages.ts"

export interface RefundRequest {
  readonly status?: RefundStatus
  readonly orderId?: OrderId
  readonly after?: string
  /** Payments, each with all of its refunds. */
  readonly limit: number
}

export interface RefundPage {
  readonly refunds: ReadonlyArray<ListedRefund>
  readonly next?: string
}

export class RefundList extends Context.Service<
  RefundList,
  { readonly page: (request: RefundRequest) => Effect.Effect<RefundPage, InvalidRequest | Unavailable> }
>()("cartwright/projections/RefundList") {
  static readonly layer: Layer.Layer<RefundList, never, SqlClient> = Layer.effect(
    RefundList,
    Effect.suspend(() => make)
  )
}

const decode = rowsOf(
  Schema.Struct({
    at: Schema.String,
    id: OrderId,
    currency: Currency,
    refunds: Schema.toCodecJson(Schema.Array(Refund))
  })
)

const make = Effect.gen(function* () {
  const sql = yield* SqlClient
  const page = Effect.fn("RefundList.page")(function* ({ after, limit, orderId, status }: RefundRequest) {
    const behind = after === undefined ? undefined : yield* Effect.fromResult(placeAfter(after))
    const rows = yield* bounded(sql`
      select ${sql.literal(utc("updated_at"))} as at, id, currency, refunds
      from payment.payments
      where ${sql.and([
        sql`refunds is not null`,
        ...(orderId === undefined ? [] : [sql`id = ${orderId}`]),
        ...(status === undefined
          ? []
          : [sql`refunds @> jsonb_build_array(jsonb_build_object('status', ${status}::text))`]),
        ...(behind === undefined ? [] : [sql`(updated_at, id) < (${behind.at}::timestamptz, ${behind.id})`])
      ])}
      order by updated_at desc, id desc
      limit ${limit + 1}`)
    const { shown, ...rest } = pageOf(yield* decode(rows), limit, ({ at, id }) => ({ at, id }))
    return {
      refunds: shown.flatMap(({ currency, id, refunds }) =>
        refunds
          .filter((refund) => status === undefined || refund.status === status)
          .map((refund) => ({ orderId: id, currency, refund: refundView(refund) }))
      ),
      ...rest
    }
  })
  return RefundList.of({ page })
})
