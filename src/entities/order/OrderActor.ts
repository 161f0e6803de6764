import { DateTime } from "effect"
import type { ActorDefinition } from "../../runtime/Actor.ts"
import type { ActorOptions } from "../../runtime/Actors.ts"
import { Order, type OrderState, OrderTransitionRefused } from "./Order.ts"
import { type Command, decide, Event, evolve, type OrderLimits, view } from "./OrderDecider.ts"
import { orderNotices } from "./OrderNotices.ts"
import { orderRows, orderTable } from "./OrderTable.ts"

/** Set while the order is pending; the checkout process answers it, since a paid order must not lapse. REQ-EXP-01. */
export const expiryTimer = "expiry"

/** Set while an order with cash on delivery waits to be confirmed by itself. REQ-COD-01. */
export const confirmTimer = "confirm"

export type OrderDefinition = ActorDefinition<OrderState, Command, Event, OrderTransitionRefused>

export const make = (limits: OrderLimits): OrderDefinition => ({
  type: Order.type,
  initial: { _tag: "Absent" },
  decide: decide(limits),
  evolve,
  event: Event,
  refusal: OrderTransitionRefused,
  table: orderTable,
  timers: (state) => {
    if (state._tag === "Absent" || state.status !== "pending") return {}
    const expiry = { [expiryTimer]: { dueAt: state.expiresAt } }
    const { confirmCashAfter } = limits
    const confirmedByItself = state.terms.paymentMethod === "cash_on_delivery" && state.review !== true
    return confirmCashAfter === undefined || !confirmedByItself
      ? expiry
      : { ...expiry, [confirmTimer]: { dueAt: DateTime.addDuration(state.placedAt, confirmCashAfter) } }
  },
  notices: orderNotices,
  rows: (event, _, id) => orderRows(event, id)
})

export const hosting = (definition: OrderDefinition): ActorOptions<OrderDefinition, typeof Order> => ({
  definition,
  contract: Order,
  reply: (state) => state as never,
  questions: { GetOrder: (state, { by }, id, version) => view(state, id, version, by) }
})
