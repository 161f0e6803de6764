/** What really happened, beside what was asked for. A test compares the two: calls may be many, a capture only one. */
import type { Operation } from "./Faults.ts"
import type { Intent, Movement, Status } from "./IntentRules.ts"

/** How often something really happened to an intent, and how much in all, in minor units. */
export interface Tally {
  readonly times: number
  readonly amount: number
}

export interface LedgerEntry {
  readonly id: string
  /** From the intent's metadata, where our adapter puts it. */
  readonly checkoutId: string | null
  readonly status: Status
  readonly amount: number
  readonly currency: string
  readonly metadata: Readonly<Record<string, string>>
  readonly createdAt: number
  readonly created: Tally
  readonly authorized: Tally
  readonly captured: Tally
  readonly voided: Tally
  /** Refunds which went out, also those which came back. */
  readonly refunded: Tally
  readonly refundsReturned: Tally
  readonly chargedBack: Tally
  readonly chargebacksReturned: Tally
  /** All that happened, in order, with the idempotency key it was asked with; null for what time or the customer did. */
  readonly movements: ReadonlyArray<Movement & { readonly key: string | null; readonly at: number }>
  /** Requests which arrived since the start: repeats, refusals and lost ones too. */
  readonly calls: Partial<Record<Operation, number>>
}

export interface LedgerTotals {
  readonly intents: number
  readonly calls: Partial<Record<Operation, number>>
  /** By currency. */
  readonly money: Readonly<Record<string, Readonly<Record<keyof typeof sumsOf, Tally>>>>
  /** Checkouts which paid twice, at most a hundred: those with two captured intents. */
  readonly chargedTwice: ReadonlyArray<string>
  /** Checkouts with more than one hold that still stands, or a hold beside a capture; at most a hundred. */
  readonly heldTwice: ReadonlyArray<string>
}

export interface Ledger {
  readonly entry: (id: string) => LedgerEntry | undefined
  readonly ofCheckout: (checkoutId: string) => ReadonlyArray<LedgerEntry>
  /** Oldest first; `after` is the id of the last entry of the page before. */
  readonly page: (options: { readonly after?: string; readonly limit: number }) => {
    readonly entries: ReadonlyArray<LedgerEntry>
    readonly more: boolean
  }
  readonly totals: () => LedgerTotals
}

/** The metadata under which an intent carries the id of its checkout. */
export const checkoutMetadata = "checkout"

/** An intent with its past. Changes in place: there may be a million of them. */
export interface Account {
  /** Its place in the order of creation. */
  readonly position: number
  intent: Intent
  /** The card it was last tried with; the intent itself forgets a declined one. */
  token: string | undefined
  changedAt: number
  readonly movements: Array<Movement & { readonly key: string | null; readonly at: number }>
  readonly calls: Partial<Record<Operation, number>>
}

export const makeLedger = () => {
  const accounts = new Map<string, Account>()
  const order: Array<Account> = []
  let calls: Partial<Record<Operation, number>> = {}

  const openAccount = (intent: Intent): Account => {
    const account: Account = {
      position: order.length,
      intent,
      token: intent.paymentMethod ?? undefined,
      changedAt: 0,
      movements: [],
      calls: {}
    }
    accounts.set(intent.terms.id, account)
    order.push(account)
    return account
  }

  const ledger: Ledger = {
    entry: (id) => {
      const account = accounts.get(id)
      return account === undefined ? undefined : entryOf(account)
    },
    ofCheckout: (checkoutId) => order.filter((account) => checkoutOf(account) === checkoutId).map(entryOf),
    page: ({ after, limit }) => {
      const start = after === undefined ? 0 : (accounts.get(after)?.position ?? order.length) + 1
      const entries = order.slice(start, start + limit).map(entryOf)
      return { entries, more: order.length > start + limit }
    },
    totals: () => totalsOf(order, calls)
  }

  return {
    accounts,
    /** Oldest first. */
    order: order as ReadonlyArray<Account>,
    ledger,
    openAccount,
    count: (operation: Operation, account: Account | undefined): void => {
      calls[operation] = (calls[operation] ?? 0) + 1
      if (account !== undefined) account.calls[operation] = (account.calls[operation] ?? 0) + 1
    },
    recordMovements: (
      account: Account,
      movements: ReadonlyArray<Movement>,
      key: string | undefined,
      at: number
    ): void => {
      for (const movement of movements) account.movements.push({ ...movement, key: key ?? null, at })
    },
    clear: (): void => {
      accounts.clear()
      order.length = 0
      calls = {}
    }
  }
}

