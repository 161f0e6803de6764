import { Duration, Effect, Layer, ManagedRuntime } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { Rpc } from "effect/rpc"
import { Alert, type AlertSeverity } from "../../../src/entities/alert/Alert.ts"
import { layer as allHandlers } from "../../../src/layers/Handlers.ts"
import { OperatorRpc } from "../../../src/rpc/operator/OperatorRpc.ts"
import { eventually } from "../../fixtures/Eventually.ts"
import { Cart } from "../../../src/entities/cart/Cart.ts"
import { CheckoutId, CustomerId, Sku } from "../../../src/domain/Ids.ts"
import { Currency } from "../../../src/domain/Money.ts"
import { Quantity } from "../../../src/domain/Quantity.ts"
import { PaymentProvider } from "../../../src/sandbox/PaymentProvider.ts"
import { Placement } from "../../../src/runtime/Placement.ts"
import { type EdgeNode, startEdgeOver, tokenFor } from "../../fixtures/Edge.ts"
import { payable, period } from "../../fixtures/Sellers.ts"
import * as Shop from "../../fixtures/Shop.ts"
import { call } from "../../fixtures/Wire.ts"

const runtime = ManagedRuntime.make(
  Shop.layer({
    ...Shop.quickLimits,
    runtime: { ...Shop.quickLimits.runtime, noticeAttemptsMax: 3, noticeSweepInterval: Duration.millis(100) }
  })
)
let node: EdgeNode
let olga: string
let oscar: string
let ann: string
beforeAll(async () => {
  const services = await runtime.context()
  node = await startEdgeOver(Layer.provide(allHandlers, Layer.succeedContext(services)))
  olga = await tokenFor("olga", { role: "operator" })
  oscar = await tokenFor("oscar", { role: "operator" })
  ann = await tokenFor("ann")
})
afterAll(async () => {
  await node.stop()
  await runtime.dispose()
})

const raise = (id: string, severity: AlertSeverity = "critical") =>
  runtime.runPromise(
    Effect.gen(function* () {
      const alerts = (yield* Placement).client(Alert)
      yield* alerts(id).Raise({
        key: Shop.key(),
        kind: "stock_drift",
        severity,
        summary: "Two more are reserved than there are reservations",
        details: { error: "tea at berlin" }
      })
    })
  )

interface AuditRow {
  readonly actor: string
  readonly role: string
  readonly operation: string
  readonly subject: string | null
  readonly outcome: string
}
const audited = (subject: string) =>
  runtime.runPromise(
    Effect.flatMap(SqlClient, (sql) =>
      Effect.map(
        sql<AuditRow>`select actor, role, operation, subject, outcome from ops.audit where subject = ${subject} order by id`,
        (rows) => rows.map(({ actor, operation, outcome }) => [actor, operation, outcome])
      )
    )
  )

const key = () => ({ key: Shop.fresh("operator-key") })
const refusal = (error: object) => ({
  _tag: "Failure",
  cause: [{ _tag: "Fail", error: expect.objectContaining(error) }]
})

describe("given an alert", () => {
  it("when an operator acknowledges and clears it, then it says so, and the audit trail says who and why (REQ-ADM-03)", async () => {
    const id = Shop.fresh("stock_drift:tea")
    await raise(id)
    const acknowledged = await call(node, "AcknowledgeAlert", { ...key(), id }, olga)
    expect(acknowledged).toMatchObject({ _tag: "Success", value: { status: "acknowledged", acknowledgedBy: "olga" } })
    const reason = "Counted again, and corrected"
    const cleared = await call(node, "ClearAlert", { ...key(), id, reason }, oscar)
    expect(cleared).toMatchObject({ _tag: "Success", value: { status: "cleared", clearedBy: "oscar", reason } })
    expect(await call(node, "GetAlert", { id }, oscar)).toMatchObject({ value: { status: "cleared", raises: 1 } })
    expect(await audited(id)).toEqual([
      ["olga", "AcknowledgeAlert", "done"],
      ["oscar", "ClearAlert", "done"],
      ["oscar", "GetAlert", "done"]
    ])
  })

  it("when the same key comes twice, also at once, then there is one effect and one row about it", async () => {
    const id = Shop.fresh("stock_drift:pot")
    await raise(id)
    const request = { ...key(), id }
    const answers = await Promise.all([1, 2, 3].map(() => call(node, "AcknowledgeAlert", request, olga)))
    expect(answers.map(({ _tag }) => _tag)).toEqual(["Success", "Success", "Success"])
    expect(await audited(id)).toEqual([["olga", "AcknowledgeAlert", "done"]])
    expect(await call(node, "ClearAlert", { ...request, reason: "another content" }, olga)).toEqual(
      refusal({ _tag: "IdempotencyConflict" })
    )
  })

  it("when it is listed, then the pages have each alert once, newest first, as far as they were asked for", async () => {
    const ids = Array.from({ length: 7 }, () => Shop.fresh("queue:late"))
    for (const id of ids) await raise(id, "info")
    const seen: Array<string> = []
    let after: string | undefined
    do {
      const { value } = await call(node, "ListAlerts", { severity: "info", limit: 3, ...(after && { after }) }, olga)
      seen.push(...value.alerts.map(({ id }: { id: string }) => id))
      after = value.next
    } while (after !== undefined)
    expect(seen).toEqual(ids.toReversed())
    const { value } = await call(node, "ListAlerts", { severity: "info", status: "cleared" }, olga)
    expect(value.alerts).toEqual([])
  })
})

