import { assert, describe, layer } from "@effect/vitest"
import { DateTime, Duration, Effect, Metric } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { CustomerId, OrderId } from "../../src/domain/Ids.ts"
import { Order } from "../../src/entities/order/Order.ts"
import { BankTransactionId } from "../../src/entities/payment/Receipt.ts"
import { Placement } from "../../src/runtime/Placement.ts"
import { PaymentProvider } from "../../src/sandbox/PaymentProvider.ts"
import { OfflinePayments } from "../../src/workflows/offline/OfflinePayments.ts"
import { eventually } from "../fixtures/Eventually.ts"
import * as Shop from "../fixtures/Shop.ts"

const by = CustomerId.make("olga")
const stocked = Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 1000 } }])
/** Of one tea, with its shipping. */
const due = 1740n

interface Standing {
  readonly status: string
  readonly reason: string | null
  readonly payment_status: string
  readonly saga: string
  readonly stock: string
  readonly owed: string
  readonly open: boolean
}
const standing = (id: string) =>
  Effect.flatMap(SqlClient, (sql) =>
    Effect.map(
      sql<Standing>`
        select o.status, o.reason, o.payment_status, p.saga_state as saga, r.status as stock, p.owed::text as owed, o.settlement_open as open
        from orders.orders o join payment.payments p on p.id = o.id join warehouse.reservations r on r.id = o.id where o.id = ${id}`,
      ([row]) => ({ ...row! })
    )
  )

const alertOf = (id: string) =>
  Effect.flatMap(SqlClient, (sql) =>
    Effect.map(
      sql<{ severity: string; status: string; amount: string }>`
        select severity, status, details ->> 'amount' as amount from ops.alerts where id = ${id}`,
      ([row]) => (row === undefined ? undefined : { ...row })
    )
  )

/** The calls to the provider about an order, and what the order's own operations are. */
const ordered = Effect.fnUntraced(function* (method: "cash_on_delivery" | "bank_transfer") {
  yield* stocked
  const prepared = yield* Shop.prepare({ lines: { tea: 1 }, card: method })
  const confirmation = yield* prepared.confirm()
  if (confirmation._tag !== "Placed") return yield* Effect.die(confirmation)
  const placement = yield* Placement
  const id = OrderId.make(prepared.checkoutId)
  const offline = placement.client(OfflinePayments)(id)
  const { ledger } = yield* PaymentProvider
  assert.deepStrictEqual(ledger.ofCheckout(id), [], "nobody asks the provider")
  return {
    ...prepared,
    confirmation,
    id,
    offline,
    order: placement.client(Order)(id),
    transfer: (amount: bigint, bankTransactionId: string = Shop.fresh("bank")) =>
      Effect.flatMap(DateTime.now, (receivedAt) =>
        offline.RecordTransfer({
          by,
          amount,
          bankTransactionId: BankTransactionId.make(bankTransactionId),
          receivedAt
        })
      ),
    cash: (amount: bigint, key = Shop.key()) =>
      Effect.flatMap(DateTime.now, (receivedAt) => offline.RecordCash({ key, by, amount, receivedAt }))
  }
})

const waiting = { status: "pending", reason: null, payment_status: "pending", saga: "none", stock: "active" }
const lapsed = { status: "cancelled", payment_status: "cancelled", saga: "voided", stock: "released" }

