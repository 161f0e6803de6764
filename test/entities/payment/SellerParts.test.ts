import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { SellerId } from "../../../src/domain/Ids.ts"
import { Amount } from "../../../src/domain/Money.ts"
import type { Escrow } from "../../../src/entities/payment/Escrow.ts"
import type { PaymentState, PresentPayment } from "../../../src/entities/payment/Payment.ts"
import { Command } from "../../../src/entities/payment/PaymentDecider.ts"
import { beginEscrow, partsOf, sellerFacts, withEscrow } from "../../../src/entities/payment/SellerParts.ts"
import { after, potter, tailor } from "../../fixtures/Builders.ts"
import { historyOf, play } from "../../fixtures/Histories.ts"
import { step } from "../../fixtures/Machine.ts"
import { begun, paymentMachine as machine } from "../../fixtures/machines/PaymentMachine.ts"

const sum = (amounts: ReadonlyArray<bigint>) => amounts.reduce((so, more) => so + more, 0n)

const Cents = Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: 0n, maximum: 99_999n }))
const Seller = Schema.Literals(["potters-row", "red-thread", "third-hand", "shop"])
/** An order with its discount and shipping, and some of it given back in steps, both as parts of a thousand. */
const Bill = Schema.Struct({
  lines: Schema.Array(Schema.Struct({ total: Cents, seller: Seller })).check(Schema.isBetweenLength(1, 12)),
  discount: Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: 0n, maximum: 1000n })),
  shipping: Cents,
  steps: Schema.Array(Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: 0n, maximum: 400n }))).check(
    Schema.isMaxLength(8)
  )
})
type Bill = typeof Bill.Type

const billed = (bill: Bill) => {
  const lines = bill.lines.map(({ seller, total }) =>
    seller === "shop" ? { total } : { total, sellerId: SellerId.make(seller) }
  )
  const subtotal = sum(lines.map(({ total }) => total))
  const discount = (subtotal * bill.discount) / 1000n
  return { lines, subtotal, discount, total: subtotal - discount + bill.shipping }
}

const taken = (parts: Escrow["parts"], total: bigint, changes: Partial<PresentPayment> = {}): PresentPayment => {
  const escrow = { parts, feeBasisPoints: 1000, revision: 0 }
  const state = withEscrow({ ...begun, amount: total, captured: total, escrow, ...changes })
  assert(state._tag === "Present")
  return state
}

describe("what of an order's total is whose (REQ-ESC-01)", () => {
  it("a discount is shared by what the lines cost, shipping is the shop's", () => {
    const lines = [
      { total: 2500n, sellerId: potter },
      { total: 1199n, sellerId: tailor },
      { total: 500n, sellerId: potter },
      { total: 801n }
    ]
    assert.deepStrictEqual(partsOf(lines, { subtotal: 5000n, discount: 500n }), [
      { sellerId: potter, amount: 2700n },
      { sellerId: tailor, amount: 1079n }
    ])
  })

  it("where the shop sells everything itself, nobody has a part", () => {
    assert.deepStrictEqual(partsOf([{ total: 2500n }], { subtotal: 2500n, discount: 0n }), [])
  })

  it("what is given away for nothing has parts of nothing", () => {
    const free = { total: 0n, sellerId: potter }
    assert.deepStrictEqual(partsOf([free], { subtotal: 0n, discount: 0n }), [{ sellerId: potter, amount: 0n }])
  })

  it.prop("sellers and shop together have the total, and nobody has more than its lines cost", [Bill], ([bill]) => {
    const { lines, total, ...rest } = billed(bill)
    const parts = partsOf(lines, rest)
    const shop = total - sum(parts.map(({ amount }) => amount))
    const own = sum(lines.flatMap(({ sellerId, total: cost }) => (sellerId === undefined ? [cost] : [])))
    assert.isTrue(shop >= bill.shipping && shop <= bill.shipping + own + BigInt(parts.length))
    for (const { amount, sellerId } of parts) {
      const costs = sum(lines.filter((line) => line.sellerId === sellerId).map((line) => line.total))
      assert.isTrue(amount >= 0n && amount <= costs)
      // To the cent: never more than one short of its exact share.
      const exact = costs * (rest.subtotal - rest.discount)
      assert.isTrue(amount * rest.subtotal <= exact && exact < (amount + 1n) * rest.subtotal + (exact === 0n ? 1n : 0n))
    }
  })

  it.prop(
    "many small refunds come to the same as one, never above anybody's part, and all given back is all of it",
    [Bill],
    ([bill]) => {
      const { lines, total, ...rest } = billed(bill)
      const { parts } = beginEscrow({ parts: partsOf(lines, rest), feeBasisPoints: 1000 })
      let state = taken(parts, total)
      let refunded = 0n
      for (const step_ of [...bill.steps, 1000n]) {
        const more = (total * step_) / 1000n
        refunded = refunded + more > total ? total : refunded + more
        const before = state.escrow!.parts
        state = taken(before, total, { refunded, escrow: state.escrow! })
        state.escrow!.parts.forEach(({ captured, givenBack }, index) => {
          assert.isTrue(givenBack >= before[index]!.givenBack && givenBack <= captured)
        })
        const shop = refunded - sum(state.escrow!.parts.map(({ givenBack }) => givenBack))
        assert.isTrue(shop >= 0n)
        assert.deepStrictEqual(state.escrow!.parts, taken(parts, total, { refunded }).escrow!.parts)
      }
      if (refunded < total) return
      for (const { captured, givenBack } of state.escrow!.parts) assert.strictEqual(givenBack, captured)
    }
  )
})

