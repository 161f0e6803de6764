/** Payments beside the provider's ledger: what differs is found both ways, and money which nothing stands behind goes back once. */
import { assert, describe, layer } from "@effect/vitest"
import { inspect } from "node:util"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Context, Duration, Effect, Fiber, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { CustomerId, orderIdOf } from "../../src/domain/Ids.ts"
import { hashedReference } from "../../src/domain/SecretHash.ts"
import { Alert, AlertId } from "../../src/entities/alert/Alert.ts"
import { FailedCompensation } from "../../src/entities/failedCompensation/FailedCompensation.ts"
import { Payment } from "../../src/entities/payment/Payment.ts"
import { migrate } from "../../src/migrations/Migrations.ts"
import { ReconciliationList } from "../../src/projections/ReconciliationList.ts"
import { Journal } from "../../src/runtime/Journal.ts"
import { Placement } from "../../src/runtime/Placement.ts"
import type { LedgerEntry } from "../../src/sandbox/Ledger.ts"
import { PaymentProvider } from "../../src/sandbox/PaymentProvider.ts"
import { Captures } from "../../src/workflows/capture/Captures.ts"
import { MoneyReview } from "../../src/workflows/reconciliation/MoneyReview.ts"
import { eventually } from "../fixtures/Eventually.ts"
import * as Orphans from "../fixtures/Orphans.ts"
import { freshDatabase } from "../fixtures/Postgres.ts"
import { reconcile, resultOf, shop } from "../fixtures/Reconciliations.ts"
import * as Shop from "../fixtures/Shop.ts"

const provider = ["provider", "provider_missing"]

const atProvider = (
  ...request: Parameters<typeof Orphans.atProvider> extends [unknown, ...infer Rest] ? Rest : never
) => Effect.flatMap(PaymentProvider, (own) => Orphans.atProvider(own, ...request))

const moneyFor = (checkoutId: string, amount: number, capture: boolean) =>
  Effect.flatMap(PaymentProvider, (own) => Orphans.moneyFor(own, checkoutId, { amount, capture }))

const entryOf = (checkoutId: string) =>
  Effect.map(PaymentProvider, ({ ledger }): LedgerEntry => ledger.ofCheckout(checkoutId)[0]!)

const ordered = Effect.fnUntraced(function* (card = "pm_card_visa") {
  yield* Shop.stock([{ sku: "lamp", price: 9510n, onHand: { berlin: 1000 } }])
  const prepared = yield* Shop.prepare({ lines: { lamp: 1 }, card })
  const outcome = yield* Effect.result(prepared.confirm())
  return { ...prepared, outcome }
})

const paymentOf = (checkoutId: string) =>
  Effect.flatMap(Placement, (placement) => placement.client(Payment)(checkoutId).GetPayment())

/** What stands in the tables is read again, as after a restart. */
const forgotten = Effect.flatMap(Journal, (journal) =>
  journal.release(new Set(Array.from({ length: Shop.quickLimits.runtime.buckets }, (_, bucket) => bucket)))
)

/** The provider knows instants by the second, and a run looks at what is older than itself. */
const aSecondLater = Effect.sleep("1100 millis")

const findingOf = (run: Effect.Success<ReturnType<typeof reconcile>>, subject: string) =>
  run.findings.find((one) => one.subject === subject || one.subject.startsWith(`${subject}:`))

const deferred = {
  ...Shop.quickLimits,
  checkout: { ...Shop.quickLimits.checkout, captureMode: "deferred" as const }
}

