import { assert, describe, it } from "@effect/vitest"
import { DateTime, Result } from "effect"
import { AccessDenied } from "../../../src/domain/Refusals.ts"
import {
  gatedOnCapture,
  type OrderPaymentStatus,
  OrderState,
  OrderStatus,
  orderTransitions,
  ReasonCode
} from "../../../src/entities/order/Order.ts"
import * as OrderActor from "../../../src/entities/order/OrderActor.ts"
import { canMove, Command, view } from "../../../src/entities/order/OrderDecider.ts"
import { orderNumberOf } from "../../../src/domain/Ids.ts"
import { ada, after, bob, limits, orderId, orderTerms, start } from "../../fixtures/Builders.ts"
import { historyOf, play } from "../../fixtures/Histories.ts"
import { markdown, matrixOf, step } from "../../fixtures/Machine.ts"
import { orderMachine as machine, orders, waiting } from "../../fixtures/machines/OrderMachine.ts"
import { laws, table } from "../MachineLaws.ts"

const at = (state: OrderState, command: Command) => step(machine, state, { command, now: after("1 minute") })

it("which status may become which: all 64 pairs (REQ-ORD-17, REQUIREMENTS B.1)", () => {
  const rows = OrderStatus.literals.map((from) => [
    from,
    ...OrderStatus.literals.map((to) => (canMove(from, to) ? "yes" : "-"))
  ])
  assert.strictEqual(
    markdown(["from \\ to", ...OrderStatus.literals], rows),
    table(`
      | from \\ to  | pending | confirmed | processing | shipped | delivered | cancelled | refunded | failed |
      | ---------- | ------- | --------- | ---------- | ------- | --------- | --------- | -------- | ------ |
      | pending    | -       | yes       | -          | -       | -         | yes       | -        | yes    |
      | confirmed  | -       | -         | yes        | -       | -         | yes       | -        | -      |
      | processing | -       | -         | -          | yes     | -         | yes       | -        | -      |
      | shipped    | -       | -         | -          | -       | yes       | yes       | -        | -      |
      | delivered  | -       | -         | -          | -       | -         | -         | yes      | -      |
      | cancelled  | -       | -         | -          | -       | -         | -         | -        | -      |
      | refunded   | -       | -         | -          | -       | -         | -         | -        | -      |
      | failed     | yes     | -         | -          | -       | -         | -         | -        | -      |
    `)
  )
})

it("what each command does in each status", () => {
  assert.strictEqual(
    matrixOf(machine),
    table(`
      |                         | absent  | pending   | pending, cash | confirmed | processing | shipped   | delivered | cancelled | refunded | failed  |
      | ----------------------- | ------- | --------- | ------------- | --------- | ---------- | --------- | --------- | --------- | -------- | ------- |
      | Place                   | pending | -         | -             | !         | !          | !         | !         | !         | !        | !       |
      | Confirm                 | !       | confirmed | confirmed     | -         | !          | !         | !         | !         | !        | !       |
      | Cancel                  | !       | cancelled | cancelled     | cancelled | cancelled  | cancelled | !         | -         | !        | !       |
      | Fail                    | !       | failed    | failed        | !         | !          | !         | !         | !         | !        | -       |
      | PaymentMoved            | !       | changed   | changed       | changed   | changed    | changed   | changed   | changed   | changed  | changed |
      | PaymentMoved, all back  | !       | changed   | changed       | changed   | changed    | changed   | refunded  | changed   | -        | -       |
      | Settle                  | !       | -         | -             | -         | -          | -         | -         | changed   | -        | -       |
      | HoldForReview           | !       | !         | changed       | !         | !          | !         | !         | !         | !        | !       |
      | MoneyReceived           | !       | changed   | changed       | changed   | changed    | changed   | changed   | changed   | changed  | changed |
      | Confirm, window over    | !       | confirmed | !             | -         | !          | !         | !         | !         | !        | !       |
      | Cancel, window not over | !       | !         | !             | !         | !          | !         | !         | -         | !        | !       |
      | Cancel, window over     | !       | !         | cancelled     | !         | !          | !         | !         | -         | !        | !       |
    `)
  )
})

