/**
 * What each execution of a workflow has done, for people; lists of executions that need no scan; and where retention finds what is old.
 * Nodes of the version before write no log and do not say what is over: what they have ended meanwhile is kept.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* sql`
    create table runtime.workflow_log (
      execution_id text not null,
      ordinal int not null,
      kind text not null check (kind in ('activity', 'deferred', 'clock', 'child')),
      name text not null,
      attempt int not null,
      run int not null,
      child_id text,
      started_at timestamptz not null,
      ended_at timestamptz,
      outcome text check (outcome in ('succeeded', 'failed', 'died', 'interrupted', 'started')),
      error text,
      primary key (execution_id, ordinal, kind, name),
      check ((ended_at is null) = (outcome is null))
    ) with (fillfactor = 80)`
  yield* sql`create index workflow_log_child on runtime.workflow_log (child_id) where child_id is not null`
  // A list asks for one status at a time and joins the pages: the newest of each stand first in these.
  yield* sql`create index workflows_listed on runtime.workflows (status, created_at, id)`
  yield* sql`create index workflows_listed_by_name on runtime.workflows (name, status, created_at, id)`
  yield* sql`create index workflows_listed_by_business_key on runtime.workflows (business_key, status, created_at, id)`
  yield* sql`drop index runtime.workflows_status`
  yield* sql`drop index runtime.workflows_business_key`
  yield* sql`create index workflow_steps_at on runtime.workflow_steps using brin (at)`
  // Commands after which, or in vain since, an actor was over: retention finds what may go without a look at what may not.
  yield* sql`alter table runtime.history add column over boolean`
  yield* sql`create index history_over on runtime.history (actor_type, at, actor_id) where over`
})
