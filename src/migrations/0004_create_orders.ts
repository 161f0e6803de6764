/** Carts, checkouts, reservations, payments and orders. New tables only: nodes of the version before do not know them. */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* sql`create schema if not exists checkout`
  yield* sql`create schema if not exists payment`
  yield* sql`create schema if not exists orders`
  yield* sql`
    create table checkout.carts (
      id text primary key,
      version int not null,
      owner text not null,
      currency text not null,
      status text not null check (status in ('active', 'locked', 'completed', 'merged', 'expired')),
      lines jsonb not null,
      revision int not null,
      changed_at timestamptz not null,
      merged_from jsonb not null,
      merged_into text,
      checkout_id text,
      attempt int,
      locked_at timestamptz,
      order_id text unique,
      created_at timestamptz not null,
      updated_at timestamptz not null,
      check ((status = 'completed') = (order_id is not null)),
      check (status <> 'locked' or (checkout_id is not null and attempt is not null and locked_at is not null))
    ) with (fillfactor = 70)`
  yield* sql`
    create table checkout.sessions (
      id text primary key,
      version int not null,
      status text not null check (status in ('open', 'validating', 'confirming', 'confirmed', 'rejected', 'compensated', 'abandoned', 'expired')),
      owner text not null,
      cart_id text not null,
      currency text not null,
      shipping_address jsonb,
      shipping_method text not null,
      payment_method text,
      promotion_code text,
      attempt int not null check (attempt >= 0),
      attempts jsonb not null,
      terms jsonb,
      confirming_since timestamptz,
      changed_at timestamptz not null,
      created_at timestamptz not null,
      updated_at timestamptz not null,
      check ((status = 'confirming') = (confirming_since is not null))
    ) with (fillfactor = 70)`
  yield* sql`create index sessions_confirming on checkout.sessions (confirming_since) where status = 'confirming'`
  yield* sql`
    create table checkout.steps (
      checkout_id text not null,
      attempt int not null,
      step text not null,
      outcome text not null,
      started_at timestamptz not null,
      ended_at timestamptz not null,
      primary key (checkout_id, attempt, step)
    )`
  yield* sql`
    create table warehouse.reservations (
      id text primary key,
      version int not null,
      attempt int not null,
      status text not null check (status in ('active', 'fulfilled', 'released', 'expired', 'reversed', 'refused')),
      lines jsonb not null,
      shortages jsonb,
      expires_at timestamptz,
      created_at timestamptz not null,
      updated_at timestamptz not null,
      check ((status = 'active') = (expires_at is not null))
    ) with (fillfactor = 70)`
  yield* sql`create index reservations_active on warehouse.reservations (expires_at) where status = 'active'`
  // One row a line, as people ask for them.
  yield* sql`
    create view warehouse.reservation_lines as
    select l ->> 'id' as id, r.id as order_id, r.attempt, l ->> 'sku' as sku, l ->> 'warehouseId' as warehouse_id,
      (l ->> 'quantity')::int as quantity, r.status, r.expires_at
    from warehouse.reservations r cross join lateral jsonb_array_elements(r.lines) l`
  yield* sql`
    create table payment.payments (
      id text primary key,
      version int not null,
      attempt int not null check (attempt > 0),
      customer_id text not null,
      amount bigint not null check (amount >= 0),
      currency text not null,
      status text not null check (status in ('pending', 'processing', 'authorized', 'captured', 'failed', 'voided', 'partially_refunded', 'refunded')),
      saga_state text not null check (saga_state in ('none', 'authorized', 'capture_pending', 'capture_failed', 'captured', 'voided', 'refunded')),
      intent text unique,
      action_until timestamptz,
      authorized_at timestamptz,
      hold_until timestamptz,
      capture_key int not null,
      capture_retry_count int not null check (capture_retry_count >= 0),
      capture_refused boolean not null,
      next_attempt_at timestamptz,
      captured_at timestamptz,
      captured bigint not null check (captured between 0 and amount),
      refunded bigint not null check (refunded between 0 and captured),
      failure text,
      resolutions int not null,
      created_at timestamptz not null,
      updated_at timestamptz not null,
      check (saga_state not in ('captured', 'refunded') or captured_at is not null)
    ) with (fillfactor = 70)`
  yield* sql`create index payments_unsettled on payment.payments (saga_state, updated_at) where saga_state in ('authorized', 'capture_pending', 'capture_failed')`
  // One checkout has at most one order ever, one id has at most one number.
  yield* sql`
    create table orders.orders (
      id text primary key,
      version int not null,
      number text not null unique,
      checkout_id text not null unique,
      customer_id text not null,
      currency text not null,
      total_amount bigint not null check (total_amount >= 0),
      terms jsonb not null,
      status text not null check (status in ('pending', 'confirmed', 'processing', 'shipped', 'delivered', 'cancelled', 'refunded', 'failed')),
      payment_status text not null check (payment_status in ('pending', 'processing', 'authorized', 'completed', 'failed', 'cancelled', 'partially_refunded', 'refunded')),
      reason text,
      settlement_open boolean not null,
      placed_at timestamptz not null,
      expires_at timestamptz not null,
      confirmed_at timestamptz,
      cancelled_at timestamptz,
      created_at timestamptz not null,
      updated_at timestamptz not null,
      check (status not in ('cancelled', 'failed') or reason is not null),
      check (status <> 'cancelled' or cancelled_at is not null)
    ) with (fillfactor = 80)`
  yield* sql`create index orders_of_customer on orders.orders (customer_id, placed_at desc, id desc)`
  yield* sql`create index orders_pending on orders.orders (expires_at) where status = 'pending'`
  yield* sql`
    create table orders.order_lines (
      order_id text not null,
      line int not null,
      sku text not null,
      name text not null,
      quantity int not null check (quantity > 0),
      unit_price bigint not null check (unit_price >= 0),
      total bigint not null check (total = unit_price * quantity),
      primary key (order_id, line)
    )`
  yield* sql`create index order_lines_sku on orders.order_lines (sku)`
  yield* sql`
    create table payment.failed_compensations (
      id text primary key,
      order_id text not null,
      operation_type text not null,
      authorization_id text,
      reservation_ids jsonb not null default '[]',
      customer_id text not null,
      total_amount bigint not null,
      currency text not null,
      reason text not null,
      error_message text not null,
      retry_count int not null default 0,
      max_retries int not null default 3,
      status text not null default 'pending',
      alert_sent boolean not null default false,
      created_at timestamptz not null,
      updated_at timestamptz not null,
      resolved_at timestamptz
    )`
  yield* sql`create index failed_compensations_order_id on payment.failed_compensations (order_id)`
  yield* sql`create index failed_compensations_status on payment.failed_compensations (status, created_at)`
})
