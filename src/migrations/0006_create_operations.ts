/**
 * Alerts, and who did what; failed compensations become actors. Nodes of the version before go on adding records without knowing the new
 * columns: each is one which waits for an operator, since nothing wakes it.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* sql`
    create table ops.alerts (
      id text primary key,
      version int not null,
      kind text not null,
      severity text not null check (severity in ('critical', 'warning', 'info')),
      summary text not null,
      details jsonb not null,
      tell jsonb,
      status text not null check (status in ('open', 'acknowledged', 'cleared')),
      raises int not null check (raises > 0),
      page int not null check (page > 0),
      paged_at timestamptz not null,
      raised_at timestamptz not null,
      last_raised_at timestamptz not null,
      sinks jsonb not null,
      sent_at timestamptz,
      acknowledged_by text,
      acknowledged_at timestamptz,
      cleared_by text,
      cleared_at timestamptz,
      clear_reason text,
      created_at timestamptz not null,
      updated_at timestamptz not null,
      check ((status = 'acknowledged') = (acknowledged_by is not null and acknowledged_at is not null)),
      check ((status = 'cleared') = (cleared_at is not null and clear_reason is not null))
    ) with (fillfactor = 70)`
  yield* sql`create index alerts_raised on ops.alerts (raised_at desc, id desc)`
  yield* sql`create index alerts_live on ops.alerts (severity, raised_at) where status <> 'cleared'`
  yield* sql`create index alerts_unsent on ops.alerts (raised_at) where sent_at is null`

  yield* sql`
    create table ops.audit (
      id bigint primary key generated always as identity,
      at timestamptz not null,
      actor text not null,
      role text not null check (role in ('operator', 'customer', 'guest', 'anonymous')),
      operation text not null,
      subject text,
      outcome text not null,
      details jsonb not null,
      request_id text
    )`
  yield* sql`create index audit_at on ops.audit using brin (at)`
  yield* sql`create index audit_actor on ops.audit (actor, id)`
  yield* sql`create index audit_subject on ops.audit (subject, id)`
  yield* sql`
    create trigger append_only before update or delete on ops.audit
    for each statement execute function ops.refuse_change()`

  // The actor's own columns beside those which people and other programs know.
  yield* sql`
    alter table payment.failed_compensations
      add column version int not null default 1,
      add column attempt int not null default 1 check (attempt > 0),
      add column recorded_at timestamptz not null default now(),
      add column next_attempt_at timestamptz,
      add column started_at timestamptz,
      add column started_by text,
      add column unhandled boolean not null default false,
      add column resolved_by text,
      add column resolution text check (resolution in ('retried', 'by_hand')),
      add column note text,
      add check (retry_count >= 0),
      add check (status in ('pending', 'retrying', 'failed', 'resolved')),
      add check ((status = 'retrying') = (started_at is not null)),
      add check ((status = 'resolved') = (resolved_at is not null and resolution is not null))`
  yield* sql`create index failed_compensations_open on payment.failed_compensations (operation_type, created_at) where status <> 'resolved'`
  yield* sql`create index failed_compensations_created on payment.failed_compensations (created_at desc, id desc)`
  // What stood before the order's id now stands behind it, so that a record lives where its order does.
  yield* sql`
    update payment.failed_compensations set
      attempt = greatest(1, coalesce(nullif(substring(id from ':(\\d+)$'), '')::int, 1)),
      id = order_id || '~' || operation_type || ':' || greatest(1, coalesce(nullif(substring(id from ':(\\d+)$'), '')::int, 1)),
      recorded_at = created_at,
      next_attempt_at = case when status = 'pending' then now() end`
  // FNV-1a, as src/runtime/Placement.ts has it.
  yield* sql`
    create function pg_temp.bucket_of(id text, buckets int) returns int language plpgsql as $$
    declare hash bigint := 2166136261;
    begin
      for position in 1..length(id) loop
        hash := ((hash # ascii(substr(id, position, 1))) * 16777619) & 4294967295;
      end loop;
      return hash % buckets;
    end $$`
  yield* sql`
    insert into runtime.timers (actor_id, actor_type, name, bucket, due_at, urgent)
    select c.id, 'FailedCompensation', 'retry', pg_temp.bucket_of(c.order_id, k.buckets), c.next_attempt_at, false
    from payment.failed_compensations c cross join runtime.cluster k where c.status = 'pending'`
})
