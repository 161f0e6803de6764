/** Captures a payment whose first attempt has failed: retried on durable clocks until it is taken or given up. REQUIREMENTS C.4. */
import { Schema } from "effect"
import { Workflow } from "effect/workflow"
import { OrderId } from "../../domain/Ids.ts"
import { PlacedBy } from "../../domain/PlacedBy.ts"

export const CapturePayment = Workflow.make("CapturePayment", {
  payload: { orderId: OrderId, attempt: Schema.Int },
  success: Schema.Literals(["captured", "compensated", "superseded"]),
  idempotencyKey: ({ attempt, orderId }) => `${orderId}:${attempt}`
}).annotate(PlacedBy, ({ orderId }: { readonly orderId: OrderId }) => orderId)
