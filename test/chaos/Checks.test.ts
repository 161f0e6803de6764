import { assert, describe, it } from "@effect/vitest"
import {
  checkAnswers,
  checkCompensations,
  checkKeys,
  checkNotices,
  checkPlaces,
  checkUnfinished
} from "../../chaos/Checks.ts"
import type { Answer, Call } from "../../chaos/History.ts"
import { takeoverAt, throughputIn } from "../../chaos/History.ts"
import type { Snapshot } from "../../chaos/Tables.ts"
import type { Charge } from "../../src/simulate/SandboxControl.ts"

const id = "chaos-1-checkout-1"

const confirmed = (total = "2500"): Answer => ({
  _tag: "Success",
  content: { _tag: "Confirmed", orderId: id, number: "AAAAA-BBBBB", total: { amount: total, currency: "EUR" } }
})
const refused = (code: string): Answer => ({ _tag: "Refusal", code, content: { _tag: code } })
const said = (content: unknown): Answer => ({ _tag: "Success", content })

const call = (answer: Answer | undefined, change: Partial<Call> = {}): Call => ({
  operation: "ConfirmCheckout",
  subject: id,
  key: "key-1",
  input: {},
  from: 1000,
  ...(answer === undefined ? {} : { to: 1200, answer }),
  ...change
})

const empty: Snapshot = { orders: [], unfinished: [], notices: [], compensations: [], places: [] }
const order = { id, status: "confirmed", amount: "2500", currency: "EUR", settlementOpen: false }
const withOrder = (change: Partial<typeof order> = {}): Snapshot => ({ ...empty, orders: [{ ...order, ...change }] })

describe("the check of answers", () => {
  const problems = (answer: Answer, snapshot: Snapshot) => checkAnswers([call(answer)], snapshot).problems

  it("passes a confirmation whose order is confirmed for the total that was told, also when it is on its way", () => {
    assert.deepStrictEqual(problems(confirmed(), withOrder()), [])
    assert.deepStrictEqual(problems(confirmed(), withOrder({ status: "shipped" })), [])
  })

  it("finds a confirmation without an order, or of one that was cancelled or never confirmed", () => {
    assert.lengthOf(problems(confirmed(), empty), 1)
    for (const status of ["cancelled", "failed", "pending"])
      assert.lengthOf(problems(confirmed(), withOrder({ status })), 1, status)
  })

  it("finds another total, and another currency", () => {
    assert.lengthOf(problems(confirmed("2499"), withOrder()), 1)
    assert.lengthOf(problems(confirmed(), withOrder({ currency: "USD" })), 1)
  })

  it("finds an answer which nobody planned for", () => {
    assert.lengthOf(problems(refused("InternalError"), withOrder()), 1)
    assert.lengthOf(problems({ _tag: "Died", cause: "TypeError" }, withOrder()), 1)
  })
})

describe("the check of keys", () => {
  const problems = (...answers: ReadonlyArray<Answer | undefined>) =>
    checkKeys(answers.map((answer) => call(answer))).problems
  const added = (...answers: ReadonlyArray<Answer>) =>
    checkKeys(answers.map((answer) => call(answer, { operation: "AddItem" }))).problems

  it("passes the same answer, however often, and the silence before it", () => {
    assert.deepStrictEqual(problems(undefined, refused("Unavailable"), confirmed(), confirmed()), [])
    assert.deepStrictEqual(problems(said({ _tag: "Pending" }), refused("PaymentDeclined")), [])
  })

  it("finds a confirmation that became a refusal, and the other way round", () => {
    assert.lengthOf(problems(confirmed(), refused("PaymentDeclined")), 1)
    assert.lengthOf(problems(refused("OutOfStock"), confirmed()), 1)
    assert.lengthOf(problems(refused("OutOfStock"), refused("PaymentDeclined")), 1)
  })

  it("finds another total under the same key", () => {
    assert.lengthOf(problems(confirmed("2500"), confirmed("2600")), 1)
  })

  it("finds a command which was carried out twice", () => {
    assert.deepStrictEqual(added(said({ lines: [1] }), said({ lines: [1] })), [])
    assert.lengthOf(added(said({ lines: [1] }), said({ lines: [2] })), 1)
  })
})

describe("the check of processes", () => {
  const unfinished = (kind: string): Snapshot => ({ ...empty, unfinished: [{ kind, id, state: "confirming" }] })

  it("finds whatever is left under way", () => {
    assert.deepStrictEqual(checkUnfinished(empty, new Set()).problems, [])
    assert.lengthOf(checkUnfinished(unfinished("checkout"), new Set()).problems, 1)
    assert.lengthOf(checkUnfinished(unfinished("payment"), new Set()).problems, 1)
    assert.lengthOf(checkUnfinished(unfinished("refund"), new Set()).problems, 1)
  })

  it("passes money which was left to an operator, and nothing else of that order", () => {
    assert.deepStrictEqual(checkUnfinished(unfinished("payment"), new Set([id])).problems, [])
    assert.deepStrictEqual(checkUnfinished(unfinished("refund"), new Set([id])).problems, [])
    assert.lengthOf(checkUnfinished(unfinished("order"), new Set([id])).problems, 1)
  })
})

