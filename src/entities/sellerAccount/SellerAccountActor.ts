/** The account as the runtime hosts it. */
import type { ActorDefinition } from "../../runtime/Actor.ts"
import type { ActorOptions } from "../../runtime/Actors.ts"
import { operatorDid } from "../../runtime/AuditTrail.ts"
import { SellerAccount, SellerAccountRefusal, type SellerAccountState } from "./SellerAccount.ts"
import { type Command, decide, Event, evolve, shown, view } from "./SellerAccountDecider.ts"
import { sellerAccountNotices } from "./SellerAccountNotices.ts"
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
  notices: (event, _, id, before) => sellerAccountNotices(event, before, id),
  rows: (event, state, id) => [...postingRows(event, state, id), ...auditRows(event, id)]
}

/** What operators did, in the unit in which it was done. REQ-ADM-03. */
const auditRows = (event: Event, subject: string) => {
  switch (event._tag) {
    case "FeeSet": {
      const { at, basisPoints, by: actor, reason, since } = event
      return [operatorDid({ at, actor, operation: "SetSellerFee", subject, details: { basisPoints, since, reason } })]
    }
    case "PayoutAccountSet": {
      const { account, at, by: actor, reason } = event
      return [operatorDid({ at, actor, operation: "SetPayoutAccount", subject, details: { account, reason } })]
    }
    case "PayoutRequested": {
      const { at, by: actor, period } = event
      return [operatorDid({ at, actor, operation: "StartPayout", subject, details: { period } })]
    }
    case "PayoutEnded": {
      const { at, by: actor, currency, outcome, period, reason } = event
      return actor === undefined
        ? []
        : [
            operatorDid({
              at,
              actor,
              operation: "SettlePayout",
              subject,
              details: { period, currency, outcome, reason }
            })
          ]
    }
    case "Posted":
    case "PayoutStarted":
    case "PayoutDoubted":
      return []
  }
}

export const hosting: ActorOptions<SellerAccountDefinition, typeof SellerAccount> = {
  definition,
  contract: SellerAccount,
  reply: shown,
  questions: { GetSellerAccount: (state, _, id) => view(state, id) }
}
