/** What the shop holds for a seller, owes it and has paid it. Entity id: the seller's id. REQUIREMENTS C.21. */
import { Schema } from "effect"
import { Entity } from "effect/cluster"
import { Rpc } from "effect/rpc"
import { CustomerId, IdempotencyKey, OrderId, SellerId } from "../../domain/Ids.ts"
import { Amount, Currency } from "../../domain/Money.ts"
import { Reason } from "../../domain/Reason.ts"
import { IllegalTransition, NotFound } from "../../domain/Refusals.ts"
import { BasisPoints, SellerStanding } from "../../domain/SellerStanding.ts"

/** Minor units; below zero on the side the money comes from. Some 9 x 10^17 at the most: what a `bigint` column holds, with room to add. */
export const Balance = Schema.BigInt.check(
  Schema.isBetweenBigInt({ minimum: -900_000_000_000_000_000n, maximum: 900_000_000_000_000_000n })
)

/** The accounts of one seller in one currency. Whatever happens they add up to zero. */
export const Balances = Schema.Struct({
  /** Where all of it comes from: never above zero. */
  buyerPayments: Balance,
  /** Back with buyers, or with their issuers. */
  refunded: Balance,
  /** The shop's. */
  fees: Balance,
  /** Of orders which are not closed. */
  held: Balance,
  /** The seller's, and not paid out yet. */
  released: Balance,
  /** Below zero: what the seller owes the shop, since it was given back after it had been released. Nothing is released meanwhile. */
  debt: Balance,
  /** On its way to the seller. */
  inPayout: Balance,
  paidOut: Balance
})
export type Balances = typeof Balances.Type

/** Names an account. */
export const SellerLedger = Schema.Literals([
  "buyerPayments",
  "refunded",
  "fees",
  "held",
  "released",
  "debt",
  "inPayout",
  "paidOut"
])
export type SellerLedger = typeof SellerLedger.Type

export const PostingKind = Schema.Literals([
  "captured",
  "given_back",
  "restored",
  "released",
  "payout_started",
  "payout_paid",
  "payout_failed"
])
export type PostingKind = typeof PostingKind.Type

/** As the ledger keeps it. */
export const SellerPosting = Schema.Struct({
  /** Counts from 1 within the seller's ledger. */
  posting: Schema.Int,
  kind: PostingKind,
  currency: Currency,
  orderId: Schema.optionalKey(OrderId),
  period: Schema.optionalKey(Schema.String),
  /** What the bank calls a payout, or why it refused it. */
  reference: Schema.optionalKey(Schema.String),
  /** They add up to zero. */
  entries: Schema.Array(
    Schema.Struct({
      account: SellerLedger,
      amount: Balance
    })
  ),
  at: Schema.DateTimeUtc
})
export type SellerPosting = typeof SellerPosting.Type

/** Names the span of time which is paid out together, e.g. `2026-11` or `2026-W48`: one payout for each, for good. */
export const PayoutPeriod = Schema.String.check(Schema.isPattern(/^[A-Za-z0-9][A-Za-z0-9-]{2,19}$/)).pipe(
  Schema.brand("PayoutPeriod")
)
export type PayoutPeriod = typeof PayoutPeriod.Type

/** Where a seller's money goes, as the payout provider names it, e.g. `acct_1A2b`. */
export const PayoutAccount = Schema.String.check(Schema.isPattern(/^[A-Za-z0-9_-]{3,64}$/)).pipe(
  Schema.brand("PayoutAccount")
)
export type PayoutAccount = typeof PayoutAccount.Type

/** Money on its way to a seller, until it is known to be there or not. */
export const OpenPayout = Schema.Struct({
  period: PayoutPeriod,
  currency: Currency,
  amount: Amount,
  account: PayoutAccount,
  startedAt: Schema.DateTimeUtc,
  /** `unanswered`: nobody knows for long what became of it. `left`: nobody asks any more, and an operator has to say. */
  doubt: Schema.optionalKey(Schema.Literals(["unanswered", "left"]))
})
export type OpenPayout = typeof OpenPayout.Type

export const PayoutStatus = Schema.Literals(["under_way", "paid", "failed"])
export type PayoutStatus = typeof PayoutStatus.Type

