import { assert, describe, layer } from "@effect/vitest"
import { DateTime, Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { IdempotencyKey, OrderId } from "../../src/domain/Ids.ts"
import { Payment } from "../../src/entities/payment/Payment.ts"
import { BankTransactionId } from "../../src/entities/payment/Receipt.ts"
import { operatorRefund } from "../../src/entities/payment/Refund.ts"
import { Placement } from "../../src/runtime/Placement.ts"
import { OfflinePayments } from "../../src/workflows/offline/OfflinePayments.ts"
import { Refunds } from "../../src/workflows/refund/Refunds.ts"
import { eventually } from "../fixtures/Eventually.ts"
import { booksAre, booksOf, olga } from "../fixtures/Sellers.ts"
import * as Shop from "../fixtures/Shop.ts"
import * as Webhooks from "../fixtures/Webhooks.ts"

/** A paid order of a lamp (sold by one seller), a shade (by another) and bulbs (by the shop): 100.00 with shipping. */
const sold = Effect.fnUntraced(function* () {
  const [lighter, shader] = [Shop.fresh("lighter"), Shop.fresh("shader")]
  const names = { lamp: Shop.fresh("lamp"), shade: Shop.fresh("shade"), bulb: Shop.fresh("bulb") }
  yield* Shop.stock([
    { sku: names.lamp, price: 6000n, onHand: { berlin: 10 }, seller: lighter },
    { sku: names.shade, price: 2500n, onHand: { berlin: 10 }, seller: shader },
    { sku: names.bulb, price: 505n, onHand: { berlin: 10 } }
  ])
  const { checkoutId, confirm } = yield* Shop.prepare({ lines: { [names.lamp]: 1, [names.shade]: 1, [names.bulb]: 2 } })
  yield* confirm()
  const placement = yield* Placement
  const refunds = placement.client(Refunds)(checkoutId)
  const payment = placement.client(Payment)(checkoutId)
  return {
    checkoutId,
    lighter,
    shader,
    release: (name = Shop.fresh("release")) => payment.ReleaseEscrow({ key: IdempotencyKey.make(name), by: olga }),
    refund: Effect.fnUntraced(function* (amount?: bigint) {
      const key = IdempotencyKey.make(Shop.fresh("refund"))
      const refund = operatorRefund(key)
      const asked = amount === undefined ? {} : { amount }
      yield* refunds.Request({ key, refund, ...asked, reason: "broken", by: olga })
      yield* eventually(
        payment.GetPayment(),
        (view) => view?.refunds?.find(({ id }) => id === refund)?.status === "completed"
      )
    })
  }
})

const sound = Effect.gen(function* () {
  assert.deepStrictEqual(yield* Shop.violations, [])
})

describe("given a paid order of two sellers and the shop", () => {
  layer(Shop.layer(), { excludeTestServices: true })((it) => {
    it.effect("then each has what its lines cost held, less the fee; released, it is theirs (T-ESC-01)", () =>
      Effect.gen(function* () {
        const { checkoutId, lighter, release, shader } = yield* sold()
        yield* booksAre(lighter, { buyerPayments: -6000n, fees: 600n, held: 5400n })
        yield* booksAre(shader, { buyerPayments: -2500n, fees: 250n, held: 2250n })
        const sql = yield* SqlClient
        const lines = yield* sql<{ readonly seller: string | null }>`
          select seller_id as seller from orders.order_lines where order_id = ${checkoutId} order by line`
        assert.deepStrictEqual(
          lines.map(({ seller }) => seller),
          [lighter, shader, null]
        )
        const name = Shop.fresh("release")
        const all = yield* Effect.all(
          Array.from({ length: 10 }, () => release(name)),
          { concurrency: "unbounded" }
        )
        assert.isDefined(all[0]?.escrow?.releasedAt)
        yield* release()
        yield* booksAre(lighter, { buyerPayments: -6000n, fees: 600n, released: 5400n })
        yield* booksAre(shader, { buyerPayments: -2500n, fees: 250n, released: 2250n })
        const [audit] = yield* sql<{ readonly rows: number }>`
          select count(*)::int as rows from ops.audit where subject = ${checkoutId} and operation = 'ReleaseEscrow'`
        assert.strictEqual(audit?.rows, 1)
        yield* sound
      })
    )

    it.effect("when it is given back in thirds before it is released, then less is held, and in the end nothing", () =>
      Effect.gen(function* () {
        const { lighter, refund, shader } = yield* sold()
        yield* refund(3333n)
        yield* booksAre(lighter, { buyerPayments: -6000n, refunded: 1999n, fees: 400n, held: 3601n })
        yield* refund(3333n)
        yield* refund()
        yield* booksAre(lighter, { buyerPayments: -6000n, refunded: 6000n })
        yield* booksAre(shader, { buyerPayments: -2500n, refunded: 2500n })
        yield* sound
      })
    )

    it.effect("when it is given back after it was released, then so much less is the seller's", () =>
      Effect.gen(function* () {
        const { lighter, refund, release } = yield* sold()
        yield* release()
        yield* refund(5000n)
        yield* booksAre(lighter, { buyerPayments: -6000n, refunded: 3000n, fees: 300n, released: 2700n })
        yield* refund()
        yield* booksAre(lighter, { buyerPayments: -6000n, refunded: 6000n })
        yield* sound
      })
    )

    it.effect("when the issuer takes it back and gives it back, then the seller has it as before", () =>
      Effect.gen(function* () {
        const { checkoutId, lighter } = yield* sold()
        const { won } = yield* Webhooks.chargeBack(checkoutId)
        yield* booksAre(lighter, { buyerPayments: -6000n, refunded: 6000n })
        yield* won
        yield* booksAre(lighter, { buyerPayments: -6000n, fees: 600n, held: 5400n })
        yield* sound
      })
    )
  })
})

/** An order of a seller's lamp of 60.00 and a cup of the shop's for 34.00, which with its shipping comes to 98.90, to be paid later. */
const ordered = Effect.fnUntraced(function* (method: "cash_on_delivery" | "bank_transfer") {
  const lighter = Shop.fresh("lighter")
  const names = { lamp: Shop.fresh("lamp"), cup: Shop.fresh("cup") }
  yield* Shop.stock([
    { sku: names.lamp, price: 6000n, onHand: { berlin: 10 }, seller: lighter },
    { sku: names.cup, price: 3400n, onHand: { berlin: 10 } }
  ])
  const { checkoutId, confirm } = yield* Shop.prepare({ lines: { [names.lamp]: 1, [names.cup]: 1 }, card: method })
  yield* confirm()
  const placement = yield* Placement
  const offline = placement.client(OfflinePayments)(OrderId.make(checkoutId))
  const receivedAt = yield* DateTime.now
  return {
    lighter,
    confirmCash: offline.ConfirmCash({ by: olga }),
    cash: (amount: bigint) => offline.RecordCash({ key: Shop.key(), by: olga, amount, receivedAt }),
    transfer: (amount: bigint) =>
      offline.RecordTransfer({
        by: olga,
        amount,
        bankTransactionId: BankTransactionId.make(Shop.fresh("bank")),
        receivedAt
      }),
    giveBack: (amount: bigint) =>
      offline.RecordGivenBack({ key: Shop.key(), by: olga, amount, reason: "The lamp came back" }),
    release: () => placement.client(Payment)(checkoutId).ReleaseEscrow({ key: Shop.key(), by: olga })
  }
})

describe("given a seller's goods in an order which is paid at the door or by transfer", () => {
  layer(Shop.layer(), { excludeTestServices: true })((it) => {
    it.effect("when the cash has come in, then it is held for the seller from then on, and given back as it is", () =>
      Effect.gen(function* () {
        const { cash, confirmCash, giveBack, lighter, release } = yield* ordered("cash_on_delivery")
        yield* confirmCash
        assert.strictEqual((yield* Effect.flip(release()))._tag, "PaymentConflict")
        assert.strictEqual((yield* Effect.flip(cash(9000n)))._tag, "CashMismatch")
        assert.deepStrictEqual(yield* booksOf(lighter), {}, "nothing has come in that could be held")
        yield* cash(9890n)
        yield* booksAre(lighter, { buyerPayments: -6000n, fees: 600n, held: 5400n })
        yield* giveBack(4945n)
        yield* booksAre(lighter, { buyerPayments: -6000n, refunded: 3000n, fees: 300n, held: 2700n })
        yield* release()
        yield* booksAre(lighter, { buyerPayments: -6000n, refunded: 3000n, fees: 300n, released: 2700n })
        yield* giveBack(4945n)
        yield* booksAre(lighter, { buyerPayments: -6000n, refunded: 6000n })
        yield* sound
      })
    )

    it.effect(
      "when it comes by transfer, in two parts and with too much, then the seller has its part of the price",
      () =>
        Effect.gen(function* () {
          const { giveBack, lighter, transfer } = yield* ordered("bank_transfer")
          assert.strictEqual((yield* transfer(5000n)).outcome, "short")
          assert.deepStrictEqual(yield* booksOf(lighter), {}, "the order is not paid")
          assert.strictEqual((yield* transfer(5000n)).outcome, "over")
          yield* booksAre(lighter, { buyerPayments: -6000n, fees: 600n, held: 5400n })
          yield* giveBack(110n)
          assert.strictEqual((yield* transfer(700n)).outcome, "late")
          yield* booksAre(lighter, { buyerPayments: -6000n, fees: 600n, held: 5400n })
          yield* sound
        })
    )
  })
})

describe("given an order of which the shop sells everything", () => {
  layer(Shop.layer(), { excludeTestServices: true })((it) => {
    it.effect("then nothing is held, nobody hears of it, and there is nothing to release", () =>
      Effect.gen(function* () {
        yield* Shop.stock([{ sku: "mug", price: 1000n, onHand: { berlin: 10 } }])
        const { checkoutId, confirm } = yield* Shop.prepare({ lines: { mug: 1 } })
        yield* confirm()
        const placement = yield* Placement
        const view = yield* placement.client(Payment)(checkoutId).ReleaseEscrow({ key: Shop.key() })
        assert.notProperty(view, "escrow")
        const sql = yield* SqlClient
        const [counts] = yield* sql<{ readonly rows: number }>`
          select (select count(*) from escrow.postings)::int + (select count(*) from runtime.notices where receiver_type = 'SellerAccount')::int as rows`
        assert.strictEqual(counts?.rows, 0)
      })
    )
  })
})

describe("given the ledger of a seller", () => {
  layer(Shop.layer(), { excludeTestServices: true })((it) => {
    const posting = (changes: Readonly<Record<string, unknown>>) =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        const row = {
          seller_id: "potters-row",
          posting: 1,
          kind: "captured",
          currency: "EUR",
          order_id: "checkout-1",
          revision: 1,
          buyer_payments: -1000n,
          refunded: 0n,
          fees: 100n,
          held: 900n,
          released: 0n,
          debt: 0n,
          in_payout: 0n,
          paid_out: 0n,
          at: new Date("2026-11-20T10:00:00Z"),
          ...changes
        }
        yield* sql`insert into escrow.postings ${sql.insert(row)}`
      }).pipe(
        Effect.as("written"),
        Effect.catch(({ reason }) => Effect.succeed(reason._tag))
      )

    it.effect("then the table takes no posting which does not add up, none twice, and forgets none", () =>
      Effect.gen(function* () {
        assert.notStrictEqual(yield* posting({ held: 901n }), "written")
        assert.strictEqual(yield* posting({}), "written")
        assert.notStrictEqual(yield* posting({ posting: 2 }), "written", "the same fact of the same order")
        assert.strictEqual(yield* posting({ posting: 2, revision: 2 }), "written")
        const payout = { kind: "payout_started", order_id: null, revision: null, period: "2026-11" }
        assert.strictEqual(yield* posting({ ...payout, posting: 3 }), "written")
        assert.notStrictEqual(yield* posting({ ...payout, posting: 4 }), "written", "one payout a period (T-ESC-02)")
        const sql = yield* SqlClient
        const changed = yield* Effect.result(sql`delete from escrow.postings`)
        assert.strictEqual(changed._tag, "Failure")
        const entries = yield* sql<{ readonly sum: string }>`select sum(amount)::text as sum from escrow.entries`
        assert.strictEqual(entries[0]?.sum, "0")
      })
    )
  })
})