describe("given a paid order of 100.00", () => {
  const paid = (card?: string) =>
    runtime.runPromise(
      Effect.gen(function* () {
        yield* Shop.stock([{ sku: "lamp", price: 9510n, onHand: { berlin: 1000 } }])
        const { checkoutId, confirm } = yield* Shop.prepare({
          lines: { lamp: 1 },
          ...(card === undefined ? {} : { card })
        })
        yield* confirm()
        return checkoutId
      })
    )
  const reason = "The handle broke"
  const eur = (amount: unknown) => ({ amount, currency: "EUR" })

  it("when parts of it and then too much are refunded, then the sum is what was captured, and all is audited (T-PAY-29)", async () => {
    const id = await paid()
    const first = { ...key(), id, amount: eur("6000"), reason }
    expect(await call(node, "RefundPayment", first, olga)).toMatchObject({
      _tag: "Success",
      value: { amount: "6000", by: "olga", reason }
    })
    const beyond = await call(node, "RefundPayment", { ...key(), id, amount: eur("6000"), reason }, oscar)
    expect(beyond).toEqual(refusal({ _tag: "RefundTooLarge", remaining: "4000", currency: "EUR" }))
    expect(await call(node, "RefundPayment", first, olga)).toMatchObject({ _tag: "Success", value: { amount: "6000" } })
    expect(await call(node, "RefundPayment", { ...first, reason: "Another one" }, olga)).toEqual(
      refusal({ _tag: "IdempotencyConflict" })
    )
    await call(node, "RefundPayment", { ...key(), id, reason }, oscar)
    await expect
      .poll(() => call(node, "GetPayment", { id }, olga).then(({ value }) => value), { timeout: 10_000 })
      .toMatchObject({ status: "refunded", refunded: "10000", refundPending: "0" })
    const listed = await call(node, "ListRefunds", { id, status: "completed" }, olga)
    expect(listed.value.refunds.map(({ refund }: { refund: { amount: string } }) => refund.amount)).toEqual([
      "6000",
      "4000"
    ])
    const changes = (await audited(id)).filter(([, operation]) => operation !== "GetPayment")
    expect(changes).toEqual([
      ["olga", "RefundPayment", "done"],
      ["oscar", "RefundPayment", "RefundTooLarge"],
      ["olga", "RefundPayment", "IdempotencyConflict"],
      ["oscar", "RefundPayment", "done"],
      ["olga", "ListRefunds", "done"]
    ])
  })

  const strange: ReadonlyArray<unknown> = [
    "-1",
    "0",
    "NaN",
    "1e3",
    "10.001",
    "",
    " 10",
    "10 ",
    "+10",
    "0x10",
    "1_000",
    "1,000",
    "Infinity",
    "１０",
    -1,
    0,
    1e3,
    1000,
    10.001,
    null,
    true,
    [],
    {},
    ["10"]
  ]
  it.each(strange)("when the amount is %j, then it is refused and the field named", async (amount) => {
    const id = "order-of-nobody"
    const answer = await call(node, "RefundPayment", { ...key(), id, amount: eur(amount), reason }, olga)
    expect(answer).toEqual(refusal({ _tag: "InvalidRequest", field: "amount.amount" }))
  })

  it("when the currency is another, then it is refused and the field named", async () => {
    const id = await paid()
    const request = { ...key(), id, amount: { amount: "10", currency: "USD" }, reason }
    expect(await call(node, "RefundPayment", request, olga)).toEqual(
      refusal({ _tag: "InvalidRequest", field: "amount.currency" })
    )
  })

  it("when lists are read a payment at a time, then each refund is there once", async () => {
    const ids = [await paid(), await paid(), await paid()]
    for (const id of ids) await call(node, "RefundPayment", { ...key(), id, amount: eur("100"), reason }, olga)
    for (const id of ids) {
      await expect
        .poll(() => call(node, "GetPayment", { id }, olga).then(({ value }) => value.refunded), { timeout: 10_000 })
        .toBe("100")
    }
    const seen: Array<string> = []
    let after: string | undefined
    do {
      const { value } = await call(node, "ListRefunds", { limit: 1, ...(after && { after }) }, olga)
      seen.push(...value.refunds.map(({ orderId }: { orderId: string }) => orderId))
      after = value.next
    } while (after !== undefined)
    expect(seen.filter((id) => new Set<string>(ids).has(id)).toSorted()).toEqual(ids.toSorted())
    expect(seen.slice(0, 3).toSorted()).toEqual(ids.toSorted())
  })

  it("when it is captured though it was at once, then that is success; a hold which is none is refused", async () => {
    const id = await paid()
    expect(await call(node, "CapturePayment", { ...key(), id }, olga)).toMatchObject({ value: { saga: "captured" } })
  })
})

const received = (amount: string, currency = "EUR") => ({
  amount: { amount, currency },
  receivedAt: "2026-01-02T09:30:00Z"
})

