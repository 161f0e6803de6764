/** How a seller stands with one order: what its payment tells, and what the seller's account keeps its books by. */
import { Schema } from "effect"
import { Amount } from "./Money.ts"

/** Hundredths of a per cent. */
export const BasisPoints = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 10_000 }))

export const SellerStanding = Schema.Struct({
  /** The seller's part of what was taken from the buyer, fee included. */
  captured: Amount,
  /** The seller's part of what the buyer, or the issuer, has taken back. */
  givenBack: Amount,
  /** Held no more. */
  released: Schema.Boolean
})
export type SellerStanding = typeof SellerStanding.Type
