/** Sends a seller what a payout has set aside for it, once for each period; the account says what came of it. REQ-ESC-02. */
import { Workflow } from "effect/workflow"
import { SellerId } from "../../domain/Ids.ts"
import { PlacedBy } from "../../domain/PlacedBy.ts"
import { PayoutPeriod } from "../../entities/sellerAccount/SellerAccount.ts"

export const SellerPayout = Workflow.make("SellerPayout", {
  payload: { sellerId: SellerId, period: PayoutPeriod },
  idempotencyKey: ({ period, sellerId }) => `${sellerId}:${period}`
}).annotate(PlacedBy, ({ sellerId }: { readonly sellerId: SellerId }) => sellerId)

/** The transfer's key at the provider, for good. */
export const payoutKey = (sellerId: string, period: string, currency: string): string =>
  `payout:${sellerId}:${period}:${currency}`
