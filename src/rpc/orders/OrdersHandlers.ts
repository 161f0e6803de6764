/** Answers questions about orders: one order from its actor, many from the list, its past from the journal. */
import { type DateTime, Duration, Effect, Option, Schedule, Schema, Stream } from "effect"
import type { OrderId } from "../../domain/Ids.ts"
import { Unavailable } from "../../domain/Refusals.ts"
import { Order, type OrderState, type OrderStatus } from "../../entities/order/Order.ts"
// oxlint-disable-next-line no-restricted-imports -- what an event means is said there and nowhere else
import { Event, evolve } from "../../entities/order/OrderDecider.ts"
import { OrderList } from "../../projections/OrderList.ts"
import { Placement } from "../../runtime/Placement.ts"
import { type HistoryRow, Store } from "../../runtime/Store.ts"
import { Caller } from "../Auth.ts"
import { maxPageSize, type OrderChange, OrdersRpc } from "./OrdersRpc.ts"

export const layer = OrdersRpc.toLayer(
  Effect.gen(function* () {
    const placement = yield* Placement
    const store = yield* Store
    const list = yield* OrderList
    const orders = placement.client(Order)
    const unavailable = new Unavailable({ retryAfterMs: 1000 })

    /** Refused when it is not the caller's; operators see every order. */
    const visible = Effect.fnUntraced(function* (orderId: OrderId) {
      const { customerId, role } = yield* Caller
      return yield* orders(orderId).GetOrder(role === "operator" ? {} : { by: customerId })
    })

    const read = (orderId: OrderId, afterSeq: number) =>
      store.history("Order", orderId, afterSeq, maxPageSize).pipe(
        Effect.mapError(() => unavailable),
        Effect.timeoutOrElse({ duration: historyTimeout, orElse: () => Effect.fail(unavailable) }),
        Effect.flatMap(
          Effect.forEach((row) => Effect.map(Effect.orDie(decodeEvents(row.events)), (events) => ({ row, events })))
        )
      )

    /** The next page of the past: every row moves the state on, and those behind `afterSeq` which changed something are told. */
    const next = Effect.fnUntraced(function* (orderId: OrderId, from: Progress, afterSeq: number) {
      const rows = yield* read(orderId, from.seq)
      let { seq, state } = from
      const changes: Array<OrderChange> = []
      for (const { events, row } of rows) {
        seq = row.seq
        state = events.reduce(evolve, state)
        const last = events.at(-1)
        if (last !== undefined && state._tag === "Placed" && seq > afterSeq) changes.push(changeOf(row, last, state))
      }
      return { progress: { seq, state }, changes, more: rows.length === maxPageSize }
    })

    const history = Effect.fnUntraced(function* (orderId: OrderId, afterSeq: number) {
      let found: ReadonlyArray<OrderChange> = []
      let page = yield* next(orderId, beginning, afterSeq)
      found = page.changes
      while (page.more && found.length < maxPageSize) {
        page = yield* next(orderId, page.progress, afterSeq)
        found = [...found, ...page.changes]
      }
      return found.slice(0, maxPageSize)
    })

    const watch = (orderId: OrderId, afterSeq: number) =>
      Stream.paginate(beginning, (from: Progress) =>
        Effect.gen(function* () {
          const { changes, more, progress } = yield* next(orderId, from, afterSeq)
          if (!more && isFinal(progress)) return [changes, Option.none<Progress>()] as const
          if (changes.length === 0 && !more)
            yield* placement.awaitChange("Order", orderId, progress.seq, lookAgainAfter)
          return [changes, Option.some(progress)] as const
        }).pipe(Effect.retry(takeover))
      )

    return OrdersRpc.of({
      GetOrder: ({ orderId }) => visible(orderId),
      ListOrders: ({ after, limit }) =>
        Effect.flatMap(Caller, ({ customerId }) => list.page({ customerId, after, limit: limit ?? 20 })),
      GetHistory: ({ afterSeq, orderId }) => Effect.andThen(visible(orderId), history(orderId, afterSeq ?? 0)),
      WatchOrder: ({ afterSeq, orderId }) =>
        visible(orderId).pipe(
          Effect.retry({ while: (error) => error._tag === "Unavailable", schedule: takeover }),
          Effect.as(watch(orderId, afterSeq ?? 0)),
          Stream.unwrap
        )
    })
  })
)

/** How far the past has been read, and what it comes to. */
interface Progress {
  readonly seq: number
  readonly state: OrderState
}
const beginning: Progress = { seq: 0, state: { _tag: "Absent" } }

const historyTimeout = Duration.seconds(5)
/** A wake-up may be lost when the order moves to another node. */
const lookAgainAfter = Duration.seconds(15)
/** Another node takes over within seconds; after half a minute the client may as well ask somebody else. */
const takeover = Schedule.min([Schedule.exponential("200 millis"), Schedule.spaced("3 seconds")]).pipe(
  Schedule.jittered,
  Schedule.upTo({ duration: "30 seconds" })
)

const ends: ReadonlyArray<OrderStatus> = ["delivered", "cancelled", "refunded"]
const isFinal = ({ state }: Progress): boolean => state._tag === "Placed" && ends.includes(state.status)

const decodeEvents = Schema.decodeUnknownEffect(Schema.toCodecJson(Schema.Array(Event)))

const changeOf = (
  row: HistoryRow & { readonly at: DateTime.Utc },
  event: Event,
  { paymentStatus, reason, status }: Extract<OrderState, { readonly _tag: "Placed" }>
): OrderChange => ({
  seq: row.seq,
  at: row.at,
  event: event._tag,
  status,
  paymentStatus,
  ...(reason === undefined ? {} : { reason })
})
