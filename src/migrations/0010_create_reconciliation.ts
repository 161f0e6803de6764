/**
 * Reports of reconciliation, and why a counter was corrected. New tables and a column which nodes of the version before neither read nor
 * write.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function* () {
  const sql = yield* SqlClient
  // Before, after and why, where counters were corrected: the other columns tell by how much, as for every change.
  yield* sql`alter table warehouse.stock_ledger add column details jsonb`

  yield* sql`
    create table ops.reconciliations (
      id text primary key,
      version int not null default 1,
      checks jsonb not null,
      requested_by text,
      status text not null check (status in ('queued', 'running', 'completed', 'incomplete')),
      -- Which check is at work, and where it goes on.
      position int not null default 0 check (position >= 0),
      place text,
      results jsonb not null default '[]',
      created_at timestamptz not null,
      started_at timestamptz,
      finished_at timestamptz,
      updated_at timestamptz not null,
      check ((status in ('completed', 'incomplete')) = (finished_at is not null)),
      check (status = 'queued' or started_at is not null)
    )`
  yield* sql`create index reconciliations_created on ops.reconciliations (created_at desc, id desc)`
  yield* sql`create index reconciliations_open on ops.reconciliations (created_at, id) where status in ('queued', 'running')`
  yield* sql`
    create table ops.reconciliation_findings (
      reconciliation_id text not null references ops.reconciliations on delete cascade,
      check_name text not null,
      subject text not null,
      seq bigint not null generated always as identity,
      outcome text not null check (outcome in ('open', 'corrected', 'raised')),
      text text not null,
      order_id text,
      amount bigint,
      currency text,
      authorization_hash text check (authorization_hash ~ '^sha256:[0-9a-f]{12}$'),
      at timestamptz not null,
      primary key (reconciliation_id, check_name, subject)
    )`
  yield* sql`create index reconciliation_findings_seq on ops.reconciliation_findings (reconciliation_id, seq)`
  // Which payments the provider has told of in its own list; the others are asked for one by one.
  yield* sql`
    create table ops.reconciliation_seen (
      reconciliation_id text not null references ops.reconciliations on delete cascade,
      payment_id text not null,
      primary key (reconciliation_id, payment_id)
    )`
})
