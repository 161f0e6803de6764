/**
 * Refunds, chargebacks and the capture mode of payments. Nodes of the version before neither read nor write the new columns, and know no
 * refunds: what they write leaves those of others as they are.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* sql`
    alter table payment.payments
      add column capture_mode text check (capture_mode in ('immediate', 'deferred')),
      add column refunds jsonb,
      add column refund_pending bigint not null default 0 check (refund_pending >= 0),
      add column chargebacks jsonb,
      add constraint payments_refunds_within_captured check (refunded + refund_pending <= captured)`
  yield* sql`create index payments_with_refunds on payment.payments (updated_at desc, id desc) where refunds is not null`
  // One row a refund or chargeback, as people ask for them.
  yield* sql`
    create view payment.refunds as
    select p.id as order_id, p.customer_id, p.currency, r ->> 'id' as id, (r ->> 'amount')::bigint as amount, r ->> 'reason' as reason,
      r ->> 'by' as requested_by, r ->> 'status' as status, (r ->> 'tries')::int as tries, r ->> 'failure' as failure,
      (r ->> 'refused')::boolean as refused, (r ->> 'nextAttemptAt')::timestamptz as next_attempt_at,
      (r ->> 'requestedAt')::timestamptz as requested_at, (r ->> 'changedAt')::timestamptz as changed_at
    from payment.payments p cross join lateral jsonb_array_elements(p.refunds) r where p.refunds is not null`
  yield* sql`
    create view payment.chargebacks as
    select p.id as order_id, p.customer_id, p.currency, c ->> 'id' as id, (c ->> 'amount')::bigint as amount, c ->> 'reason' as reason,
      c ->> 'status' as status, (c ->> 'openedAt')::timestamptz as opened_at, (c ->> 'closedAt')::timestamptz as closed_at
    from payment.payments p cross join lateral jsonb_array_elements(p.chargebacks) c where p.chargebacks is not null`
})
