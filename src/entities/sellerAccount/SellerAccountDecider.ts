/**
 * What an order, a fee or a payout does to a seller's books, pure. Every posting is the difference of two balance sheets, each of which adds
 * up to zero: so it does, too, and the order in which facts arrive does not matter. REQ-ESC-01, REQ-ESC-02.
 */
import { DateTime, Result, Schema } from "effect"
import { CustomerId, SellerId } from "../../domain/Ids.ts"
import { Amount, Currency } from "../../domain/Money.ts"
import { Reason } from "../../domain/Reason.ts"
import { IllegalTransition, NotFound } from "../../domain/Refusals.ts"
import { BasisPoints, type SellerStanding } from "../../domain/SellerStanding.ts"
import {
  type Balances,
  Balances as BalancesSchema,
  type OpenPayout,
  orderFact,
  PayoutAccount,
  payoutEnd,
  payoutName,
  PayoutPeriod,
  type PostingKind,
  PostingKind as PostingKindSchema,
  type PresentSellerAccount,
  type SellerAccountRefusal,
  type SellerAccountState,
  type SellerAccountView,
  SellerLedger
} from "./SellerAccount.ts"

export const Command = Schema.TaggedUnion({
  FollowOrder: orderFact,
  SetFee: { basisPoints: Schema.optionalKey(BasisPoints), by: CustomerId, reason: Reason },
  SetPayoutAccount: { account: PayoutAccount, by: CustomerId, reason: Reason },
  /** An operator wants the period to be paid out: who and when, beside the payout, which is the same whoever wants it. */
  RequestPayout: { period: PayoutPeriod, by: CustomerId },
  /** All that is the seller's is on its way to it, in each currency. Once a period: its key says so for good. */
  StartPayout: { period: PayoutPeriod },
  /** What became of it. */
  EndPayout: payoutEnd,
  /** The provider does not say what became of it; `left` when it is not asked any more. */
  DoubtPayout: { ...payoutName, error: Schema.String, left: Schema.Boolean },
  /** What became of one that was left, as an operator says. */
  SettlePayout: { ...payoutEnd, by: CustomerId, reason: Reason }
})
export type Command = typeof Command.Type

/** What a payout can end as. */
export type PayoutOutcome = Extract<Command, { readonly _tag: "EndPayout" }>["outcome"]

const at = { at: Schema.DateTimeUtc }
export const Event = Schema.TaggedUnion({
  Posted: {
    kind: PostingKindSchema,
    currency: Currency,
    /** What it adds to each account. */
    entries: BalancesSchema,
    orderId: Schema.optionalKey(orderFact.orderId),
    revision: Schema.optionalKey(Schema.Int),
    capturedAt: Schema.optionalKey(Schema.DateTimeUtc),
    ...at
  },
  FeeSet: {
    since: Schema.DateTimeUtc,
    basisPoints: Schema.optionalKey(BasisPoints),
    by: CustomerId,
    reason: Reason,
    ...at
  },
  PayoutAccountSet: { account: PayoutAccount, by: CustomerId, reason: Reason, ...at },
  PayoutRequested: { period: PayoutPeriod, by: CustomerId, ...at },
  PayoutStarted: {
    ...payoutName,
    amount: Amount,
    account: PayoutAccount,
    entries: BalancesSchema,
    ...at
  },
  PayoutDoubted: { ...payoutName, amount: Amount, error: Schema.String, left: Schema.Boolean, ...at },
  /** With an operator where one has said so. */
  PayoutEnded: {
    ...payoutEnd,
    amount: Amount,
    entries: BalancesSchema,
    by: Schema.optionalKey(CustomerId),
    reason: Schema.optionalKey(Reason),
    ...at
  }
})
export type Event = typeof Event.Type

type Decision = Result.Result<ReadonlyArray<Event>, SellerAccountRefusal>

export const ledgers = SellerLedger.literals

const nothing: Balances = {
  buyerPayments: 0n,
  refunded: 0n,
  fees: 0n,
  held: 0n,
  released: 0n,
  debt: 0n,
  inPayout: 0n,
  paidOut: 0n
}

const each = (of: (ledger: SellerLedger) => bigint): Balances => ({
  buyerPayments: of("buyerPayments"),
  refunded: of("refunded"),
  fees: of("fees"),
  held: of("held"),
  released: of("released"),
  debt: of("debt"),
  inPayout: of("inPayout"),
  paidOut: of("paidOut")
})

export const plus = (one: Balances, other: Balances): Balances => each((ledger) => one[ledger] + other[ledger])
const minus = (one: Balances, other: Balances): Balances => each((ledger) => one[ledger] - other[ledger])
const isNothing = (balances: Balances): boolean => ledgers.every((ledger) => balances[ledger] === 0n)

/** What the shop keeps of what the buyer has not got back, rounded down: of what is given back it gives its fee back, too. */
const feeOf = ({ captured, givenBack }: SellerStanding, basisPoints: number): bigint =>
  ((captured - givenBack) * BigInt(basisPoints)) / 10_000n

