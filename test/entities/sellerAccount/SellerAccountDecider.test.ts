import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { OrderId } from "../../../src/domain/Ids.ts"
import {
  type Balances,
  PayoutAccount,
  PayoutPeriod,
  SellerAccountState,
  type SellerAccountState as State
} from "../../../src/entities/sellerAccount/SellerAccount.ts"
import { balancesOf, Command, ledgers } from "../../../src/entities/sellerAccount/SellerAccountDecider.ts"
import { ada, after, EUR, start, USD } from "../../fixtures/Builders.ts"
import { historyOf, play } from "../../fixtures/Histories.ts"
import { matrixOf, step } from "../../fixtures/Machine.ts"
import { facts, sellerAccountMachine as machine } from "../../fixtures/machines/SellerAccountMachine.ts"
import { laws, table } from "../MachineLaws.ts"

const at = (state: State, command: Command, now = after("1 hour")) => step(machine, state, { command, now })
const all = (commands: ReadonlyArray<Command>, from: State = { _tag: "Absent" }): State =>
  commands.reduce((state, command) => at(state, command).state, from)
const total = (balances: Balances) => ledgers.reduce((sum, ledger) => sum + balances[ledger], 0n)
/** Those which are not zero. */
const books = (state: State, currency = EUR) => {
  const balances = balancesOf(state, currency)
  return Object.fromEntries(ledgers.flatMap((name) => (balances[name] === 0n ? [] : [[name, balances[name]]])))
}

it("what each command does in each state", () => {
  assert.strictEqual(
    matrixOf(machine),
    table(`
      |                              | Absent    | held    | released | with account | in payout | in doubt | left    | paid out | in debt |
      | ---------------------------- | --------- | ------- | -------- | ------------ | --------- | -------- | ------- | -------- | ------- |
      | FollowOrder, captured        | Present   | changed | changed  | changed      | changed   | changed  | changed | changed  | changed |
      | FollowOrder, released        | Present   | changed | changed  | changed      | changed   | changed  | changed | changed  | changed |
      | FollowOrder, given back      | Present   | changed | changed  | changed      | changed   | changed  | changed | changed  | changed |
      | FollowOrder, nothing new     | -         | -       | -        | -            | -         | -        | -       | -        | -       |
      | SetFee                       | Present   | changed | changed  | changed      | changed   | changed  | changed | changed  | changed |
      | SetFee, the usual one        | -         | -       | -        | -            | -         | -        | -       | -        | -       |
      | SetPayoutAccount             | Present   | changed | changed  | -            | -         | -        | -       | -        | -       |
      | RequestPayout                | !NotFound | !       | !        | changed      | changed   | changed  | changed | changed  | changed |
      | StartPayout                  | !NotFound | !       | !        | changed      | -         | -        | -       | -        | -       |
      | DoubtPayout, asked on        | !NotFound | -       | -        | -            | changed   | -        | -       | -        | -       |
      | DoubtPayout, left            | !NotFound | -       | -        | -            | changed   | changed  | -       | -        | -       |
      | SettlePayout                 | !NotFound | !       | !        | !            | !         | !        | changed | !        | !       |
      | EndPayout, paid              | !NotFound | -       | -        | -            | changed   | changed  | changed | -        | -       |
      | EndPayout, failed            | !NotFound | -       | -        | -            | changed   | changed  | changed | -        | -       |
      | EndPayout, of another period | !NotFound | -       | -        | -            | -         | -        | -       | -        | -       |
    `)
  )
})

laws(machine, { state: SellerAccountState, command: Command, final: [], counted: ["FollowOrder"] })

const history = historyOf(Command)

it.prop("whatever happens, each posting and each account add up to zero (REQ-ESC-01)", [history], ([past]) => {
  for (const { events, state } of play(machine, past)) {
    for (const event of events) if ("entries" in event) assert.strictEqual(total(event.entries), 0n)
    if (state._tag === "Absent") continue
    for (const balances of state.balances) assert.strictEqual(total(balances), 0n)
  }
})

