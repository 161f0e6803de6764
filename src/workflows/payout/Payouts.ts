/** What may be asked about payouts to a seller. Entity id: the seller's id. */
import { Entity } from "effect/cluster"
import { Rpc } from "effect/rpc"
import { Schema } from "effect"
import { CustomerId, IdempotencyKey } from "../../domain/Ids.ts"
import { IdempotencyConflict, IllegalTransition, NotFound, Unavailable } from "../../domain/Refusals.ts"
import { PayoutPeriod } from "../../entities/sellerAccount/SellerAccount.ts"

export const Payouts = Entity.make("Payouts", [
  /** The money is on its way once answered, and goes on by itself. Again for the same period is success. REQ-ESC-02. */
  Rpc.make("Start", {
    payload: { key: IdempotencyKey, period: PayoutPeriod, by: CustomerId },
    error: Schema.Union([NotFound, IllegalTransition, IdempotencyConflict, Unavailable])
  })
])
