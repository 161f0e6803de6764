/** The runtime's own records. New tables only: nodes of the version before do not know them. */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* sql`create schema if not exists runtime`
  // One actor's whole past in order, and one process's actors side by side.
  yield* sql`
    create table runtime.history (
      actor_id text not null,
      actor_type text not null,
      seq int not null check (seq > 0),
      key text not null,
      fingerprint text not null,
      command text not null,
      events jsonb not null,
      refusal jsonb,
      cause text,
      at timestamptz not null,
      primary key (actor_id, actor_type, seq)
    )`
  yield* sql`create index history_at on runtime.history using brin (at)`
  // A queue: its entries die young, so vacuum comes early.
  yield* sql`
    create table runtime.timers (
      actor_id text not null,
      actor_type text not null,
      name text not null,
      bucket int not null,
      due_at timestamptz not null,
      urgent boolean not null default false,
      primary key (actor_id, actor_type, name)
    ) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0)`
  yield* sql`create index timers_due_at on runtime.timers (due_at)`
  yield* sql`create index timers_urgent on runtime.timers (bucket) where urgent`
  yield* sql`
    create table runtime.notices (
      source_id text not null,
      source_type text not null,
      seq int not null,
      ordinal int not null,
      bucket int not null,
      receiver_type text not null,
      receiver_id text not null,
      message jsonb not null,
      due_at timestamptz not null,
      attempts int not null default 0,
      error text,
      parked_at timestamptz,
      primary key (source_id, source_type, seq, ordinal)
    ) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0)`
  yield* sql`create index notices_due_at on runtime.notices (due_at) where parked_at is null`
  yield* sql`create index notices_parked_at on runtime.notices (parked_at) where parked_at is not null`
  yield* sql`
    create table runtime.workflows (
      id text primary key,
      version int not null,
      name text not null,
      business_key text not null,
      status text not null check (status in ('running', 'suspended', 'completed', 'failed')),
      payload jsonb not null,
      result jsonb,
      interrupted boolean not null,
      bucket int not null,
      created_at timestamptz not null,
      updated_at timestamptz not null
    ) with (fillfactor = 70)`
  yield* sql`create index workflows_status on runtime.workflows (name, status, created_at)`
  yield* sql`create index workflows_business_key on runtime.workflows (business_key)`
  // What a workflow's steps, waits and clocks have answered: the first answer stays.
  yield* sql`
    create table runtime.workflow_steps (
      execution_id text not null,
      name text not null,
      result jsonb not null,
      at timestamptz not null,
      primary key (execution_id, name)
    )`
  // Facts fixed for the life of a database: the number of buckets, and whose cluster this is.
  yield* sql`create table runtime.cluster (singleton boolean primary key default true check (singleton), name text not null, buckets int not null, shards int not null)`
})
