/** Taking the money of a hold whose capture was deferred. Entity id: the order's id. REQ-CAP-08. */
import { Schema } from "effect"
import { Entity } from "effect/cluster"
import { Rpc } from "effect/rpc"
import { IdempotencyKey } from "../../domain/Ids.ts"
import { NotFound, Unavailable } from "../../domain/Refusals.ts"
import { PaymentConflict, PaymentView } from "../../entities/payment/Payment.ts"

export const Captures = Entity.make("Captures", [
  /**
   * Takes the stored amount now, e.g. because the order ships; tells how the payment stands after the first try, which is retried like any
   * other capture. Taken already is success. Refused for a hold which its checkout captures by itself, and for what is no hold any more.
   */
  Rpc.make("Capture", {
    payload: { key: IdempotencyKey },
    success: PaymentView,
    error: Schema.Union([NotFound, PaymentConflict, Unavailable])
  })
])
