/** Whether what was confirmed, and nothing else, left the shelves: the shop's own tables decide. */
import { Effect, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Finding } from "./MoneyCheck.ts"
import type { Visit } from "./Visit.ts"

/** Counters of one sku in one warehouse, beside what reservations and the ledger make of them. */
const Shelf = Schema.Struct({
  sku: Schema.String,
  warehouse: Schema.String,
  onHand: Schema.Int,
  reserved: Schema.Int,
  committed: Schema.Int,
  damaged: Schema.Int,
  /** Sums over all reservations there are. */
  claimed: Schema.Int,
  allocated: Schema.Int,
  /** The ledger's sum of what came in and went out. */
  counted: Schema.Int,
  /** Of this run alone. */
  claimedByRun: Schema.Int,
  allocatedByRun: Schema.Int
})
export type Shelf = typeof Shelf.Type

const Order = Schema.Struct({ id: Schema.String, status: Schema.String })

export interface Books {
  readonly shelves: ReadonlyArray<Shelf>
  /** Of the run. */
  readonly orders: ReadonlyArray<typeof Order.Type>
}

/** One look at everything, at one instant. */
export const readBooks = Effect.fn("simulate.readBooks")(function* (
  run: string
): Effect.fn.Return<Books, SqlError, SqlClient> {
  const sql = yield* SqlClient
  const own = `${run}-%`
  const [row] = yield* sql`
    with lines as (
      select l.sku, l.warehouse_id, l.status, l.quantity, l.order_id like ${own} as own from warehouse.reservation_lines l
      where l.status in ('active', 'fulfilled')
    ), sums as (
      select sku, warehouse_id,
        coalesce(sum(quantity) filter (where status = 'active'), 0) as claimed,
        coalesce(sum(quantity) filter (where status = 'fulfilled'), 0) as allocated,
        coalesce(sum(quantity) filter (where status = 'active' and own), 0) as claimed_by_run,
        coalesce(sum(quantity) filter (where status = 'fulfilled' and own), 0) as allocated_by_run
      from lines group by 1, 2
    ), moved as (
      select sku, warehouse_id, sum(on_hand) as counted from warehouse.stock_ledger group by 1, 2
    )
    select
      (select coalesce(jsonb_agg(jsonb_build_object(
        'sku', s.sku, 'warehouse', s.warehouse_id,
        'onHand', s.on_hand, 'reserved', s.reserved, 'committed', s.committed, 'damaged', s.damaged,
        'claimed', coalesce(x.claimed, 0), 'allocated', coalesce(x.allocated, 0), 'counted', coalesce(m.counted, 0),
        'claimedByRun', coalesce(x.claimed_by_run, 0), 'allocatedByRun', coalesce(x.allocated_by_run, 0)
      )), '[]') from warehouse.stock s left join sums x using (sku, warehouse_id) left join moved m using (sku, warehouse_id)) as shelves,
      (select coalesce(jsonb_agg(jsonb_build_object('id', o.id, 'status', o.status)), '[]') from orders.orders o where o.id like ${own}) as orders`
  return yield* Effect.orDie(decodeBooks(row))
})

const decodeBooks = Schema.decodeUnknownEffect(
  Schema.Struct({ shelves: Schema.Array(Shelf), orders: Schema.Array(Order) })
)

export const checkStock = (visits: ReadonlyArray<Visit>, { shelves }: Books): Finding => {
  const problems: Array<string> = []
  for (const shelf of shelves) {
    const { allocated, claimed, claimedByRun, committed, counted, damaged, onHand, reserved } = shelf
    const place = `${shelf.sku} in ${shelf.warehouse}`
    if (Math.min(onHand, reserved, committed, damaged, onHand - reserved - committed - damaged) < 0) {
      problems.push(
        `${place}: below zero (${onHand} on hand, ${reserved} reserved, ${committed} committed, ${damaged} damaged)`
      )
    }
    if (onHand !== counted) problems.push(`${place}: ${onHand} on hand, and the ledger says ${counted}`)
    if (reserved !== claimed) problems.push(`${place}: ${reserved} reserved, and reservations claim ${claimed}`)
    if (committed !== allocated) problems.push(`${place}: ${committed} committed, and orders have ${allocated}`)
    if (claimedByRun !== 0) problems.push(`${place}: ${claimedByRun} still reserved for this run`)
  }
  const sold = new Map<string, number>()
  for (const { buyer, outcome } of visits) {
    if (outcome._tag !== "Confirmed") continue
    for (const { quantity, sku } of buyer.lines) sold.set(sku, (sold.get(sku) ?? 0) + quantity)
  }
  const allocatedOf = Map.groupBy(shelves, ({ sku }) => sku)
  const skus = new Set([...sold.keys(), ...shelves.filter((shelf) => shelf.allocatedByRun > 0).map(({ sku }) => sku)])
  for (const sku of skus) {
    const bought = sold.get(sku) ?? 0
    const left = (allocatedOf.get(sku) ?? []).reduce((sum, shelf) => sum + shelf.allocatedByRun, 0)
    if (bought !== left) problems.push(`${sku}: buyers have confirmed ${bought}, and ${left} left the shelves`)
  }
  const units = [...sold.values()].reduce((sum, quantity) => sum + quantity, 0)
  return { problems, summary: `${units} units of ${sold.size} products sold, ${shelves.length} shelves add up` }
}

/** Whether orders and buyers tell the same story. */
export const checkOrders = (visits: ReadonlyArray<Visit>, { orders }: Books): Finding => {
  const statusOf = new Map(orders.map(({ id, status }) => [id, status]))
  const problems = visits.flatMap(({ checkoutId, outcome }) => {
    const status = statusOf.get(checkoutId) ?? "none"
    const live = !["none", "cancelled", "pending", "failed"].includes(status)
    if (outcome._tag === "Confirmed")
      return live ? [] : [`${checkoutId}: its buyer heard that it is confirmed, and its order is ${status}`]
    if (live) return [`${checkoutId}: ${outcome._tag}, and its order is ${status}`]
    return status === "pending" ? [`${checkoutId}: its order is still pending`] : []
  })
  return { problems, summary: `${orders.length} orders placed, each as its buyer has heard` }
}
