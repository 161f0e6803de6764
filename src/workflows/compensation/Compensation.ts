/** Undoes a placed order: money back, stock back, order cancelled, cart free. REQUIREMENTS C.5. */
import { Schema } from "effect"
import { Workflow } from "effect/workflow"
import { OrderId } from "../../domain/Ids.ts"
import { PlacedBy } from "../../domain/PlacedBy.ts"
import { ReasonCode } from "../../entities/order/Order.ts"

export const PaymentCompensation = Workflow.make("PaymentCompensation", {
  payload: { orderId: OrderId, attempt: Schema.Int, reason: ReasonCode },
  idempotencyKey: ({ attempt, orderId }) => `${orderId}:${attempt}`
}).annotate(PlacedBy, ({ orderId }: { readonly orderId: OrderId }) => orderId)