describe("given confirmed orders whose money is held", () => {
  layer(shop(deferred), { excludeTestServices: true })((it) => {
    it.effect(
      "when the provider's ledger differs in five ways, then all are reported, statuses follow the provider, and no amount is made to fit (T-PAY-22)",
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient
          const [captured, voided, other, refunded, unknown, well] = yield* Effect.all(
            Array.from({ length: 6 }, () => ordered())
          )
          const intentOf = (checkoutId: string) => Effect.map(entryOf(checkoutId), ({ id }) => id)
          yield* atProvider(`payment_intents/${yield* intentOf(captured!.checkoutId)}/capture`)
          yield* atProvider(`payment_intents/${yield* intentOf(voided!.checkoutId)}/cancel`)
          yield* atProvider(`payment_intents/${yield* intentOf(other!.checkoutId)}/capture`, {
            amount_to_capture: "9000"
          })
          const placement = yield* Placement
          yield* placement.client(Captures)(refunded!.checkoutId).Capture({ key: Shop.key() })
          yield* atProvider("refunds", {
            payment_intent: yield* intentOf(refunded!.checkoutId),
            amount: "2500"
          })
          const stranger = yield* moneyFor("checkout-of-nobody", 700, true)
          yield* aSecondLater

          const run = yield* reconcile(provider)
          assert.deepInclude(resultOf(run, "provider"), { found: 5, corrected: 3, raised: 2 }, inspect(run))
          assert.deepInclude(resultOf(run, "provider_missing"), { found: 0 })
          assert.isUndefined(findingOf(run, well!.checkoutId))
          assert.isUndefined(findingOf(run, unknown!.checkoutId))

          assert.deepInclude(findingOf(run, captured!.checkoutId), {
            outcome: "corrected",
            text: "the provider has captured 10000 and refunded 0; ours is authorized for 10000"
          })
          assert.deepInclude(yield* paymentOf(captured!.checkoutId), { saga: "captured", captured: 10_000n })
          assert.strictEqual((yield* entryOf(captured!.checkoutId)).captured.times, 1)

          assert.deepInclude(findingOf(run, voided!.checkoutId), {
            outcome: "corrected",
            text: "the provider has voided it; ours is authorized for 10000"
          })
          yield* eventually(paymentOf(voided!.checkoutId), (view) => view?.saga === "voided")
          yield* eventually(
            sql<{ status: string }>`select status from orders.orders where id = ${voided!.checkoutId}`,
            ([row]) => row?.status === "cancelled"
          )

          assert.deepInclude(findingOf(run, refunded!.checkoutId), {
            outcome: "corrected",
            text: "the provider has captured 10000 and refunded 2500; ours has captured 10000 and refunded 0"
          })
          assert.deepInclude(yield* paymentOf(refunded!.checkoutId), { refunded: 2500n, status: "partially_refunded" })

          const differs = "the provider has captured 9000 and refunded 0; ours is authorized for 10000"
          assert.deepInclude(findingOf(run, other!.checkoutId), { outcome: "raised", text: differs })
          assert.deepInclude(yield* paymentOf(other!.checkoutId), { saga: "authorized", captured: 0n })
          const alert = yield* placement
            .client(Alert)(AlertId.make(`reconciliation:provider:${other!.checkoutId}`))
            .GetAlert()
          assert.deepInclude(alert, { status: "open", severity: "critical", kind: "reconciliation_provider" })
          assert.deepInclude(alert.details, {
            orderId: orderIdOf(other!.checkoutId),
            amount: 9000n,
            error: differs,
            authorization: hashedReference(yield* intentOf(other!.checkoutId))
          })

          const hash = hashedReference(stranger().id)
          assert.deepInclude(
            run.findings.find(({ authorization }) => authorization === hash),
            { outcome: "raised", text: "the provider has money for a checkout which is not known here", amount: 700n }
          )
          // It may be another shop's on the same account.
          assert.strictEqual(stranger().refunded.times, 0)

          // What was corrected is not found again.
          const again = yield* reconcile(provider)
          assert.deepInclude(resultOf(again, "provider"), { found: 2, corrected: 0, raised: 2 })
          assert.notInclude(inspect([run, again], { depth: 10 }), "pi_")
        }),
      60_000
    )

    it.effect("when the provider does not know what we take for held, then it is raised", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        const { checkoutId } = yield* ordered()
        const { ledger } = yield* PaymentProvider
        yield* aSecondLater
        // As after a mix-up of the provider's live and test keys: neither its list nor a lookup has it.
        yield* sql`update payment.payments set intent = 'pi_unknown', version = version + 1 where id = ${checkoutId}`
        assert.lengthOf(ledger.ofCheckout(checkoutId), 1)
        const placement = yield* Placement
        const { Review } = placement.client(MoneyReview)(checkoutId)
        // What is remembered is not what stands in the table: that is read first.
        assert.deepStrictEqual(yield* Review({ stuck: false }), {
          verdict: "raised",
          text: "the provider does not know it; ours is authorized for 10000"
        })
        yield* sql`update payment.payments set intent = ${ledger.ofCheckout(checkoutId)[0]!.id}, version = version + 1 where id = ${checkoutId}`
        yield* Effect.ignore(Review({ stuck: false }))
      })
    )
  })
})