describe("given windows of a day, and no confirmation by itself", () => {
  layer(Shop.layer({ ...Shop.quickLimits, order: { ...Shop.quickLimits.order, confirmCashAfter: undefined } }), {
    excludeTestServices: true
  })((it) => {
    it.effect(
      "when cash on delivery is confirmed, then the order waits for a day with its stock, and nobody asks the provider (T-CHK-25, T-INV-29)",
      () =>
        Effect.gen(function* () {
          const { by: buyer, checkout, confirmation, id, order, session } = yield* ordered("cash_on_delivery")
          assert.deepInclude(confirmation, { method: "cash_on_delivery", orderId: id })
          assert.deepStrictEqual(confirmation.total.amount, due)
          assert.isUndefined(confirmation.transferReference)
          assert.deepInclude(yield* standing(id), { ...waiting, owed: "0" })
          const seen = yield* order.GetOrder({ by: buyer })
          assert.deepInclude(seen, { status: "pending", paymentMethod: "cash_on_delivery" })
          assert.deepStrictEqual(seen.expiresAt, confirmation.expiresAt)
          assert.deepStrictEqual(confirmation.expiresAt, DateTime.addDuration(seen.placedAt, Duration.hours(24)))
          // A second confirmation, with whatever key, is this order; and so says its status.
          assert.deepStrictEqual(yield* checkout.Confirm({ by: buyer, confirmKey: Shop.key() }), confirmation)
          assert.deepStrictEqual(yield* checkout.ConfirmStatus({ by: buyer }), confirmation)
          assert.strictEqual((yield* session.GetCheckout({ by: buyer })).orderId, id)
          assert.deepStrictEqual(yield* Shop.violations, [])
        })
    )

    it.effect("when there is too little of it, then the buyer hears that it is out of stock, and may take less", () =>
      Effect.gen(function* () {
        yield* Shop.stock([{ sku: "rare", price: 1250n, onHand: { berlin: 1 } }])
        const short = yield* Shop.prepare({ lines: { rare: 2 }, card: "bank_transfer" })
        assert.strictEqual((yield* Effect.flip(short.confirm()))._tag, "OutOfStock")
        yield* eventually(short.cart.GetCart({ by: short.by }), ({ status }) => status === "active")
        assert.deepStrictEqual(yield* Shop.violations, [])
      })
    )

    it.effect("when the cart costs nothing, then it is paid for, whatever was chosen", () =>
      Effect.gen(function* () {
        yield* Shop.stock([{ sku: "gift", price: 0n, onHand: { berlin: 10 } }])
        const { confirm } = yield* Shop.prepare({ lines: { gift: 1 }, card: "bank_transfer", currency: "USD" })
        assert.strictEqual((yield* confirm())._tag, "Confirmed")
      })
    )

    it.effect("when a card was declined, then the same checkout may be paid in cash", () =>
      Effect.gen(function* () {
        yield* stocked
        const {
          by: buyer,
          checkoutId,
          confirm,
          session
        } = yield* Shop.prepare({
          lines: { tea: 1 },
          card: "pm_card_chargeDeclined"
        })
        assert.strictEqual((yield* Effect.flip(confirm()))._tag, "PaymentDeclined")
        yield* session.SetPaymentMethod({ key: Shop.key(), by: buyer, paymentMethod: "cash_on_delivery" })
        assert.strictEqual((yield* confirm())._tag, "Placed")
        assert.deepInclude(yield* standing(checkoutId), waiting)
        assert.deepStrictEqual(yield* Shop.violations, [])
      })
    )

    it.effect("when an operator confirms it, then its stock is bound, once, and only its own money is missing", () =>
      Effect.gen(function* () {
        const { id, offline } = yield* ordered("cash_on_delivery")
        assert.strictEqual((yield* offline.ConfirmCash({ by })).status, "confirmed")
        assert.strictEqual((yield* offline.ConfirmCash({ by: CustomerId.make("oscar") })).status, "confirmed")
        assert.deepInclude(yield* standing(id), {
          ...waiting,
          status: "confirmed",
          stock: "fulfilled"
        })
        assert.deepInclude(yield* Effect.flip(offline.HoldCash({ by, reason: "Too late" })), {
          _tag: "IllegalTransition",
          status: "confirmed"
        })
        const sql = yield* SqlClient
        const audits = yield* sql`select actor, operation from ops.audit where subject = ${id}`
        assert.deepStrictEqual(
          audits.map((row) => ({ ...row })),
          [{ actor: "olga", operation: "ConfirmCashOnDelivery" }]
        )
        assert.deepStrictEqual(yield* Shop.violations, [])
      })
    )

    it.effect(
      "when cash is handed in, then exactly what is due captures it; anything else is disputed, and alerts until it is put right (REQ-COD-04)",
      () =>
        Effect.gen(function* () {
          const { cash, id, offline } = yield* ordered("cash_on_delivery")
          assert.deepInclude(yield* Effect.flip(cash(due)), { _tag: "IllegalTransition", status: "pending" })
          yield* offline.ConfirmCash({ by })
          const wrong = Shop.key()
          for (let times = 0; times < 2; times++) {
            assert.deepInclude(yield* Effect.flip(cash(due - 1n, wrong)), {
              _tag: "CashMismatch",
              due,
              recorded: due - 1n
            })
          }
          assert.deepInclude(yield* standing(id), { payment_status: "pending", saga: "none", owed: "0" })
          assert.deepInclude(yield* eventually(alertOf(`cash_mismatch:${id}`), (alert) => alert !== undefined), {
            severity: "warning",
            status: "open"
          })
          const right = Shop.key()
          assert.deepInclude(yield* cash(due, right), { status: "captured", received: due, owed: 0n })
          assert.deepInclude(yield* cash(due, right), { status: "captured", received: due, owed: 0n })
          assert.deepInclude(yield* Effect.flip(cash(due + 1n, right)), { _tag: "IdempotencyConflict" })
          yield* eventually(alertOf(`cash_mismatch:${id}`), (alert) => alert?.status === "cleared")
          assert.deepInclude(yield* standing(id), { payment_status: "completed", saga: "captured", owed: "0" })
          // Handed in twice by mistake: the second is to be given back.
          assert.deepInclude(yield* cash(due), { status: "captured", received: 2n * due, owed: due })
          yield* eventually(alertOf(`money_owed:${id}`), (alert) => alert?.status === "open")
          assert.deepStrictEqual(yield* Shop.violations, [])
        })
    )

    it.effect(
      "when exactly the amount is transferred in time, then the order is paid, its stock bound, and it is confirmed; once (T-PAY-17)",
      () =>
        Effect.gen(function* () {
          const { by: buyer, confirmation, id, order, transfer } = yield* ordered("bank_transfer")
          const { transferReference = assert.fail("no reference"), expiresAt } = confirmation
          assert.match(transferReference, /^RF\d{2}/)
          const seen = yield* order.GetOrder({ by: buyer })
          assert.deepInclude(seen, { paymentMethod: "bank_transfer", transferReference, expiresAt })
          const bank = Shop.fresh("bank")
          for (let times = 0; times < 2; times++) {
            assert.deepInclude(yield* transfer(due, bank), { orderId: id, outcome: "captured", status: "confirmed" })
          }
          assert.deepInclude(yield* Effect.flip(transfer(due - 1n, bank)), { _tag: "IdempotencyConflict" })
          assert.deepInclude(yield* standing(id), {
            status: "confirmed",
            payment_status: "completed",
            saga: "captured",
            stock: "fulfilled",
            owed: "0",
            open: false
          })
          assert.isUndefined((yield* order.GetOrder({ by: buyer })).expiresAt)
          assert.isUndefined(yield* alertOf(`money_owed:${id}`))
          assert.deepStrictEqual(yield* Shop.violations, [])
        })
    )

    it.effect("when it comes in parts, then the order waits for the rest, and shows what has come", () =>
      Effect.gen(function* () {
        const { by: buyer, id, order, transfer } = yield* ordered("bank_transfer")
        const first = Shop.fresh("bank")
        assert.deepInclude(yield* transfer(1000n, first), { outcome: "short", status: "pending" })
        assert.deepInclude(yield* transfer(1000n, first), { outcome: "short", status: "pending" })
        assert.deepInclude(yield* order.GetOrder({ by: buyer }), { received: 1000n, status: "pending" })
        assert.deepInclude(yield* standing(id), { ...waiting, owed: "0" })
        assert.deepInclude(yield* transfer(740n), { outcome: "captured", status: "confirmed" })
        assert.deepInclude(yield* transfer(1000n, first), { outcome: "short", status: "confirmed" })
        assert.deepStrictEqual(yield* Shop.violations, [])
      })
    )

    it.effect(
      "when more comes than is due, or the same again, then the order is paid, and the excess stands and alerts until an operator has given it back (REQ-BNK-02)",
      () =>
        Effect.gen(function* () {
          const { id, offline, transfer } = yield* ordered("bank_transfer")
          assert.deepInclude(yield* transfer(due + 260n), { outcome: "over", status: "confirmed" })
          assert.deepInclude(yield* eventually(alertOf(`money_owed:${id}`), (alert) => alert !== undefined), {
            severity: "warning",
            amount: "260"
          })
          assert.deepInclude(yield* transfer(due), { outcome: "late", status: "confirmed" })
          assert.deepInclude(yield* standing(id), { saga: "captured", owed: "2000", payment_status: "completed" })
          const back = { key: Shop.key(), by, amount: 2000n, reason: "Sent back to where it came from" }
          assert.deepInclude(yield* offline.RecordGivenBack(back), { owed: 0n, refunded: 0n, status: "captured" })
          assert.deepInclude(yield* offline.RecordGivenBack(back), { owed: 0n, refunded: 0n, status: "captured" })
          yield* eventually(alertOf(`money_owed:${id}`), (alert) => alert?.status === "cleared")
          // From here on it would be the money that was paid.
          const part = { key: Shop.key(), by, amount: 500n, reason: "The cup was broken" }
          assert.deepInclude(yield* offline.RecordGivenBack(part), { refunded: 500n, status: "partially_refunded" })
          const refusal = yield* Effect.flip(offline.RecordGivenBack({ ...part, key: Shop.key(), amount: due }))
          assert.deepInclude(refusal, { _tag: "RefundTooLarge", remaining: due - 500n })
          assert.deepInclude(yield* standing(id), { payment_status: "partially_refunded", owed: "0" })
          assert.deepStrictEqual(yield* Shop.violations, [])
        })
    )

    it.effect("when money is recorded for the other method, or for a card, then nothing is", () =>
      Effect.gen(function* () {
        const cod = yield* ordered("cash_on_delivery")
        assert.deepInclude(yield* Effect.flip(cod.transfer(due)), { _tag: "IllegalTransition" })
        const bank = yield* ordered("bank_transfer")
        assert.deepInclude(yield* Effect.flip(bank.cash(due)), { _tag: "IllegalTransition" })
        assert.deepInclude(yield* Effect.flip(bank.offline.ConfirmCash({ by })), { _tag: "IllegalTransition" })
        const { checkoutId, confirm } = yield* Shop.prepare({ lines: { tea: 1 } })
        yield* confirm()
        const card = (yield* Placement).client(OfflinePayments)(checkoutId)
        assert.deepInclude(yield* Effect.flip(card.ConfirmCash({ by })), { _tag: "IllegalTransition" })
        const back = { key: Shop.key(), by, amount: 1n, reason: "By hand" }
        assert.deepInclude(yield* Effect.flip(card.RecordGivenBack(back)), { because: "paid_at_provider" })
        assert.deepInclude(
          yield* Effect.flip((yield* Placement).client(OfflinePayments)("order-of-nobody").ConfirmCash({ by })),
          { _tag: "NotFound" }
        )
        assert.deepStrictEqual(yield* Shop.violations, [])
      })
    )
  })
})