describe("given a payment of which a part is a seller's", () => {
  const held = machine.states["held for a seller"]!
  const at = (state: PaymentState, command: Command) => step(machine, state, { command, now: after("1 minute") })
  const chargeback = (status: "opened" | "won"): Command => ({
    _tag: "ChargebackReported",
    chargeback: "dp_1",
    amount: 4189n,
    reason: "fraudulent",
    status
  })
  const givenBack = (state: PaymentState) => (state._tag === "Absent" ? undefined : state.escrow?.parts[0]?.givenBack)

  it("when an issuer takes it back, then so much of it is given back; won, it is the seller's again", () => {
    const charged = at(held, chargeback("opened")).state
    assert.strictEqual(givenBack(charged), 2500n)
    assert.strictEqual(givenBack(at(charged, chargeback("won")).state), 0n)
  })

  it("when more is taken back than was captured, then the seller is liable for its part and no more", () => {
    const refunded = at(held, { _tag: "Refunded", amount: 1000n }).state
    assert.strictEqual(givenBack(at(refunded, chargeback("opened")).state), 2500n)
  })

  it("when it is released, then its seller hears how it stood and how it stands; again, nothing", () => {
    const { state } = at(held, { _tag: "ReleaseEscrow" })
    assert.deepStrictEqual(
      sellerFacts(held, state).map(({ after: stands, before: stood, revision, sellerId }) => [
        sellerId,
        revision,
        stood,
        stands
      ]),
      [
        [
          potter,
          2,
          { captured: 2500n, givenBack: 0n, released: false },
          { captured: 2500n, givenBack: 0n, released: true }
        ]
      ]
    )
    assert.deepStrictEqual(at(state, { _tag: "ReleaseEscrow" }).events, [])
  })

  it("when it is to be released before it is captured, then that is refused", () => {
    const asked = { ...begun, escrow: beginEscrow({ parts: [{ sellerId: potter, amount: 1n }], feeBasisPoints: 0 }) }
    assert.strictEqual(at(asked, { _tag: "ReleaseEscrow" }).refusal?._tag, "PaymentConflict")
  })
})

const sellers = Arbitrary.map(historyOf(Command, { rare: ["Voided", "Declined"], length: 60 }), (past) =>
  past.map((entry) =>
    entry.command._tag === "Begin"
      ? {
          ...entry,
          command: {
            ...entry.command,
            sellers: {
              parts: [
                { sellerId: potter, amount: entry.command.amount / 3n },
                { sellerId: tailor, amount: entry.command.amount / 2n }
              ],
              feeBasisPoints: 1000
            }
          }
        }
      : entry
  )
)

it.prop(
  "after any history the facts a seller has heard add up to how it stands, each with a revision of its own",
  [sellers],
  ([past]) => {
    const heard = new Map<SellerId, { captured: bigint; givenBack: bigint; revisions: Array<number> }>()
    let last: PaymentState = { _tag: "Absent" }
    for (const { before, events } of play(machine, past)) {
      let state = before
      for (const event of events) {
        const next = machine.definition.evolve(state, event)
        if (next._tag === "Present" && event._tag === "Begun") heard.clear()
        for (const fact of sellerFacts(state, next)) {
          const so = heard.get(fact.sellerId) ?? { captured: 0n, givenBack: 0n, revisions: [] }
          assert.notInclude(so.revisions, fact.revision)
          heard.set(fact.sellerId, {
            captured: so.captured + fact.after.captured - fact.before.captured,
            givenBack: so.givenBack + fact.after.givenBack - fact.before.givenBack,
            revisions: [...so.revisions, fact.revision]
          })
        }
        state = next
      }
      last = state
    }
    if (last._tag === "Absent" || last.escrow === undefined) return
    for (const { captured, givenBack, sellerId } of last.escrow.parts) {
      const so = heard.get(sellerId)
      assert.deepStrictEqual([so?.captured ?? 0n, so?.givenBack ?? 0n], [captured, givenBack])
    }
  }
)

it("amounts of the largest orders are split exactly", () => {
  const whole = Schema.decodeSync(Amount)(1_000_000_000_000_000n)
  const lines = [{ total: whole - 1n, sellerId: potter }, { total: 1n }]
  assert.deepStrictEqual(partsOf(lines, { subtotal: whole, discount: 0n }), [{ sellerId: potter, amount: whole - 1n }])
})
