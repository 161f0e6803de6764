/**
 * Real, typed and constrained tables under the journal: people can query them, and a bug becomes an error instead of a loss.
 * A flush writes each table with one part of one statement; the rows travel as one JSON parameter a table.
 */
import { DateTime } from "effect"

/** A column's name and its Postgres type. */
export type Columns = Readonly<Record<string, string>>

/** Values fit for JSON: text for `bigint` and `timestamptz`, nested JSON for `jsonb`. An absent one is null. */
export type Row = Readonly<Record<string, unknown>>

/** Where the states of one kind of actor stand. The journal adds `id`, `version`, `created_at` and `updated_at`. */
export interface StateTable<State> {
  /** With its schema, e.g. `orders.orders`. */
  readonly name: string
  readonly columns: Columns
  /** Written on creation, never changed after it. */
  readonly immutable: ReadonlyArray<string>
  readonly toRow: (state: State, id: string) => Row
  /** The inverse of `toRow`, of a row as Postgres' `to_jsonb` gives it. A row which it cannot read is a defect. */
  readonly fromRow: (row: Row) => State
}

/** Rows which are only ever added, in the transaction of a transition: order lines, ledgers, failed compensations. */
export interface LogTable {
  readonly name: string
  readonly columns: Columns
}

/**
 * Counters which actors of many processes change: the exception to one writer a row (REQ-GEN-01). A flush locks the rows of all its keys
 * in key order before it decides, so that no two deadlock and a decision sees the numbers it changes.
 */
export interface CounterTable {
  readonly name: string
  readonly key: string
  readonly part: string
  readonly counters: ReadonlyArray<string>
  /** Gives `key`, `part`, `rank` and the counters of all rows of the keys in `$1::text[]`, locked in key order. */
  readonly lock: string
  /** Every change leaves a row here, unique on (op, reference). */
  readonly ledger: string
}

/** One row of a counter table as the flush sees it: locked, with the changes of the units before in the same flush. */
export interface Counters {
  readonly key: string
  readonly part: string
  /** Lower goes first; below zero: only what is there already may be given back or taken. */
  readonly rank: number
  readonly values: Readonly<Record<string, number>>
}

export interface CounterChange {
  readonly key: string
  readonly part: string
  readonly deltas: Readonly<Record<string, number>>
  /** Names the change once and for all: a second one with the same pair is refused by the database. */
  readonly operation: string
  readonly reference: string
}

/** What a `timestamptz` column says, as the driver or JSON has it. */
export const instantOf = (value: unknown): DateTime.Utc =>
  DateTime.toUtc(DateTime.makeUnsafe(value as Date | string | number))

/** The same as a schema of JSON reads it, of a column which may be null. */
export const isoOf = (value: unknown): string | undefined =>
  typeof value === "string" ? DateTime.formatIso(DateTime.makeUnsafe(value)) : undefined

/** Null in a row stands for absent. */
export const present = (fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== null))

/** JSON as Postgres and `Schema.toCodecJson` both write it: `bigint` and instants as text. */
export const toJson = (value: unknown): string =>
  JSON.stringify(value, (_, inner: unknown) => (typeof inner === "bigint" ? inner.toString() : inner))

const recordset = (columns: Columns, parameter: number) =>
  `jsonb_to_recordset($${parameter}::text::jsonb) as x(${Object.entries(columns)
    .map(([name, type]) => `"${name}" ${type}`)
    .join(", ")})`

const list = (columns: Columns, prefix = "") =>
  Object.keys(columns)
    .map((name) => `${prefix}"${name}"`)
    .join(", ")

/** One part of a flush: `sql` with its one parameter numbered, and whether each of its rows must have been written. */
export interface Part {
  readonly name: string
  readonly table: string
  /** What `sql` does, for a store which has none. `patch` changes the row that `identity` names, where there is one. */
  readonly action: "insert" | "update" | "append" | "change" | "keep" | "set" | "patch" | "remove"
  readonly guarded: boolean
  /**
   * Columns that name a row which one statement must not touch twice: of several rows of a table with the same ones, in whichever part,
   * the last counts.
   */
  readonly identity?: ReadonlyArray<string>
  readonly sql: (parameter: number) => string
}

const withIdentity = (columns: Columns): Columns => ({ id: "text", version: "int", ...columns })

/** What of a state table its statements are made from. */
export type StateColumns = Pick<StateTable<unknown>, "name" | "columns" | "immutable">

export const insertState = (table: StateColumns): Part => {
  const columns = withIdentity(table.columns)
  return {
    name: `insert ${table.name}`,
    table: table.name,
    action: "insert",
    guarded: true,
    // Only an actor which is there already is a race; another constraint is met loudly.
    sql: (parameter) =>
      `insert into ${table.name} (${list(columns)}, created_at, updated_at) select ${list(columns, "x.")}, x.at, x.at from ${recordset({ ...columns, at: "timestamptz" }, parameter)} on conflict (id) do nothing returning 1`
  }
}

/** Writes only over the version the decision was made on: of two owners, one's write counts. */
export const updateState = (table: StateColumns): Part => {
  const changing = Object.fromEntries(Object.entries(table.columns).filter(([name]) => !table.immutable.includes(name)))
  const columns = withIdentity(changing)
  const set = ["version", ...Object.keys(changing)].map((name) => `"${name}" = x."${name}"`).join(", ")
  return {
    name: `update ${table.name}`,
    table: table.name,
    action: "update",
    guarded: true,
    sql: (parameter) =>
      `update ${table.name} t set ${set}, updated_at = x.at from ${recordset({ ...columns, at: "timestamptz", expected: "int" }, parameter)} where t.id = x.id and t.version = x.expected returning 1`
  }
}