it.prop(
  "a seller is owed something or owes something, never both; what is on its way is what payouts say",
  [history],
  ([past]) => {
    for (const { state } of play(machine, past)) {
      if (state._tag === "Absent") continue
      for (const { currency, debt, inPayout, released } of state.balances) {
        assert.isTrue(released >= 0n && debt <= 0n && (released === 0n || debt === 0n))
        const open = state.payouts.filter((payout) => payout.currency === currency)
        assert.strictEqual(
          inPayout,
          open.reduce((sum, { amount }) => sum + amount, 0n)
        )
      }
    }
  }
)

// --- Orders as payments tell of them.

const Portion = Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: 0n, maximum: 100n }))
/** How much of an order stands given back after each of its facts, in per cent, and before which of them it is released. */
const Story = Schema.Struct({
  amount: Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: 1n, maximum: 1_000_000n })),
  currency: Schema.Literals(["EUR", "USD"]),
  givenBack: Schema.Array(Portion).check(Schema.isMaxLength(5)),
  releasedBefore: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 7 })),
  minute: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 50 }))
})
type Story = typeof Story.Type

type Fact = Extract<Command, { readonly _tag: "FollowOrder" }>

const told = ({ amount, currency, givenBack, minute, releasedBefore }: Story, index: number): ReadonlyArray<Fact> => {
  let before: Fact["before"] = { captured: 0n, givenBack: 0n, released: false }
  const stands: Array<Fact["after"]> = [{ captured: amount, givenBack: 0n, released: false }]
  givenBack.forEach((percent, position) => {
    const last = stands.at(-1)!
    if (position + 1 === releasedBefore) stands.push({ ...last, released: true })
    stands.push({ ...stands.at(-1)!, givenBack: (amount * percent) / 100n })
  })
  return stands.map((standing, revision) => {
    const fact: Fact = {
      _tag: "FollowOrder",
      orderId: OrderId.make(`checkout-${index}`),
      currency: currency === "EUR" ? EUR : USD,
      revision,
      capturedAt: after(`${minute} minutes`),
      feeBasisPoints: 1250,
      before,
      after: standing
    }
    before = standing
    return fact
  })
}

/** The same, each with its place: by what is drawn, not by what happened first. */
const shuffled = <A>(items: ReadonlyArray<A>, order: ReadonlyArray<number>): ReadonlyArray<A> =>
  items
    .map((item, index) => [order[index % Math.max(1, order.length)] ?? 0, index, item] as const)
    .toSorted(([one, first], [other, second]) => one - other || first - second)
    .map(([, , item]) => item)

const Stories = Schema.Array(Story).check(Schema.isBetweenLength(1, 6))
const Order = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1000 }))).check(
  Schema.isBetweenLength(1, 40)
)

it.prop(
  "in whichever order facts arrive, the books are the same: a refund before its capture, too",
  [Stories, Order],
  ([stories, order]) => {
    const inOrder = stories.flatMap(told)
    for (const currency of [EUR, USD]) {
      assert.deepStrictEqual(books(all(shuffled(inOrder, order)), currency), books(all(inOrder), currency))
    }
  }
)

it.prop(
  "what is held, released, kept and owed is what was captured less what was given back (REQ-ESC-01, REQ-ESC-02)",
  [Stories],
  ([stories]) => {
    const state = all(stories.flatMap(told))
    for (const currency of [EUR, USD]) {
      const expected = { captured: 0n, givenBack: 0n, fees: 0n, held: 0n, available: 0n }
      stories.forEach((story, index) => {
        const last = told(story, index).at(-1)!
        if (last.currency !== currency) return
        const { captured, givenBack, released } = last.after
        const fee = ((captured - givenBack) * 1250n) / 10_000n
        expected.captured += captured
        expected.givenBack += givenBack
        expected.fees += fee
        expected[released ? "available" : "held"] += captured - givenBack - fee
      })
      const { buyerPayments, debt, fees, held, refunded, released } = balancesOf(state, currency)
      assert.deepStrictEqual(
        { captured: -buyerPayments, givenBack: refunded, fees, held, available: released + debt },
        expected
      )
    }
  }
)

