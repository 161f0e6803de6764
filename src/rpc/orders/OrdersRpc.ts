/** What a customer may ask of orders. REQ-API-02: get, list, history, watch. */
import * as Schema from "effect/Schema"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import { OrderId, OrderNumber } from "../../domain/Ids.ts"
import { Amount, Currency } from "../../domain/Money.ts"
import { AccessDenied } from "../../domain/Refusals.ts"
import { OrderPaymentStatus, OrderStatus, OrderView, ReasonCode } from "../../entities/order/Order.ts"
import { Authentication } from "../Auth.ts"
import { EdgeRefusal } from "../Edge.ts"

export const OrderSummary = Schema.Struct({
  id: OrderId,
  number: OrderNumber,
  status: OrderStatus,
  paymentStatus: OrderPaymentStatus,
  currency: Currency,
  /** Minor units. */
  total: Amount,
  placedAt: Schema.DateTimeUtc
})
export type OrderSummary = typeof OrderSummary.Type

/** One change of an order. `seq` goes up from change to change, with gaps where a command changed nothing. */
export const OrderChange = Schema.Struct({
  seq: Schema.Int,
  at: Schema.DateTimeUtc,
  /** The event's name, e.g. `Confirmed`. */
  event: Schema.String,
  status: OrderStatus,
  paymentStatus: OrderPaymentStatus,
  reason: Schema.optionalKey(ReasonCode)
})
export type OrderChange = typeof OrderChange.Type

/** The most orders or changes in one answer. */
export const maxPageSize = 100

const error = Schema.Union([AccessDenied, EdgeRefusal])
/** One order, from behind a change of it. */
export const OfOrder = Schema.Struct({
  orderId: OrderId,
  afterSeq: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)))
})

export class OrdersRpc extends RpcGroup.make(
  Rpc.make("GetOrder", { payload: { orderId: OrderId }, success: OrderView, error }),
  /** The caller's own orders, newest first. `after` is the `next` of the page before. */
  Rpc.make("ListOrders", {
    payload: {
      after: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(200))),
      limit: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: maxPageSize })))
    },
    success: Schema.Struct({ orders: Schema.Array(OrderSummary), next: Schema.optionalKey(Schema.String) }),
    error
  }),
  /** Changes behind `afterSeq`, oldest first, at most 100. */
  Rpc.make("GetHistory", { payload: OfOrder, success: Schema.Array(OrderChange), error }),
  /**
   * Every change behind `afterSeq`, past and to come. Ends by itself when the order is delivered, cancelled or refunded; a node which
   * stops ends it as `Unavailable`, and the watch goes on from the last `seq` seen at another.
   */
  Rpc.make("WatchOrder", { payload: OfOrder, success: OrderChange, error, stream: true })
).middleware(Authentication) {}