export const appendRows = (table: LogTable): Part => ({
  name: `append ${table.name}`,
  table: table.name,
  action: "append",
  guarded: true,
  sql: (parameter) =>
    `insert into ${table.name} (${list(table.columns)}) select ${list(table.columns, "x.")} from ${recordset(table.columns, parameter)} returning 1`
})

export const changeCounters = (table: CounterTable): Part => {
  const columns: Columns = {
    key: "text",
    part: "text",
    ...Object.fromEntries(table.counters.map((name) => [name, "bigint"]))
  }
  const set = table.counters.map((name) => `"${name}" = t."${name}" + x."${name}"`).join(", ")
  return {
    name: `change ${table.name}`,
    table: table.name,
    action: "change",
    guarded: true,
    sql: (parameter) =>
      `update ${table.name} t set ${set}, version = t.version + 1 from ${recordset(columns, parameter)} where t."${table.key}" = x.key and t."${table.part}" = x.part returning 1`
  }
}

export const counterLedger = (table: CounterTable): LogTable => ({
  name: table.ledger,
  columns: {
    op: "text",
    reference: "text",
    [table.key]: "text",
    [table.part]: "text",
    ...Object.fromEntries(table.counters.map((name) => [name, "bigint"])),
    actor: "text",
    at: "timestamptz"
  }
})

const historyColumns: Columns = {
  actor_id: "text",
  actor_type: "text",
  seq: "int",
  key: "text",
  fingerprint: "text",
  command: "text",
  events: "jsonb",
  refusal: "jsonb",
  cause: "text",
  over: "boolean",
  at: "timestamptz"
}

export const history: LogTable = { name: "runtime.history", columns: historyColumns }

const timerColumns: Columns = {
  actor_id: "text",
  actor_type: "text",
  name: "text",
  bucket: "int",
  due_at: "timestamptz",
  urgent: "boolean"
}

export const setTimers: Part = {
  name: "set timers",
  table: "runtime.timers",
  action: "set",
  guarded: false,
  identity: ["actor_id", "actor_type", "name"],
  sql: (parameter) =>
    `insert into runtime.timers (${list(timerColumns)}) select ${list(timerColumns, "x.")} from ${recordset(timerColumns, parameter)} on conflict (actor_id, actor_type, name) do update set due_at = excluded.due_at, urgent = excluded.urgent returning 1`
}

export const clearTimers: Part = {
  name: "clear timers",
  table: "runtime.timers",
  action: "remove",
  guarded: false,
  identity: ["actor_id", "actor_type", "name"],
  sql: (parameter) =>
    `delete from runtime.timers t using ${recordset({ actor_id: "text", actor_type: "text", name: "text" }, parameter)} where t.actor_id = x.actor_id and t.actor_type = x.actor_type and t.name = x.name returning 1`
}

const noticeColumns: Columns = {
  source_id: "text",
  source_type: "text",
  seq: "int",
  ordinal: "int",
  bucket: "int",
  receiver_type: "text",
  receiver_id: "text",
  message: "jsonb",
  due_at: "timestamptz"
}

const noticesTable = "runtime.notices"

export const notices: LogTable = { name: noticesTable, columns: noticeColumns }

/** Removes notices which have been delivered, or which an operator has closed. */
export const acknowledgeNotices: Part = {
  name: "acknowledge notices",
  table: noticesTable,
  action: "remove",
  guarded: false,
  identity: ["source_id", "source_type", "seq", "ordinal"],
  sql: (parameter) =>
    `delete from runtime.notices t using ${recordset({ source_id: "text", source_type: "text", seq: "int", ordinal: "int" }, parameter)} where t.source_id = x.source_id and t.source_type = x.source_type and t.seq = x.seq and t.ordinal = x.ordinal returning 1`
}

/** Rows whose first version stays: what a workflow step answered. */
export const keepFirst = (table: LogTable): Part => ({
  name: `keep ${table.name}`,
  table: table.name,
  action: "keep",
  guarded: false,
  sql: (parameter) =>
    `insert into ${table.name} (${list(table.columns)}) select ${list(table.columns, "x.")} from ${recordset(table.columns, parameter)} on conflict do nothing returning 1`
})

/** Rows of which the last version stays; `identity` is the table's primary key. */
export const keepLast = (table: LogTable, identity: ReadonlyArray<string>): Part => {
  const changing = Object.keys(table.columns).filter((name) => !identity.includes(name))
  return {
    name: `set ${table.name}`,
    table: table.name,
    action: "set",
    guarded: false,
    identity,
    sql: (parameter) =>
      `insert into ${table.name} (${list(table.columns)}) select ${list(table.columns, "x.")} from ${recordset(table.columns, parameter)} on conflict (${identity.join(", ")}) do update set ${changing.map((name) => `"${name}" = excluded."${name}"`).join(", ")} returning 1`
  }
}

/**
 * One statement for a whole flush: a data-modifying CTE a part. It divides by zero unless every guarded row was written, so that
 * a commit sent right behind it can never make half a flush durable. `$1` is the number of guarded rows.
 */
export const flushStatement = (parts: ReadonlyArray<Part>): string => {
  const guarded = parts.flatMap((part, index) => (part.guarded ? [`(select count(*) from p${index})`] : []))
  const check =
    guarded.length === 0
      ? "select 1 where $1::int = 0"
      : `select 1 / (case when ${guarded.join(" + ")} = $1::int then 1 else 0 end)`
  return `with ${parts.map((part, index) => `p${index} as (${part.sql(index + 2)})`).join(", ")} ${check}`
}