describe("given money at the provider which no living order stands behind", () => {
  layer(shop(), { excludeTestServices: true })((it) => {
    it.effect(
      "when it is a hold of a declined attempt, a second capture beside an order, or a capture of a voided payment, then it goes back, once, and nothing else does",
      () =>
        Effect.gen(function* () {
          const declined = yield* ordered("pm_card_chargeDeclined")
          const paid = yield* ordered()
          const cancelled = yield* ordered("pm_sandbox_capture_declined")
          const held = yield* moneyFor(declined.checkoutId, 10_000, false)
          const second = yield* moneyFor(paid.checkoutId, 10_000, true)
          const late = yield* moneyFor(cancelled.checkoutId, 10_000, true)
          yield* aSecondLater
          const run = yield* reconcile(provider)
          assert.deepInclude(resultOf(run, "provider"), { found: 3, corrected: 3, raised: 0 }, inspect(run))
          assert.deepInclude(held().voided, { times: 1 })
          assert.deepStrictEqual(second().refunded, { times: 1, amount: 10_000 })
          assert.deepStrictEqual(late().refunded, { times: 1, amount: 10_000 })
          // The order's own money stays.
          const [own] = (yield* PaymentProvider).ledger.ofCheckout(paid.checkoutId)
          assert.deepStrictEqual(own!.captured, { times: 1, amount: 10_000 })
          assert.deepStrictEqual(own!.refunded, { times: 0, amount: 0 })
          assert.deepInclude(resultOf(yield* reconcile(provider), "provider"), { found: 0 })
          assert.strictEqual(second().refunded.times, 1)
          assert.deepStrictEqual(yield* Shop.violations, [])
        }),
      60_000
    )

    it.effect(
      "when the hold of a payment whose attempt is closed stands all the same, then it is dropped, and a capture of it is refunded",
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient
          // As a lost answer leaves it: closed here, held there.
          const { checkoutId } = yield* ordered("pm_card_chargeDeclined")
          const money = yield* moneyFor(checkoutId, 10_000, true)
          yield* sql`update payment.payments set intent = ${money().id} where id = ${checkoutId}`
          yield* forgotten
          const placement = yield* Placement
          const { Review } = placement.client(MoneyReview)(checkoutId)
          const reviewed = yield* Review({ stuck: false })
          assert.strictEqual(reviewed.verdict, "corrected")
          assert.strictEqual((yield* Review({ stuck: false })).verdict, "sound")
          assert.deepStrictEqual(money().refunded, { times: 1, amount: 10_000 })
        })
    )

    it.effect(
      "when a captured order was cancelled and its money not given back, then the payment's own refund gives it back",
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient
          const { checkoutId } = yield* ordered()
          // As only a bug could leave it.
          yield* sql`update orders.orders set status = 'cancelled', reason = 'order_expired', cancelled_at = now() where id = ${checkoutId}`
          yield* sql`update warehouse.reservations set status = 'reversed' where id = ${checkoutId}`
          yield* sql`update warehouse.stock set committed = committed - 1 where sku = 'lamp'`
          yield* forgotten
          yield* aSecondLater
          const run = yield* reconcile(provider)
          assert.deepInclude(findingOf(run, checkoutId), { outcome: "corrected" }, inspect(run))
          const entry = yield* entryOf(checkoutId)
          assert.deepStrictEqual(entry.refunded, { times: 1, amount: 10_000 })
          assert.deepInclude(yield* paymentOf(checkoutId), { saga: "refunded", refunded: 10_000n })
          assert.deepStrictEqual(yield* Shop.violations, [])
        }),
      60_000
    )

    it.effect(
      "when it cannot be given back, then it stands as a failed compensation with its alert, and goes back once the provider is well",
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient
          const { faults } = yield* PaymentProvider
          const { checkoutId } = yield* ordered("pm_card_chargeDeclined")
          const held = yield* moneyFor(checkoutId, 10_000, false)
          yield* aSecondLater
          faults.inject({ operation: "cancel", fault: { _tag: "Unavailable" }, times: "always" })
          const run = yield* reconcile(provider)
          assert.deepInclude(findingOf(run, checkoutId), { outcome: "raised" })
          assert.include(findingOf(run, checkoutId)?.text, "it is not given back yet")
          const [record, ...others] = yield* sql<{
            id: string
            status: string
          }>`select id, status from payment.failed_compensations where order_id = ${checkoutId}`
          assert.deepStrictEqual(others, [])
          const placement = yield* Placement
          const alert = placement.client(Alert)(AlertId.make(`failed_compensation:${record!.id}`))
          assert.deepInclude(yield* eventually(alert.GetAlert(), () => true), { status: "open", severity: "critical" })
          // The record has it now: the next run does not try beside it.
          faults.clear()
          const compensation = placement.client(FailedCompensation)(record!.id)
          yield* compensation.Retry({ key: Shop.key(), by: CustomerId.make("operator-eve") })
          yield* eventually(compensation.GetFailedCompensation(), ({ status }) => status === "resolved")
          assert.strictEqual(held().voided.times, 1)
          assert.deepInclude(resultOf(yield* reconcile(provider), "provider"), { found: 0 })
          assert.deepStrictEqual(yield* Shop.violations, [])
        }),
      60_000
    )

    it.effect("when it is younger than the grace time, then it is left alone", () =>
      Effect.gen(function* () {
        const { checkoutId } = yield* ordered("pm_card_chargeDeclined")
        const held = yield* moneyFor(checkoutId, 10_000, false)
        const run = yield* reconcile(provider)
        assert.isUndefined(findingOf(run, checkoutId))
        assert.strictEqual(held().voided.times, 0)
        yield* aSecondLater
        yield* reconcile(provider)
        assert.strictEqual(held().voided.times, 1)
      })
    )

    it.effect(
      "when one of them cannot be looked into, then it is raised, and the next run gives it back",
      () =>
        Effect.gen(function* () {
          const { faults } = yield* PaymentProvider
          const { checkoutId } = yield* ordered("pm_card_chargeDeclined")
          const held = yield* moneyFor(checkoutId, 10_000, false)
          yield* aSecondLater
          faults.inject({ operation: "retrieve", fault: { _tag: "Unavailable" }, times: "always" })
          const run = yield* reconcile(provider)
          assert.strictEqual(run.report.status, "completed")
          const text = "it could not be looked into (Unavailable)"
          assert.deepInclude(findingOf(run, checkoutId), { outcome: "raised", text })
          faults.clear()
          assert.deepInclude(findingOf(yield* reconcile(provider), checkoutId), { outcome: "corrected" })
          assert.strictEqual(held().voided.times, 1)
        }),
      60_000
    )

    it.effect(
      "when the provider does not answer, then the run is incomplete and says so, and the next one finds what there was",
      () =>
        Effect.gen(function* () {
          const { faults } = yield* PaymentProvider
          const { checkoutId } = yield* ordered("pm_card_chargeDeclined")
          yield* moneyFor(checkoutId, 10_000, false)
          yield* aSecondLater
          faults.inject({ operation: "list", fault: { _tag: "Unavailable" }, times: "always" })
          const run = yield* reconcile(provider)
          assert.strictEqual(run.report.status, "incomplete")
          assert.deepInclude(resultOf(run, "provider"), { error: "OutcomeUnknown" })
          const placement = yield* Placement
          const alert = placement.client(Alert)(AlertId.make("reconciliation_incomplete:provider")).GetAlert()
          assert.deepInclude(yield* alert, { status: "open", severity: "warning" })
          faults.clear()
          assert.deepInclude(findingOf(yield* reconcile(provider), checkoutId), { outcome: "corrected" })
          assert.strictEqual((yield* alert).status, "cleared")
        }),
      60_000
    )
  })
})

