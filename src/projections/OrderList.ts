/** A customer's orders, newest first: read from the orders table itself, by its index on customer and time. */
import { Context, type DateTime, Duration, Effect, Layer, Result, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { type CustomerId, OrderId, OrderNumber } from "../domain/Ids.ts"
import { Amount, Currency } from "../domain/Money.ts"
import { InvalidRequest, Unavailable } from "../domain/Refusals.ts"
import { OrderPaymentStatus, OrderStatus } from "../entities/order/Order.ts"

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

/** A fault passes, e.g. a database that restarts; anything else is a bug of ours and dies. */
const isFault = (error: SqlError): boolean => error.isRetryable || error.reason._tag === "UnknownError"

const timeLimit = Duration.seconds(5)

const make = Effect.gen(function* () {
  const sql = yield* SqlClient
  const unavailable = Effect.fail(new Unavailable({ retryAfterMs: 1000 }))

  const page = Effect.fn("OrderList.page")(function* ({ after, customerId, limit }: OrderPageRequest) {
    const behind = after === undefined ? undefined : yield* Effect.fromResult(decodeCursor(after))
    // One more than the page holds tells whether there is a next one.
    const rows = yield* sql`
      select id, number, status, payment_status as "paymentStatus", currency, total_amount as total,
        to_char(placed_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "placedAt"
      from orders.orders
      where customer_id = ${customerId}
        ${behind === undefined ? sql.literal("") : sql`and (placed_at, id) < (${behind.placedAt}::timestamptz, ${behind.id})`}
      order by placed_at desc, id desc
      limit ${limit + 1}`.pipe(
      Effect.catchIf(
        isFault,
        () => unavailable,
        (bug) => Effect.die(bug)
      ),
      Effect.timeoutOrElse({ duration: timeLimit, orElse: () => unavailable })
    )
    const found = yield* Effect.orDie(decodeRows(rows))
    const shown = found.slice(0, limit)
    const last = shown.at(-1)
    return {
      orders: shown.map(({ summary }) => summary),
      ...(found.length > limit && last !== undefined ? { next: encodeCursor(last) } : {})
    }
  })
  return OrderList.of({ page })
})

const Row = Schema.Struct({ ...columns, placedAt: Schema.String })
const decode = Schema.decodeUnknownEffect(Schema.Array(Row))
const decodeTime = Schema.decodeUnknownEffect(Schema.DateTimeUtcFromString)

const decodeRows = (rows: ReadonlyArray<unknown>) =>
  Effect.flatMap(
    decode(rows),
    Effect.forEach((row) =>
      Effect.map(decodeTime(row.placedAt), (placedAt) => ({
        id: row.id,
        at: row.placedAt,
        summary: { ...row, placedAt }
      }))
    )
  )

/** The whole time and id of a row: the database knows microseconds, which a `DateTime` does not hold. */
const encodeCursor = ({ at, id }: { readonly at: string; readonly id: string }): string =>
  Buffer.from(`${at} ${id}`).toString("base64url")

const cursor = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) ([A-Za-z0-9_-]{8,64})$/

const decodeCursor = (
  text: string
): Result.Result<{ readonly placedAt: string; readonly id: string }, InvalidRequest> => {
  const [, placedAt, id] = cursor.exec(Buffer.from(text.slice(0, 200), "base64url").toString()) ?? []
  return placedAt === undefined || id === undefined || !isTime(placedAt)
    ? Result.fail(new InvalidRequest({ field: "after", message: "Expected the `next` of the page before" }))
    : Result.succeed({ placedAt, id })
}

const isTime = (text: string): boolean => !Number.isNaN(Date.parse(text))
