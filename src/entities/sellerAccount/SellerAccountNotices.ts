/** What operators hear of a seller's money: the whole fan-out of the account on one screen. */
import type { Notice } from "../../runtime/Actor.ts"
import { Alert } from "../alert/Alert.ts"
import type { SellerAccountState } from "./SellerAccount.ts"
import type { Event } from "./SellerAccountDecider.ts"

type Named = Pick<Extract<Event, { readonly _tag: "PayoutEnded" }>, "currency" | "period">
type Message = Notice["message"] & Readonly<Record<string, unknown>>

/** The alert about a payout of which nobody knows whether the seller got it. */
const doubtAlert = (id: string, { currency, period }: Named): string => `payout_unanswered:${id}:${period}:${currency}`

const tell = (alert: string, message: Message): Notice => ({ receiver: { type: Alert.type, id: alert }, message })

export const sellerAccountNotices = (event: Event, before: SellerAccountState, id: string): ReadonlyArray<Notice> => {
  switch (event._tag) {
    case "PayoutDoubted": {
      const { amount, currency, error, left, period } = event
      return [
        tell(doubtAlert(id, event), {
          _tag: "Raise",
          kind: "payout_unanswered",
          severity: "critical",
          summary: left
            ? `Nobody knows whether seller ${id} got the payout ${period}: look it up with the provider, and settle it`
            : `The provider does not say what became of the payout ${period} of seller ${id}; it is asked again`,
          details: { amount, currency, error, recorded: true }
        })
      ]
    }
    case "PayoutEnded": {
      const { amount, by, currency, outcome, period, reason } = event
      const doubted =
        before._tag === "Present" &&
        before.payouts.some((one) => one.doubt !== undefined && one.period === period && one.currency === currency)
      const answered = reason ?? "The provider has answered"
      const cleared = doubted ? [tell(doubtAlert(id, event), { _tag: "Clear", reason: answered })] : []
      if (outcome._tag === "Paid" || by !== undefined) return cleared
      return [
        ...cleared,
        tell(`payout_failed:${id}:${period}:${currency}`, {
          _tag: "Raise",
          kind: "payout_failed",
          severity: "critical",
          summary: `The payout ${period} of seller ${id} was refused; the money is the seller's again, for the next one`,
          details: { amount, currency, error: outcome.code, recorded: true }
        })
      ]
    }
    case "Posted":
    case "FeeSet":
    case "PayoutAccountSet":
    case "PayoutRequested":
    case "PayoutStarted":
      return []
  }
}