it.prop("all given back leaves nothing behind, whatever happened in between", [Stories], ([stories]) => {
  const state = all(stories.map((story) => ({ ...story, givenBack: [...story.givenBack, 100n] })).flatMap(told))
  for (const currency of [EUR, USD]) {
    const { buyerPayments, debt, fees, held, refunded, released } = balancesOf(state, currency)
    assert.deepStrictEqual([fees, held, released, debt], [0n, 0n, 0n, 0n])
    assert.strictEqual(refunded, -buyerPayments)
  }
})

describe("given an order of ten euro, a tenth of which is the shop's", () => {
  const period = PayoutPeriod.make("2026-11")
  const end = (outcome: Extract<Command, { readonly _tag: "EndPayout" }>["outcome"]): Command => ({
    _tag: "EndPayout",
    period,
    currency: EUR,
    outcome
  })
  const paid = end({ _tag: "Paid", reference: "po_1" })
  const startPayout: Command = { _tag: "StartPayout", period }
  const setAccount: Command = {
    _tag: "SetPayoutAccount",
    account: PayoutAccount.make("acct_1"),
    by: ada,
    reason: "From its contract"
  }

  it("when it is captured, then it is held less the fee; released, it is the seller's (T-ESC-01)", () => {
    const held = all([facts.captured])
    assert.deepStrictEqual(books(held), { buyerPayments: -1000n, fees: 100n, held: 900n })
    assert.deepStrictEqual(books(all([facts.released], held)), { buyerPayments: -1000n, fees: 100n, released: 900n })
  })

  it("when half of it is given back before it is released, then half is held, and the shop keeps half of its fee", () => {
    const half = {
      ...facts["given back"],
      before: facts.captured.after,
      after: { ...facts.captured.after, givenBack: 500n }
    }
    assert.deepStrictEqual(books(all([facts.captured, half])), {
      buyerPayments: -1000n,
      refunded: 500n,
      fees: 50n,
      held: 450n
    })
  })

  it("when it is given back after it was paid out, then the seller owes it, and the next release pays that first", () => {
    const owing = all([facts.captured, facts.released, setAccount, startPayout, paid, facts["given back"]])
    assert.deepStrictEqual(books(owing), { buyerPayments: -1000n, refunded: 1000n, debt: -900n, paidOut: 900n })
    const other = OrderId.make("checkout-2")
    const next: ReadonlyArray<Command> = [
      { ...facts.captured, orderId: other, after: { ...facts.captured.after, captured: 1500n } },
      {
        ...facts.released,
        orderId: other,
        before: { ...facts.released.before, captured: 1500n },
        after: { ...facts.released.after, captured: 1500n }
      }
    ]
    const later = all(next, owing)
    assert.deepInclude(books(later), { released: 450n, paidOut: 900n })
    assert.notProperty(books(later), "debt")
  })

  it("when it is paid out twice for one period, then once (T-ESC-02)", () => {
    const once = all([facts.captured, facts.released, setAccount, startPayout])
    assert.deepInclude(books(once), { inPayout: 900n })
    assert.deepStrictEqual(at(once, startPayout).events, [])
    assert.deepStrictEqual(books(all([paid], once)), { buyerPayments: -1000n, fees: 100n, paidOut: 900n })
    assert.deepStrictEqual(at(all([paid], once), end({ _tag: "Failed", code: "late" })).events, [])
  })

  it("when the payout is refused, then the money is the seller's again, and people hear of it", () => {
    const open = all([facts.captured, facts.released, setAccount, startPayout])
    const { events, state } = at(open, end({ _tag: "Failed", code: "account_closed" }))
    assert.deepStrictEqual(books(state), { buyerPayments: -1000n, fees: 100n, released: 900n })
    const [notice] = machine.definition.notices!(events[0]!, state, machine.id, open)
    assert.strictEqual(notice?.receiver.id, "payout_failed:potters-row:2026-11:EUR")
  })

  it("when nobody knows what became of the payout, then people hear of it at most twice, and can only end what is left to them", () => {
    const open = all([facts.captured, facts.released, setAccount, startPayout])
    const doubt = (left: boolean): Command => ({
      _tag: "DoubtPayout",
      period,
      currency: EUR,
      error: "OutcomeUnknown",
      left
    })
    const settle: Command = { ...paid, _tag: "SettlePayout", by: ada, reason: "Seen in the provider's list" } as Command
    const doubted = at(open, doubt(false))
    const [first] = machine.definition.notices!(doubted.events[0]!, doubted.state, machine.id, open)
    assert.strictEqual(first?.receiver.id, "payout_unanswered:potters-row:2026-11:EUR")
    assert.strictEqual(at(doubted.state, settle).refusal?._tag, "IllegalTransition", "it is still asked for")
    const left = at(doubted.state, doubt(true))
    assert.lengthOf(machine.definition.notices!(left.events[0]!, left.state, machine.id, doubted.state), 1)
    assert.deepInclude(books(left.state), { inPayout: 900n })
    const settled = at(left.state, settle)
    assert.deepStrictEqual(books(settled.state), { buyerPayments: -1000n, fees: 100n, paidOut: 900n })
    const notices = machine.definition.notices!(settled.events[0]!, settled.state, machine.id, left.state)
    assert.deepStrictEqual(
      notices.map(({ message, receiver }) => [receiver.id, message._tag]),
      [["payout_unanswered:potters-row:2026-11:EUR", "Clear"]]
    )
  })

  it("when more was given back than is left after the release, then there is nothing to pay out, and nothing is started", () => {
    const owing = all([facts.captured, facts.released, setAccount, startPayout, paid, facts["given back"]])
    const next: Command = { ...startPayout, period: PayoutPeriod.make("2026-12") }
    assert.deepStrictEqual(at(owing, next).events, [])
  })

  it("when it is given back while a payout is under way that is refused later, then what is left of both is the seller's", () => {
    const open = all([facts.captured, facts.released, setAccount, startPayout, facts["given back"]])
    assert.deepInclude(books(open), { debt: -900n, inPayout: 900n })
    assert.deepStrictEqual(books(all([end({ _tag: "Failed", code: "account_closed" })], open)), {
      buyerPayments: -1000n,
      refunded: 1000n
    })
  })

  it("when the seller's fee changes, then orders captured before keep theirs, those captured later have the new one", () => {
    const fee: Command = { _tag: "SetFee", basisPoints: 0, by: ada, reason: "A partner" }
    const changed = all([facts.captured, fee])
    const back = all([facts.released, facts["given back"]], changed)
    assert.deepStrictEqual(books(back), { buyerPayments: -1000n, refunded: 1000n })
    const later: Fact = { ...facts.captured, orderId: OrderId.make("checkout-2"), capturedAt: after("2 hours") }
    assert.deepStrictEqual(books(all([later], changed)), { buyerPayments: -2000n, fees: 100n, held: 1900n })
    const usual = all([{ _tag: "SetFee", by: ada, reason: "A partner no more" }], changed)
    assert.deepStrictEqual(books(all([later], usual)), { buyerPayments: -2000n, fees: 200n, held: 1800n })
  })

  it("when another node's clock is ahead, then what it has captured keeps its fee all the same", () => {
    const ahead: Fact = { ...facts.captured, capturedAt: after("3 hours") }
    const changed = all([ahead, { _tag: "SetFee", basisPoints: 5000, by: ada, reason: "No partner" }])
    const back: Fact = {
      ...facts["given back"],
      capturedAt: ahead.capturedAt,
      before: ahead.after,
      after: { ...ahead.after, givenBack: 1000n }
    }
    assert.deepStrictEqual(books(all([back], changed)), { buyerPayments: -1000n, refunded: 1000n })
  })
})

it("what is captured in two currencies is never added up", () => {
  const dollars: Fact = { ...facts.captured, currency: USD, orderId: OrderId.make("checkout-2"), capturedAt: start }
  const state = all([facts.captured, dollars])
  for (const currency of [EUR, USD]) assert.deepInclude(books(state, currency), { held: 900n })
})
