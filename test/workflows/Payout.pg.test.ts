import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { SellerId } from "../../src/domain/Ids.ts"
import { Currency } from "../../src/domain/Money.ts"
import { Alert } from "../../src/entities/alert/Alert.ts"
import { operatorRefund } from "../../src/entities/payment/Refund.ts"
import { SellerAccount } from "../../src/entities/sellerAccount/SellerAccount.ts"
import { PayoutGateway } from "../../src/gateways/PayoutGateway.ts"
import { Placement } from "../../src/runtime/Placement.ts"
import type { Fault } from "../../src/sandbox/Faults.ts"
import { PaymentProvider } from "../../src/sandbox/PaymentProvider.ts"
import { payoutKey, SellerPayout } from "../../src/workflows/payout/Payout.ts"
import { Refunds } from "../../src/workflows/refund/Refunds.ts"
import { eventually } from "../fixtures/Eventually.ts"
import {
  account,
  booksAre,
  booksOf,
  olga,
  payable,
  payoutsEnded,
  payoutsOf,
  period,
  sell,
  startPayout
} from "../fixtures/Sellers.ts"
import * as Shop from "../fixtures/Shop.ts"

const EUR = Currency.make("EUR")
const fresh = { buyerPayments: -1000n, fees: 100n }

/** What the provider has really sent to the seller. */
const transfersTo = (seller: string) =>
  Effect.map(PaymentProvider, (provider) =>
    provider
      .transfers()
      .filter(({ metadata }) => metadata["seller"] === seller)
      .map(({ amount, currency, destination, group }) => ({ amount, currency, destination, group }))
  )

const oneTransfer = (seller: string, amount = 900, name: string = period) => ({
  amount,
  currency: "eur",
  destination: account,
  group: payoutKey(seller, name, "EUR")
})

const fail = (operation: "transfer" | "list_transfers", fault: Fault, times: number | "always" = 1) =>
  Effect.map(PaymentProvider, ({ faults }) => faults.inject({ operation, fault, times }))

const calls = Effect.map(PaymentProvider, ({ ledger }) => {
  const { calls: all } = ledger.totals()
  return { sent: all.transfer ?? 0, lookedUp: all.list_transfers ?? 0 }
})

const alertOf = (id: string) =>
  Effect.flatMap(Placement, (placement) => placement.client(Alert)(id).GetAlert()).pipe(
    Effect.catchTag("NotFound", () => Effect.succeed(undefined))
  )

/** The books add up, reconciliation finds nothing, and no process is left behind. T-ESC-02. */
const sound = Effect.gen(function* () {
  const sql = yield* SqlClient
  const sums = yield* sql`select currency from escrow.entries group by currency having sum(amount) <> 0`
  assert.deepStrictEqual(sums, [])
  assert.deepStrictEqual(yield* Shop.violations, [])
  yield* eventually(
    sql<{ readonly left: number }>`
      select count(*)::int as left from runtime.workflows where name = ${SellerPayout._tag} and status <> 'completed'`,
    ([row]) => row?.left === 0
  )
})