describe("given checkouts under way", () => {
  layer(shop(), { excludeTestServices: true })((it) => {
    it.effect(
      "when payments are compared with the provider again and again meanwhile, then nothing is found and nothing given back",
      () =>
        Effect.gen(function* () {
          yield* Shop.stock([{ sku: "lamp", price: 9510n, onHand: { berlin: 1000 } }])
          const cards = [
            "pm_card_visa",
            "pm_card_chargeDeclined",
            "pm_sandbox_capture_declined",
            "pm_sandbox_capture_503_twice"
          ]
          const buying = yield* Effect.forEach(
            Array.from({ length: 40 }, (_, index) => cards[index % cards.length]!),
            (card) =>
              Shop.prepare({ lines: { lamp: 1 }, card }).pipe(
                Effect.flatMap(({ confirm }) => Effect.exit(confirm())),
                Effect.delay(Duration.millis(50))
              ),
            { concurrency: 4, discard: true }
          ).pipe(Effect.forkChild)
          for (let runs = 0; runs < 6; runs++) {
            yield* Effect.sleep("300 millis")
            const run = yield* reconcile(provider)
            assert.deepStrictEqual(run.findings, [])
          }
          yield* Fiber.join(buying)
          yield* aSecondLater
          assert.deepStrictEqual((yield* reconcile(provider)).findings, [])
          assert.deepStrictEqual(yield* Shop.violations, [])
        }),
      60_000
    )
  })
})