describe("the check of notices", () => {
  const notice = { from: `Order ${id}`, to: "Cart chaos-1-cart-1", attempts: 10, error: "it is locked", parked: true }
  const problems = (change: Partial<Snapshot["notices"][number]>) =>
    checkNotices({ ...empty, notices: [{ ...notice, ...change }] }).problems

  it("passes one which is parked with its cause, and finds one without", () => {
    assert.deepStrictEqual(problems({}), [])
    assert.lengthOf(problems({ error: null }), 1)
  })

  it("finds one which is not delivered", () => {
    assert.lengthOf(problems({ parked: false }), 1)
  })
})

describe("the check of failed compensations", () => {
  const record = {
    id: `void:${id}:1`,
    orderId: id,
    operation: "void_authorization",
    status: "pending",
    error: "503",
    earlier: false
  }
  const cancelled = { ...order, status: "cancelled", settlementOpen: true }
  const never = { times: 0, amount: 0 }
  const charge: Charge = {
    id: "pi_1",
    checkoutId: id,
    status: "requires_capture",
    currency: "eur",
    authorized: { times: 1, amount: 2500 },
    captured: never,
    voided: never,
    refunded: never
  }
  const problems = (snapshot: Partial<Snapshot>, charges: ReadonlyArray<Charge> = [charge]) =>
    checkCompensations({ ...empty, ...snapshot }, charges).problems

  it("passes money which a record leaves to an operator", () => {
    assert.deepStrictEqual(problems({ orders: [cancelled], compensations: [record] }), [])
  })

  it("finds money of a cancelled order which nobody has recorded", () => {
    assert.lengthOf(problems({ orders: [cancelled] }), 1)
  })

  it("finds a record without a cause, about nothing, or about an order that goes on", () => {
    assert.lengthOf(problems({ orders: [cancelled], compensations: [{ ...record, error: "" }] }), 1)
    assert.lengthOf(problems({ compensations: [record] }, []), 1)
    assert.lengthOf(problems({ orders: [order], compensations: [record] }), 1)
  })

  it("passes a record of an attempt behind which another one was confirmed", () => {
    assert.deepStrictEqual(problems({ orders: [order], compensations: [{ ...record, earlier: true }] }), [])
  })
})

describe("the check of places", () => {
  const counters = { on_hand: 10, reserved: 1, committed: 4, damaged: 0 }
  const place = { place: "TEA in AMS-1", counters, ledger: counters }
  const initially = { places: [{ ...place, counters: { ...counters, reserved: 0, committed: 0 } }] }
  const problems = (change: Partial<typeof place>) =>
    checkPlaces({ places: [{ ...place, ...change }] }, initially).problems

  it("passes what adds up", () => {
    assert.deepStrictEqual(problems({}), [])
  })

  it("finds a counter which is not the sum of its changes", () => {
    assert.lengthOf(problems({ ledger: { ...counters, committed: 3 } }), 1)
  })

  it("finds a unit that is gone, even when the ledger says so", () => {
    const less = { ...counters, on_hand: 9 }
    assert.lengthOf(problems({ counters: less, ledger: less }), 1)
  })
})

describe("how long others took to go on", () => {
  it("counts from the fault to the first word about each order that was under way, and to no mere excuse", () => {
    const history = [
      call(confirmed(), { subject: "a", from: 900, to: 1500 }),
      call(refused("Unavailable"), { subject: "b", from: 900, to: 1200 }),
      call(refused("OutOfStock"), { subject: "b", from: 1210, to: 4000 }),
      call(undefined, { subject: "c", from: 950 }),
      // Over before, or begun after it.
      call(confirmed(), { subject: "d", from: 500, to: 999 }),
      call(confirmed(), { subject: "e", from: 1001, to: 9000 })
    ]
    const { inFlight, milliseconds } = takeoverAt(history, "a kill", 1000)
    assert.strictEqual(inFlight, 3)
    assert.deepStrictEqual(milliseconds, [500, 3000])
  })

  it("counts what was sold within a phase", () => {
    const history = [
      call(confirmed(), { from: 0, to: 100 }),
      call(confirmed(), { from: 100, to: 400 }),
      call(refused("Unavailable"), { from: 100, to: 500 }),
      call(confirmed(), { from: 900, to: 1100 })
    ]
    const phase = throughputIn(history, { name: "faults", fromMs: 0, toMs: 1000 })
    assert.deepInclude(phase, { confirmed: 2, calls: 3, p50: 100, max: 300 })
  })
})
