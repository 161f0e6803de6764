/** The stock rows which reservations lock, and what each event does to them. REQUIREMENTS B.6, REQ-INV-05. */
import type { CounterChange, CounterTable } from "../../runtime/Table.ts"
import type { ReservationState, ReservedLine } from "./Reservation.ts"
import type { Event } from "./ReservationDecider.ts"

export const stockCounters: CounterTable = {
  name: "warehouse.stock",
  key: "sku",
  part: "warehouse_id",
  counters: ["on_hand", "reserved", "committed", "damaged"],
  // In one order everywhere, so that carts over the same skus queue up instead of deadlocking.
  lock: `select s.sku as key, s.warehouse_id as part, case when w.active then w.priority else -1 end as rank, s.on_hand, s.reserved, s.committed, s.damaged
    from warehouse.stock s join warehouse.warehouses w on w.id = s.warehouse_id
    where s.sku = any($1::text[]) order by s.sku, s.warehouse_id for update of s`,
  ledger: "warehouse.stock_ledger"
}

const change = (
  line: ReservedLine,
  operation: string,
  deltas: (quantity: number) => Readonly<Record<string, number>>
): CounterChange => ({
  key: line.sku,
  part: line.warehouseId,
  deltas: deltas(line.quantity),
  operation,
  reference: line.id
})

/** `state` is the one before the event. */
export const stockChanges = (event: Event, state: ReservationState): ReadonlyArray<CounterChange> => {
  if (event._tag === "Reserved") return event.lines.map((line) => change(line, "reserve", (reserved) => ({ reserved })))
  if (state._tag === "Absent" || state._tag === "Refused") return []
  const given = (operation: string) =>
    state.lines.map((line) => change(line, operation, (quantity) => ({ reserved: -quantity })))
  switch (event._tag) {
    case "Refused":
    case "Extended":
      return []
    case "Committed":
      return state.lines.map((line) =>
        change(line, "commit", (quantity) => ({ reserved: -quantity, committed: quantity }))
      )
    case "Released":
      return given("release")
    case "Expired":
      return given("expire")
    case "Reversed":
      return state.lines.map((line) => change(line, "reverse", (quantity) => ({ committed: -quantity })))
  }
}