describe("given a payment which was being captured when its node died, and a node which nobody tells to go on", () => {
  layer(Shop.gateway(), { excludeTestServices: true })((it) => {
    it.effect(
      "when it has not moved for five minutes, then it is looked up, and its order goes on with one capture (T-PAY-23, REQ-REC-03)",
      () =>
        Effect.gen(function* () {
          const url = yield* freshDatabase
          const pool = yield* Layer.build(PgClient.layer({ url }))
          yield* Effect.provide(migrate, pool)
          const sql = Context.get(pool, SqlClient)
          const { faults } = yield* PaymentProvider
          const checkoutId = Shop.fresh("checkout")
          const pending = sql<{ saga_state: string }>`select saga_state from payment.payments where id = ${checkoutId}`
          yield* Effect.gen(function* () {
            yield* Shop.stock([{ sku: "lamp", price: 9510n, onHand: { berlin: 10 } }])
            const { confirm } = yield* Shop.prepare({ checkoutId, lines: { lamp: 1 } })
            faults.inject({ operation: "capture", fault: { _tag: "Delay", ms: 1000 }, times: 1 })
            yield* Effect.forkChild(Effect.exit(confirm()))
            yield* eventually(pending, ([row]) => row?.saga_state === "capture_pending")
          }).pipe(Effect.provide(Layer.fresh(Shop.shopOn(url))))
          yield* sql`delete from runtime.timers where actor_id = ${checkoutId}`
          yield* Effect.gen(function* () {
            yield* reconcile(["payment_stuck"])
            assert.strictEqual((yield* pending)[0]?.saga_state, "capture_pending", "it is younger than that")
            yield* sql`update checkout.sessions set confirming_since = confirming_since - interval '5 minutes' where id = ${checkoutId}`
            const run = yield* reconcile(["payment_stuck"])
            assert.deepInclude(findingOf(run, checkoutId), { outcome: "corrected" }, inspect(run))
            assert.deepInclude(yield* paymentOf(checkoutId), { saga: "captured", captured: 10_000n })
            assert.strictEqual((yield* entryOf(checkoutId)).captured.times, 1)
            assert.deepStrictEqual(yield* Shop.violations, [])
          }).pipe(Effect.provide(ReconciliationList.layer.pipe(Layer.provideMerge(Layer.fresh(Shop.shopOn(url))))))
        }),
      60_000
    )
  })
})
