import { assert, describe, it } from "@effect/vitest"
import { Currency } from "../../src/domain/Money.ts"
import type { Buyer } from "../../src/simulate/Buyers.ts"
import { checkMoney } from "../../src/simulate/MoneyCheck.ts"
import type { Charge } from "../../src/simulate/SandboxControl.ts"
import { type Books, checkOrders, checkStock, type Shelf } from "../../src/simulate/StockCheck.ts"
import type { Outcome, Visit } from "../../src/simulate/Visit.ts"

const buyer: Buyer = {
  index: 1,
  kind: "plain",
  habit: { _tag: "Pays" },
  card: "pm_card_visa",
  currency: "EUR",
  address: { name: "Ada Lovelace", line1: "Rosenthaler Str. 40", city: "Berlin", postalCode: "10178", country: "DE" },
  express: false,
  lines: [{ sku: "TEA", quantity: 2 }]
}

const visit = (outcome: Outcome): Visit => ({ buyer, checkoutId: "sim-checkout-1", outcome, cameBack: 0 })

const confirmed = visit({ _tag: "Confirmed", total: { amount: 2500n, currency: Currency.make("EUR") } })
const rejected = visit({ _tag: "Rejected", reason: "PaymentDeclined" })

const never = { times: 0, amount: 0 }
const once = { times: 1, amount: 2500 }
const captured: Charge = {
  id: "pi_1",
  checkoutId: "sim-checkout-1",
  status: "succeeded",
  currency: "eur",
  authorized: once,
  captured: once,
  voided: never,
  refunded: never
}
const dropped: Charge = { ...captured, id: "pi_2", status: "canceled", captured: never, voided: once }

describe("the check of money", () => {
  const problems = (visits: ReadonlyArray<Visit>, charges: ReadonlyArray<Charge>) =>
    checkMoney(visits, charges).problems

  it("passes what was confirmed and captured once", () => {
    assert.deepStrictEqual(problems([confirmed], [dropped, captured]), [])
    assert.deepStrictEqual(problems([rejected], [dropped]), [])
  })

  it("finds a payment captured twice", () => {
    assert.lengthOf(problems([confirmed], [{ ...captured, captured: { times: 2, amount: 2500 } }]), 1)
  })

  it("finds two payments of one checkout", () => {
    assert.lengthOf(problems([confirmed], [captured, { ...captured, id: "pi_3" }]), 2)
  })

  it("finds money taken for nothing, unless it was given back", () => {
    assert.lengthOf(problems([rejected], [captured]), 1)
    assert.deepStrictEqual(problems([rejected], [{ ...captured, refunded: once }]), [])
  })

  it("finds a confirmation nobody has paid for, or not in full", () => {
    assert.lengthOf(problems([confirmed], []), 1)
    assert.lengthOf(problems([confirmed], [{ ...captured, captured: { times: 1, amount: 2499 } }]), 1)
  })

  it("finds another currency", () => {
    assert.lengthOf(problems([confirmed], [{ ...captured, currency: "usd" }]), 1)
  })

  it("finds a hold that still stands", () => {
    assert.lengthOf(problems([rejected], [{ ...dropped, status: "requires_capture" }]), 1)
  })
})

const shelf: Shelf = {
  sku: "TEA",
  warehouse: "AMS-1",
  onHand: 10,
  reserved: 1,
  committed: 5,
  damaged: 0,
  claimed: 1,
  allocated: 5,
  counted: 10,
  claimedByRun: 0,
  allocatedByRun: 2
}

const books = (change: Partial<Shelf>, status = "confirmed"): Books => ({
  shelves: [{ ...shelf, ...change }],
  orders: [{ id: "sim-checkout-1", status }]
})

describe("the check of stock", () => {
  const problems = (visits: ReadonlyArray<Visit>, change: Partial<Shelf>) => checkStock(visits, books(change)).problems

  it("passes when what buyers have confirmed has left the shelves, whatever others do", () => {
    assert.deepStrictEqual(problems([confirmed], {}), [])
  })

  it("finds less, or more, than was confirmed", () => {
    assert.lengthOf(problems([confirmed], { allocatedByRun: 1 }), 1)
    assert.lengthOf(problems([rejected], {}), 1)
  })

  it("finds counters which do not follow from reservations and ledger", () => {
    assert.lengthOf(problems([confirmed], { reserved: 2 }), 1)
    assert.lengthOf(problems([confirmed], { committed: 6 }), 1)
    assert.lengthOf(problems([confirmed], { onHand: 11 }), 1)
  })

  it("finds what is still reserved", () => {
    assert.lengthOf(problems([confirmed], { claimedByRun: 1 }), 1)
  })

  it("finds more sold than there is", () => {
    assert.lengthOf(problems([confirmed], { onHand: 5, counted: 5 }), 1)
  })
})

describe("the check of orders", () => {
  it("finds an order which is not as its buyer has heard", () => {
    assert.deepStrictEqual(checkOrders([confirmed], books({})).problems, [])
    assert.deepStrictEqual(checkOrders([rejected], books({}, "cancelled")).problems, [])
    assert.lengthOf(checkOrders([confirmed], books({}, "cancelled")).problems, 1)
    assert.lengthOf(checkOrders([rejected], books({})).problems, 1)
    assert.lengthOf(checkOrders([rejected], books({}, "pending")).problems, 1)
  })
})