laws(machine, {
  state: OrderState,
  command: Command,
  final: ["cancelled", "refunded"],
  // They begin with a fulfillment.
  unreached: ["processing", "shipped", "delivered", "refunded"]
})

const history = historyOf(Command)

it.prop("every move is in the table", [history], ([past]) => {
  for (const { before, state } of play(machine, past)) {
    if (before._tag === "Absent" || state._tag === "Absent" || before.status === state.status) continue
    assert.include(orderTransitions[before.status], state.status)
  }
})

it.prop(
  "terms, number and instants of the placing never change; an end has its reason (REQ-CHK-18)",
  [history],
  ([past]) => {
    for (const { before, state } of play(machine, past)) {
      if (state._tag === "Absent") continue
      if (state.status === "cancelled" || state.status === "failed") assert.isDefined(state.reason)
      assert.strictEqual(state.cancelledAt !== undefined, state.status === "cancelled")
      if (before._tag === "Absent") continue
      const { expiresAt, number, placedAt, terms } = before
      assert.deepStrictEqual({ ...state, expiresAt, number, placedAt, terms }, state)
    }
  }
)

it("a move which is not in the table says from where to where (REQ-ORD-16)", () => {
  const { refusal } = at(orders.delivered, {
    _tag: "Cancel",
    reason: "buyer_cancelled",
    paymentStatus: "cancelled",
    settlementOpen: false
  })
  assert.strictEqual(refusal?.from, "delivered")
  assert.strictEqual(refusal?.to, "cancelled")
})

it("which wake-ups wait for an order that waits itself (REQ-COD-01, REQ-BNK-01)", () => {
  const timersOf = (state: OrderState, definition = machine.definition) => Object.keys(definition.timers?.(state) ?? {})
  assert.deepStrictEqual(timersOf(waiting), ["expiry", "confirm"])
  assert.deepStrictEqual(machine.definition.timers?.(waiting)["confirm"]?.dueAt, after("1 minute"))
  assert.deepStrictEqual(timersOf({ ...waiting, review: true }), ["expiry"])
  const byTransfer = { ...waiting, terms: { ...waiting.terms, paymentMethod: "bank_transfer" as const } }
  assert.deepStrictEqual(timersOf(byTransfer), ["expiry"])
  assert.deepStrictEqual(timersOf(orders.pending), ["expiry"])
  assert.deepStrictEqual(timersOf({ ...waiting, status: "confirmed" }), [])
  const operatorsOnly = OrderActor.make({ ...limits.order, confirmCashAfter: undefined })
  assert.deepStrictEqual(timersOf(waiting, operatorsOnly), ["expiry"])
})

it("at the first instant after its window an order lapses, and is confirmed no more; one instant before it is the other way round (REQ-COD-03)", () => {
  const ended = { paymentStatus: "cancelled", settlementOpen: false } as const
  for (const reason of ["cod_confirmation_window_expired", "bank_transfer_expired"] as const) {
    const cancel: Command = { _tag: "Cancel", reason, ...ended }
    const confirm: Command = { _tag: "Confirm", paymentStatus: "pending" }
    const moves = (command: Command, now: DateTime.Utc) => step(machine, waiting, { command, now }).events.length > 0
    const last = DateTime.subtract(waiting.expiresAt, { milliseconds: 1 })
    assert.deepStrictEqual([moves(confirm, last), moves(cancel, last)], [true, false])
    assert.deepStrictEqual([moves(confirm, waiting.expiresAt), moves(cancel, waiting.expiresAt)], [false, true])
  }
})

it("what all refunds lead to follows from where the order stands (T-ORD-17, REQ-ORD-10)", () => {
  const moved = (status: OrderStatus, paymentStatus: OrderPaymentStatus) => {
    const { state } = at(orders[status], { _tag: "PaymentMoved", paymentStatus })
    return state._tag === "Placed" ? [state.status, state.paymentStatus] : []
  }
  assert.deepStrictEqual(moved("delivered", "refunded"), ["refunded", "refunded"])
  assert.deepStrictEqual(moved("delivered", "partially_refunded"), ["delivered", "partially_refunded"])
  assert.deepStrictEqual(moved("cancelled", "refunded"), ["cancelled", "refunded"])
  assert.deepStrictEqual(moved("confirmed", "refunded"), ["confirmed", "refunded"])
})

