/**
 * Sellers: whose products are whose, what of each payment is theirs, and their books. Nodes of the version before neither read nor write the
 * new columns: what they sell meanwhile is the shop's, as everything was.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* sql`
    alter table catalog.products
      add column seller_id text check (seller_id ~ '^[A-Za-z0-9][A-Za-z0-9_-]{2,63}$')`
  yield* sql`create index products_seller on catalog.products (seller_id) where seller_id is not null`
  yield* sql`alter table orders.order_lines add column seller_id text`
  yield* sql`create index order_lines_seller on orders.order_lines (seller_id, order_id) where seller_id is not null`
  yield* sql`alter table payment.payments add column escrow jsonb`
  yield* sql`create index payments_with_sellers on payment.payments (id) where escrow is not null`

  yield* sql`create schema escrow`
  yield* sql`
    create table escrow.seller_accounts (
      id text primary key,
      version int not null,
      fees jsonb not null,
      balances jsonb not null,
      payouts jsonb not null,
      postings int not null check (postings >= 0),
      latest_capture timestamptz,
      created_at timestamptz not null,
      updated_at timestamptz not null
    ) with (fillfactor = 70)`
  // One row a posting, one column an account: one that does not add up to zero cannot be written.
  yield* sql`
    create table escrow.postings (
      seller_id text not null,
      posting int not null check (posting > 0),
      kind text not null check (kind in ('captured', 'given_back', 'restored', 'released', 'payout_started', 'payout_paid', 'payout_failed')),
      currency text not null check (currency ~ '^[A-Z]{3}$'),
      order_id text,
      revision int,
      period text,
      reference text,
      buyer_payments bigint not null,
      refunded bigint not null,
      fees bigint not null,
      held bigint not null,
      released bigint not null,
      debt bigint not null,
      in_payout bigint not null,
      paid_out bigint not null,
      at timestamptz not null,
      primary key (seller_id, posting),
      constraint postings_add_up_to_zero
        check (buyer_payments::numeric + refunded + fees + held + released + debt + in_payout + paid_out = 0),
      check ((order_id is null) = (revision is null)),
      check ((order_id is null) <> (period is null)),
      check ((period is not null) = (kind in ('payout_started', 'payout_paid', 'payout_failed')))
    )`
  // A fact of an order counts once, and a period is paid out once and ends once, whoever has forgotten what.
  yield* sql`create unique index postings_order on escrow.postings (order_id, seller_id, revision) where order_id is not null`
  yield* sql`
    create unique index postings_payout on escrow.postings (seller_id, period, currency, (kind = 'payout_started')) where period is not null`
  yield* sql`create index postings_payouts_started on escrow.postings (at desc, seller_id desc, posting desc) where kind = 'payout_started'`
  yield* sql`
    create trigger append_only before update or delete on escrow.postings
    for each statement execute function ops.refuse_change()`
  // As bookkeepers know it: one row an entry.
  yield* sql`
    create view escrow.entries as
    select p.seller_id, p.posting, p.kind, p.currency, p.order_id, p.period, e.account, e.amount, p.at
    from escrow.postings p cross join lateral (values
      ('buyer_payments', p.buyer_payments), ('refunded', p.refunded), ('fees', p.fees), ('held', p.held), ('released', p.released),
      ('debt', p.debt), ('in_payout', p.in_payout), ('paid_out', p.paid_out)
    ) e (account, amount) where e.amount <> 0`
  yield* sql`
    create view escrow.payouts as
    select s.seller_id, s.period, s.currency, s.in_payout as amount,
      case e.kind when 'payout_paid' then 'paid' when 'payout_failed' then 'failed' else 'under_way' end as status,
      e.reference, s.at as started_at, e.at as ended_at, s.posting
    from escrow.postings s left join escrow.postings e
      on e.seller_id = s.seller_id and e.period = s.period and e.currency = s.currency and e.kind in ('payout_paid', 'payout_failed')
    where s.kind = 'payout_started'`
})
