/** A seller's ledger, newest first: read from the ledger itself. */
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SellerId } from "../domain/Ids.ts"
import { InvalidRequest, type Unavailable } from "../domain/Refusals.ts"
import { SellerPosting } from "../entities/sellerAccount/SellerAccount.ts"
import { bounded, pageOf, placeAfter, rowsOf, utc } from "./Pages.ts"

export interface SellerPostingRequest {
  readonly sellerId: SellerId
  readonly after?: string
  readonly limit: number
}

export interface SellerPostingPage {
  readonly postings: ReadonlyArray<SellerPosting>
  readonly next?: string
}

export class SellerPostings extends Context.Service<
  SellerPostings,
  { readonly page: (request: SellerPostingRequest) => Effect.Effect<SellerPostingPage, InvalidRequest | Unavailable> }
>()("cartwright/projections/SellerPostings") {
  static readonly layer: Layer.Layer<SellerPostings, never, SqlClient> = Layer.effect(
    SellerPostings,
    Effect.suspend(() => make)
  )
}

/** The view as the contract's JSON has it, and where the page would end with it. */
const decode = rowsOf(Schema.Struct({ at: Schema.String, view: Schema.toCodecJson(SellerPosting) }))

const make = Effect.gen(function* () {
  const sql = yield* SqlClient
  const page = Effect.fn("SellerPostings.page")(function* ({ after, limit, sellerId }: SellerPostingRequest) {
    const behind = after === undefined ? undefined : yield* Effect.fromResult(placeAfter(after))
    if (behind !== undefined && !/^\d{1,9}$/.test(behind.id)) {
      return yield* new InvalidRequest({ field: "after", message: "Expected the `next` of the page before" })
    }
    const rows = yield* bounded(sql`
      select ${sql.literal(utc("at"))} as at, jsonb_strip_nulls(jsonb_build_object(
        'posting', posting, 'kind', kind, 'currency', currency, 'orderId', order_id, 'period', period, 'reference', reference,
        'at', ${sql.literal(utc("at"))},
        'entries', (
          select jsonb_agg(jsonb_build_object('account', e.account, 'amount', e.amount::text)) from (values
            ('buyerPayments', buyer_payments), ('refunded', refunded), ('fees', fees), ('held', held), ('released', released),
            ('debt', debt), ('inPayout', in_payout), ('paidOut', paid_out)
          ) e (account, amount) where e.amount <> 0)
      )) as view
      from escrow.postings
      where ${sql.and([
        sql`seller_id = ${sellerId}`,
        ...(behind === undefined ? [] : [sql`posting < ${Number(behind.id)}`])
      ])}
      order by posting desc
      limit ${limit + 1}`)
    const { shown, ...rest } = pageOf(yield* decode(rows), limit, ({ at, view }) => ({ at, id: String(view.posting) }))
    return { postings: shown.map(({ view }) => view), ...rest }
  })
  return SellerPostings.of({ page })
})