const checkoutOf = ({ intent }: Account): string | null => intent.terms.metadata[checkoutMetadata] ?? null

const tally = ({ movements }: Account, operation: Movement["operation"]): Tally => {
  let times = 0
  let amount = 0
  for (const movement of movements) {
    if (movement.operation !== operation) continue
    times += 1
    amount += movement.amount
  }
  return { times, amount }
}

const entryOf = (account: Account): LedgerEntry => ({
  id: account.intent.terms.id,
  checkoutId: checkoutOf(account),
  status: account.intent.status,
  amount: account.intent.terms.amount,
  currency: account.intent.terms.currency,
  metadata: account.intent.terms.metadata,
  createdAt: account.intent.terms.createdAt,
  created: tally(account, "create"),
  authorized: tally(account, sumsOf.authorized),
  captured: tally(account, sumsOf.captured),
  voided: tally(account, sumsOf.voided),
  refunded: tally(account, sumsOf.refunded),
  refundsReturned: tally(account, sumsOf.refundsReturned),
  chargedBack: tally(account, sumsOf.chargedBack),
  chargebacksReturned: tally(account, sumsOf.chargebacksReturned),
  movements: account.movements,
  calls: account.calls
})

const totalsOf = (accounts: ReadonlyArray<Account>, calls: Partial<Record<Operation, number>>): LedgerTotals => {
  const money: Record<string, Record<keyof typeof sumsOf, Tally>> = {}
  const charges = new Map<string, { captured: number; held: number }>()
  for (const account of accounts) {
    const sums = (money[account.intent.terms.currency] ??= { ...noSums })
    for (const [name, operation] of sumNames) sums[name] = sum(sums[name], tally(account, operation))
    const checkout = checkoutOf(account)
    if (checkout === null) continue
    const { status } = account.intent
    const captured = status === "succeeded" ? 1 : 0
    const held = status === "requires_capture" ? 1 : 0
    if (captured + held === 0) continue
    const before = charges.get(checkout)
    charges.set(checkout, { captured: (before?.captured ?? 0) + captured, held: (before?.held ?? 0) + held })
  }
  const those = (wrong: (charge: { captured: number; held: number }) => boolean): ReadonlyArray<string> =>
    [...charges]
      .filter(([, charge]) => wrong(charge))
      .slice(0, 100)
      .map(([checkout]) => checkout)
  return {
    intents: accounts.length,
    calls: { ...calls },
    money,
    chargedTwice: those(({ captured }) => captured > 1),
    heldTwice: those(({ captured, held }) => held > 0 && captured + held > 1)
  }
}

const none: Tally = { times: 0, amount: 0 }

const sumsOf = {
  authorized: "authorize",
  captured: "capture",
  voided: "void",
  refunded: "refund",
  refundsReturned: "refund_returned",
  chargedBack: "chargeback",
  chargebacksReturned: "chargeback_returned"
} as const satisfies Record<string, Movement["operation"]>

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the keys of what is written above
const sumNames = Object.entries(sumsOf) as ReadonlyArray<readonly [keyof typeof sumsOf, Movement["operation"]]>

const noSums: Readonly<Record<keyof typeof sumsOf, Tally>> = {
  authorized: none,
  captured: none,
  voided: none,
  refunded: none,
  refundsReturned: none,
  chargedBack: none,
  chargebacksReturned: none
}

const sum = (left: Tally, right: Tally): Tally => ({
  times: left.times + right.times,
  amount: left.amount + right.amount
})
