/** The account as the runtime hosts it. */
import type { ActorDefinition, Notice } from "../../runtime/Actor.ts"
import type { ActorOptions } from "../../runtime/Actors.ts"
import { operatorDid } from "../../runtime/AuditTrail.ts"
import { Alert } from "../alert/Alert.ts"
import { SellerAccount, SellerAccountRefusal, type SellerAccountState } from "./SellerAccount.ts"
import { type Command, decide, Event, evolve, shown, view } from "./SellerAccountDecider.ts"
import { postingRows, sellerAccountTable } from "./SellerAccountTable.ts"

export type SellerAccountDefinition = ActorDefinition<SellerAccountState, Command, Event, SellerAccountRefusal>

/** Never over: its ledger, and with it its memory of what it has heard, is kept for good. */
export const definition: SellerAccountDefinition = {
  type: SellerAccount.type,
  initial: { _tag: "Absent" },
  decide,
  evolve,
  event: Event,
  refusal: SellerAccountRefusal,
  table: sellerAccountTable,
  notices: (event, _, id): ReadonlyArray<Notice> => {
    if (event._tag !== "PayoutEnded" || event.outcome._tag !== "Failed") return []
    const { amount, currency, outcome, period } = event
    const message = {
      _tag: "Raise",
      kind: "payout_failed",
      severity: "critical",
      summary: `The payout ${period} of seller ${id} was refused; the money is the seller's again, for the next one`,
      details: { amount, currency, error: outcome.code, recorded: true }
    }
    return [{ receiver: { type: Alert.type, id: `payout_failed:${id}:${period}:${currency}` }, message }]
  },
  rows: (event, state, id) => {
    const ledger = postingRows(event, state, id)
    if (event._tag === "FeeSet") {
      const { at, basisPoints, by: actor, reason, since } = event
      const details = { basisPoints, since, reason }
      return [...ledger, operatorDid({ at, actor, operation: "SetSellerFee", subject: id, details })]
    }
    return ledger
  }
}

export const hosting: ActorOptions<SellerAccountDefinition, typeof SellerAccount> = {
  definition,
  contract: SellerAccount,
  reply: shown,
  questions: { GetSellerAccount: (state, _, id) => view(state, id) }
}