describe("given orders which wait for their money, or to be confirmed (REQUIREMENTS B.14, B.15)", () => {
  const placed = (method: "cash_on_delivery" | "bank_transfer") =>
    runtime.runPromise(
      Effect.gen(function* () {
        yield* Shop.stock([{ sku: "vase", price: 9510n, onHand: { berlin: 1000 } }])
        const { checkoutId, confirm } = yield* Shop.prepare({ lines: { vase: 1 }, card: method })
        const confirmation = yield* confirm()
        return confirmation._tag === "Placed"
          ? { id: checkoutId, reference: confirmation.transferReference ?? "" }
          : yield* Effect.die(confirmation)
      })
    )

  it("when an operator holds, confirms and is handed the cash, then each is done once, and stands in the audit trail", async () => {
    const { id } = await placed("cash_on_delivery")
    const reason = "A strange address"
    const cash = { ...key(), id, ...received("10000") }
    expect(await call(node, "HoldCashOnDelivery", { ...key(), id, reason }, olga)).toMatchObject({
      value: { status: "pending", paymentMethod: "cash_on_delivery" }
    })
    expect(await call(node, "RecordCash", cash, olga)).toEqual(refusal({ _tag: "IllegalTransition" }))
    for (const who of [oscar, olga]) {
      expect(await call(node, "ConfirmCashOnDelivery", { ...key(), id }, who)).toMatchObject({
        value: { status: "confirmed", paymentStatus: "pending" }
      })
    }
    const wrong = { ...key(), id, ...received("9999") }
    expect(await call(node, "RecordCash", wrong, olga)).toEqual(
      refusal({ _tag: "CashMismatch", due: "10000", recorded: "9999" })
    )
    const right = { ...key(), id, ...received("10000") }
    for (let times = 0; times < 2; times++) {
      expect(await call(node, "RecordCash", right, olga)).toMatchObject({ value: { status: "captured" } })
    }
    const back = { ...key(), id, amount: { amount: "10000", currency: "EUR" }, reason: "It came back" }
    expect(await call(node, "RefundPayment", back, oscar)).toEqual(
      refusal({ _tag: "RefundNotPossible", because: "paid_offline" })
    )
    expect(await call(node, "RecordGivenBack", back, oscar)).toMatchObject({ value: { status: "refunded" } })
    expect(await audited(id)).toEqual([
      ["olga", "HoldCashOnDelivery", "done"],
      ["olga", "RecordCash", "IllegalTransition"],
      ["oscar", "ConfirmCashOnDelivery", "done"],
      // What was recorded, and what the operator heard of it.
      ["olga", "RecordCash", "done"],
      ["olga", "RecordCash", "CashMismatch"],
      ["olga", "RecordCash", "done"],
      ["oscar", "RefundPayment", "RefundNotPossible"],
      ["oscar", "RecordGivenBack", "done"]
    ])
  })

  it("when a transfer is recorded, also at once and with the reference as people write it, then it counts once", async () => {
    const { id, reference } = await placed("bank_transfer")
    const written = ` ${reference.toLowerCase().replaceAll(/(.{4})/g, "$1 ")}`
    const transfer = { reference: written, bankTransactionId: Shop.fresh("bank"), ...received("10000") }
    const answers = await Promise.all([1, 2, 3].map(() => call(node, "RecordBankTransfer", transfer, olga)))
    for (const answer of answers) {
      expect(answer).toMatchObject({
        value: { orderId: id, outcome: "captured", status: "confirmed", payment: { received: "10000", owed: "0" } }
      })
    }
    expect(await audited(id)).toEqual([["olga", "RecordBankTransfer", "done"]])
    const conflict = refusal({ _tag: "IdempotencyConflict" })
    expect(await call(node, "RecordBankTransfer", { ...transfer, ...received("9999") }, olga)).toEqual(conflict)
    // The same money for another order.
    const other = await placed("bank_transfer")
    const again = { ...transfer, reference: other.reference }
    expect(await call(node, "RecordBankTransfer", again, olga)).toEqual(conflict)
    expect(await call(node, "GetPayment", { id: other.id }, olga)).toMatchObject({ value: { received: "0" } })
  })

  it("when one transfer is recorded for two orders at the same instant, then one of them has it", async () => {
    for (let times = 0; times < 10; times++) {
      const orders = [await placed("bank_transfer"), await placed("bank_transfer")]
      const transfer = { bankTransactionId: Shop.fresh("bank"), ...received("10000") }
      const answers = await Promise.all(
        orders.map(({ reference }) => call(node, "RecordBankTransfer", { ...transfer, reference }, olga))
      )
      expect(answers.filter(({ _tag }) => _tag === "Success")).toHaveLength(1)
      expect(answers).toContainEqual(refusal({ _tag: "IdempotencyConflict" }))
      const payments = await Promise.all(orders.map(({ id }) => call(node, "GetPayment", { id }, olga)))
      expect(new Set(payments.map(({ value }) => value.received))).toEqual(new Set(["0", "10000"]))
    }
  })

  it("when nobody is meant by a reference, or a field is wrong, then it is refused by its name, and nothing changes", async () => {
    const { id, reference } = await placed("bank_transfer")
    const swapped = reference.replace(/^RF(\d)(\d)/, (_, one: string, two: string) =>
      one === two ? `RF${one}${(Number(two) + 1) % 10}` : `RF${two}${one}`
    )
    const transfer = { reference, bankTransactionId: Shop.fresh("bank"), ...received("10000") }
    const wrongs: ReadonlyArray<readonly [object, object]> = [
      [{ reference: swapped }, { _tag: "NotFound" }],
      [{ reference: "RF00 0000" }, { _tag: "NotFound" }],
      [{ reference: "" }, { _tag: "InvalidRequest", field: "reference" }],
      [{ reference: "'; drop table" }, { _tag: "InvalidRequest", field: "reference" }],
      [received("10000", "USD"), { _tag: "InvalidRequest", field: "amount.currency" }],
      [received("0"), { _tag: "InvalidRequest", field: "amount.amount" }],
      [received("-1"), { _tag: "InvalidRequest", field: "amount.amount" }],
      [{ receivedAt: "yesterday" }, { _tag: "InvalidRequest", field: "receivedAt" }],
      [{ receivedAt: "2099-01-01T00:00:00Z" }, { _tag: "InvalidRequest", field: "receivedAt" }],
      [{ bankTransactionId: "two words" }, { _tag: "InvalidRequest", field: "bankTransactionId" }]
    ]
    for (const [wrong, told] of wrongs) {
      expect(await call(node, "RecordBankTransfer", { ...transfer, ...wrong }, olga)).toEqual(refusal(told))
    }
    expect(await call(node, "GetPayment", { id }, olga)).toMatchObject({ value: { status: "pending", received: "0" } })
    expect(await call(node, "RecordBankTransfer", transfer, olga)).toMatchObject({ value: { outcome: "captured" } })
  })

  it("when they come over plain HTTP, then they do the same, for operators only (REQ-GEN-22)", async () => {
    const post = async (path: string, token: string, body: object) => {
      const answer = await fetch(`${node.url}/api/v1/admin${path}`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        body: JSON.stringify(body)
      })
      return { status: answer.status, body: await answer.json() }
    }
    const cash = await placed("cash_on_delivery")
    const path = `/orders/${cash.id}/cash`
    expect((await post(`${path}/confirm`, ann, key())).status).toBe(403)
    const hold = { ...key(), reason: "A strange address" }
    expect(await post(`${path}/hold`, olga, hold)).toMatchObject({ status: 200, body: { status: "pending" } })
    expect(await post(`${path}/confirm`, olga, key())).toMatchObject({ status: 200, body: { status: "confirmed" } })
    expect(await post(path, olga, { ...key(), ...received("1") })).toMatchObject({
      status: 422,
      body: { code: "CashMismatch", details: { due: "10000" } }
    })
    expect(await post(path, olga, { ...key(), ...received("0") })).toMatchObject({ status: 400 })
    expect(await post(path, olga, { ...key(), ...received("10000") })).toMatchObject({ body: { status: "captured" } })
    const { id, reference } = await placed("bank_transfer")
    const transfer = { reference, bankTransactionId: Shop.fresh("bank"), ...received("10500") }
    expect((await post("/bank-transfers", ann, transfer)).status).toBe(403)
    expect(await post("/bank-transfers", olga, transfer)).toMatchObject({
      status: 200,
      body: { orderId: id, outcome: "over", payment: { owed: "500" } }
    })
    expect(await post("/bank-transfers", olga, { ...transfer, reference: "RF00" })).toMatchObject({ status: 404 })
    const back = { ...key(), amount: { amount: "500", currency: "EUR" }, reason: "Sent back" }
    expect(await post(`/orders/${id}/given-back`, olga, back)).toMatchObject({ status: 200, body: { owed: "0" } })
  })
})