/** The balance sheet of one order, as if there were no other; debts are told apart only in the whole account. */
const sheetOf = (standing: SellerStanding, basisPoints: number): Balances => {
  const { captured, givenBack, released } = standing
  const fees = feeOf(standing, basisPoints)
  const due = captured - givenBack - fees
  return {
    ...nothing,
    buyerPayments: -captured,
    refunded: givenBack,
    fees,
    ...(released ? { released: due } : { held: due })
  }
}

export const balancesOf = (state: SellerAccountState, currency: Currency): Balances => {
  const found = state._tag === "Absent" ? undefined : state.balances.find((one) => one.currency === currency)
  return found ?? nothing
}

/** The same with what the seller owes paid by what it is owed: one of both is zero. */
const settled = (balances: Balances): Balances => {
  const available = balances.released + balances.debt
  return {
    ...balances,
    released: available > 0n ? available : 0n,
    debt: available < 0n ? available : 0n
  }
}

/** What has to be added so that `change` is in the books and debts are paid first. */
const entriesFor = (state: SellerAccountState, currency: Currency, change: Balances): Balances => {
  const before = balancesOf(state, currency)
  return minus(settled(plus(before, change)), before)
}

const feeAt = (state: SellerAccountState, capturedAt: DateTime.Utc, usual: number): number => {
  const changes = state._tag === "Absent" ? [] : state.fees
  const last = changes.findLast(({ since }) => DateTime.isLessThanOrEqualTo(since, capturedAt))
  return last?.basisPoints ?? usual
}

const kindOf = (before: SellerStanding, after: SellerStanding): PostingKind => {
  if (before.released !== after.released) return "released"
  if (before.captured !== after.captured) return "captured"
  return after.givenBack > before.givenBack ? "given_back" : "restored"
}

/** Changes of its fee, and payouts under way, that one account may have. */
const feesMax = 500
const payoutsMax = 100

/** What happens next; no events when it has happened already. */
export const decide = (
  state: SellerAccountState,
  command: Command,
  { id, now }: { readonly id: string; readonly now: DateTime.Utc }
): Decision => {
  switch (command._tag) {
    case "FollowOrder": {
      const { after, before, capturedAt, currency, feeBasisPoints, orderId, revision } = command
      const fee = feeAt(state, capturedAt, feeBasisPoints)
      const change = minus(sheetOf(after, fee), sheetOf(before, fee))
      if (isNothing(change)) return Result.succeed([])
      const entries = entriesFor(state, currency, change)
      const kind = kindOf(before, after)
      return Result.succeed([{ _tag: "Posted", kind, currency, entries, orderId, revision, capturedAt, at: now }])
    }
    case "SetFee": {
      const { basisPoints, by, reason } = command
      const fees = state._tag === "Absent" ? [] : state.fees
      if (fees.at(-1)?.basisPoints === basisPoints) return Result.succeed([])
      if (fees.length >= feesMax)
        return Result.fail(new IllegalTransition({ status: "too many fees", command: "SetFee" }))
      // What was captured so far keeps its fee, also where another node's clock is ahead of this one's.
      const latest = state._tag === "Absent" ? undefined : state.latestCapture
      const next = latest === undefined ? now : DateTime.max(now, DateTime.add(latest, { milliseconds: 1 }))
      const since = DateTime.max(next, fees.at(-1)?.since ?? next)
      const changed = basisPoints === undefined ? {} : { basisPoints }
      return Result.succeed([{ _tag: "FeeSet", since, ...changed, by, reason, at: now }])
    }
    case "SetPayoutAccount":
      return state._tag === "Present" && state.payoutAccount === command.account
        ? Result.succeed([])
        : Result.succeed([{ ...command, _tag: "PayoutAccountSet", at: now }])
    case "RequestPayout":
      return Result.map(payable(state, id), () => [{ ...command, _tag: "PayoutRequested", at: now }])
    case "StartPayout": {
      const { period } = command
      return Result.flatMap(payable(state, id), ({ account, payouts }) => {
        const due = dueIn(state, period)
        if (payouts.length + due.length > payoutsMax) {
          return Result.fail(new IllegalTransition({ status: "too many payouts under way", command: "StartPayout" }))
        }
        return Result.succeed(
          due.map(({ amount, currency }) => ({
            _tag: "PayoutStarted",
            period,
            currency,
            amount,
            account,
            entries: { ...nothing, released: -amount, inPayout: amount },
            at: now
          }))
        )
      })
    }
    case "EndPayout": {
      if (state._tag === "Absent") return Result.fail(new NotFound({ id }))
      const open = openOf(state, command)
      // It has ended before.
      return Result.succeed(open === undefined ? [] : [ended(state, open, command.outcome, now)])
    }
    case "DoubtPayout": {
      if (state._tag === "Absent") return Result.fail(new NotFound({ id }))
      const open = openOf(state, command)
      const known = open === undefined || open.doubt === "left" || (open.doubt === "unanswered" && !command.left)
      return Result.succeed(known ? [] : [{ ...command, _tag: "PayoutDoubted", amount: open.amount, at: now }])
    }
    case "SettlePayout": {
      if (state._tag === "Absent") return Result.fail(new NotFound({ id }))
      const { by, outcome, reason } = command
      const open = openOf(state, command)
      // As long as somebody asks the provider, a word of an operator could be overtaken by its answer.
      return open?.doubt === "left"
        ? Result.succeed([{ ...ended(state, open, outcome, now), by, reason }])
        : Result.fail(
            new IllegalTransition({
              status: open === undefined ? "not under way" : "under way",
              command: "SettlePayout"
            })
          )
    }
  }
}

