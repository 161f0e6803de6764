import { assert, describe, layer } from "@effect/vitest"
import { DateTime, Effect, Result } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { IdempotencyKey } from "../../src/domain/Ids.ts"
import { Currency } from "../../src/domain/Money.ts"
import { Payment } from "../../src/entities/payment/Payment.ts"
import { operatorRefund, type RefundId } from "../../src/entities/payment/Refund.ts"
import { ProviderReference } from "../../src/entities/providerEvent/ProviderEvent.ts"
import { Placement } from "../../src/runtime/Placement.ts"
import type { Fault } from "../../src/sandbox/Faults.ts"
import type { LedgerEntry } from "../../src/sandbox/Ledger.ts"
import { PaymentProvider } from "../../src/sandbox/PaymentProvider.ts"
import { Refunds } from "../../src/workflows/refund/Refunds.ts"
import { eventually } from "../fixtures/Eventually.ts"
import * as Shop from "../fixtures/Shop.ts"
import * as Webhooks from "../fixtures/Webhooks.ts"

/** A paid order of 100.00, shipping included, and what may be said about its money. */
const paidOrder = Effect.fnUntraced(function* (card = "pm_card_visa") {
  yield* Shop.stock([{ sku: "lamp", price: 9510n, onHand: { berlin: 1000 } }])
  const { checkoutId, confirm } = yield* Shop.prepare({ lines: { lamp: 1 }, card })
  yield* confirm()
  const placement = yield* Placement
  const provider = yield* PaymentProvider
  const refunds = placement.client(Refunds)(checkoutId)
  const payment = placement.client(Payment)(checkoutId)
  const look = Effect.map(payment.GetPayment(), (view) => view!)
  const refundOf = (id: RefundId) => Effect.map(look, (view) => view.refunds!.find((one) => one.id === id)!)
  const entry = () => provider.ledger.ofCheckout(checkoutId)[0]!
  return {
    checkoutId,
    refunds,
    look,
    entry,
    request: (amount?: bigint, name: string = Shop.fresh("refund")) => {
      const key = IdempotencyKey.make(name)
      return refunds.Request({
        key,
        refund: operatorRefund(key),
        ...(amount === undefined ? {} : { amount }),
        reason: "the handle broke",
        by: "operator-eve"
      })
    },
    ended: (id: RefundId) =>
      eventually(
        refundOf(id),
        ({ nextAttemptAt, status }) => status === "completed" || (status === "failed" && nextAttemptAt === undefined)
      ),
    until: (id: RefundId, status: string) => eventually(refundOf(id), (one) => one.status === status),
    inject: (fault: Fault, times: number | "always" = 1) =>
      provider.faults.inject({ operation: "refund", fault, times }),
    records: Effect.flatMap(
      SqlClient,
      (sql) =>
        sql`select operation_type, total_amount, error_message from payment.failed_compensations where order_id = ${checkoutId}`
    ),
    order: Effect.flatMap(SqlClient, (sql) =>
      Effect.map(
        sql`select status, payment_status from orders.orders where id = ${checkoutId}`,
        ([row]) => `${String(row?.["status"])}, ${String(row?.["payment_status"])}`
      )
    )
  }
})

/** The keys of all refunds which the provider has carried out. */
const keysOf = ({ movements }: LedgerEntry) =>
  movements.filter(({ operation }) => operation === "refund").map(({ key }) => key)

const sound = Effect.gen(function* () {
  assert.deepStrictEqual(yield* Shop.violations, [])
})

