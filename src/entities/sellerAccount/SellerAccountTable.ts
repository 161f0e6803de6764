import { DateTime, Schema } from "effect"
import { isoOf, type LogTable, present, type Row, type StateTable } from "../../runtime/Table.ts"
import { type Balances, type PostingKind, type SellerLedger, SellerAccountState } from "./SellerAccount.ts"
import { type Event, ledgers } from "./SellerAccountDecider.ts"

const decode = Schema.decodeUnknownSync(Schema.toCodecJson(SellerAccountState))

export const sellerAccountTable: StateTable<SellerAccountState> = {
  name: "escrow.seller_accounts",
  columns: {
    fees: "jsonb",
    balances: "jsonb",
    payouts: "jsonb",
    payout_account: "text",
    postings: "int",
    latest_capture: "timestamptz"
  },
  immutable: [],
  toRow: (state) => {
    if (state._tag === "Absent") throw new Error("an absent account has no row")
    return {
      fees: state.fees,
      balances: state.balances,
      payouts: state.payouts,
      payout_account: state.payoutAccount,
      postings: state.postings,
      latest_capture: state.latestCapture
    }
  },
  fromRow: (row) =>
    decode({
      _tag: "Present",
      fees: row["fees"],
      balances: row["balances"],
      payouts: row["payouts"],
      postings: row["postings"],
      ...present({ payoutAccount: row["payout_account"], latestCapture: isoOf(row["latest_capture"]) })
    })
}

/** The column of each account in a posting. */
const columnOf: Readonly<Record<SellerLedger, string>> = {
  buyerPayments: "buyer_payments",
  refunded: "refunded",
  fees: "fees",
  held: "held",
  released: "released",
  debt: "debt",
  inPayout: "in_payout",
  paidOut: "paid_out"
}

/** One row a posting, one column an account: the table takes none whose columns do not add up to zero. */
const postings: LogTable = {
  name: "escrow.postings",
  columns: {
    seller_id: "text",
    posting: "int",
    kind: "text",
    currency: "text",
    order_id: "text",
    revision: "int",
    period: "text",
    reference: "text",
    ...Object.fromEntries(ledgers.map((ledger) => [columnOf[ledger], "bigint"])),
    at: "timestamptz"
  }
}

interface Posting {
  readonly kind: PostingKind
  readonly currency: string
  readonly entries: Balances
  readonly at: DateTime.Utc
  readonly orderId?: string
  readonly revision?: number
  readonly period?: string
  readonly reference?: string
}

const postingOf = (event: Event): Posting | undefined => {
  switch (event._tag) {
    case "Posted":
      return event
    case "FeeSet":
    case "PayoutAccountSet":
    case "PayoutRequested":
    case "PayoutDoubted":
      return undefined
    case "PayoutStarted":
      return { ...event, kind: "payout_started" }
    case "PayoutEnded": {
      const { outcome } = event
      return outcome._tag === "Paid"
        ? { ...event, kind: "payout_paid", reference: outcome.reference }
        : { ...event, kind: "payout_failed", reference: outcome.code }
    }
  }
}

/** The ledger's row of an event; `state` is the one after it, which has counted it. */
export const postingRows = (
  event: Event,
  state: SellerAccountState,
  id: string
): ReadonlyArray<{ readonly table: LogTable; readonly row: Row }> => {
  const posting = postingOf(event)
  if (posting === undefined || state._tag === "Absent") return []
  const { at, currency, entries, kind, orderId, period, reference, revision } = posting
  return [
    {
      table: postings,
      row: {
        seller_id: id,
        posting: state.postings,
        kind,
        currency,
        order_id: orderId,
        revision,
        period,
        reference,
        ...Object.fromEntries(ledgers.map((ledger) => [columnOf[ledger], entries[ledger]])),
        at
      }
    }
  ]
}