describe("given windows of a second", () => {
  const windows = { cash_on_delivery: Duration.seconds(1), bank_transfer: Duration.seconds(1) }
  layer(
    Shop.layer({
      ...Shop.quickLimits,
      reservation: { ...Shop.quickLimits.reservation, offline: windows },
      order: { ...Shop.quickLimits.order, offline: windows, confirmCashAfter: Duration.millis(300) }
    }),
    { excludeTestServices: true }
  )((it) => {
    it.effect("when nobody holds it, then cash on delivery is confirmed by itself (T-PAY-18)", () =>
      Effect.gen(function* () {
        const { id } = yield* ordered("cash_on_delivery")
        yield* eventually(standing(id), ({ status }) => status === "confirmed")
        yield* Effect.sleep("1 second")
        assert.deepInclude(yield* standing(id), { status: "confirmed", payment_status: "pending", stock: "fulfilled" })
        assert.deepStrictEqual(yield* Shop.violations, [])
      })
    )

    it.effect(
      "when an operator holds it and nobody confirms it, then it is cancelled at its end, and its stock is free (T-PAY-19)",
      () =>
        Effect.gen(function* () {
          const { cash, id, offline } = yield* ordered("cash_on_delivery")
          yield* offline.HoldCash({ by, reason: "A strange address" })
          yield* offline.HoldCash({ by, reason: "A strange address" })
          yield* Effect.sleep("500 millis")
          assert.deepInclude(yield* standing(id), waiting)
          yield* eventually(standing(id), ({ status }) => status === "cancelled")
          assert.deepInclude(yield* standing(id), { ...lapsed, reason: "cod_confirmation_window_expired", open: false })
          assert.deepInclude(yield* Effect.flip(offline.ConfirmCash({ by })), { status: "cancelled" })
          // Whatever it was paid for: it is somebody's money.
          assert.deepInclude(yield* cash(due), { status: "voided", owed: due })
          assert.deepInclude(yield* standing(id), { ...lapsed, owed: String(due), open: true })
          assert.deepStrictEqual(yield* Shop.violations, [])
        })
    )

    it.effect("when an operator confirms what was held, then it is", () =>
      Effect.gen(function* () {
        const { id, offline } = yield* ordered("cash_on_delivery")
        yield* offline.HoldCash({ by, reason: "A strange address" })
        assert.strictEqual((yield* offline.ConfirmCash({ by })).status, "confirmed")
        assert.deepInclude(yield* standing(id), { status: "confirmed", stock: "fulfilled" })
      })
    )

    it.effect("when no transfer comes, then the order is cancelled at its end, and its stock is free (T-PAY-17)", () =>
      Effect.gen(function* () {
        const { id } = yield* ordered("bank_transfer")
        yield* eventually(standing(id), ({ status }) => status === "cancelled")
        assert.deepInclude(yield* standing(id), { ...lapsed, reason: "bank_transfer_expired", owed: "0", open: false })
        assert.isUndefined(yield* alertOf(`money_owed:${id}`))
        assert.deepStrictEqual(yield* Shop.violations, [])
      })
    )

    it.effect(
      "when a part came in time and the rest too late, then both stand as money to be given back until an operator has done so",
      () =>
        Effect.gen(function* () {
          const { id, offline, transfer } = yield* ordered("bank_transfer")
          assert.deepInclude(yield* transfer(1000n), { outcome: "short" })
          yield* eventually(standing(id), ({ status }) => status === "cancelled")
          assert.deepInclude(yield* standing(id), { ...lapsed, owed: "1000", open: true })
          assert.deepInclude(yield* eventually(alertOf(`money_owed:${id}`), (alert) => alert !== undefined), {
            severity: "critical",
            amount: "1000"
          })
          assert.deepInclude(yield* transfer(740n), { outcome: "late", status: "cancelled" })
          assert.deepInclude(yield* standing(id), { ...lapsed, owed: "1740", open: true })
          yield* offline.RecordGivenBack({ key: Shop.key(), by, amount: 1000n, reason: "Sent back" })
          assert.deepInclude(yield* standing(id), { owed: "740", open: true })
          yield* offline.RecordGivenBack({ key: Shop.key(), by, amount: 740n, reason: "Sent back" })
          assert.deepInclude(yield* standing(id), { ...lapsed, owed: "0", open: false })
          yield* eventually(alertOf(`money_owed:${id}`), (alert) => alert?.status === "cleared")
          // And again, should it come once more.
          assert.deepInclude(yield* transfer(due), { outcome: "late", status: "cancelled" })
          assert.deepInclude(yield* standing(id), { ...lapsed, owed: String(due), open: true })
          yield* eventually(alertOf(`money_owed:${id}`), (alert) => alert?.status === "open")
          assert.deepStrictEqual(yield* Shop.violations, [])
        })
    )
  })
})

