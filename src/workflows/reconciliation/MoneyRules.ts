/**
 * What to make of what the provider has beside what we have, pure. Statuses follow the provider's word, by the payment's own commands; an
 * amount which differs is never made to fit. REQ-REC-02.
 */
import type { SagaState } from "../../entities/payment/Payment.ts"
import type { Intent } from "../../gateways/PaymentGateway.ts"

/** A payment and what stands behind it, as far as it matters here. Amounts are minor units. */
export interface Standing {
  /** The authorization which it stands on now. */
  readonly intent: string | undefined
  readonly saga: SagaState
  readonly amount: bigint
  readonly captured: bigint
  readonly refunded: bigint
  /** What refunds under way will give back. */
  readonly refundPending: bigint
  /** Its outcome is unknown, and its own timer looks it up. */
  readonly waiting: boolean
  /** Its checkout is under way. */
  readonly confirming: boolean
  readonly order: "living" | "over" | "none"
  /** What could not be given back stands as a failed compensation. */
  readonly recorded: boolean
}

export type Judgement =
  | { readonly _tag: "Sound" }
  /** A process of its own is at work on it, or an operator has it. */
  | { readonly _tag: "UnderWay" }
  /** The provider has money which nothing stands behind, and nothing ever will again. */
  | { readonly _tag: "GiveBack"; readonly text: string; readonly amount: bigint }
  /** The provider knows more than we do. */
  | { readonly _tag: "Follow"; readonly text: string }
  /** Not to be made to fit by anybody but a person. */
  | { readonly _tag: "Differs"; readonly text: string }

const sound: Judgement = { _tag: "Sound" }
const underWay: Judgement = { _tag: "UnderWay" }

/**
 * `found` is what the provider says of `intent`; absent when it does not know it. Once something is to be given back it always is: an
 * authorization which a payment has left behind is never taken up again, and an order that is over never lives again. So this may be
 * judged by what is a little old.
 */
export const judge = (standing: Standing, intent: string, found: Intent | undefined): Judgement => {
  const left = found === undefined ? 0n : leftOf(found)
  if (standing.intent !== intent) {
    return left === 0n ? sound : giveBack(found, left, "of an attempt which the payment does not stand on any more")
  }
  if (standing.confirming || standing.waiting) return underWay
  switch (standing.saga) {
    case "none":
    case "voided":
      return left === 0n
        ? sound
        : giveBack(found, left, `of a payment which is ${standing.saga === "none" ? "closed" : "voided"}`)
    case "authorized":
    case "capture_pending":
    case "capture_failed":
      return held(standing, found, left)
    case "captured":
    case "refunded":
      return taken(standing, found)
  }
}

const held = (standing: Standing, found: Intent | undefined, left: bigint): Judgement => {
  if (found === undefined) return differs(standing, found)
  if (standing.order !== "living") {
    if (standing.recorded) return underWay
    return left === 0n
      ? { _tag: "Follow", text: `${theirs(found)}, and ours is ${standing.saga} without a living order` }
      : giveBack(found, left, "without a living order")
  }
  switch (found._tag) {
    case "Authorized":
      return found.amount === standing.amount ? sound : differs(standing, found)
    case "Captured":
      return found.amount === standing.amount ? follow(standing, found) : differs(standing, found)
    case "Voided":
      return follow(standing, found)
    case "Processing":
      return underWay
    case "Unconfirmed":
    case "RequiresAction":
      return differs(standing, found)
  }
}

const taken = (standing: Standing, found: Intent | undefined): Judgement => {
  if (found?._tag !== "Captured" || found.amount !== standing.captured) return differs(standing, found)
  const { refundPending, refunded } = standing
  // What is still under way counts with the provider once it has taken it on.
  if (found.refunded > refunded + refundPending) return follow(standing, found)
  if (found.refunded < refunded) return follow(standing, found)
  const left = standing.captured - refunded - refundPending
  if (left === 0n || standing.order === "living") return sound
  return standing.recorded ? underWay : giveBack(found, left, "without a living order")
}

/** What the provider has of the customer's, or could take. */
const leftOf = (found: Intent): bigint => {
  if (found._tag === "Authorized") return found.amount
  return found._tag === "Captured" ? found.amount - found.refunded : 0n
}

const giveBack = (found: Intent | undefined, amount: bigint, why: string): Judgement => ({
  _tag: "GiveBack",
  amount,
  text: `${theirs(found)}, ${why}`
})

const follow = (standing: Standing, found: Intent): Judgement => ({ _tag: "Follow", text: both(standing, found) })

const differs = (standing: Standing, found: Intent | undefined): Judgement => ({
  _tag: "Differs",
  text: both(standing, found)
})

/** Both sides, with both numbers. */
const both = (standing: Standing, found: Intent | undefined): string => `${theirs(found)}; ${ours(standing)}`

const theirs = (found: Intent | undefined): string => {
  switch (found?._tag) {
    case undefined:
      return "the provider does not know it"
    case "Authorized":
      return `the provider holds ${found.amount}`
    case "Captured":
      return `the provider has captured ${found.amount} and refunded ${found.refunded}`
    case "Voided":
      return "the provider has voided it"
    case "Processing":
      return "the provider is at work on it"
    case "Unconfirmed":
    case "RequiresAction":
      return "the provider holds nothing"
  }
}

const ours = ({ amount, captured, refunded, saga }: Standing): string =>
  saga === "captured" || saga === "refunded"
    ? `ours has captured ${captured} and refunded ${refunded}`
    : `ours is ${saga} for ${amount}`
