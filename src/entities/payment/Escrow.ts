/** The money of a payment which is its sellers'. REQUIREMENTS C.21. */
import { Schema } from "effect"
import { SellerId } from "../../domain/Ids.ts"
import { Amount } from "../../domain/Money.ts"
import { BasisPoints } from "../../domain/SellerStanding.ts"

/** A seller's part of the amount which is to be paid. */
export const SellerPart = Schema.Struct({ sellerId: SellerId, amount: Amount })
export type SellerPart = typeof SellerPart.Type

/** Who sells what of an attempt, and the shop's usual fee when it was made. */
export const Sellers = Schema.Struct({ parts: Schema.Array(SellerPart), feeBasisPoints: BasisPoints })
export type Sellers = typeof Sellers.Type

/** A seller's part, as far as the money has come. */
export const SellerMoney = Schema.Struct({ ...SellerPart.fields, captured: Amount, givenBack: Amount })
export type SellerMoney = typeof SellerMoney.Type

export const Escrow = Schema.Struct({
  parts: Schema.Array(SellerMoney),
  feeBasisPoints: BasisPoints,
  /** Goes up with each change of what sellers are to get: it names the fact. */
  revision: Schema.Int,
  /** Since when it is theirs; absent while it is held. */
  releasedAt: Schema.optionalKey(Schema.DateTimeUtc)
})
export type Escrow = typeof Escrow.Type
