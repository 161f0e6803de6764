/** Ways of paying which no payment provider carries out: their money is recorded by people, or by the bank. */
import { Schema } from "effect"

export const OfflineMethod = Schema.Literals(["cash_on_delivery", "bank_transfer"])
export type OfflineMethod = typeof OfflineMethod.Type
