/** Money which the shop has sent to sellers' accounts. It is there at once, and stays. */
import { Result } from "effect"
import { recordOf, textOf, textsOf } from "./FormBody.ts"
import type { Params } from "./FormBody.ts"
import type { ProviderError } from "./IntentRules.ts"
import { invalid, required } from "./ProviderErrors.ts"
import { wholeNumber } from "./Requests.ts"

export interface Transfer {
  readonly id: string
  readonly amount: number
  readonly currency: string
  readonly destination: string
  readonly group: string | null
  readonly metadata: Readonly<Record<string, string>>
  readonly createdAt: number
}

/** What a new transfer is to be. An account is one when it is called so. */
export const readTransfer = (params: Params): Result.Result<Omit<Transfer, "id" | "createdAt">, ProviderError> =>
  Result.flatMap(wholeNumber(params, "amount"), (amount) => {
    const currency = textOf(params["currency"])?.toLowerCase()
    const destination = textOf(params["destination"])
    if (amount === undefined) return Result.fail(required("amount"))
    if (amount === 0) return Result.fail(invalid("amount", "This value must be greater than or equal to 1."))
    if (currency === undefined) return Result.fail(required("currency"))
    if (destination === undefined) return Result.fail(required("destination"))
    if (!destination.startsWith("acct_"))
      return Result.fail(invalid("destination", `No such destination: '${destination}'`, "resource_missing"))
    return Result.succeed({
      amount,
      currency,
      destination,
      group: textOf(params["transfer_group"]) ?? null,
      metadata: textsOf(recordOf(params["metadata"]))
    })
  })
