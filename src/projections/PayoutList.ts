/** Payouts to sellers, newest first: read from their ledgers. */
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SellerId } from "../domain/Ids.ts"
import type { InvalidRequest, Unavailable } from "../domain/Refusals.ts"
import { ListedPayout, type PayoutPeriod, type PayoutStatus } from "../entities/sellerAccount/SellerAccount.ts"
import { bounded, pageOf, placeAfter, rowsOf, utc } from "./Pages.ts"

export interface PayoutRequest {
  readonly sellerId?: SellerId
  readonly period?: PayoutPeriod
  readonly status?: PayoutStatus
  readonly after?: string
  readonly limit: number
}

export interface PayoutPage {
  readonly payouts: ReadonlyArray<ListedPayout>
  readonly next?: string
}

export class PayoutList extends Context.Service<
  PayoutList,
  { readonly page: (request: PayoutRequest) => Effect.Effect<PayoutPage, InvalidRequest | Unavailable> }
>()("cartwright/projections/PayoutList") {
  static readonly layer: Layer.Layer<PayoutList, never, SqlClient> = Layer.effect(
    PayoutList,
    Effect.suspend(() => make)
  )
}

/** The view as the contract's JSON has it, and where the page would end with it. */
const decode = rowsOf(
  Schema.Struct({ at: Schema.String, place: Schema.String, view: Schema.toCodecJson(ListedPayout) })
)

const make = Effect.gen(function* () {
  const sql = yield* SqlClient
  const page = Effect.fn("PayoutList.page")(function* ({ after, limit, period, sellerId, status }: PayoutRequest) {
    const behind = after === undefined ? undefined : yield* Effect.fromResult(placeAfter(after))
    // Of one instant, in the order of their text: any order will do which is the same each time.
    const rows = yield* bounded(sql`
      select ${sql.literal(utc("started_at"))} as at, seller_id || ':' || period || ':' || currency as place, jsonb_strip_nulls(jsonb_build_object(
        'sellerId', seller_id, 'period', period, 'currency', currency, 'amount', amount::text, 'status', status, 'reference', reference,
        'startedAt', ${sql.literal(utc("started_at"))}, 'endedAt', ${sql.literal(utc("ended_at"))}
      )) as view
      from escrow.payouts
      where ${sql.and([
        sql`true`,
        ...(sellerId === undefined ? [] : [sql`seller_id = ${sellerId}`]),
        ...(period === undefined ? [] : [sql`period = ${period}`]),
        ...(status === undefined ? [] : [sql`status = ${status}`]),
        ...(behind === undefined
          ? []
          : [
              sql`started_at <= ${behind.at}::timestamptz and (started_at, seller_id || ':' || period || ':' || currency) < (${behind.at}::timestamptz, ${behind.id})`
            ])
      ])}
      order by started_at desc, seller_id || ':' || period || ':' || currency desc
      limit ${limit + 1}`)
    const { shown, ...rest } = pageOf(yield* decode(rows), limit, ({ at, place: id }) => ({ at, id }))
    return { payouts: shown.map(({ view }) => view), ...rest }
  })
  return PayoutList.of({ page })
})
