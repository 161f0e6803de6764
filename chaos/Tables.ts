/** The shop's tables, read from outside once the faults are over. */
import { Effect, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Row } from "../src/runtime/Table.ts"
import { type ActorHistory, knownActors } from "./HistoryCheck.ts"

const text = Schema.String
const Order = Schema.Struct({
  id: text,
  status: text,
  amount: text,
  currency: text,
  settlementOpen: Schema.Boolean
})
const Unfinished = Schema.Struct({ kind: text, id: text, state: text })
const Notice = Schema.Struct({
  from: text,
  to: text,
  attempts: Schema.Int,
  error: Schema.NullOr(text),
  parked: Schema.Boolean
})
const Compensation = Schema.Struct({
  id: text,
  orderId: text,
  operation: text,
  status: text,
  error: text,
  /** Of an attempt which another has followed. */
  earlier: Schema.Boolean
})
/** Counters of one place, and the sums of all their changes. */
const Place = Schema.Struct({
  place: text,
  counters: Schema.Record(text, Schema.Int),
  ledger: Schema.Record(text, Schema.Int)
})

const Snapshot = Schema.Struct({
  orders: Schema.Array(Order),
  unfinished: Schema.Array(Unfinished),
  notices: Schema.Array(Notice),
  compensations: Schema.Array(Compensation),
  places: Schema.Array(Place)
})
export type Snapshot = typeof Snapshot.Type

/** All of it as it is at one instant. */
export const readSnapshot = Effect.fn("chaos.readSnapshot")(function* (): Effect.fn.Return<
  Snapshot,
  SqlError,
  SqlClient
> {
  const sql = yield* SqlClient
  const [row] = yield* sql`
    with unfinished as (
      select 'checkout' as kind, id, status as state from checkout.sessions where status in ('validating', 'confirming')
      union all
      select 'cart', id, status from checkout.carts where status = 'locked'
      union all
      select 'reservation', id, status from warehouse.reservations where status = 'active'
      union all
      select 'order', id, status from orders.orders where status = 'pending'
      union all
      select 'payment', id, status || ' (' || saga_state || ')' from payment.payments
        where (saga_state = 'none' and (status = 'pending' or status = 'processing') and amount > 0)
          or saga_state in ('authorized', 'capture_pending', 'capture_failed')
      union all
      select 'refund', order_id, status || ' (' || id || ')' from payment.refunds
        where status in ('requested', 'processing') or next_attempt_at is not null
      union all
      select 'workflow', id, name || ' is ' || status from runtime.workflows where status in ('running', 'suspended')
    ), folded as (
      select sku, warehouse_id, sum(on_hand) as on_hand, sum(reserved) as reserved, sum(committed) as committed, sum(damaged) as damaged
      from warehouse.stock_ledger group by 1, 2
    )
    select
      (select coalesce(jsonb_agg(jsonb_build_object('id', id, 'status', status, 'amount', total_amount::text, 'currency', currency,
        'settlementOpen', settlement_open)), '[]') from orders.orders) as orders,
      (select coalesce(jsonb_agg(jsonb_build_object('kind', kind, 'id', id, 'state', state)), '[]') from unfinished) as unfinished,
      (select coalesce(jsonb_agg(jsonb_build_object('from', source_type || ' ' || source_id, 'to', receiver_type || ' ' || receiver_id,
        'attempts', attempts, 'error', error, 'parked', parked_at is not null)), '[]') from runtime.notices) as notices,
      (select coalesce(jsonb_agg(jsonb_build_object('id', c.id, 'orderId', order_id, 'operation', operation_type, 'status', c.status,
        'error', error_message, 'earlier', coalesce(c.attempt < p.attempt, false))), '[]')
        from payment.failed_compensations c left join payment.payments p on p.id = c.order_id) as compensations,
      (select coalesce(jsonb_agg(jsonb_build_object('place', s.sku || ' in ' || s.warehouse_id,
        'counters', jsonb_build_object('on_hand', s.on_hand, 'reserved', s.reserved, 'committed', s.committed, 'damaged', s.damaged),
        'ledger', jsonb_build_object('on_hand', coalesce(f.on_hand, 0), 'reserved', coalesce(f.reserved, 0),
          'committed', coalesce(f.committed, 0), 'damaged', coalesce(f.damaged, 0)))), '[]')
        from warehouse.stock s left join folded f using (sku, warehouse_id)) as places`
  return yield* Effect.orDie(decodeSnapshot(row))
})

const decodeSnapshot = Schema.decodeUnknownEffect(Snapshot)

/** Every actor with its past and its row, some at a time. */
export const forEachActor = Effect.fn("chaos.forEachActor")(function* (
  look: (actor: ActorHistory) => void
): Effect.fn.Return<void, SqlError, SqlClient> {
  const sql = yield* SqlClient
  let after: string | undefined
  while (true) {
    const ids = yield* sql<{ id: string }>`
      select distinct actor_id as id from runtime.history where actor_id > ${after ?? ""} order by 1 limit 500`
    if (ids.length === 0) return
    const page = ids.map(({ id }) => id)
    after = page.at(-1)
    const { rows, transitions } = yield* sql.withTransaction(actorsOf(page))
    for (const [address, own] of Map.groupBy(transitions, ({ id, type }) => `${type}/${id}`)) {
      look({ type: own[0]!.type, id: own[0]!.id, transitions: own, row: rows.get(address) })
    }
  }
})

/** As they are at one instant: somebody may still be at work. */
const actorsOf = Effect.fnUntraced(function* (page: ReadonlyArray<string>) {
  const sql = yield* SqlClient
  yield* sql`set transaction isolation level repeatable read`
  const written = yield* sql`
    select actor_type as type, actor_id as id, seq, command, events, refusal is not null as refused from runtime.history
    where actor_id = any(${page}::text[]) order by actor_id, actor_type, seq`
  const rows = new Map<string, Row>()
  for (const { definition } of knownActors) {
    const found = yield* sql`
      select id, to_jsonb(t) as state from ${sql.literal(definition.table.name)} t where id = any(${page}::text[])`
    for (const { id, state } of yield* Effect.orDie(decodeRows(found))) rows.set(`${definition.type}/${id}`, state)
  }
  return { rows, transitions: yield* Effect.orDie(decodeTransitions(written)) }
})

const decodeTransitions = Schema.decodeUnknownEffect(
  Schema.Array(
    Schema.Struct({
      type: text,
      id: text,
      seq: Schema.Int,
      command: text,
      events: Schema.Array(Schema.Unknown),
      refused: Schema.Boolean
    })
  )
)
const decodeRows = Schema.decodeUnknownEffect(
  Schema.Array(Schema.Struct({ id: text, state: Schema.Record(text, Schema.Unknown) }))
)