/** MET-07. */
const confirmations = Effect.map(Metric.snapshot, (metrics) =>
  Object.fromEntries(
    metrics
      .filter(({ id }) => id === "stock_confirmation_total")
      .map(({ attributes, state }) => [attributes?.["outcome"], (state as { readonly count: number }).count])
  )
)

/** Behind the order's back. */
const giveBack = Effect.fnUntraced(function* (id: string) {
  const sql = yield* SqlClient
  yield* sql`update warehouse.reservations set status = 'released', expires_at = null, version = version + 1 where id = ${id}`
})

describe("given a claim which is gone", () => {
  layer(Shop.layer({ ...Shop.quickLimits, order: { ...Shop.quickLimits.order, confirmCashAfter: undefined } }), {
    excludeTestServices: true
  })((it) => {
    it.effect(
      "when the claim is gone, then a confirmation fails the order, and nothing is to be refunded (REQ-COD-05)",
      () =>
        Effect.gen(function* () {
          const { id, offline } = yield* ordered("cash_on_delivery")
          yield* giveBack(id)
          const before = yield* confirmations
          assert.deepInclude(yield* Effect.flip(offline.ConfirmCash({ by })), {
            _tag: "IllegalTransition",
            status: "failed"
          })
          assert.deepInclude(yield* standing(id), {
            status: "failed",
            reason: "stock_confirmation_failed",
            saga: "voided",
            owed: "0",
            open: false
          })
          const alert = yield* eventually(
            alertOf(`stock_confirmation_failed:${id}`),
            (seen) => seen?.severity === "critical"
          )
          assert.strictEqual(alert?.amount, String(due))
          assert.strictEqual((yield* confirmations)["failed"], (before["failed"] ?? 0) + 1)
        })
    )

    it.effect(
      "when the claim is gone as the money comes, then the order fails, and all of it is to be given back",
      () =>
        Effect.gen(function* () {
          const { id, transfer } = yield* ordered("bank_transfer")
          yield* giveBack(id)
          assert.deepInclude(yield* transfer(due), { outcome: "stock_gone", status: "failed" })
          assert.deepInclude(yield* standing(id), {
            reason: "stock_confirmation_failed",
            owed: String(due),
            open: true
          })
          yield* eventually(alertOf(`money_owed:${id}`), (alert) => alert?.severity === "critical")
          yield* eventually(alertOf(`stock_confirmation_failed:${id}`), (alert) => alert?.status === "open")
        })
    )
  })
})

