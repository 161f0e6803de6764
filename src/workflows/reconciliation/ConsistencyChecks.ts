/**
 * What must be true between tables at every instant: their actors write them in one unit, so that one statement, which sees one instant,
 * may compare them while orders come in. The pairs are those of REQUIREMENTS D.4.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { AlertSeverity } from "../../entities/alert/Alert.ts"
import type { Check, Finding, Page, Run } from "./Check.ts"
import { inPages } from "./StatementLimit.ts"

/** A table which is walked along its primary key, and what must not be found beside its rows. */
interface Invariant {
  readonly name: string
  readonly severity: AlertSeverity
  readonly about: string
  /** Its rows are `t`, and have an `id`. */
  readonly table: string
  /** What they are compared with: each by its own key, so that a page costs the same however many rows there are. */
  readonly beside?: string
  readonly wrong: string
  /** SQL text of what was met. */
  readonly met: string
  /** Whether ids are those of orders. */
  readonly ofOrders: boolean
}

const order = "left join orders.orders o on o.id = t.id"
const payment = "left join payment.payments p on p.id = t.id"
const reservation = "left join warehouse.reservations r on r.id = t.id"
const session = "left join checkout.sessions s on s.id = t.id"
/** Somebody knows of it: it stands as a failed compensation. */
const recorded =
  "exists (select from payment.failed_compensations f where f.order_id = t.id and f.status <> 'resolved')"
const living = "('confirmed', 'processing', 'shipped', 'delivered')"
/** Cash is paid at the door: until then the order goes on without it. */
const awaitedCash =
  "(p.method is not distinct from 'cash_on_delivery' and p.saga_state = 'none' and t.status <> 'delivered')"
const deferredHold =
  "(coalesce(p.capture_mode, 'immediate') = 'deferred' and p.saga_state in ('authorized', 'capture_pending', 'capture_failed'))"

