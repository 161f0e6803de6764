/**
 * Where sellers' money goes. Nodes of the version before know no payouts: what they write leaves the column as it is, but they would forget where
 * a payout under way goes, so none is to be started before they are gone.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"

export default Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* sql`alter table escrow.seller_accounts add column payout_account text`
})
