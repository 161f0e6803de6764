/**
 * What of a payment is its sellers', pure. REQ-ESC-01.
 *
 * A seller's part of the whole is what its lines cost, less the discount in proportion. Shipping, and what the shop sells itself, is the
 * shop's. Of less than the whole, taken or given back, each seller has its share of the sum of all so far, rounded down; the shop has the
 * rest. So the parts always add up, many small refunds come to the same as one, and all given back is all of everybody's part.
 */
import type { DateTime } from "effect"
import type { SellerId } from "../../domain/Ids.ts"
import type { SellerStanding } from "../../domain/SellerStanding.ts"
import type { Escrow, SellerMoney, SellerPart, Sellers } from "./Escrow.ts"
import type { PaymentState, PresentPayment } from "./Payment.ts"

interface Line {
  readonly total: bigint
  readonly sellerId?: SellerId
}

/** The parts of those who sell these lines; what they leave of the total is the shop's. Empty when the shop sells all of it. */
export const partsOf = (
  lines: ReadonlyArray<Line>,
  { discount, subtotal }: { readonly subtotal: bigint; readonly discount: bigint }
): ReadonlyArray<SellerPart> => {
  const sums = new Map<SellerId, bigint>()
  for (const { sellerId, total } of lines) {
    if (sellerId !== undefined) sums.set(sellerId, (sums.get(sellerId) ?? 0n) + total)
  }
  return [...sums].map(([sellerId, sum]) => ({ sellerId, amount: shareOf(subtotal - discount, sum, subtotal) }))
}

/** As much of `amount` as `part` is of `whole`, rounded down. */
const shareOf = (amount: bigint, part: bigint, whole: bigint): bigint => (whole === 0n ? 0n : (amount * part) / whole)

/** What the buyer has back, or the issuer has taken back: never more than was taken, which is where sellers' liability ends. */
const givenBackOf = ({ captured, chargebacks = [], refunded }: PresentPayment): bigint => {
  const sum = chargebacks.reduce((so, { amount, status }) => (status === "won" ? so : so + amount), refunded)
  return sum < captured ? sum : captured
}

export const beginEscrow = ({ feeBasisPoints, parts }: Sellers): Escrow => ({
  parts: parts.map((part) => ({ ...part, captured: 0n, givenBack: 0n })),
  feeBasisPoints,
  revision: 0
})

/** The payment with its sellers' money where its own is: the one place in which they follow it, whatever moved it. */
export const withEscrow = (payment: PaymentState): PaymentState => {
  if (payment._tag === "Absent" || payment.escrow === undefined) return payment
  const { amount: whole, captured, escrow } = payment
  const givenBack = givenBackOf(payment)
  const parts = escrow.parts.map((part): SellerMoney => {
    const taken = shareOf(captured, part.amount, whole)
    return { ...part, captured: taken, givenBack: shareOf(givenBack, taken, captured) }
  })
  const same = parts.every(
    ({ captured: taken, givenBack: back }, index) =>
      taken === escrow.parts[index]!.captured && back === escrow.parts[index]!.givenBack
  )
  return same ? payment : { ...payment, escrow: { ...escrow, parts, revision: escrow.revision + 1 } }
}

/** A change of how one seller stands with the order of a payment. */
export interface SellerFact {
  readonly sellerId: SellerId
  readonly revision: number
  readonly capturedAt: DateTime.Utc
  readonly feeBasisPoints: number
  readonly before: SellerStanding
  readonly after: SellerStanding
}

const nothing: SellerStanding = { captured: 0n, givenBack: 0n, released: false }

const standingOf = (escrow: Escrow | undefined, sellerId: SellerId): SellerStanding => {
  const part = escrow?.parts.find((one) => one.sellerId === sellerId)
  if (escrow === undefined || part === undefined) return nothing
  return { captured: part.captured, givenBack: part.givenBack, released: escrow.releasedAt !== undefined }
}

const escrowOf = (payment: PaymentState): Escrow | undefined => (payment._tag === "Absent" ? undefined : payment.escrow)

/** What its sellers have to hear of an event of the payment. */
export const sellerFacts = (before: PaymentState, after: PaymentState): ReadonlyArray<SellerFact> => {
  const escrow = escrowOf(after)
  if (after._tag === "Absent" || escrow === undefined || after.capturedAt === undefined) return []
  const { capturedAt } = after
  if (escrow.revision === escrowOf(before)?.revision) return []
  return escrow.parts.flatMap(({ sellerId }) => {
    const stood = standingOf(escrowOf(before), sellerId)
    const stands = standingOf(escrow, sellerId)
    return stood.captured === stands.captured &&
      stood.givenBack === stands.givenBack &&
      stood.released === stands.released
      ? []
      : [
          {
            sellerId,
            revision: escrow.revision,
            capturedAt,
            feeBasisPoints: escrow.feeBasisPoints,
            before: stood,
            after: stands
          }
        ]
  })
}