const invariants: ReadonlyArray<Invariant> = [
  {
    // CONS-01
    name: "confirmed_without_money",
    severity: "critical",
    about: "orders are confirmed, and their money was neither taken nor is held",
    table: "orders.orders",
    beside: payment,
    wrong: `t.status in ${living} and t.total_amount > 0 and (p.id is null or not (p.saga_state in ('captured', 'refunded') or ${deferredHold} or ${awaitedCash}))`,
    met: "t.status || ', payment ' || coalesce(p.saga_state, 'absent')",
    ofOrders: true
  },
  {
    // CONS-02
    name: "payment_status",
    severity: "critical",
    about: "orders show another payment status than their payment has",
    table: "orders.orders",
    beside: payment,
    // What is under way is told by the order as it was when it was placed, and by its payment step by step.
    wrong: `t.total_amount > 0 and p.id is not null and not ${recorded} and not t.settlement_open and case p.status
      when 'captured' then t.payment_status <> 'completed'
      when 'partially_refunded' then t.payment_status <> 'partially_refunded'
      when 'refunded' then t.payment_status <> 'refunded'
      when 'voided' then t.payment_status <> 'cancelled'
      when 'failed' then t.payment_status <> 'failed'
      else t.payment_status not in ('pending', 'processing', 'authorized') end`,
    met: "'order ' || t.payment_status || ', payment ' || p.status",
    ofOrders: true
  },
  {
    // CONS-03
    name: "captured_amount",
    severity: "critical",
    about: "orders whose captured amount is not their total",
    table: "orders.orders",
    beside: payment,
    wrong: "p.captured > 0 and (p.captured <> t.total_amount or p.currency <> t.currency)",
    met: "'captured ' || p.captured || ' ' || p.currency || ', total ' || t.total_amount || ' ' || t.currency",
    ofOrders: true
  },
  {
    // CONS-06, CONS-11
    name: "pending_without_claim",
    severity: "warning",
    about: "orders are pending, and have no claim on their goods any more",
    table: "orders.orders",
    beside: reservation,
    wrong:
      "t.status = 'pending' and t.updated_at < now() - interval '5 minutes' and (r.id is null or r.status <> 'active')",
    met: "'reservation ' || coalesce(r.status, 'absent')",
    ofOrders: true
  },
  {
    // CONS-07
    name: "confirmed_without_stock",
    severity: "critical",
    about: "orders are confirmed, and no goods are bound to them",
    table: "orders.orders",
    beside: reservation,
    wrong: "t.status in ('confirmed', 'processing') and (r.id is null or r.status <> 'fulfilled')",
    met: "t.status || ', reservation ' || coalesce(r.status, 'absent')",
    ofOrders: true
  },
  {
    // CONS-08, CONS-19
    name: "cancelled_with_stock",
    severity: "warning",
    about: "orders are cancelled, and goods are still claimed by or bound to them",
    table: "orders.orders",
    beside: reservation,
    wrong: `t.status in ('cancelled', 'failed') and r.status in ('active', 'fulfilled') and not ${recorded}`,
    met: "t.status || ', reservation ' || r.status",
    ofOrders: true
  },
  {
    // REQ-EXP-06
    name: "pending_too_long",
    severity: "warning",
    about: "orders are pending beyond their time, and nothing is held for them",
    table: "orders.orders",
    beside: payment,
    wrong:
      "t.status = 'pending' and t.expires_at < now() - interval '1 minute' and (p.id is null or p.saga_state in ('none', 'voided'))",
    met: "'payment ' || coalesce(p.saga_state, 'absent')",
    ofOrders: true
  },
  {
    // CONS-20
    name: "captured_but_pending",
    severity: "critical",
    about: "orders are paid, and were not confirmed within a minute",
    table: "orders.orders",
    beside: payment,
    wrong: "t.status = 'pending' and p.saga_state = 'captured' and p.captured_at < now() - interval '1 minute'",
    met: "'captured, and pending'",
    ofOrders: true
  },
  {
    name: "money_without_order",
    severity: "critical",
    about: "payments hold or have money which no living order stands behind",
    table: "payment.payments",
    beside: `${order} ${session}`,
    wrong: `(o.id is null or o.status in ('cancelled', 'failed')) and s.status is distinct from 'confirming' and not ${recorded}
      and (t.saga_state in ('authorized', 'capture_pending', 'capture_failed')
        or t.saga_state = 'captured' and t.captured > t.refunded + t.refund_pending)`,
    met: "'payment ' || t.saga_state || ', order ' || coalesce(o.status, 'absent')",
    ofOrders: true
  },
  {
    // REQ-PAY-06
    name: "refund_sums",
    severity: "critical",
    about: "payments whose refunds do not add up to what was given back",
    table: "payment.payments",
    wrong:
      "t.refunds is not null and t.refunded <> (select coalesce(sum((x ->> 'amount')::bigint), 0) from jsonb_array_elements(t.refunds) x where x ->> 'status' = 'completed')",
    met: "'refunded ' || t.refunded",
    ofOrders: true
  },
  {
    // REQ-ESC-02
    name: "escrow_of_orders",
    severity: "critical",
    about: "orders whose sellers' books are not what their payment says",
    table: "(select * from payment.payments where escrow is not null) sold",
    wrong: `not exists (select from runtime.notices n where n.source_id = t.id and n.source_type = 'Payment' and n.receiver_type = 'SellerAccount')
      and exists (
        select from jsonb_to_recordset(t.escrow -> 'parts') s ("sellerId" text, captured bigint, "givenBack" bigint)
        cross join lateral (
          select coalesce(-sum(l.buyer_payments), 0) as captured, coalesce(sum(l.refunded), 0) as given_back, coalesce(sum(l.fees), 0) as fees,
            coalesce(sum(l.held), 0) as held, coalesce(sum(l.released + l.debt), 0) as theirs
          from escrow.postings l where l.order_id = t.id and l.seller_id = s."sellerId" and l.currency = t.currency
        ) b
        where b.captured <> s.captured or b.given_back <> s."givenBack"
          or case when t.escrow ? 'releasedAt' then b.theirs else b.held end <> s.captured - s."givenBack" - b.fees)`,
    met: "'captured ' || t.captured || ', refunded ' || t.refunded || ', ' || (t.escrow -> 'parts')::text",
    ofOrders: true
  },
  {
    // REQ-ESC-01
    name: "escrow_of_sellers",
    severity: "critical",
    about: "sellers' accounts which are not the sum of their postings, or do not add up to zero",
    table: "escrow.seller_accounts",
    wrong: `exists (
      select from jsonb_to_recordset(t.balances) b (
        currency text, "buyerPayments" bigint, refunded bigint, fees bigint, held bigint, released bigint, debt bigint, "inPayout" bigint,
        "paidOut" bigint)
      cross join lateral (
        select sum(l.buyer_payments) as buyer_payments, sum(l.refunded) as refunded, sum(l.fees) as fees, sum(l.held) as held,
          sum(l.released) as released, sum(l.debt) as debt, sum(l.in_payout) as in_payout, sum(l.paid_out) as paid_out
        from escrow.postings l where l.seller_id = t.id and l.currency = b.currency
      ) s
      where b."buyerPayments"::numeric + b.refunded + b.fees + b.held + b.released + b.debt + b."inPayout" + b."paidOut" <> 0
        or (b."buyerPayments", b.refunded, b.fees, b.held, b.released, b.debt, b."inPayout", b."paidOut") is distinct from
          (s.buyer_payments, s.refunded, s.fees, s.held, s.released, s.debt, s.in_payout, s.paid_out))`,
    met: "t.balances::text",
    ofOrders: false
  },
  {
    // REQ-BNK-02
    name: "transfer_sums",
    severity: "critical",
    about: "payments whose bank transfers do not add up to what was received",
    table: "payment.payments",
    wrong:
      "t.method = 'bank_transfer' and t.received <> (select coalesce(sum(b.amount), 0) from payment.bank_transfers b where b.order_id = t.id)",
    met: "'received ' || t.received",
    ofOrders: true
  },
  {
    name: "owed_unseen",
    severity: "critical",
    about:
      "orders which do not stand do not say that money which came in for them is to be given back, or say so without any",
    table: "payment.payments",
    beside: order,
    wrong: "t.method is not null and o.status in ('cancelled', 'failed') and o.settlement_open <> (t.owed > 0)",
    met: "'owed ' || t.owed || ', settlement ' || case when o.settlement_open then 'open' else 'closed' end",
    ofOrders: true
  },
  {
    name: "claim_without_checkout",
    severity: "warning",
    about: "claims on goods outlive their checkout",
    table: "warehouse.reservations",
    beside: `${session} ${order}`,
    // An order which waits for its money, or to be confirmed, keeps its claim for as long as it does.
    wrong: `t.status = 'active' and s.status is distinct from 'confirming' and not ${recorded}
      and not (coalesce(o.status = 'pending' and o.terms ->> 'paymentMethod' is not null and o.expires_at = t.expires_at, false))`,
    met: "'reservation active, checkout ' || coalesce(s.status, 'absent')",
    ofOrders: true
  },
  {
    name: "stock_without_order",
    severity: "warning",
    about: "goods are bound to orders which do not exist",
    table: "warehouse.reservations",
    beside: order,
    wrong: "t.status = 'fulfilled' and o.id is null",
    met: "'reservation fulfilled, no order'",
    ofOrders: true
  },
  {
    // CONS-10
    name: "compensation_of_nothing",
    severity: "warning",
    about: "failed compensations name claims which do not exist",
    table: "payment.failed_compensations",
    wrong: `t.status <> 'resolved' and exists (
      select from jsonb_array_elements_text(t.reservation_ids) x where not exists (
        select from warehouse.reservation_lines l where l.order_id = t.order_id and l.id = x))`,
    met: "t.operation_type || ' of ' || t.order_id",
    ofOrders: false
  }
]