describe("given a seller to whom nine euro are due", () => {
  layer(Shop.layer(), { excludeTestServices: true })((it) => {
    it.effect("when they are paid out twenty times at once and again, then one transfer is made (T-ESC-02)", () =>
      Effect.gen(function* () {
        const seller = yield* payable
        yield* Effect.all(
          Array.from({ length: 20 }, () => startPayout(seller)),
          { concurrency: "unbounded" }
        )
        yield* payoutsEnded(seller)
        yield* startPayout(seller)
        assert.deepStrictEqual(yield* transfersTo(seller), [oneTransfer(seller)])
        assert.deepStrictEqual(yield* booksOf(seller), { ...fresh, paidOut: 900n })
        const [payout, ...others] = yield* payoutsOf(seller)
        assert.deepStrictEqual(others, [])
        assert.deepInclude(payout, { period, currency: "EUR", amount: "900", status: "paid" })
        assert.match(payout?.reference ?? "", /^tr_/)
        yield* sound
      })
    )

    it.effect(
      "when more is released within the period, then it goes with the next one, and the first stays as it was",
      () =>
        Effect.gen(function* () {
          const seller = yield* payable
          yield* startPayout(seller)
          yield* payoutsEnded(seller)
          yield* sell(seller, 2000n)
          yield* booksAre(seller, { buyerPayments: -3000n, fees: 300n, paidOut: 900n, released: 1800n })
          yield* startPayout(seller)
          assert.lengthOf(yield* payoutsOf(seller), 1)
          yield* startPayout(seller, { period: "2026-12" })
          yield* booksAre(seller, { buyerPayments: -3000n, fees: 300n, paidOut: 2700n })
          assert.deepStrictEqual(yield* transfersTo(seller), [
            oneTransfer(seller),
            oneTransfer(seller, 1800, "2026-12")
          ])
          yield* sound
        })
    )

    it.effect("when it has two currencies, then each is a transfer of its own", () =>
      Effect.gen(function* () {
        const seller = yield* payable
        yield* sell(seller, 500n, "USD")
        yield* booksAre(seller, { buyerPayments: -500n, fees: 50n, released: 450n }, "USD")
        yield* startPayout(seller)
        yield* booksAre(seller, { buyerPayments: -500n, fees: 50n, paidOut: 450n }, "USD")
        yield* booksAre(seller, { ...fresh, paidOut: 900n })
        const sent = yield* transfersTo(seller)
        assert.sameDeepMembers(
          sent.map(({ amount, currency }) => [amount, currency]),
          [
            [900, "eur"],
            [450, "usd"]
          ]
        )
        yield* sound
      })
    )

    it.effect("when the same key comes for another period, then it is refused, and nothing is sent for that", () =>
      Effect.gen(function* () {
        const seller = yield* payable
        const key = Shop.fresh("asked")
        yield* startPayout(seller, { key })
        yield* startPayout(seller, { key })
        const error = yield* Effect.flip(startPayout(seller, { key, period: "2026-12" }))
        assert.strictEqual(error._tag, "IdempotencyConflict")
        yield* payoutsEnded(seller)
        assert.lengthOf(yield* payoutsOf(seller), 1)
        const sql = yield* SqlClient
        const audit = yield* sql<{ readonly actor: string; readonly details: unknown }>`
          select actor, details from ops.audit where subject = ${seller} and operation = 'StartPayout'`
        assert.deepStrictEqual([...audit], [{ actor: olga, details: { period } }])
      })
    )

    it.effect(
      "when it has no account to be sent to, or is not known, then it is refused; later the period can be paid out",
      () =>
        Effect.gen(function* () {
          const seller = Shop.fresh("seller")
          assert.strictEqual((yield* Effect.flip(startPayout(seller)))._tag, "NotFound")
          yield* sell(seller, 1000n)
          yield* booksAre(seller, { ...fresh, released: 900n })
          assert.deepInclude(yield* Effect.flip(startPayout(seller)), {
            _tag: "IllegalTransition",
            status: "no payout account"
          })
          const placement = yield* Placement
          yield* placement
            .client(SellerAccount)(seller)
            .SetPayoutAccount({ key: Shop.key(), account, by: olga, reason: "From its contract" })
          yield* startPayout(seller)
          yield* booksAre(seller, { ...fresh, paidOut: 900n })
        })
    )

    it.effect(
      "when it owes more than it is due, then nothing is sent; what is due next pays the debt first, and the rest is sent",
      () =>
        Effect.gen(function* () {
          const seller = Shop.fresh("seller")
          const order = yield* sell(seller, 1000n)
          yield* booksAre(seller, { ...fresh, released: 900n })
          const placement = yield* Placement
          yield* placement
            .client(SellerAccount)(seller)
            .SetPayoutAccount({ key: Shop.key(), account, by: olga, reason: "From its contract" })
          yield* startPayout(seller)
          yield* booksAre(seller, { ...fresh, paidOut: 900n })
          const refund = Shop.key()
          yield* placement
            .client(Refunds)(order)
            .Request({ key: refund, refund: operatorRefund(refund), reason: "broken", by: olga })
          yield* booksAre(seller, { buyerPayments: -1000n, refunded: 1000n, debt: -900n, paidOut: 900n })
          yield* startPayout(seller, { period: "2026-12" })
          assert.lengthOf(yield* payoutsOf(seller), 1)
          yield* sell(seller, 1500n)
          yield* booksAre(seller, {
            buyerPayments: -2500n,
            refunded: 1000n,
            fees: 150n,
            released: 450n,
            paidOut: 900n
          })
          // Nothing was paid out for the period before.
          yield* startPayout(seller, { period: "2026-12" })
          yield* booksAre(seller, { buyerPayments: -2500n, refunded: 1000n, fees: 150n, paidOut: 1350n })
          assert.deepStrictEqual(
            (yield* transfersTo(seller)).map(({ amount }) => amount),
            [900, 450]
          )
          yield* sound
        })
    )
  })
})