/** A payout, of whichever seller. */
export const ListedPayout = Schema.Struct({
  sellerId: SellerId,
  period: PayoutPeriod,
  currency: Currency,
  amount: Amount,
  status: PayoutStatus,
  /** What the provider calls it; where it failed, why. */
  reference: Schema.optionalKey(Schema.String),
  startedAt: Schema.DateTimeUtc,
  endedAt: Schema.optionalKey(Schema.DateTimeUtc)
})
export type ListedPayout = typeof ListedPayout.Type

/** What the shop keeps of orders captured from `since` on, until the next change; without a number the shop's usual fee. */
export const FeeChange = Schema.Struct({
  since: Schema.DateTimeUtc,
  basisPoints: Schema.optionalKey(BasisPoints)
})
export type FeeChange = typeof FeeChange.Type

export const SellerAccountState = Schema.TaggedUnion({
  Absent: {},
  Present: {
    /** Oldest first. All of them, since what is given back of an old order is counted by its own fee. */
    fees: Schema.Array(FeeChange),
    /** One of each currency there was. */
    balances: Schema.Array(Schema.Struct({ currency: Currency, ...Balances.fields })),
    payouts: Schema.Array(OpenPayout),
    /** Nothing is paid out without one. */
    payoutAccount: Schema.optionalKey(PayoutAccount),
    /** How many there are in the ledger. */
    postings: Schema.Int,
    /** Of the orders heard of, when the latest was captured: a new fee begins after that. */
    latestCapture: Schema.optionalKey(Schema.DateTimeUtc)
  }
})
export type SellerAccountState = typeof SellerAccountState.Type
export type PresentSellerAccount = Extract<SellerAccountState, { readonly _tag: "Present" }>

export const SellerAccountView = Schema.Struct({
  id: SellerId,
  /** Of orders captured now; absent for the shop's usual one. */
  feeBasisPoints: Schema.optionalKey(BasisPoints),
  balances: Schema.Array(Schema.Struct({ currency: Currency, ...Balances.fields })),
  payoutAccount: Schema.optionalKey(PayoutAccount),
  /** On their way. */
  payouts: Schema.Array(OpenPayout),
  postings: Schema.Int
})
export type SellerAccountView = typeof SellerAccountView.Type

export const SellerAccountRefusal = Schema.Union([NotFound, IllegalTransition])
export type SellerAccountRefusal = typeof SellerAccountRefusal.Type

/** A change of how the seller stands with one order, for the payment to tell and the account to follow. */
export const orderFact = {
  orderId: OrderId,
  currency: Currency,
  /** Names the fact among those of its order. */
  revision: Schema.Int,
  capturedAt: Schema.DateTimeUtc,
  /** The shop's usual one when the order was made. */
  feeBasisPoints: BasisPoints,
  before: SellerStanding,
  after: SellerStanding
} as const

/** One payout of a seller. */
export const payoutName = { period: PayoutPeriod, currency: Currency } as const

/** An end of a payout. */
export const payoutEnd = {
  ...payoutName,
  outcome: Schema.TaggedUnion({
    Paid: { reference: Schema.String },
    Failed: { code: Schema.String }
  })
} as const

const reply = { success: SellerAccountView, error: SellerAccountRefusal }
const key = { key: IdempotencyKey }

export const SellerAccount = Entity.make("SellerAccount", [
  Rpc.make("GetSellerAccount", reply),
  /** In any order, each once: what comes of all of them is the same. */
  Rpc.make("FollowOrder", { payload: { ...key, ...orderFact }, ...reply }),
  /** For orders captured from now on; without a number the shop's usual fee again. */
  Rpc.make("SetFee", {
    payload: { ...key, basisPoints: Schema.optionalKey(BasisPoints), by: CustomerId, reason: Reason },
    ...reply
  }),
  /** Of payouts started from now on. */
  Rpc.make("SetPayoutAccount", {
    payload: { ...key, account: PayoutAccount, by: CustomerId, reason: Reason },
    ...reply
  }),
  /** What an operator has found out about a payout which is left to people. */
  Rpc.make("SettlePayout", { payload: { ...key, ...payoutEnd, by: CustomerId, reason: Reason }, ...reply })
])
