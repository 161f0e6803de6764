/**
 * Forgets what is over for long enough, a page at a time. What is left afterwards still refuses a late duplicate: the actor's row, whose
 * state answers for itself, and the constraints of the tables. Several nodes at it at once do no harm: each row goes once.
 */
import { DateTime, Effect, Option } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { AnyDefinition } from "./Actor.ts"
import type { Row } from "./Table.ts"
import { executionType } from "./WorkflowExecution.ts"

/** Actors whose history may go once they are over, which their definition tells. */
export interface Forgettable {
  readonly definition: AnyDefinition
  /** Of the same ids, whose process is over with theirs: they go along. */
  readonly along?: ReadonlyArray<AnyDefinition>
  /** Where an actor of this kind and id exists, those stay: they are its record. */
  readonly unless?: AnyDefinition
}

/** Actors which go altogether, with their rows: nobody can ask for them any more. */
export interface Removable {
  readonly definition: AnyDefinition
  /** A column of their table: since when nothing is left to do about one. */
  readonly since: string
  /** Those of them which stay whatever their age, as a condition on their table. */
  readonly except: string
}

/** Where a page ended. */
export interface Mark {
  readonly at: string
  readonly id: string
}

export interface Purged {
  /** Rows which went. */
  readonly rows: number
  /** Where the next page starts; none when this was the last one. */
  readonly next: Option.Option<Mark>
}

export interface Page {
  /** What was over, or written, at this instant or later stays. */
  readonly before: DateTime.Utc
  readonly after: Option.Option<Mark>
  readonly limit: number
}

const start: Mark = { at: "-infinity", id: "" }
const microseconds = (column: string) => `to_char(${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`

const pageOf = (rows: ReadonlyArray<Row>, limit: number): Option.Option<Mark> => {
  const last = rows.at(-1)
  return last === undefined || rows.length < limit
    ? Option.none()
    : Option.some({ at: String(last["at"]), id: String(last["id"]) })
}

/**
 * Histories of actors which are over. One stays as long as anything of it is younger, a timer or notice of it is pending, a parked notice
 * included, or a workflow about it has not ended: then a key of it may still come.
 */
export const histories = Effect.fn("Purge.histories")(function* (
  { along = [], definition, unless }: Forgettable,
  { after, before, limit }: Page
): Effect.fn.Return<Purged, SqlError, SqlClient> {
  const sql = yield* SqlClient
  const mark = Option.getOrElse(after, () => start)
  const instant = DateTime.formatIso(before)
  const found = yield* sql.unsafe<Row>(
    `select ${microseconds("at")} as at, actor_id as id from runtime.history
     where over and actor_type = $1 and at < $2::timestamptz and (at, actor_id) > ($3::timestamptz, $4) order by history.at, actor_id limit $5`,
    [definition.type, instant, mark.at, mark.id, limit]
  )
  const { fromRow, name } = definition.table
  const states = yield* sql.unsafe<{ readonly row: Row }>(
    `select to_jsonb(t) as row from ${name} t where id = any($1::text[])`,
    [[...new Set(found.map(({ id }) => id))]]
  )
  const over = states.filter(({ row }) => definition.over?.(fromRow(row)) === true).map(({ row }) => String(row["id"]))
  const kept =
    unless === undefined
      ? []
      : yield* sql.unsafe<Row>(`select id from ${unless.table.name} where id = any($1::text[])`, [over])
  const recorded = new Set(kept.map(({ id }) => id))
  const forget = (types: ReadonlyArray<AnyDefinition>, ids: ReadonlyArray<string>) =>
    types.length === 0 || ids.length === 0
      ? Effect.succeed(0)
      : Effect.map(
          sql.unsafe<{ readonly rows: number }>(forgetHistories, [ids, types.map(({ type }) => type), instant]),
          ([gone]) => gone?.rows ?? 0
        )
  // Last what leads to them: after a crash in between they are found again.
  const others = yield* forget(
    along,
    over.filter((id) => !recorded.has(id))
  )
  const own = yield* forget([definition], over)
  return { rows: own + others, next: pageOf(found, limit) }
})

const forgetHistories = `
  with gone as (
    delete from runtime.history h using unnest($1::text[]) as o(id)
    where h.actor_id = o.id and h.actor_type = any($2::text[])
      and not exists (select from runtime.history y where y.actor_id = o.id and y.actor_type = any($2::text[]) and y.at >= $3::timestamptz)
      and not exists (select from runtime.timers t where t.actor_id = o.id and t.actor_type = any($2::text[]))
      and not exists (select from runtime.notices n where n.receiver_id = o.id and n.receiver_type = any($2::text[]))
      and not exists (select from runtime.notices n where n.source_id = o.id and n.source_type = any($2::text[]))
      and not exists (select from runtime.workflows w where w.business_key = o.id and w.status in ('running', 'suspended'))
    returning 1
  ) select count(*)::int as rows from gone`

