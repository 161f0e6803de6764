/**
 * Warehouses and counts out of a file. A record is either a warehouse or the count of one sku in one warehouse:
 *
 * `{"warehouse": "AMS-1", "name": "Amsterdam", "priority": 1, "active": true}`
 * `{"warehouse": "AMS-1", "sku": "MUG-01", "onHand": 120}`
 *
 * A count is how many there are, not how many came: what changed since is a row of the ledger.
 */
import { DateTime, Effect, Result, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { Sku, WarehouseId } from "../domain/Ids.ts"
import {
  Flag,
  type ImportKind,
  type ImportRun,
  type Outcome,
  type Problem,
  Whole,
  checkWith,
  flagged,
  text
} from "./Import.ts"

export type StockRow =
  | {
      readonly _tag: "Warehouse"
      readonly warehouse: WarehouseId
      readonly name?: string
      readonly priority?: number
      readonly active?: boolean
    }
  | { readonly _tag: "Count"; readonly warehouse: WarehouseId; readonly sku: Sku; readonly onHand: number }

type WarehouseRow = Extract<StockRow, { _tag: "Warehouse" }>
type CountRow = Extract<StockRow, { _tag: "Count" }>

const StockRecord = Schema.Struct({
  warehouse: WarehouseId,
  name: Schema.optionalKey(text(120)),
  priority: Schema.optionalKey(Whole),
  active: Schema.optionalKey(Flag),
  sku: Schema.optionalKey(Sku),
  onHand: Schema.optionalKey(Whole)
})

const checkRecord = checkWith(StockRecord)

const check = (value: unknown): Result.Result<StockRow, ReadonlyArray<Problem>> =>
  Result.flatMap(checkRecord(value), (record): Result.Result<StockRow, ReadonlyArray<Problem>> => {
    const { active, name, onHand, priority, sku, warehouse } = record
    const isWarehouse = name !== undefined || priority !== undefined || active !== undefined
    const isCount = sku !== undefined || onHand !== undefined
    if (isWarehouse === isCount) {
      return refused(
        "",
        "either a warehouse (name, priority, active) or a count (sku, onHand), each on a line of its own"
      )
    }
    if (isWarehouse) {
      return Result.succeed({
        _tag: "Warehouse",
        warehouse,
        ...(name === undefined ? {} : { name }),
        ...(priority === undefined ? {} : { priority: Number(priority) }),
        ...(active === undefined ? {} : { active: flagged(active) })
      })
    }
    if (sku === undefined) return refused("sku", "is missing")
    if (onHand === undefined) return refused("onHand", "is missing")
    return Result.succeed({ _tag: "Count", warehouse, sku, onHand: Number(onHand) })
  })

const refused = (field: string, reason: string) => Result.fail([{ field, reason }])

export const stockImport: ImportKind<StockRow> = {
  fields: ["warehouse", "name", "priority", "active", "sku", "onHand"],
  check,
  keyOf: (row) => (row._tag === "Warehouse" ? `warehouse ${row.warehouse}` : `count ${row.sku}@${row.warehouse}`),
  apply: Effect.fnUntraced(function* (rows, run, at) {
    // Warehouses come first within a chunk, so that a file may name them in any order nearby.
    const warehouses = (yield* applyWarehouses(
      rows.filter((row) => row._tag === "Warehouse"),
      run
    )).values()
    const counts = (yield* applyCounts(
      rows.filter((row) => row._tag === "Count"),
      run,
      at
    )).values()
    return rows.map((row): Outcome => (row._tag === "Warehouse" ? warehouses : counts).next().value ?? [])
  })
}

/** An empty stock row for each sku in each active warehouse, where there is none. REQ-INV-06. */
export const initialiseStock = Effect.fnUntraced(function* (skus: ReadonlyArray<string>) {
  const sql = yield* SqlClient
  yield* sql`
    insert into warehouse.stock (sku, warehouse_id)
    select x.sku, w.id from unnest(${skus}::text[]) as x (sku) cross join warehouse.warehouses w
    where w.active
    order by x.sku, w.id
    on conflict do nothing`
})

// ---- warehouses

const Warehouse = Schema.Struct({ id: WarehouseId, name: Schema.String, priority: Schema.Int, active: Schema.Boolean })
const decodeWarehouses = Schema.decodeUnknownEffect(Schema.Array(Warehouse))

const applyWarehouses = Effect.fnUntraced(function* (rows: ReadonlyArray<WarehouseRow>, run: ImportRun) {
  const sql = yield* SqlClient
  if (rows.length === 0) return []
  const found = yield* sql`
    select id, name, priority, active from warehouse.warehouses
    where id = any(${rows.map((row) => row.warehouse)}::text[])
      or priority in (select x::int from jsonb_array_elements_text(${JSON.stringify(rows.flatMap((row) => row.priority ?? []))}::text::jsonb) x)`
  const known = new Map((yield* Effect.orDie(decodeWarehouses(found))).map((one) => [one.id, one]))
  const owner = new Map([...run.planned.warehouses].map(([id, priority]) => [priority, id]))
  for (const one of known.values()) owner.set(one.priority, one.id)

  const changed: Array<typeof Warehouse.Type> = []
  const outcomes = rows.map(({ _tag, warehouse: id, ...given }): Outcome => {
    const stored = known.get(id)
    const { active = true, name, priority } = { ...stored, ...given }
    if (name === undefined) return [{ field: "name", reason: `is missing, and ${id} is a new warehouse` }]
    if (priority === undefined) return [{ field: "priority", reason: `is missing, and ${id} is a new warehouse` }]
    const holder = owner.get(priority)
    if (holder !== undefined && holder !== id) {
      return [{ field: "priority", reason: `${holder} has this priority; no two warehouses may share one` }]
    }
    if (stored?.name === name && stored.priority === priority && stored.active === active) return "unchanged"
    if (stored !== undefined) owner.delete(stored.priority)
    owner.set(priority, id)
    changed.push({ id, name, priority, active })
    return stored === undefined ? "created" : "changed"
  })
  if (run.dryRun) {
    for (const one of changed) run.planned.warehouses.set(one.id, one.priority)
  } else if (changed.length > 0) {
    // In the order of the file: a priority which one warehouse gives up may be the next one's.
    yield* sql`
      insert into warehouse.warehouses (id, name, priority, active)
      select x.id, x.name, x.priority, x.active
      from rows from (
        jsonb_to_recordset(${JSON.stringify(changed)}::text::jsonb) as (id text, name text, priority int, active boolean)
      ) with ordinality as x (id, name, priority, active, place)
      order by x.place
      on conflict (id) do update set name = excluded.name, priority = excluded.priority, active = excluded.active`
  }
  return outcomes
})

// ---- counts

const Counters = Schema.Struct({
  sku: Sku,
  warehouse: WarehouseId,
  onHand: Schema.Int,
  /** Reserved, committed and damaged: a count below this has lost sight of goods which are promised or set aside. */
  bound: Schema.Int
})
const decodeCounters = Schema.decodeUnknownEffect(Schema.Array(Counters))
const decodeIds = Schema.decodeUnknownEffect(Schema.Array(Schema.Struct({ id: Schema.String })))

const placeOf = (row: { readonly sku: string; readonly warehouse: string }): string => `${row.sku}@${row.warehouse}`

const applyCounts = Effect.fnUntraced(function* (rows: ReadonlyArray<CountRow>, run: ImportRun, at: DateTime.Utc) {
  const sql = yield* SqlClient
  if (rows.length === 0) return []
  const warehouses = rows.map((row) => row.warehouse)
  const skus = rows.map((row) => row.sku)
  const idsIn = (query: Effect.Effect<ReadonlyArray<unknown>, SqlError>, planned: Iterable<string>) =>
    Effect.map(
      Effect.flatMap(query, (found) => Effect.orDie(decodeIds(found))),
      (found) => new Set([...planned, ...found.map((one) => one.id)])
    )
  const knownWarehouses = yield* idsIn(
    sql`select id from warehouse.warehouses where id = any(${warehouses}::text[])`,
    run.planned.warehouses.keys()
  )
  const knownSkus = yield* idsIn(
    sql`select sku as id from catalog.products where sku = any(${skus}::text[])`,
    run.planned.skus
  )
  const problemOf = (row: CountRow): ReadonlyArray<Problem> => [
    ...(knownWarehouses.has(row.warehouse)
      ? []
      : [{ field: "warehouse", reason: `there is no warehouse ${row.warehouse}` }]),
    ...(knownSkus.has(row.sku) ? [] : [{ field: "sku", reason: `there is no product ${row.sku}` }])
  ]
  const placed = rows.filter((row) => problemOf(row).length === 0)
  const places = JSON.stringify(placed.map(({ sku, warehouse }) => ({ sku, warehouse })))

  const created = new Set<string>()
  if (!run.dryRun) {
    const inserted = yield* sql`
      insert into warehouse.stock (sku, warehouse_id)
      select x.sku, x.warehouse from jsonb_to_recordset(${places}::text::jsonb) as x (sku text, warehouse text)
      order by x.sku, x.warehouse
      on conflict do nothing
      returning sku || '@' || warehouse_id as id`
    for (const { id } of yield* Effect.orDie(decodeIds(inserted))) created.add(id)
  }
  // The order in which everybody locks stock rows, so that nobody deadlocks: by sku, then by warehouse.
  const lock = run.dryRun ? sql`` : sql`for update of s`
  const locked = yield* sql`
    select s.sku, s.warehouse_id as warehouse, s.on_hand as "onHand", s.reserved + s.committed + s.damaged as bound
    from warehouse.stock s
    join jsonb_to_recordset(${places}::text::jsonb) as x (sku text, warehouse text)
      on x.sku = s.sku and x.warehouse = s.warehouse_id
    order by s.sku, s.warehouse_id
    ${lock}`
  const stock = new Map((yield* Effect.orDie(decodeCounters(locked))).map((row) => [placeOf(row), row]))

  const deltas: Array<{ sku: string; warehouse: string; delta: number; reference: string }> = []
  const outcomes = rows.map((row): Outcome => {
    const problems = problemOf(row)
    if (problems.length > 0) return problems
    const counters = stock.get(placeOf(row))
    const delta = deltaOf(row.onHand, counters ?? { onHand: 0, bound: 0 })
    if (Result.isFailure(delta)) return [delta.failure]
    if (delta.success !== 0) {
      const { sku, warehouse } = row
      deltas.push({ sku, warehouse, delta: delta.success, reference: `${run.importId} ${placeOf(row)}` })
    }
    if (counters === undefined || created.has(placeOf(row))) return "created"
    return delta.success === 0 ? "unchanged" : "changed"
  })
  if (!run.dryRun && deltas.length > 0) {
    yield* sql`
      with deltas as (
        select * from jsonb_to_recordset(${JSON.stringify(deltas)}::text::jsonb)
          as x (sku text, warehouse text, delta int, reference text)
      ), counted as (
        update warehouse.stock s set on_hand = s.on_hand + d.delta, version = s.version + 1
        from deltas d where s.sku = d.sku and s.warehouse_id = d.warehouse
      )
      insert into warehouse.stock_ledger (op, reference, sku, warehouse_id, on_hand, actor, at)
      select 'import', d.reference, d.sku, d.warehouse, d.delta, ${run.actor}, ${DateTime.toDateUtc(at)}::timestamptz from deltas d`
  }
  return outcomes
})

/** By how much a count moves what is on hand. */
export const deltaOf = (
  counted: number,
  stock: { readonly onHand: number; readonly bound: number }
): Result.Result<number, Problem> =>
  counted < stock.bound
    ? Result.fail({
        field: "onHand",
        reason: `${stock.bound} are reserved, committed or damaged, so there cannot be only ${counted}`
      })
    : Result.succeed(counted - stock.onHand)