describe("given a paid order", () => {
  layer(Shop.layer(), { excludeTestServices: true })((it) => {
    it.effect("when part of it and then the rest is refunded, then the order shows both (REQ-RFD-02)", () =>
      Effect.gen(function* () {
        const { ended, entry, look, order, request } = yield* paidOrder()
        const first = yield* request(4000n)
        assert.deepInclude(first, { status: "requested", amount: 4000n, by: "operator-eve" })
        yield* ended(first.id)
        assert.strictEqual(yield* order, "confirmed, partially_refunded")
        const rest = yield* request()
        assert.strictEqual(rest.amount, 6000n)
        yield* ended(rest.id)
        assert.strictEqual(yield* order, "confirmed, refunded")
        assert.deepInclude(yield* look, { status: "refunded", refunded: 10_000n, refundPending: 0n })
        assert.deepStrictEqual(entry().refunded, { times: 2, amount: 10_000 })
        yield* sound
      })
    )

    it.effect("when 60.00 and 60.00 of 100.00 are refunded at once, then the other hears what is left (T-PAY-29)", () =>
      Effect.gen(function* () {
        const { ended, entry, request } = yield* paidOrder()
        const both = yield* Effect.all([Effect.result(request(6000n)), Effect.result(request(6000n))], {
          concurrency: 2
        })
        const [taken] = both.filter(Result.isSuccess)
        const [refused, ...others] = both.filter(Result.isFailure)
        assert.deepStrictEqual(others, [])
        assert.deepInclude(refused!.failure as object, {
          _tag: "RefundTooLarge",
          remaining: 4000n,
          currency: "EUR"
        })
        yield* ended(taken!.success.id)
        assert.deepStrictEqual(entry().refunded, { times: 1, amount: 6000 })
        yield* sound
      })
    )

    it.effect("when 20 refunds run at once, then never more is given back than was captured (REQ-PAY-06)", () =>
      Effect.gen(function* () {
        const { ended, entry, look, request } = yield* paidOrder()
        const all = yield* Effect.all(
          Array.from({ length: 20 }, () => Effect.result(request(1500n))),
          { concurrency: "unbounded" }
        )
        const taken = all.filter(Result.isSuccess)
        assert.strictEqual(taken.length, 6)
        for (const { success } of taken) yield* ended(success.id)
        assert.deepStrictEqual(entry().refunded, { times: 6, amount: 9000 })
        assert.deepInclude(yield* look, { refunded: 9000n, refundPending: 0n })
        yield* sound
      })
    )

    it.effect(
      "when a key is used again, then it has its first answer; with another amount it is refused (REQ-RFD-01)",
      () =>
        Effect.gen(function* () {
          const { ended, entry, request } = yield* paidOrder()
          const name = Shop.fresh("refund")
          const all = yield* Effect.all(
            Array.from({ length: 20 }, () => request(6000n, name)),
            { concurrency: "unbounded" }
          )
          assert.deepStrictEqual([...new Set(all.map(({ id }) => id))], [`operator:${name}`])
          yield* ended(all[0]!.id)
          assert.strictEqual((yield* Effect.flip(request(5999n, name)))._tag, "IdempotencyConflict")
          assert.deepInclude(yield* request(6000n, name), { status: "completed", amount: 6000n })
          assert.deepStrictEqual(entry().refunded, { times: 1, amount: 6000 })
          assert.strictEqual(entry().calls.refund, 1)
        })
    )

    it.effect("when the answer is lost after the work, then it is looked up and not done again (T-RET-06)", () =>
      Effect.gen(function* () {
        for (const fault of [
          { _tag: "Reset", done: true },
          { _tag: "ServerError", done: true },
          { _tag: "Silence", done: true }
        ] satisfies ReadonlyArray<Fault>) {
          const { checkoutId, ended, entry, inject, request } = yield* paidOrder()
          inject(fault)
          const { id } = yield* request(2500n)
          assert.deepInclude(yield* ended(id), { status: "completed", tries: 0 })
          assert.deepStrictEqual(keysOf(entry()), [`refund:${id}:${checkoutId}`])
          assert.strictEqual(entry().calls.refund, 1)
        }
      })
    )

    it.effect(
      "when it surely was not done, then it is tried again with the same key, or the next one if that failure is stored",
      () =>
        Effect.gen(function* () {
          for (const { fault, suffix } of [
            { fault: { _tag: "Unavailable" }, suffix: "" },
            { fault: { _tag: "Reset", done: false }, suffix: "" },
            { fault: { _tag: "RateLimited", retryAfterSeconds: 1 }, suffix: "" },
            { fault: { _tag: "ServerError", done: false }, suffix: ":3" }
          ] satisfies ReadonlyArray<{ readonly fault: Fault; readonly suffix: string }>) {
            const { checkoutId, ended, entry, inject, request } = yield* paidOrder()
            inject(fault, 2)
            const { id } = yield* request(2500n)
            const done = yield* ended(id)
            assert.deepInclude(done, { status: "completed", tries: 2 }, fault._tag)
            // 100 ms and 200 ms between the tries.
            assert.isAtLeast(done.changedAt.epochMilliseconds - done.requestedAt.epochMilliseconds, 300)
            assert.deepStrictEqual(keysOf(entry()), [`refund:${id}:${checkoutId}${suffix}`], fault._tag)
          }
          yield* sound
        })
    )

    it.effect(
      "when no try goes through, then one record is left, the amount stays held, and an operator's retry does it (T-RET-03)",
      () =>
        Effect.gen(function* () {
          const { ended, entry, inject, look, order, records, refunds, request } = yield* paidOrder()
          const provider = yield* PaymentProvider
          inject({ _tag: "Unavailable" }, "always")
          const { id } = yield* request(6000n)
          assert.deepInclude(yield* ended(id), { status: "failed", tries: 4 })
          assert.strictEqual(entry().calls.refund, 4)
          assert.strictEqual(yield* order, "confirmed, completed")
          assert.deepStrictEqual(yield* records, [
            { operation_type: "refund", total_amount: 6000n, error_message: "outcome_unknown" }
          ])
          assert.deepInclude(yield* look, { refundPending: 6000n })
          assert.deepInclude((yield* Effect.flip(request(6000n))) as object, {
            _tag: "RefundTooLarge",
            remaining: 4000n
          })
          assert.deepInclude(yield* refunds.Retry({ key: Shop.key(), refund: id }), { status: "failed", tries: 5 })
          provider.faults.clear()
          assert.deepInclude(yield* refunds.Retry({ key: Shop.key(), refund: id }), { status: "completed" })
          assert.deepStrictEqual(entry().refunded, { times: 1, amount: 6000 })
          assert.strictEqual(yield* order, "confirmed, partially_refunded")
          assert.strictEqual((yield* records).length, 1)
          yield* sound
        })
    )

    it.effect("when the provider refuses for good, then the amount is free again at once and an operator is told", () =>
      Effect.gen(function* () {
        const { ended, entry, look, records, request } = yield* paidOrder("pm_sandbox_refund_refused")
        const { id } = yield* request()
        assert.deepInclude(yield* ended(id), { status: "failed", tries: 1, failure: "charge_not_refundable" })
        assert.strictEqual(entry().calls.refund, 1)
        assert.deepInclude(yield* look, { refunded: 0n, refundPending: 0n })
        assert.strictEqual((yield* records).length, 1)
        yield* sound
      })
    )

    it.effect(
      "when the provider holds it pending and it fails by webhook, then its amount is free again (REQUIREMENTS B.11)",
      () =>
        Effect.gen(function* () {
          const { checkoutId, ended, look, records, request, until } = yield* paidOrder(
            "pm_sandbox_refund_pending_then_fails"
          )
          const { id } = yield* request(6000n)
          yield* until(id, "processing")
          assert.strictEqual((yield* Effect.flip(request(6000n)))._tag, "RefundTooLarge")
          const sql = yield* SqlClient
          const [row] = yield* eventually(
            sql<{ reference: string | null }>`
            select r ->> 'reference' as reference from payment.payments, jsonb_array_elements(refunds) r where r ->> 'id' = ${id}`,
            ([found]) => found?.reference !== null
          )
          const reference = ProviderReference.make(row!.reference!)
          const fact = { _tag: "Refund", refund: reference, ours: id, status: "failed", amount: 6000n } as const
          yield* eventually(
            Effect.andThen(
              Effect.all(
                Array.from({ length: 20 }, () =>
                  Webhooks.tell(checkoutId, { ...fact, currency: Currency.make("EUR") }, reference)
                ),
                { concurrency: "unbounded" }
              ),
              look
            ),
            ({ refunds }) => refunds?.[0]?.status === "failed"
          )
          assert.deepInclude(yield* ended(id), { status: "failed", failure: "lost_or_stolen_card", tries: 1 })
          assert.deepInclude(yield* look, { refunded: 0n, refundPending: 0n })
          assert.strictEqual((yield* records).length, 1)
          yield* sound
        })
    )

    it.effect("when nobody tells how a pending one ended, then it is looked into (N-060)", () =>
      Effect.gen(function* () {
        const { ended, entry, request } = yield* paidOrder("pm_card_pendingRefund")
        const { id, requestedAt } = yield* request(6000n)
        assert.deepInclude(yield* ended(id), { status: "completed", tries: 0 })
        assert.isTrue(DateTime.isLessThan(requestedAt, yield* DateTime.now))
        assert.deepStrictEqual(entry().refunded, { times: 1, amount: 6000 })
        assert.strictEqual(entry().calls.refund, 1)
      })
    )

    it.effect("when a chargeback is opened, then nothing is refunded until it is won (REQUIREMENTS B.11)", () =>
      Effect.gen(function* () {
        const { checkoutId, ended, look, request } = yield* paidOrder()
        const { id, won } = yield* Webhooks.chargeBack(checkoutId)
        yield* eventually(look, ({ chargebacks }) => chargebacks?.length === 1)
        assert.deepInclude((yield* Effect.flip(request(1000n))) as object, {
          _tag: "RefundNotPossible",
          because: "chargeback"
        })
        const [chargeback] = (yield* look).chargebacks!
        assert.deepInclude(chargeback, { id, status: "opened", reason: "fraudulent", amount: 10_000n })
        yield* won
        yield* eventually(look, ({ chargebacks }) => chargebacks?.[0]?.status === "won")
        yield* ended((yield* request(1000n)).id)
      })
    )

    it.effect("when there is no such payment, or nothing was captured, then there is nothing to refund", () =>
      Effect.gen(function* () {
        const placement = yield* Placement
        const key = Shop.key()
        const asked = { key, refund: operatorRefund(key), reason: "nothing" }
        const nowhere = placement.client(Refunds)(Shop.fresh("checkout"))
        assert.strictEqual((yield* Effect.flip(nowhere.Request(asked)))._tag, "NotFound")
        yield* Shop.stock([{ sku: "lamp", price: 9510n, onHand: { berlin: 1000 } }])
        const { checkoutId, confirm } = yield* Shop.prepare({ lines: { lamp: 1 }, card: "pm_card_chargeDeclined" })
        yield* Effect.flip(confirm())
        const refusal = yield* Effect.flip(placement.client(Refunds)(checkoutId).Request(asked))
        assert.deepInclude(refusal as object, { _tag: "RefundNotPossible", because: "not_captured" })
      })
    )
  })
})