describe("given a paid order of a seller's lamp", () => {
  const sold = (seller: string) =>
    runtime.runPromise(
      Effect.gen(function* () {
        const sku = Shop.fresh("lamp")
        yield* Shop.stock([{ sku, price: 9510n, onHand: { berlin: 10 }, seller }])
        const { checkoutId, confirm } = yield* Shop.prepare({ lines: { [sku]: 1 } })
        yield* confirm()
        return checkoutId
      })
    )
  const released = (seller: string) =>
    runtime.runPromise(
      eventually(
        Effect.promise(() => call(node, "GetSellerAccount", { id: seller }, olga)),
        ({ value }) => value?.balances[0]?.released === "9035"
      )
    )

  it("when an operator sets the seller's fee beforehand and releases it, then it is the seller's, less that fee; all is audited", async () => {
    const seller = Shop.fresh("lighter")
    const fee = { ...key(), id: seller, basisPoints: 500, reason: "A partner" }
    expect(await call(node, "SetSellerFee", fee, olga)).toMatchObject({ value: { feeBasisPoints: 500 } })
    expect(await call(node, "SetSellerFee", fee, olga)).toMatchObject({ value: { feeBasisPoints: 500 } })
    const id = await sold(seller)
    const release = { ...key(), id, reason: "The parcel is there" }
    const answers = await Promise.all([1, 2, 3].map(() => call(node, "ReleaseEscrow", release, oscar)))
    expect(answers.map(({ _tag }) => _tag)).toEqual(["Success", "Success", "Success"])
    expect(await released(seller)).toMatchObject({
      value: { balances: [{ currency: "EUR", buyerPayments: "-9510", fees: "475", held: "0", released: "9035" }] }
    })
    expect(await audited(id)).toEqual([["oscar", "ReleaseEscrow", "done"]])
    expect((await audited(seller)).slice(0, 2)).toEqual([
      ["olga", "SetSellerFee", "done"],
      ["olga", "GetSellerAccount", "done"]
    ])
    const first = await call(node, "ListSellerEntries", { id: seller, limit: 1 }, olga)
    expect(first.value.postings).toMatchObject([
      {
        posting: 2,
        kind: "released",
        orderId: id,
        entries: [
          { account: "held", amount: "-9035" },
          { account: "released", amount: "9035" }
        ]
      }
    ])
    const rest = await call(node, "ListSellerEntries", { id: seller, after: first.value.next }, olga)
    expect(rest.value.postings.map(({ kind }: { kind: string }) => kind)).toEqual(["captured"])
    expect(rest.value.next).toBeUndefined()
    const after = Buffer.from("2026-11-20T10:00:00.000000Z seller").toString("base64url")
    expect(await call(node, "ListSellerEntries", { id: seller, after }, olga)).toEqual(
      refusal({ _tag: "InvalidRequest", field: "after" })
    )
  })

  it("when the money is not there yet, then it is not released; a fee above all of it is refused by its field", async () => {
    const seller = Shop.fresh("lighter")
    await sold(seller)
    const declined = await runtime.runPromise(
      Effect.gen(function* () {
        const sku = Shop.fresh("lamp")
        yield* Shop.stock([{ sku, price: 9510n, onHand: { berlin: 10 }, seller }])
        const { checkoutId, confirm } = yield* Shop.prepare({ lines: { [sku]: 1 }, card: "pm_card_chargeDeclined" })
        yield* Effect.flip(confirm())
        return checkoutId
      })
    )
    expect(await call(node, "ReleaseEscrow", { ...key(), id: declined, reason: "It is closed" }, olga)).toEqual(
      refusal({ _tag: "IllegalTransition", status: "failed" })
    )
    expect(
      await call(node, "SetSellerFee", { ...key(), id: seller, basisPoints: 10_001, reason: "All" }, olga)
    ).toEqual(refusal({ _tag: "InvalidRequest", field: "basisPoints" }))
  })

  it("when it is asked for over plain HTTP, then it is the same", async () => {
    const seller = Shop.fresh("lighter")
    const id = await sold(seller)
    const ask = (path: string, body?: object) =>
      fetch(`${node.url}/api/v1/admin${path}`, {
        headers: { authorization: `Bearer ${olga}`, "content-type": "application/json" },
        ...(body === undefined ? {} : { method: "POST", body: JSON.stringify(body) })
      }).then(async (answer) => [answer.status, JSON.parse(await answer.text())] as const)
    const [status] = await ask(`/orders/${id}/escrow/release`, { ...key(), reason: "The parcel is there" })
    expect(status).toBe(200)
    await runtime.runPromise(
      eventually(
        Effect.promise(() => ask(`/sellers/${seller}`)),
        ([, account]) => account.balances?.[0]?.released === "8559"
      )
    )
    expect(await ask(`/sellers/${seller}/entries?limit=1`)).toMatchObject([200, { postings: [{ kind: "released" }] }])
    expect(await ask(`/sellers/${seller}/fee`, { ...key(), basisPoints: 0, reason: "A partner" })).toMatchObject([
      200,
      { feeBasisPoints: 0 }
    ])
    expect(await ask(`/sellers/${Shop.fresh("nobody")}`)).toMatchObject([404, { code: "NotFound" }])
  })
})

