import { assert, describe, it } from "@effect/vitest"
import { type Books, chargesAgainst, violationsOf } from "../../bench/HotSale.ts"
import type { Charge } from "../../src/simulate/SandboxControl.ts"

const right: Parameters<typeof violationsOf>[0] = {
  buyers: 5,
  units: 2,
  report: {
    confirmed: [
      { checkoutId: "one", number: "1" },
      { checkoutId: "two", number: "2" }
    ],
    refusals: { OutOfStock: 3 }
  },
  books: {
    stock: { onHand: 2, reserved: 0, committed: 2 },
    ledger: { onHand: 2, reserved: 0, committed: 2 },
    sold: 2,
    orders: ["two", "one"],
    unfinished: 0,
    captured: 2,
    strayPayments: 0,
    allocated: 2,
    claimed: 0
  },
  ledger: true
}
const books = (wrong: Partial<Books>) => ({ ...right, books: { ...right.books, ...wrong } })
const refusals = (wrong: Readonly<Record<string, number>>) => ({
  ...right,
  report: { ...right.report, refusals: wrong }
})

describe("given 5 buyers of 2 units", () => {
  it("when 2 have bought and 3 were refused, then nothing is wrong", () => {
    assert.deepStrictEqual(violationsOf(right), [])
  })

  it("when there are more units than buyers, then each gets one", () => {
    assert.deepStrictEqual(
      violationsOf({
        ...right,
        buyers: 2,
        units: 4,
        report: { ...right.report, refusals: {} },
        books: { ...right.books, stock: { onHand: 4, reserved: 0, committed: 2 } },
        ledger: false
      }),
      []
    )
  })

  it.each([
    [
      "one more has heard that they have it",
      {
        ...right,
        report: {
          confirmed: [...right.report.confirmed, { checkoutId: "three", number: "3" }],
          refusals: { OutOfStock: 2 }
        }
      }
    ],
    ["one was refused with something else", refusals({ OutOfStock: 2, Unavailable: 1 })],
    ["one has heard nothing", refusals({ OutOfStock: 2 })],
    ["a third unit is in an order", books({ sold: 3 })],
    ["somebody else has the order", books({ orders: ["one", "three"] })],
    ["an order is pending", books({ unfinished: 1 })],
    ["an order is not paid", books({ captured: 1 })],
    ["a refused one has a payment", books({ strayPayments: 1 })],
    ["a unit is still reserved", books({ stock: { onHand: 2, reserved: 1, committed: 1 } })],
    ["the ledger knows of one", books({ ledger: { onHand: 2, reserved: 0, committed: 1 } })],
    ["a reservation is still held", books({ claimed: 1 })],
    ["a reservation binds a third unit", books({ allocated: 3 })]
  ])("when %s, then it is told", (_, wrong) => {
    assert.isAbove(violationsOf(wrong).length, 0)
  })

  it("when the ledger is wrong and is none of the system's, then it does not count", () => {
    assert.deepStrictEqual(
      violationsOf({ ...books({ ledger: { onHand: 0, reserved: 0, committed: 0 } }), ledger: false }),
      []
    )
  })
})

const none = { times: 0, amount: 0 }
const once = { times: 1, amount: 4900 }
const charge = (checkoutId: string, wrong: Partial<Charge> = {}): Charge => ({
  id: `pi_${checkoutId}`,
  checkoutId,
  status: "succeeded",
  currency: "eur",
  authorized: once,
  captured: once,
  voided: none,
  refunded: none,
  ...wrong
})

describe("given a buyer who has it and one who was refused", () => {
  const sale = { paid: ["one"], unpaid: ["two"] }

  it("when only the first has paid, and once, then nothing is wrong", () => {
    assert.deepStrictEqual(chargesAgainst([sale], [charge("one")]), [])
  })

  it.each([
    ["the first has not paid", []],
    ["the first has paid twice", [charge("one"), charge("one")]],
    ["the first was captured twice", [charge("one", { captured: { times: 2, amount: 9800 } })]],
    ["the first has the money back", [charge("one", { refunded: once })]],
    ["the first has only been authorized", [charge("one", { captured: none })]],
    ["the second was so much as authorized", [charge("one"), charge("two", { captured: none })]]
  ])("when %s, then it is told", (_, charges) => {
    assert.strictEqual(chargesAgainst([sale], charges).length, 1)
  })
})
