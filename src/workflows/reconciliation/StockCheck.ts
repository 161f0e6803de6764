/**
 * Stock counters beside the reservations they are made of. REQ-REC-01.
 *
 * A checkout changes its reservation and the counters in one transaction, so the difference of the two, as one statement sees it, is not
 * moved by any checkout, however many are under way: it is drift, and stays the same until it is corrected. Which is why it can be corrected
 * by as much as it is, relative to whatever the counters are by then, without keeping anybody from selling.
 */
import { DateTime, Effect, Metric } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Check, Finding, Page, Run } from "./Check.ts"
import { inPages, type StatementLimits, usualLimits, withinStatementLimit } from "./StatementLimit.ts"

// MET-11.
const corrections = Metric.counter("stock_drift_corrections_total", {
  description: "Stock counters which were not the sum of their reservations, and were corrected",
  incremental: true
})
const units = Metric.counter("stock_drift_units_total", {
  description: "By how many units those were off",
  incremental: true
})

const stockCheck = "stock"

/** Names the ledger's rows of corrections, for good. */
const operation = "stock_reconciled"

/** A counter that is off, and what its reservations say. */
interface Drift {
  readonly sku: string
  readonly warehouse: string
  readonly reserved: number
  readonly committed: number
  readonly claimed: number
  readonly allocated: number
}

/** Units of fulfilled reservations are found by the lines of their orders, those of active ones by there being few. */
const look = `
  with page as materialized (
    select sku, warehouse_id, reserved, committed from warehouse.stock
    where (sku, warehouse_id) > ($1, $2) order by sku, warehouse_id limit $3
  ), claimed as (
    select l.sku, l.warehouse_id, sum(l.quantity)::int as units from warehouse.reservation_lines l
    where l.status = 'active' group by 1, 2
  ), ordered as (
    select distinct o.order_id from orders.order_lines o where o.sku in (select sku from page)
  ), allocated as (
    select l.sku, l.warehouse_id, sum(l.quantity)::int as units from ordered join warehouse.reservation_lines l using (order_id)
    where l.status = 'fulfilled' group by 1, 2
  ), compared as (
    select p.sku, p.warehouse_id as warehouse, p.reserved, p.committed, coalesce(c.units, 0) as claimed, coalesce(a.units, 0) as allocated
    from page p left join claimed c using (sku, warehouse_id) left join allocated a using (sku, warehouse_id)
  )
  select (select count(*)::int from page) as examined,
    (select jsonb_build_object('sku', sku, 'warehouse', warehouse_id) from page order by sku desc, warehouse_id desc limit 1) as last,
    (select coalesce(jsonb_agg(to_jsonb(d) order by d.sku, d.warehouse), '[]') from compared d
      where d.reserved <> d.claimed or d.committed <> d.allocated) as drifts`

/**
 * The second look is at all reservations there are, and corrects in the statement that saw the drift, if it is still the same one. Its ledger
 * row is named by how many corrections of this counter there were before: of two that saw the same drift one is written.
 */
const mend = `
  with seen as materialized (
    select s.sku, s.warehouse_id, s.reserved, s.committed,
      coalesce(sum(l.quantity) filter (where l.status = 'active'), 0)::int as claimed,
      coalesce(sum(l.quantity) filter (where l.status = 'fulfilled'), 0)::int as allocated
    from warehouse.stock s left join (
      select l.sku, l.warehouse_id, l.status, l.quantity from warehouse.reservation_lines l where l.status in ('active', 'fulfilled')
    ) l using (sku, warehouse_id)
    where s.sku = $1 and s.warehouse_id = $2 group by 1, 2, 3, 4
  ), drift as (
    select seen.*, claimed - reserved as reserved_by, allocated - committed as committed_by,
      'reserved ' || reserved || ', claimed by reservations ' || claimed || '; committed ' || committed || ', bound to orders ' || allocated as text,
      (select count(*) from warehouse.stock_ledger x
        where x.op = '${operation}' and starts_with(x.reference, $1 || '@' || $2 || ':')) as earlier
    from seen where claimed - reserved = $3 and allocated - committed = $4
  ), mended as (
    update warehouse.stock s set reserved = s.reserved + d.reserved_by, committed = s.committed + d.committed_by, version = s.version + 1
    from drift d where s.sku = d.sku and s.warehouse_id = d.warehouse_id returning s.sku
  ), told as (
    insert into warehouse.stock_ledger (op, reference, sku, warehouse_id, reserved, committed, actor, at, details)
    select '${operation}', d.sku || '@' || d.warehouse_id || ':' || (d.earlier + 1), d.sku, d.warehouse_id, d.reserved_by, d.committed_by,
      'reconciliation', $6::timestamptz, jsonb_build_object('reconciliation', $5::text,
        'before', jsonb_build_object('reserved', d.reserved, 'committed', d.committed),
        'after', jsonb_build_object('reserved', d.claimed, 'committed', d.allocated))
    from drift d join mended using (sku)
  ), noted as (
    insert into ops.reconciliation_findings (reconciliation_id, check_name, subject, outcome, text, at)
    select $5, '${stockCheck}', d.sku || '@' || d.warehouse_id, 'corrected', d.text, $6::timestamptz from drift d join mended using (sku)
    where exists (select from ops.reconciliations where id = $5) on conflict do nothing
  )
  select text from drift join mended using (sku)`