it("what goes out of the house comes after the money (REQ-CAP-08, REQ-CAP-09)", () => {
  const gated = OrderStatus.literals.filter((status) => gatedOnCapture.includes(status))
  assert.deepStrictEqual(gated, ["shipped", "delivered"])
  for (const status of gated) assert.notInclude(orderTransitions["pending"], status)
})

it("the reasons are those of REQUIREMENTS B.2", () => {
  assert.deepStrictEqual(
    [...ReasonCode.literals],
    [
      "payment_failed",
      "payment_capture_exhausted",
      "authorization_expired",
      "authorization_timeout",
      "reservation_expired",
      "order_expired",
      "cod_confirmation_window_expired",
      "bank_transfer_expired",
      "stock_confirmation_failed",
      "out_of_stock",
      "buyer_cancelled",
      "operator_cancelled",
      "fulfilment_cancelled",
      "fraud_hold"
    ]
  )
})

describe("given an order which was just placed", () => {
  const placed = at({ _tag: "Absent" }, { _tag: "Place", terms: orderTerms, paymentStatus: "processing" })

  it("then it is pending for half an hour, under a number made of its id (N-009)", () => {
    assert.deepStrictEqual(placed.state, {
      ...orders.pending,
      number: orderNumberOf(orderId),
      placedAt: after("1 minute"),
      expiresAt: after("31 minutes")
    })
  })

  it("when it is placed once more, then it is the same order (REQ-CHK-13)", () => {
    assert.deepStrictEqual(
      at(placed.state, { _tag: "Place", terms: { ...orderTerms, attempt: 2 }, paymentStatus: "pending" }).events,
      []
    )
  })

  it("when its lines are written, then each is a row with its place (REQ-DAT-07)", () => {
    const rows = machine.definition.rows!(placed.events[0]!, placed.state, orderId)
    assert.deepStrictEqual(
      rows.map(({ row }) => row),
      orderTerms.lines.map(({ name, quantity, sellerId, sku, total, unitPrice }, index) => ({
        order_id: orderId,
        line: index + 1,
        sku,
        name,
        quantity,
        unit_price: unitPrice,
        total,
        seller_id: sellerId
      }))
    )
    for (const { row, table: lines } of rows) assert.deepStrictEqual(Object.keys(row), Object.keys(lines.columns))
    const confirmed = at(placed.state, { _tag: "Confirm", paymentStatus: "completed" })
    assert.deepStrictEqual(machine.definition.rows!(confirmed.events[0]!, confirmed.state, orderId), [])
  })
})

it("given a cancelled order whose money is still held, when it is given back, then nothing is open any more", () => {
  const { state } = at(orders.cancelled, { _tag: "Settle", paymentStatus: "refunded" })
  assert.deepStrictEqual(state, { ...orders.cancelled, paymentStatus: "refunded", settlementOpen: false })
})

it("only a pending order wakes up, when its time is over (REQ-EXP-01)", () => {
  const timers = (state: OrderState) => machine.definition.timers!(state)
  assert.deepStrictEqual(timers(orders.pending), { expiry: { dueAt: after("30 minutes") } })
  for (const status of OrderStatus.literals) {
    if (status !== "pending") assert.deepStrictEqual(timers(orders[status]), {})
  }
  assert.deepStrictEqual(timers({ _tag: "Absent" }), {})
})

it("an order is seen by its customer and by operators; to others it looks like none", () => {
  const denied = Result.fail(new AccessDenied())
  assert.deepStrictEqual(view(orders.pending, orderId, 3, bob), denied)
  assert.deepStrictEqual(view({ _tag: "Absent" }, orderId, 0, undefined), denied)
  const seen = view(orders.cancelled, orderId, 7, ada)
  assert.deepStrictEqual(seen, view(orders.cancelled, orderId, 7, undefined))
  const order = Result.getOrThrow(seen)
  assert.strictEqual(order.seq, 7)
  assert.strictEqual(order.reason, "buyer_cancelled")
  assert.deepStrictEqual(order.placedAt, start)
  assert.isUndefined(Result.getOrThrow(view(orders.pending, orderId, 1, ada)).confirmedAt)
})