describe("given an order that was delivered, and whose cash nobody has recorded", () => {
  layer(Shop.layer({ ...Shop.quickLimits, order: { ...Shop.quickLimits.order, confirmCashAfter: undefined } }), {
    excludeTestServices: true
  })((it) => {
    it.effect(
      "when everything is looked through, then it is found; once it was recorded, then it is not (T-PAY-27, CONS-05)",
      () =>
        Effect.gen(function* () {
          const { cash, id, offline } = yield* ordered("cash_on_delivery")
          yield* offline.ConfirmCash({ by })
          assert.deepStrictEqual(yield* Shop.violations, [])
          const sql = yield* SqlClient
          yield* sql`update orders.orders set status = 'delivered' where id = ${id}`
          assert.deepInclude((yield* Shop.violations)[0], { problem: "confirmed_without_money", id })
          yield* sql`update orders.orders set status = 'confirmed' where id = ${id}`
          yield* cash(due)
          yield* sql`update orders.orders set status = 'delivered' where id = ${id}`
          assert.deepStrictEqual(yield* Shop.violations, [])
        })
    )
  })
})

describe("given a shop which offers cards only", () => {
  layer(Shop.layer({ ...Shop.quickLimits, checkout: { ...Shop.quickLimits.checkout, offlineMethods: [] } }), {
    excludeTestServices: true
  })((it) => {
    it.effect("when another way to pay is confirmed, then it is refused by its field, and nothing is claimed", () =>
      Effect.gen(function* () {
        yield* stocked
        const { confirm } = yield* Shop.prepare({ lines: { tea: 1 }, card: "cash_on_delivery" })
        const refusal = yield* Effect.flip(confirm())
        assert.deepInclude(refusal, {
          _tag: "CheckoutIncomplete",
          problems: [{ field: "paymentMethod", message: "cash_on_delivery is not offered" }]
        })
        assert.deepStrictEqual(yield* Shop.violations, [])
      })
    )
  })
})