describe("given a provider which does not say what became of a transfer", () => {
  layer(Shop.layer(), { excludeTestServices: true })((it) => {
    /** Whether the work was done behind it: then it is found, and never told again. */
    const faults: ReadonlyArray<readonly [string, Fault, boolean]> = [
      ["it is silent after the work was done", { _tag: "Silence", done: true }, true],
      ["it is silent, and nothing was done", { _tag: "Silence", done: false }, false],
      ["the connection is cut after the work was done", { _tag: "Reset", done: true }, true],
      ["the connection is cut, and nothing was done", { _tag: "Reset", done: false }, false],
      ["it answers 500 after the work was done", { _tag: "ServerError", done: true }, true],
      ["it answers 503", { _tag: "Unavailable" }, false],
      ["it answers 429", { _tag: "RateLimited", retryAfterSeconds: 1 }, false]
    ]
    for (const [name, fault, done] of faults) {
      it.effect(`when ${name}, then it is looked up before it is told again, and sent once under one key`, () =>
        Effect.gen(function* () {
          const seller = yield* payable
          const before = yield* calls
          yield* fail("transfer", fault)
          yield* startPayout(seller)
          yield* booksAre(seller, { ...fresh, paidOut: 900n })
          assert.deepStrictEqual(yield* transfersTo(seller), [oneTransfer(seller)])
          const after = yield* calls
          assert.deepStrictEqual(
            [after.lookedUp - before.lookedUp, after.sent - before.sent],
            [2, done ? 1 : 2],
            "looked up each time, told again only when it was not found"
          )
          yield* sound
        })
      )
    }

    it.effect("when it cannot be looked up, then it is not told again either, until it can", () =>
      Effect.gen(function* () {
        const seller = yield* payable
        const before = yield* calls
        yield* fail("transfer", { _tag: "Reset", done: true })
        yield* startPayout(seller)
        yield* eventually(calls, ({ sent }) => sent === before.sent + 1)
        yield* fail("list_transfers", { _tag: "Refused", code: "api_key_expired", message: "No." }, 2)
        yield* booksAre(seller, { ...fresh, paidOut: 900n })
        assert.deepStrictEqual(yield* transfersTo(seller), [oneTransfer(seller)])
        assert.strictEqual((yield* calls).sent, before.sent + 1)
        yield* sound
      })
    )

    it.effect(
      "when it never answers, then people hear of it, it is left to them in the end, and what they say stands",
      () =>
        Effect.gen(function* () {
          const seller = yield* payable
          yield* fail("transfer", { _tag: "Unavailable" }, "always")
          yield* startPayout(seller)
          const placement = yield* Placement
          const client = placement.client(SellerAccount)(seller)
          const settle = (status: "paid" | "failed", key = Shop.key()) =>
            client.SettlePayout({
              key,
              period,
              currency: EUR,
              outcome:
                status === "paid" ? { _tag: "Paid", reference: "tr_seen" } : { _tag: "Failed", code: "never sent" },
              by: olga,
              reason: "Looked up in the provider's list"
            })
          assert.strictEqual((yield* Effect.flip(settle("failed")))._tag, "IllegalTransition", "it is still asked for")
          const alert = `payout_unanswered:${seller}:${period}:EUR`
          yield* eventually(alertOf(alert), (seen) => seen?.status === "open")
          const left = yield* eventually(client.GetSellerAccount(), ({ payouts }) => payouts[0]?.doubt === "left")
          assert.deepInclude(left.payouts[0], { amount: 900n, period })
          yield* sound
          assert.deepStrictEqual(yield* booksOf(seller), { ...fresh, inPayout: 900n })
          const key = Shop.key()
          yield* settle("failed", key)
          yield* settle("failed", key)
          assert.strictEqual((yield* Effect.flip(settle("paid")))._tag, "IllegalTransition")
          assert.deepStrictEqual(yield* booksOf(seller), { ...fresh, released: 900n })
          yield* eventually(alertOf(alert), (seen) => seen?.status === "cleared")
          assert.isUndefined(yield* alertOf(`payout_failed:${seller}:${period}:EUR`), "they know")
          yield* Effect.map(PaymentProvider, ({ faults: book }) => book.clear())
          yield* startPayout(seller, { period: "2026-11b" })
          yield* booksAre(seller, { ...fresh, paidOut: 900n })
          assert.deepStrictEqual(yield* transfersTo(seller), [oneTransfer(seller, 900, "2026-11b")])
          const sql = yield* SqlClient
          const audit = yield* sql`select 1 from ops.audit where subject = ${seller} and operation = 'SettlePayout'`
          assert.lengthOf(audit, 1)
          yield* sound
        })
    )
  })
})