describe("given a seller to whom 9.00 are due (REQ-ESC-02)", () => {
  const due = () => runtime.runPromise(payable)
  const paidOut = (seller: string) =>
    expect
      .poll(() => call(node, "ListPayouts", { id: seller }, olga).then(({ value }) => value.payouts), {
        timeout: 10_000
      })
      .toMatchObject([{ sellerId: seller, period, currency: "EUR", amount: "900", status: "paid" }])

  it("when an operator has it paid out, also twice at once, then it is on its way once, listed and audited", async () => {
    const seller = await due()
    const request = { ...key(), id: seller, period }
    const answers = await Promise.all([1, 2].map(() => call(node, "StartPayout", request, olga)))
    for (const { value } of answers) expect(value).toMatchObject([{ period, amount: "900" }])
    await paidOut(seller)
    expect((await call(node, "StartPayout", { ...key(), id: seller, period }, oscar)).value).toMatchObject([
      { status: "paid", reference: expect.stringMatching(/^tr_/) }
    ])
    expect(await call(node, "GetSellerAccount", { id: seller }, olga)).toMatchObject({
      value: { balances: [{ currency: "EUR", inPayout: "0", paidOut: "900", released: "0" }], payouts: [] }
    })
    expect((await audited(seller)).filter(([, operation]) => operation === "StartPayout")).toEqual([
      ["olga", "StartPayout", "done"],
      ["oscar", "StartPayout", "done"]
    ])
    expect(await call(node, "StartPayout", { ...request, period: "2026-12" }, olga)).toEqual(
      refusal({ _tag: "IdempotencyConflict" })
    )
    const settled = {
      ...key(),
      id: seller,
      period,
      currency: "EUR",
      status: "failed",
      reference: "-",
      reason: "Why not"
    }
    expect(await call(node, "SettlePayout", settled, olga)).toEqual(
      refusal({ _tag: "IllegalTransition", status: "not under way" })
    )
  })

  it.each([
    ["StartPayout", { period: "november 2026" }, "period"],
    ["SetPayoutAccount", { account: "", reason: "A contract" }, "account"],
    ["SettlePayout", { period, currency: "EUR", status: "lost", reference: "-", reason: "Why not" }, "status"],
    ["ListPayouts", { limit: 101 }, "limit"]
  ])("when %s has %j, then it is refused by its field, and nothing changes", async (tag, payload, field) => {
    const seller = await due()
    const keyed = tag === "ListPayouts" ? {} : key()
    expect(await call(node, tag, { ...keyed, id: seller, ...payload }, olga)).toEqual(
      refusal({ _tag: "InvalidRequest", field })
    )
    expect(await call(node, "ListPayouts", { id: seller }, olga)).toMatchObject({ value: { payouts: [] } })
  })

  it("when it is asked for over plain HTTP, then it is the same", async () => {
    const seller = await due()
    const ask = (path: string, token: string, body?: object) =>
      fetch(`${node.url}/api/v1/admin${path}`, {
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        ...(body === undefined ? {} : { method: "POST", body: JSON.stringify(body) })
      }).then(async (answer) => [answer.status, JSON.parse(await answer.text())] as const)
    const account = { ...key(), account: "acct_moved", reason: "It has another bank" }
    expect(await ask(`/sellers/${seller}/payout-account`, olga, account)).toMatchObject([
      200,
      { payoutAccount: "acct_moved" }
    ])
    expect((await ask(`/sellers/${seller}/payouts`, ann, { ...key(), period }))[0]).toBe(403)
    expect(await ask(`/sellers/${seller}/payouts`, olga, { ...key(), period })).toMatchObject([
      200,
      [{ sellerId: seller, amount: "900" }]
    ])
    await paidOut(seller)
    expect(await ask(`/payouts?id=${seller}&status=paid`, olga)).toMatchObject([200, { payouts: [{ amount: "900" }] }])
    const settled = { ...key(), period, currency: "EUR", status: "paid", reference: "tr_1", reason: "It is there" }
    expect(await ask(`/sellers/${seller}/payouts/settle`, olga, settled)).toMatchObject([
      409,
      { code: "IllegalTransition" }
    ])
    expect(await ask(`/sellers/${Shop.fresh("nobody")}/payouts`, olga, { ...key(), period })).toMatchObject([
      404,
      { code: "NotFound" }
    ])
  })
})

