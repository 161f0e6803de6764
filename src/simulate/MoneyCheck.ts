/** Whether every buyer paid exactly once for what was confirmed, and nothing for anything else: the provider's ledger decides. */
import type { Charge } from "./SandboxControl.ts"
import type { Visit } from "./Visit.ts"

export interface Finding {
  /** Empty when all is well. */
  readonly problems: ReadonlyArray<string>
  readonly summary: string
}

/** Of the checkouts in `leftToOperator` a record says that their money could not be given back. */
export const checkMoney = (
  visits: ReadonlyArray<Visit>,
  charges: ReadonlyArray<Charge>,
  leftToOperator: ReadonlySet<string> = new Set()
): Finding => {
  const byCheckout = Map.groupBy(charges, ({ checkoutId }) => checkoutId ?? "")
  const problems: Array<string> = []
  let captured = 0
  let dropped = 0
  let refunded = 0
  for (const charge of charges) {
    if (charge.captured.times > 1)
      problems.push(`${charge.checkoutId}: ${charge.id} was captured ${charge.captured.times} times`)
    if (unsettled.has(charge.status) && !leftToOperator.has(charge.checkoutId ?? ""))
      problems.push(`${charge.checkoutId}: ${charge.id} still holds money (${charge.status})`)
    if (charge.captured.times > 0) captured++
    if (charge.refunded.times > 0) refunded++
    if (charge.authorized.times > 0 && charge.captured.times === 0 && charge.status === "canceled") dropped++
  }
  for (const { checkoutId, outcome } of visits) {
    const own = byCheckout.get(checkoutId) ?? []
    const taken = own.filter((charge) => charge.captured.times > 0)
    if (taken.length > 1) problems.push(`${checkoutId}: ${taken.length} payments were captured`)
    const kept = own.reduce((sum, charge) => sum + charge.captured.amount - charge.refunded.amount, 0)
    if (outcome._tag === "Confirmed") {
      const { amount, currency } = outcome.total
      if (BigInt(kept) !== amount) problems.push(`${checkoutId}: confirmed for ${amount}, and ${kept} was taken`)
      if (taken.some((charge) => charge.currency.toUpperCase() !== currency)) {
        problems.push(`${checkoutId}: confirmed in ${currency}, and taken in another currency`)
      }
    } else if (kept !== 0 && !leftToOperator.has(checkoutId)) {
      problems.push(`${checkoutId}: ${outcome._tag}, and ${kept} was taken`)
    }
  }
  return {
    problems,
    summary: `${charges.length} payments at the provider: ${captured} captured, ${refunded} of them refunded, ${dropped} holds dropped`
  }
}

/** In these an intent holds money, or may come to. */
const unsettled: ReadonlySet<string> = new Set(["requires_capture", "processing", "requires_action"])
