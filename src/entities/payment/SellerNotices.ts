/** What the sellers of an order hear of its money: the whole fan-out on one screen. */
import { OrderId } from "../../domain/Ids.ts"
import type { Notice } from "../../runtime/Actor.ts"
import { SellerAccount } from "../sellerAccount/SellerAccount.ts"
import type { PaymentState } from "./Payment.ts"
import { sellerFacts } from "./SellerParts.ts"

/** One to each seller whose part has moved, or has become its own. */
export const sellerNotices = (before: PaymentState, after: PaymentState, id: string): ReadonlyArray<Notice> =>
  after._tag === "Absent"
    ? []
    : sellerFacts(before, after).map(({ sellerId, ...fact }) => {
        const message = { _tag: "FollowOrder", orderId: OrderId.make(id), currency: after.currency, ...fact }
        return { receiver: { type: SellerAccount.type, id: sellerId }, message }
      })