/** Whole actors. One that was told anything since stays, as does one whose timer or notice is pending. */
export const actors = Effect.fn("Purge.actors")(function* (
  { definition, except, since }: Removable,
  { after, before, limit }: Page
): Effect.fn.Return<Purged, SqlError, SqlClient> {
  const sql = yield* SqlClient
  const mark = Option.getOrElse(after, () => start)
  const instant = DateTime.formatIso(before)
  const { name } = definition.table
  const found = yield* sql.unsafe<Row>(
    `select ${microseconds(since)} as at, id from ${name} t
     where ${since} < $1::timestamptz and (${since}, id) > ($2::timestamptz, $3) and not (${except}) order by t.${since}, id limit $4`,
    [instant, mark.at, mark.id, limit]
  )
  if (found.length === 0) return { rows: 0, next: Option.none() }
  const ids = found.map(({ id }) => id)
  const [gone] = yield* sql.unsafe<{ readonly rows: number }>(removeActors(name, except), [
    ids,
    definition.type,
    instant
  ])
  return { rows: gone?.rows ?? 0, next: pageOf(found, limit) }
})

/** Each transition changes the row: whose row is locked, and still as old, is told nothing meanwhile. */
const removeActors = (table: string, except: string) => `
  with held as materialized (
    select id from ${table} t where id = any($1::text[]) and updated_at < $3::timestamptz and not (${except})
      and not exists (select from runtime.timers where actor_id = t.id and actor_type = $2)
      and not exists (select from runtime.notices where receiver_id = t.id and receiver_type = $2)
      and not exists (select from runtime.notices where source_id = t.id and source_type = $2)
    order by id for update
  ),
  past as (delete from runtime.history h using held where h.actor_id = held.id and h.actor_type = $2 returning 1),
  states as (delete from ${table} t using held where t.id = held.id returning 1)
  select (select count(*) from past)::int + (select count(*) from states)::int as rows`

/** Executions which have ended, with steps, log and history. A child stays as long as a parent of it may ask for its result. */
export const executions = Effect.fn("Purge.executions")(function* (
  status: "completed" | "failed",
  { after, before, limit }: Page
): Effect.fn.Return<Purged, SqlError, SqlClient> {
  const sql = yield* SqlClient
  const mark = Option.getOrElse(after, () => start)
  const instant = DateTime.formatIso(before)
  const found = yield* sql.unsafe<Row>(
    `select ${microseconds("created_at")} as at, id from runtime.workflows
     where status = $1 and created_at < $2::timestamptz and (created_at, id) > ($3::timestamptz, $4) order by created_at, id limit $5`,
    [status, instant, mark.at, mark.id, limit]
  )
  if (found.length === 0) return { rows: 0, next: Option.none() }
  const [gone] = yield* sql.unsafe<{ readonly rows: number }>(forgetExecutions, [
    found.map(({ id }) => id),
    status,
    instant,
    executionType
  ])
  return { rows: gone?.rows ?? 0, next: pageOf(found, limit) }
})

const forgetExecutions = `
  with gone as (
    delete from runtime.workflows w using unnest($1::text[]) as o(id)
    where w.id = o.id and w.status = $2 and w.updated_at < $3::timestamptz
      and not exists (
        select from runtime.workflow_steps s join runtime.workflows p on p.id = substr(s.name, length('parent/') + 1)
        where s.execution_id = w.id and s.name like 'parent/%' and p.status in ('running', 'suspended'))
      and not exists (
        select from runtime.workflow_log l join runtime.workflows p on p.id = l.execution_id
        where l.child_id = w.id and p.status in ('running', 'suspended'))
    returning w.id
  ),
  steps as (delete from runtime.workflow_steps s using gone where s.execution_id = gone.id returning 1),
  logged as (delete from runtime.workflow_log l using gone where l.execution_id = gone.id returning 1),
  past as (delete from runtime.history h using gone where h.actor_id = gone.id and h.actor_type = $4 returning 1)
  select (select count(*) from gone)::int + (select count(*) from steps)::int + (select count(*) from logged)::int
    + (select count(*) from past)::int as rows`

/** Answers to executions which were never started: what a deferred was completed with, and nobody came for. */
export const orphanedSteps = Effect.fn("Purge.orphanedSteps")(function* ({
  before,
  limit
}: Pick<Page, "before" | "limit">): Effect.fn.Return<Purged, SqlError, SqlClient> {
  const sql = yield* SqlClient
  const [gone] = yield* sql.unsafe<{ readonly rows: number }>(
    `with gone as (
       delete from runtime.workflow_steps where (execution_id, name) in (
         select execution_id, name from runtime.workflow_steps s
         where s.at < $1::timestamptz and not exists (select from runtime.workflows w where w.id = s.execution_id) limit $2)
       returning 1
     ) select count(*)::int as rows from gone`,
    [DateTime.formatIso(before), limit]
  )
  const rows = gone?.rows ?? 0
  return { rows, next: rows < limit ? Option.none() : Option.some(start) }
})