describe("given an operator who wants everything looked through", () => {
  it("when it is asked for, then it is done, listed and shown, and the same key is the same run (REQ-REC-02)", async () => {
    const request = { ...key(), checks: ["payment_status", "stock"] }
    const { value: begun } = await call(node, "StartReconciliation", request, olga)
    expect(begun).toMatchObject({ id: `operator:${request.key}`, checks: ["stock", "payment_status"] })
    const { id } = begun
    await expect
      .poll(() => call(node, "GetReconciliation", { id }, olga).then(({ value }) => value.report.status), {
        timeout: 10_000
      })
      .toBe("completed")
    const { value: listed } = await call(node, "ListReconciliations", { limit: 100 }, olga)
    expect(listed.reconciliations.find((one: { id: string }) => one.id === id).results).toMatchObject([
      { check: "stock", corrected: 0 },
      { check: "payment_status" }
    ])
    expect((await call(node, "StartReconciliation", request, olga)).value.id).toBe(id)
    expect(await call(node, "StartReconciliation", { ...request, checks: ["stock"] }, olga)).toEqual(
      refusal({ _tag: "IdempotencyConflict" })
    )
    expect(await call(node, "StartReconciliation", { ...key(), checks: ["nothing"] }, olga)).toEqual(
      refusal({ _tag: "InvalidRequest", field: "checks" })
    )
  })
})

describe("given every operation of operators (T-CMP-04, T-SEC-03)", () => {
  const operations = Array.from(
    OperatorRpc.requests as unknown as ReadonlyMap<string, Rpc.AnyWithProps>,
    ([tag]) => tag
  )
  /** Something that fits each of them, of things which are not there. */
  const payloads: Readonly<Record<string, object>> = {
    ListAudit: {},
    ListAlerts: {},
    ListParked: {},
    ReplayParked: { id: "Cart:unknown:1:0", key: "key-of-nobody" },
    CloseParked: { id: "Cart:unknown:1:0", key: "key-of-nobody", reason: "It is of no use" },
    GetPayment: { id: "order-unknown" },
    ListRefunds: {},
    RefundPayment: { id: "order-unknown", key: "key-of-nobody", reason: "The handle broke" },
    CapturePayment: { id: "order-unknown", key: "key-of-nobody" },
    ConfirmCashOnDelivery: { id: "order-unknown", key: "key-of-nobody" },
    HoldCashOnDelivery: { id: "order-unknown", key: "key-of-nobody", reason: "A strange address" },
    RecordCash: { id: "order-unknown", key: "key-of-nobody", ...received("100") },
    RecordBankTransfer: { reference: "RF18 5390 0754 7034 unknown", bankTransactionId: "bank-1", ...received("100") },
    RecordGivenBack: {
      id: "order-unknown",
      key: "key-of-nobody",
      amount: { amount: "100", currency: "EUR" },
      reason: "It was too late"
    },
    ReplayWebhook: { provider: "stripe", eventId: "evt_unknown", key: "key-of-nobody" },
    ListFailedCompensations: {},
    GetFailedCompensation: { id: "order-unknown~refund:1" },
    RetryCompensation: { id: "order-unknown~refund:1", key: "key-of-nobody" },
    ResolveCompensation: { id: "order-unknown~refund:1", key: "key-of-nobody", reason: "It was done by hand" },
    ListWorkflows: {},
    GetWorkflow: { id: "unknown" },
    ResumeWorkflow: { id: "unknown", reason: "It should go on" },
    InterruptWorkflow: { id: "unknown", reason: "It should not" },
    ReleaseEscrow: { id: "unknown-order", key: "key-of-nobody", reason: "It is closed" },
    GetSellerAccount: { id: "unknown-seller" },
    ListSellerEntries: { id: "seller-of-the-door" },
    SetSellerFee: { id: "seller-of-the-door", key: "key-of-nobody", basisPoints: 500, reason: "A partner" },
    SetPayoutAccount: { id: "seller-of-the-door", key: "key-of-nobody", account: "acct_1", reason: "A contract" },
    StartPayout: { id: "unknown-seller", key: "key-of-nobody", period: "2026-11" },
    SettlePayout: {
      id: "unknown-seller",
      key: "key-of-nobody",
      period: "2026-11",
      currency: "EUR",
      status: "paid",
      reference: "tr_1",
      reason: "It stands in the provider's list"
    },
    ListPayouts: {},
    ListReconciliations: {},
    GetReconciliation: { id: "operator:unknown" },
    StartReconciliation: { key: "key-of-nobody", checks: ["stock"] },
    GetAlert: { id: "queue:unknown" },
    AcknowledgeAlert: { id: "queue:unknown", key: "key-of-nobody" },
    ClearAlert: { id: "queue:unknown", key: "key-of-nobody", reason: "It went away" }
  }

  it.each(operations)(
    "when %s comes from a customer, or without a token, then it is refused, and audited",
    async (tag) => {
      const before = await count(tag)
      expect(await call(node, tag, payloads[tag], ann)).toEqual(refusal({ _tag: "AccessDenied" }))
      expect(await call(node, tag, payloads[tag])).toEqual(refusal({ _tag: "Unauthenticated" }))
      expect(await call(node, tag, payloads[tag], `${olga}x`)).toEqual(refusal({ _tag: "Unauthenticated" }))
      expect(await count(tag)).toEqual([
        ...before,
        "ann AccessDenied",
        "anonymous Unauthenticated",
        "anonymous Unauthenticated"
      ])
    }
  )

  const unknown = operations.filter((tag) => JSON.stringify(payloads[tag]).includes("unknown"))
  it.each(unknown)("when %s names something that is not there, then it is not found, and audited", async (tag) => {
    expect(await call(node, tag, payloads[tag], olga)).toEqual(refusal({ _tag: "NotFound" }))
    expect((await count(tag)).at(-1)).toBe("olga NotFound")
  })

  const count = (tag: string) =>
    runtime.runPromise(
      Effect.flatMap(SqlClient, (sql) =>
        Effect.map(sql<AuditRow>`select actor, outcome from ops.audit where operation = ${tag} order by id`, (rows) =>
          rows.map(({ actor, outcome }) => `${actor} ${outcome}`)
        )
      )
    )
})

