/**
 * Whether the books of sellers say what the payments say: per order and seller what was captured and given back, nothing held once it is
 * released, all else held; and whether each account is the sum of its postings. REQ-ESC-02, REQ-REC-04.
 */
import { Duration, Effect, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { OrderId, SellerId } from "../domain/Ids.ts"
import { bounded, rowsOf } from "./Pages.ts"

export const EscrowProblem = Schema.Struct({
  /** Absent when it is about the whole account. */
  orderId: Schema.optionalKey(OrderId),
  sellerId: SellerId,
  currency: Schema.String,
  problem: Schema.Literals(["not what the payment says", "not the sum of its postings"])
})
export type EscrowProblem = typeof EscrowProblem.Type

const decode = rowsOf(EscrowProblem)

/**
 * Orders with sellers behind `after`, by id, as many as `limit`, which differ from the books of their sellers. Those which moved within
 * `settleFor` may be ahead of them: what their sellers are to hear may still be on its way.
 */
export const orderProblems = Effect.fn("EscrowCheck.orderProblems")(function* ({
  after = "",
  limit,
  settleFor
}: {
  readonly after?: string
  readonly limit: number
  readonly settleFor: Duration.Duration
}) {
  const sql = yield* SqlClient
  const rows = yield* bounded(sql`
    select p.id as "orderId", s."sellerId", p.currency, 'not what the payment says' as problem
    from payment.payments p
    cross join lateral jsonb_to_recordset(p.escrow -> 'parts') s ("sellerId" text, captured bigint, "givenBack" bigint)
    left join lateral (
      select -sum(l.buyer_payments) as captured, sum(l.refunded) as given_back, sum(l.held) as held, sum(l.fees) as fees
      from escrow.postings l where l.order_id = p.id and l.seller_id = s."sellerId" and l.currency = p.currency
    ) b on true
    where p.escrow is not null and p.id > ${after}
      and p.updated_at < now() - make_interval(secs => ${Duration.toSeconds(settleFor)}::float8)
      and (coalesce(b.captured, 0), coalesce(b.given_back, 0), coalesce(b.held, 0)) is distinct from (
        s.captured::numeric, s."givenBack"::numeric,
        case when p.escrow -> 'releasedAt' is null then s.captured - s."givenBack" - coalesce(b.fees, 0) else 0 end
      )
    order by p.id
    limit ${limit}`)
  return yield* decode(rows)
})

/** Accounts behind `after`, by id, as many as `limit`, which are not what their postings add up to. */
export const accountProblems = Effect.fn("EscrowCheck.accountProblems")(function* ({
  after = "",
  limit
}: {
  readonly after?: string
  readonly limit: number
}) {
  const sql = yield* SqlClient
  const rows = yield* bounded(sql`
    select a.id as "sellerId", b.currency, 'not the sum of its postings' as problem
    from escrow.seller_accounts a
    cross join lateral jsonb_to_recordset(a.balances) b (
      currency text, "buyerPayments" bigint, refunded bigint, fees bigint, held bigint, released bigint, debt bigint, "inPayout" bigint,
      "paidOut" bigint
    )
    cross join lateral (
      select sum(l.buyer_payments) as buyer_payments, sum(l.refunded) as refunded, sum(l.fees) as fees, sum(l.held) as held,
        sum(l.released) as released, sum(l.debt) as debt, sum(l.in_payout) as in_payout, sum(l.paid_out) as paid_out
      from escrow.postings l where l.seller_id = a.id and l.currency = b.currency
    ) s
    where a.id > ${after}
      and (b."buyerPayments", b.refunded, b.fees, b.held, b.released, b.debt, b."inPayout", b."paidOut") is distinct from
        (s.buyer_payments, s.refunded, s.fees, s.held, s.released, s.debt, s.in_payout, s.paid_out)
    order by a.id
    limit ${limit}`)
  return yield* decode(rows)
})