interface Row {
  readonly examined: number
  readonly last: { readonly sku: string; readonly warehouse: string } | null
  readonly drifts: ReadonlyArray<Drift>
}

const placeMark = "@"

const split = (place: string | undefined): readonly [sku: string, warehouse: string] => {
  const [sku = "", warehouse = ""] = (place ?? "").split(placeMark)
  return [sku, warehouse]
}

const textOf = ({ allocated, claimed, committed, reserved }: Drift): string =>
  `reserved ${reserved}, claimed by reservations ${claimed}; committed ${committed}, bound to orders ${allocated}`

const checkOf = (sql: SqlClient, limits: StatementLimits): Check => {
  const inOne = inPages(sql, limits)
  const correct = Effect.fn("StockCheck.correct")(function* (
    run: Run,
    drift: Drift
  ): Effect.fn.Return<Finding | undefined, SqlError> {
    const { allocated, claimed, committed, reserved, sku, warehouse } = drift
    const subject = `${sku}${placeMark}${warehouse}`
    const mended = yield* Effect.result(
      withinStatementLimit(
        sql,
        sql.unsafe<{ readonly text: string }>(mend, [
          sku,
          warehouse,
          claimed - reserved,
          allocated - committed,
          run.id,
          DateTime.formatIso(yield* DateTime.now)
        ]),
        limits.thing
      )
    )
    if (mended._tag === "Success") {
      // None: it is not what it was at the first look any more, so somebody else is at it, and the next run sees what is left.
      const [row] = mended.success
      if (row === undefined) return undefined
      const attributes = { warehouse }
      yield* Metric.update(Metric.withAttributes(corrections, attributes), 1)
      yield* Metric.update(
        Metric.withAttributes(units, attributes),
        Math.abs(claimed - reserved) + Math.abs(allocated - committed)
      )
      yield* Effect.logWarning("A stock counter was corrected", { sku, warehouse, was: row.text })
      return { subject, text: row.text, outcome: "corrected" }
    }
    const reason = mended.failure.reason
    // Another node has written this very correction.
    if (reason._tag === "UniqueViolation") return undefined
    if (mended.failure.isRetryable && reason._tag !== "StatementTimeoutError" && reason._tag !== "LockTimeoutError") {
      return yield* mended.failure
    }
    // More is promised than there is, or it takes too long to be sure.
    return { subject, outcome: "raised", text: `${textOf(drift)}; not corrected (${reason._tag})` }
  })

  return {
    group: "stock",
    name: stockCheck,
    severity: "warning",
    about: "stock counters were not the sum of their reservations",
    alerts: "together",
    page: Effect.fn("StockCheck.page")(function* (run, place): Effect.fn.Return<Page, SqlError> {
      const {
        found: [row],
        limit
      } = yield* inOne(run.limit, (most) => sql.unsafe<Row>(look, [...split(place), most]))
      if (row === undefined || row.last === null) return { examined: 0, findings: [], next: undefined }
      const findings: Array<Finding> = []
      for (const drift of row.drifts) {
        const finding = yield* correct(run, drift)
        if (finding !== undefined) findings.push(finding)
      }
      const { sku, warehouse } = row.last
      return {
        examined: row.examined,
        findings,
        next: row.examined < limit ? undefined : `${sku}${placeMark}${warehouse}`
      }
    })
  }
}

/** Limits other than the usual ones are for tests. */
export const within = (limits: StatementLimits) => Effect.map(SqlClient, (sql) => checkOf(sql, limits))

export const make = within(usualLimits)