/** Of one page of one table. More than so many wrong ones in a page are not named; there is enough to do. */
const namedMax = 100

const pageOf = ({ beside = "", met, table, wrong }: Invariant): string => `
  with page as materialized (select * from ${table} where id > $1 order by id limit $2)
  select (select count(*)::int from page) as examined, (select max(id) from page) as last,
    (select coalesce(jsonb_agg(jsonb_build_object('subject', x.id, 'text', x.met)), '[]')
      from (select t.id, ${met} as met from page t ${beside} where ${wrong} order by t.id limit ${namedMax}) x) as found`

interface Row {
  readonly examined: number
  readonly last: string | null
  readonly found: ReadonlyArray<{ readonly subject: string; readonly text: string }>
}

const checkOf = (sql: SqlClient, invariant: Invariant): Check => {
  const { about, name, ofOrders, severity } = invariant
  const statement = pageOf(invariant)
  const inOne = inPages(sql)
  return {
    group: "consistency",
    name,
    severity,
    about,
    alerts: "together",
    page: (run: Run, place = "") =>
      Effect.map(
        inOne(run.limit, (limit) => sql.unsafe<Row>(statement, [place, limit])),
        ({ found: [row], limit }): Page => ({
          examined: row?.examined ?? 0,
          findings: (row?.found ?? []).map((one): Finding => ({
            ...one,
            outcome: "raised",
            ...(ofOrders ? { orderId: one.subject } : {})
          })),
          next: row === undefined || row.examined < limit || row.last === null ? undefined : row.last
        })
      )
  }
}

export const make: Effect.Effect<ReadonlyArray<Check>, never, SqlClient> = Effect.map(SqlClient, (sql) =>
  invariants.map((invariant) => checkOf(sql, invariant))
)