describe("given a void that failed, over plain HTTP (REQ-API-06)", () => {
  const ask = async (method: "GET" | "POST", path: string, token: string | undefined, body?: object, headers = {}) => {
    const answer = await fetch(`${node.url}/api/v1/admin${path}`, {
      method,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) })
    })
    const text = await answer.text()
    return { status: answer.status, body: text === "" ? undefined : JSON.parse(text), text }
  }

  it("when an operator lists, retries and resolves, then each answer says what came of it, and nobody else gets one", async () => {
    const orders = await runtime.runPromise(
      Effect.gen(function* () {
        const provider = yield* PaymentProvider
        yield* Shop.stock([{ sku: "stuck", price: 700n, onHand: { berlin: 10 } }])
        provider.faults.inject({ operation: "cancel", fault: { _tag: "Unavailable" }, times: "always" })
        const made: Array<string> = []
        for (let index = 0; index < 2; index++) {
          const { checkoutId, confirm } = yield* Shop.prepare({
            lines: { stuck: 1 },
            card: "pm_sandbox_capture_declined"
          })
          yield* Effect.flip(confirm())
          made.push(checkoutId)
        }
        return made
      })
    )
    const [one, two] = orders.map((id) => `${id}~void_authorization:1`)
    const listed = await ask("GET", "/compensations?status=pending&limit=1", olga)
    expect(listed).toMatchObject({ status: 200, body: { compensations: [{ id: two, totalAmount: "1190" }] } })
    const rest = await ask("GET", `/compensations?status=pending&limit=1&after=${listed.body.next}`, olga)
    expect(rest.body.compensations).toMatchObject([{ id: one }])
    expect(listed.text).toMatch(/"authorization":"sha256:[0-9a-f]{12}"/)
    expect(listed.text).not.toMatch(/"pi_/)

    const failed = await ask(
      "POST",
      `/compensations/${one}/retry`,
      olga,
      {},
      { "idempotency-key": Shop.fresh("http-key") }
    )
    expect(failed).toMatchObject({ status: 200, body: { status: "pending", retryCount: 1 } })
    expect(failed.body.error).toMatch(/ProviderUnavailable|OutcomeUnknown/)

    await runtime.runPromise(Effect.map(PaymentProvider, ({ faults }) => faults.clear()))
    const path = `/compensations/${one}/retry`
    expect((await ask("POST", path, ann, key())).status).toBe(403)
    expect((await ask("POST", path, undefined, key())).status).toBe(401)
    expect(await ask("POST", path, olga, {})).toMatchObject({ status: 400, body: { code: "InvalidRequest" } })
    expect((await ask("POST", "/compensations/order-unknown~refund:1/retry", olga, key())).status).toBe(404)
    expect((await ask("POST", "/compensations/nonsense/retry", olga, key())).status).toBe(400)
    expect(await ask("POST", path, olga, key())).toMatchObject({
      status: 200,
      body: { status: "resolved", resolvedBy: "olga", resolution: "retried" }
    })
    expect(await ask("POST", path, oscar, key())).toMatchObject({ status: 409, body: { code: "IllegalTransition" } })

    const reason = "Voided in the provider's dashboard"
    expect(await ask("POST", `/compensations/${two}/resolve`, oscar, { ...key(), reason })).toMatchObject({
      status: 200,
      body: { status: "resolved", resolvedBy: "oscar", note: reason }
    })
    const audit = await ask("GET", `/audit?subject=${encodeURIComponent(one!)}`, olga)
    const operators = audit.body.records.filter(({ role }: AuditRow) => role === "operator")
    expect(operators.map(({ actor, outcome }: AuditRow) => `${actor} ${outcome}`)).toEqual([
      "oscar IllegalTransition",
      "olga done",
      "olga done"
    ])
    expect((await ask("GET", "/parked", olga)).status).toBe(200)
    expect((await ask("GET", `/alerts?status=cleared`, olga)).status).toBe(200)
    const described = await (await fetch(`${node.url}/openapi.json`)).json()
    expect(Object.keys((described as { paths: object }).paths)).toContain("/api/v1/admin/compensations/{id}/retry")
  })
})