describe("given a provider which refuses a transfer for good", () => {
  layer(Shop.layer(), { excludeTestServices: true })((it) => {
    it.effect("then the money is the seller's again, people hear of it, and the next period sends it", () =>
      Effect.gen(function* () {
        const seller = yield* payable
        yield* fail("transfer", { _tag: "Refused", code: "account_closed", message: "That account is closed." })
        yield* startPayout(seller)
        const [payout] = yield* payoutsEnded(seller)
        assert.deepInclude(payout, { status: "failed", reference: "account_closed", amount: "900" })
        assert.deepStrictEqual(yield* booksOf(seller), { ...fresh, released: 900n })
        const alert = yield* eventually(
          alertOf(`payout_failed:${seller}:${period}:EUR`),
          (seen) => seen?.status === "open"
        )
        assert.deepInclude(alert, { severity: "critical", kind: "payout_failed" })
        assert.deepInclude(alert?.details, { amount: 900n, currency: EUR, error: "account_closed" })
        yield* startPayout(seller)
        assert.deepStrictEqual(yield* transfersTo(seller), [], "the period is over, for good")
        yield* startPayout(seller, { period: "2026-12" })
        yield* booksAre(seller, { ...fresh, paidOut: 900n })
        assert.deepStrictEqual(yield* transfersTo(seller), [oneTransfer(seller, 900, "2026-12")])
        yield* sound
      })
    )

    it.effect(
      "when its key belongs to another transfer there, then nothing is sent or given back, and an operator has to say",
      () =>
        Effect.gen(function* () {
          const seller = yield* payable
          const gateway = yield* PayoutGateway
          const key = payoutKey(seller, period, "EUR")
          const other = { key, account, sellerId: SellerId.make(seller), amount: { amount: 500n, currency: EUR } }
          yield* gateway.send(other)
          yield* startPayout(seller)
          const placement = yield* Placement
          const client = placement.client(SellerAccount)(seller)
          yield* eventually(client.GetSellerAccount(), ({ payouts }) => payouts[0]?.doubt === "left")
          assert.deepStrictEqual(yield* booksOf(seller), { ...fresh, inPayout: 900n })
          assert.lengthOf(yield* transfersTo(seller), 1)
          const alert = yield* eventually(
            alertOf(`payout_unanswered:${seller}:${period}:EUR`),
            (seen) => seen?.status === "open"
          )
          assert.match(alert?.details.error ?? "", /another transfer has its key: tr_/)
          yield* sound
        })
    )
  })
})
