/** A customer's orders, newest first: read from the orders table itself, by its index on customer and time. */
import { Context, type DateTime, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { type CustomerId, OrderId, OrderNumber } from "../domain/Ids.ts"
import { Amount, Currency } from "../domain/Money.ts"
import type { InvalidRequest, Unavailable } from "../domain/Refusals.ts"
import { OrderPaymentStatus, OrderStatus } from "../entities/order/Order.ts"
import { bounded, Instant, pageOf, placeAfter, rowsOf, utc } from "./Pages.ts"

const columns = {
  id: OrderId,
  number: OrderNumber,
  status: OrderStatus,
  paymentStatus: OrderPaymentStatus,
  currency: Currency,
  total: Amount
}

export interface OrderPage {
  readonly orders: ReadonlyArray<Schema.Struct.Type<typeof columns> & { readonly placedAt: DateTime.Utc }>
  /** Where the next page starts; absent on the last. */
  readonly next?: string
}

export interface OrderPageRequest {
  readonly customerId: CustomerId
  readonly after: string | undefined
  readonly limit: number
}

export class OrderList extends Context.Service<
  OrderList,
  {
    /** A cursor which is not one of ours is an `InvalidRequest`; a database which is away or slow is `Unavailable`. */
    readonly page: (request: OrderPageRequest) => Effect.Effect<OrderPage, InvalidRequest | Unavailable>
  }
>()("cartwright/projections/OrderList") {
  static readonly layer: Layer.Layer<OrderList, never, SqlClient> = Layer.effect(
    OrderList,
    Effect.suspend(() => make)
  )
}

const make = Effect.gen(function* () {
  const sql = yield* SqlClient
  const page = Effect.fn("OrderList.page")(function* ({ after, customerId, limit }: OrderPageRequest) {
    const behind = after === undefined ? undefined : yield* Effect.fromResult(placeAfter(after))
    const rows = yield* bounded(sql`
      select id, number, status, payment_status as "paymentStatus", currency, total_amount as total,
        ${sql.literal(utc("placed_at"))} as "placedAt"
      from orders.orders
      where customer_id = ${customerId}
        ${behind === undefined ? sql.literal("") : sql`and (placed_at, id) < (${behind.at}::timestamptz, ${behind.id})`}
      order by placed_at desc, id desc
      limit ${limit + 1}`)
    const { shown, ...rest } = pageOf(yield* decode(rows), limit, ({ id, placedAt: at }) => ({ at, id }))
    return { orders: shown.map((row) => ({ ...row, placedAt: decodeInstant(row.placedAt) })), ...rest }
  })
  return OrderList.of({ page })
})

const decode = rowsOf(Schema.Struct({ ...columns, placedAt: Schema.String }))
const decodeInstant = Schema.decodeSync(Instant)