describe("given a notice whose receiver refuses it (REQ-GEN-09, T-MSG-03)", () => {
  const parkedView = async (id: string) => {
    const { value } = await call(node, "ListParked", { limit: 100 }, olga)
    return value.parked.find((one: { id: string }) => one.id === id)
  }
  /** The lock of a cart which is not there cannot be opened. */
  const refused = async () => {
    const source = Shop.fresh("checkout")
    const cartId = Shop.fresh("cart")
    await runtime.runPromise(
      Effect.gen(function* () {
        const sql = yield* SqlClient
        const bucket = (yield* Placement).bucketOf(source)
        const message = JSON.stringify({ _tag: "Complete", checkoutId: source, orderId: source })
        yield* sql`
          insert into runtime.notices (source_id, source_type, seq, ordinal, bucket, receiver_type, receiver_id, message, due_at)
          values (${source}, 'CheckoutSession', 7, 0, ${bucket}, 'Cart', ${cartId}, ${message}::text::jsonb, now())`
      })
    )
    const id = `CheckoutSession:${source}:7:0`
    const shown = await runtime.runPromise(
      eventually(
        Effect.promise(() => parkedView(id)),
        (view) => view !== undefined
      )
    )
    const alert = await call(node, "GetAlert", { id: `parked_notice:${id}` }, olga)
    return { id, cartId, source, shown, alert: alert.value }
  }

  it("when it has failed three times, then it is set aside and raises an alert; closed, it is gone, kept in the audit trail, and the alert is over", async () => {
    const { alert, cartId, id, shown, source } = await refused()
    expect(shown).toMatchObject({ attempts: 3, receiverType: "Cart", receiverId: cartId, message: { orderId: source } })
    expect(alert).toMatchObject({ status: "open", severity: "critical", kind: "parked_notice" })
    const reason = "That cart was never made"
    const request = { ...key(), id, reason }
    expect(await call(node, "CloseParked", request, olga)).toMatchObject({ _tag: "Success" })
    expect(await call(node, "CloseParked", request, olga)).toMatchObject({ _tag: "Success" })
    expect(await call(node, "CloseParked", { ...key(), id, reason }, oscar)).toEqual(refusal({ _tag: "NotFound" }))
    expect(await parkedView(id)).toBeUndefined()
    expect((await call(node, "GetAlert", { id: `parked_notice:${id}` }, olga)).value).toMatchObject({
      status: "cleared"
    })
    const { value } = await call(node, "ListAudit", { subject: id, operation: "CloseParked" }, olga)
    expect(value.records).toMatchObject([
      { actor: "oscar", outcome: "NotFound" },
      { actor: "olga", outcome: "done", details: { reason, message: { orderId: source }, receiver: `Cart/${cartId}` } }
    ])
  })

  it("when two operators replay it at once, then one does, and it is delivered once its receiver takes it", async () => {
    const { cartId, id, source } = await refused()
    await runtime.runPromise(
      Effect.gen(function* () {
        const cart = (yield* Placement).client(Cart)(cartId)
        const by = CustomerId.make("ann")
        yield* cart.AddItem({
          key: Shop.key(),
          by,
          currency: Currency.make("EUR"),
          sku: Sku.make("tea"),
          quantity: Quantity.make(1)
        })
        yield* cart.Lock({ key: Shop.key(), by, checkoutId: CheckoutId.make(source), attempt: 1 })
      })
    )
    const both = await Promise.all([olga, oscar].map((token) => call(node, "ReplayParked", { ...key(), id }, token)))
    expect(both.filter(({ _tag }) => _tag === "Success")).toHaveLength(1)
    await runtime.runPromise(
      eventually(
        Effect.flatMap(Placement, (placement) =>
          placement
            .client(Cart)(cartId)
            .GetCart({ by: CustomerId.make("ann") })
        ),
        ({ status }) => status === "completed"
      )
    )
    expect(await parkedView(id)).toBeUndefined()
    expect((await audited(id)).filter(([, , outcome]) => outcome === "done")).toHaveLength(1)
  })
})

describe("given an audit trail", () => {
  it("when it is listed, then pages go back in time, and only what was asked for is there", async () => {
    const id = Shop.fresh("queue:audited")
    await raise(id)
    for (let index = 0; index < 5; index++) await call(node, "GetAlert", { id }, index % 2 === 0 ? olga : oscar)
    const page = (more: object) =>
      call(node, "ListAudit", { subject: id, ...more }, olga).then(
        ({ value }) =>
          value as { records: ReadonlyArray<{ id: string; actor: string; details: unknown }>; next?: string }
      )
    const first = await page({ limit: 3 })
    const second = await page({ limit: 3, after: first.next })
    expect([...first.records, ...second.records].map(({ actor }) => actor)).toEqual([
      "olga",
      "oscar",
      "olga",
      "oscar",
      "olga"
    ])
    expect(second.next).toBeUndefined()
    expect(first.records[0]!.details).toEqual({ id })
    expect((await page({ actor: "oscar" })).records).toHaveLength(2)
    expect((await page({ operation: "ClearAlert" })).records).toEqual([])
    const none = await page({ before: "2020-01-01T00:00:00.000Z" })
    expect(none.records).toEqual([])
    const forged = await call(node, "ListAudit", { after: "x" }, olga)
    expect(forged).toEqual(refusal({ _tag: "InvalidRequest", field: "after" }))
  })

  it("when somebody changes or removes a row, then the database refuses", async () => {
    const sums = () =>
      runtime.runPromise(
        Effect.flatMap(SqlClient, (sql) => sql`select count(*), string_agg(actor, ',' order by id) from ops.audit`)
      )
    const before = await sums()
    for (const statement of ["update ops.audit set actor = 'nobody'", "delete from ops.audit"]) {
      const refused = runtime.runPromise(Effect.flatMap(SqlClient, (sql) => sql.unsafe(statement)))
      await expect(refused).rejects.toThrow("Query failed")
    }
    expect(await sums()).toEqual(before)
  })

  it("when strangers knock all the time, then a minute has two hundred rows of it at the most", async () => {
    const knocks = Array.from({ length: 250 }, () => call(node, "GetAlert", { id: "queue:knocked" }))
    for (const answer of await Promise.all(knocks)) expect(answer).toEqual(refusal({ _tag: "Unauthenticated" }))
    expect((await audited("queue:knocked")).length).toBeLessThanOrEqual(200)
  })
})