/** What is the seller's in each currency, as far as it is not on its way for this period. */
export const dueIn = (
  state: SellerAccountState,
  period: PayoutPeriod
): ReadonlyArray<{ readonly currency: Currency; readonly amount: bigint }> =>
  state._tag === "Absent"
    ? []
    : state.balances.flatMap(({ currency, released: amount }) =>
        amount > 0n && openOf(state, { currency, period }) === undefined ? [{ currency, amount }] : []
      )

const payable = (
  state: SellerAccountState,
  id: string
): Result.Result<
  { readonly account: PayoutAccount; readonly payouts: ReadonlyArray<OpenPayout> },
  SellerAccountRefusal
> => {
  if (state._tag === "Absent") return Result.fail(new NotFound({ id }))
  const { payoutAccount: account, payouts } = state
  return account === undefined
    ? Result.fail(new IllegalTransition({ status: "no payout account", command: "StartPayout" }))
    : Result.succeed({ account, payouts })
}

const openOf = (
  { payouts }: PresentSellerAccount,
  { currency, period }: Pick<OpenPayout, "currency" | "period">
): OpenPayout | undefined => payouts.find((one) => one.period === period && one.currency === currency)

const ended = (
  state: PresentSellerAccount,
  { amount, currency, period }: OpenPayout,
  outcome: PayoutOutcome,
  now: DateTime.Utc
) => {
  const entries =
    outcome._tag === "Paid"
      ? { ...nothing, inPayout: -amount, paidOut: amount }
      : entriesFor(state, currency, { ...nothing, inPayout: -amount, released: amount })
  return { _tag: "PayoutEnded", period, currency, outcome, amount, entries, at: now } as const
}

const opened: PresentSellerAccount = { _tag: "Present", fees: [], balances: [], payouts: [], postings: 0 }

const posted = (
  state: PresentSellerAccount,
  { currency, entries }: { readonly currency: Currency; readonly entries: Balances }
): PresentSellerAccount => {
  const after = { currency, ...plus(balancesOf(state, currency), entries) }
  const known = state.balances.some((one) => one.currency === currency)
  return {
    ...state,
    balances: known
      ? state.balances.map((one) => (one.currency === currency ? after : one))
      : [...state.balances, after],
    postings: state.postings + 1
  }
}

/** Total: events are facts, so replay cannot fail. */
export const evolve = (before: SellerAccountState, event: Event): SellerAccountState => {
  const state = before._tag === "Absent" ? opened : before
  switch (event._tag) {
    case "Posted": {
      const { capturedAt } = event
      if (capturedAt === undefined) return posted(state, event)
      const latestCapture = DateTime.max(capturedAt, state.latestCapture ?? capturedAt)
      return { ...posted(state, event), latestCapture }
    }
    case "FeeSet": {
      const { basisPoints, since } = event
      return { ...state, fees: [...state.fees, { since, ...(basisPoints === undefined ? {} : { basisPoints }) }] }
    }
    case "PayoutAccountSet":
      return { ...state, payoutAccount: event.account }
    case "PayoutStarted": {
      const { account, amount, at: startedAt, currency, period } = event
      return { ...posted(state, event), payouts: [...state.payouts, { period, currency, amount, account, startedAt }] }
    }
    case "PayoutRequested":
      return state
    case "PayoutDoubted": {
      const doubt = event.left ? "left" : "unanswered"
      const isMeant = ({ currency, period }: OpenPayout) => period === event.period && currency === event.currency
      return { ...state, payouts: state.payouts.map((one) => (isMeant(one) ? { ...one, doubt } : one)) }
    }
    case "PayoutEnded":
      return {
        ...posted(state, event),
        payouts: state.payouts.filter(({ currency, period }) => period !== event.period || currency !== event.currency)
      }
  }
}

/** The account as operators see it; one of which nothing is known is empty. */
export const shown = (state: SellerAccountState, id: string): SellerAccountView => {
  const { balances, fees, payoutAccount, payouts, postings } = state._tag === "Absent" ? opened : state
  const basisPoints = fees.at(-1)?.basisPoints
  return {
    id: SellerId.make(id),
    ...(basisPoints === undefined ? {} : { feeBasisPoints: basisPoints }),
    balances,
    ...(payoutAccount === undefined ? {} : { payoutAccount }),
    payouts,
    postings
  }
}

export const view = (state: SellerAccountState, id: string): Result.Result<SellerAccountView, NotFound> =>
  state._tag === "Absent" ? Result.fail(new NotFound({ id })) : Result.succeed(shown(state, id))
