import { assert, describe, it, layer } from "@effect/vitest"
import { DateTime, Deferred, Duration, Effect, Fiber, Metric } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { Alert, AlertId } from "../../src/entities/alert/Alert.ts"
import * as Reconciliation from "../../src/jobs/Reconciliation.ts"
import { Placement } from "../../src/runtime/Placement.ts"
import { tableChecks } from "../../src/layers/Shop.ts"
import { ReconciliationRequests } from "../../src/workflows/reconciliation/ReconciliationRequests.ts"
import { eventually } from "../fixtures/Eventually.ts"
import { operator, reconcile, resultOf, shop } from "../fixtures/Reconciliations.ts"
import * as Shop from "../fixtures/Shop.ts"

const shelf = (sku: string) =>
  Effect.flatMap(SqlClient, (sql) =>
    Effect.map(
      sql<{
        reserved: number
        committed: number
      }>`select reserved, committed from warehouse.stock where sku = ${sku}`,
      ([row]) => ({ ...row! })
    )
  )

const corrections = (sku: string) =>
  Effect.flatMap(
    SqlClient,
    (sql) => sql`
      select reserved, committed, details -> 'before' as before, details -> 'after' as after, actor from warehouse.stock_ledger
      where op = 'stock_reconciled' and sku = ${sku} order by at`
  )

const alertOf = (check: string) =>
  Effect.flatMap(Placement, (placement) =>
    placement
      .client(Alert)(AlertId.make(`reconciliation:${check}`))
      .GetAlert()
  )

describe("given a shop whose stock counters are right", () => {
  layer(shop(), { excludeTestServices: true })((it) => {
    it.effect(
      "when it is reconciled again and again while checkouts run, then nothing is found, whatever they are at (REQ-REC-01)",
      () =>
        Effect.gen(function* () {
          yield* Shop.stock([{ sku: "busy", price: 100n, onHand: { berlin: 200, paris: 200 } }])
          const done = yield* Deferred.make<void>()
          const looking = yield* Effect.forkChild(
            Effect.gen(function* () {
              let runs = 0
              while (!(yield* Deferred.isDone(done))) {
                const run = yield* reconcile(["stock"])
                assert.deepInclude(resultOf(run, "stock"), { found: 0 }, JSON.stringify(run.findings))
                runs++
              }
              return runs
            })
          )
          const cards = ["pm_card_visa", "pm_card_chargeDeclined", "pm_sandbox_capture_declined"]
          yield* Effect.forEach(
            Array.from({ length: 60 }, (_, index) => cards[index % cards.length]!),
            (card) =>
              Shop.prepare({ lines: { busy: 3 }, card }).pipe(Effect.flatMap(({ confirm }) => Effect.exit(confirm()))),
            { concurrency: 8, discard: true }
          )
          yield* Deferred.succeed(done, undefined)
          assert.isAbove(yield* Fiber.join(looking), 3)
          assert.deepStrictEqual(yield* corrections("busy"), [])
          assert.deepStrictEqual(yield* Shop.violations, [])
        }),
      60_000
    )

    it.effect(
      "when a counter is made to drift while checkouts run, then it is corrected by exactly that, with a ledger row and an alert with before and after (T-INV-15)",
      () =>
        Effect.gen(function* () {
          yield* Shop.stock([{ sku: "drift", price: 100n, onHand: { berlin: 500 } }])
          const sql = yield* SqlClient
          const buying = yield* Effect.forEach(
            Array.from({ length: 30 }),
            () => Effect.flatMap(Shop.prepare({ lines: { drift: 1 } }), ({ confirm }) => confirm()),
            { concurrency: 4, discard: true }
          ).pipe(Effect.forkChild)
          yield* sql`update warehouse.stock set reserved = reserved + 3, committed = committed + 2, version = version + 1 where sku = 'drift'`
          const run = yield* reconcile(["stock"])
          assert.deepInclude(resultOf(run, "stock"), { found: 1, corrected: 1, raised: 0 })
          yield* Fiber.join(buying)
          assert.deepStrictEqual(yield* shelf("drift"), { reserved: 0, committed: 30 })
          const [correction, ...others] = yield* corrections("drift")
          assert.deepStrictEqual(others, [])
          assert.deepInclude(correction, { reserved: -3, committed: -2, actor: "reconciliation" })
          const { after, before } = correction as Record<"before" | "after", { reserved: number; committed: number }>
          assert.strictEqual(before.reserved - after.reserved, 3)
          assert.strictEqual(before.committed - after.committed, 2)
          const alert = yield* alertOf("stock")
          assert.deepInclude(alert, { status: "open", severity: "warning", kind: "reconciliation_stock" })
          assert.include(
            alert.details.error,
            `drift@berlin (reserved ${before.reserved}, claimed by reservations ${after.reserved}; committed ${before.committed}, bound to orders ${after.committed})`
          )
          // Nothing is left to find, and the alert is over.
          assert.deepInclude(resultOf(yield* reconcile(["stock"]), "stock"), { found: 0 })
          assert.strictEqual((yield* alertOf("stock")).status, "cleared")
          assert.deepStrictEqual(yield* Shop.violations, [])
        }),
      60_000
    )

    it.effect("when a counter lost units, then they are claimed again; drifted again, then there is a second row", () =>
      Effect.gen(function* () {
        yield* Shop.stock([{ sku: "lost", price: 100n, onHand: { berlin: 5 } }])
        const sql = yield* SqlClient
        yield* (yield* Shop.prepare({ lines: { lost: 2 } })).confirm()
        for (const times of [1, 2]) {
          yield* sql`update warehouse.stock set committed = 0 where sku = 'lost'`
          yield* reconcile(["stock"])
          assert.deepStrictEqual(yield* shelf("lost"), { reserved: 0, committed: 2 })
          assert.lengthOf(yield* corrections("lost"), times)
        }
        const drifted = (yield* Metric.snapshot).filter(({ id }) => id === "stock_drift_units_total")
        assert.isAbove(drifted.length, 0)
      })
    )

    it.effect("when more is promised than there is, then it is not corrected, and raised", () =>
      Effect.gen(function* () {
        yield* Shop.stock([{ sku: "oversold", price: 100n, onHand: { berlin: 3 } }])
        const sql = yield* SqlClient
        yield* (yield* Shop.prepare({ lines: { oversold: 3 } })).confirm()
        yield* sql`update warehouse.stock set committed = 0, on_hand = 1 where sku = 'oversold'`
        const run = yield* reconcile(["stock"])
        assert.deepInclude(resultOf(run, "stock"), { found: 1, corrected: 0, raised: 1 })
        assert.include(
          run.findings[0]?.text,
          "reserved 0, claimed by reservations 0; committed 0, bound to orders 3; not corrected (ConstraintError)"
        )
        assert.deepStrictEqual(yield* shelf("oversold"), { reserved: 0, committed: 0 })
        yield* sql`update warehouse.stock set committed = 3, on_hand = 3 where sku = 'oversold'`
      })
    )

    it.effect("when two nodes see the same drift, then it is corrected once", () =>
      Effect.gen(function* () {
        yield* Shop.stock([{ sku: "twice", price: 100n, onHand: { berlin: 50 } }])
        const sql = yield* SqlClient
        yield* sql`update warehouse.stock set reserved = 7 where sku = 'twice'`
        const [check] = yield* tableChecks
        const run = { id: "two-nodes", askedAt: yield* DateTime.now, limit: 1 }
        const look = Effect.gen(function* () {
          let place: string | undefined
          do {
            place = (yield* check!.page(run, place)).next
          } while (place !== undefined)
        })
        yield* Effect.all(
          Array.from({ length: 6 }, () => look),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(yield* shelf("twice"), { reserved: 0, committed: 0 })
        assert.lengthOf(yield* corrections("twice"), 1)
      })
    )
  })
})

describe("given orders and payments", () => {
  layer(shop({ ...Shop.quickLimits, reconciliation: { ...Shop.quickLimits.reconciliation, page: 2 } }), {
    excludeTestServices: true
  })((it) => {
    const orders = Effect.gen(function* () {
      yield* Shop.stock([{ sku: "chair", price: 100n, onHand: { berlin: 1000 } }])
      const ids: Array<string> = []
      for (let made = 0; made < 5; made++) {
        const { checkoutId, confirm } = yield* Shop.prepare({ lines: { chair: 1 } })
        yield* confirm()
        ids.push(checkoutId)
      }
      return ids
    })

    it.effect("when nothing is wrong, then a look at everything finds nothing (T-REC-03)", () =>
      Effect.gen(function* () {
        yield* orders
        const run = yield* reconcile()
        assert.deepInclude(run.report, { status: "completed", requestedBy: operator })
        assert.deepStrictEqual(run.findings, [])
        assert.deepInclude(resultOf(run, "payment_status"), { examined: 5, found: 0 })
        assert.isTrue(run.report.results.every(({ error }) => error === undefined))
      })
    )

    /** Each wrong in the tables, as only a bug could make it, and what makes it right again. */
    const wrongs: Readonly<Record<string, readonly [wrong: string, right: string]>> = {
      confirmed_without_money: [
        "update payment.payments set saga_state = 'authorized' where id = $1",
        "update payment.payments set saga_state = 'captured' where id = $1"
      ],
      payment_status: [
        "update orders.orders set payment_status = 'processing' where id = $1",
        "update orders.orders set payment_status = 'completed' where id = $1"
      ],
      captured_amount: [
        "update payment.payments set captured = captured - 1 where id = $1",
        "update payment.payments set captured = amount where id = $1"
      ],
      pending_without_claim: [
        "update orders.orders set status = 'pending', updated_at = now() - interval '6 minutes' where id = $1",
        "update orders.orders set status = 'confirmed' where id = $1"
      ],
      confirmed_without_stock: [
        "update warehouse.reservations set status = 'released' where id = $1",
        "update warehouse.reservations set status = 'fulfilled' where id = $1"
      ],
      cancelled_with_stock: [
        "update orders.orders set status = 'cancelled', reason = 'x', cancelled_at = now() where id = $1",
        "update orders.orders set status = 'confirmed', reason = null, cancelled_at = null where id = $1"
      ],
      pending_too_long: [
        "with o as (update orders.orders set status = 'pending', expires_at = now() - interval '2 minutes' where id = $1) update payment.payments set saga_state = 'voided' where id = $1",
        "with o as (update orders.orders set status = 'confirmed' where id = $1) update payment.payments set saga_state = 'captured' where id = $1"
      ],
      captured_but_pending: [
        "with o as (update orders.orders set status = 'pending' where id = $1) update payment.payments set captured_at = now() - interval '2 minutes' where id = $1",
        "update orders.orders set status = 'confirmed' where id = $1"
      ],
      money_without_order: [
        "update orders.orders set status = 'failed', reason = 'x' where id = $1",
        "update orders.orders set status = 'confirmed', reason = null where id = $1"
      ],
      refund_sums: [
        `update payment.payments set refunds = '[{"status":"completed","amount":"5"}]' where id = $1`,
        "update payment.payments set refunds = null where id = $1"
      ],
      escrow_of_orders: [
        `update payment.payments set escrow = '{"parts":[{"sellerId":"potters-row","amount":"50","captured":"50","givenBack":"0"}],"feeBasisPoints":1000,"revision":1}' where id = $1`,
        "update payment.payments set escrow = null where id = $1"
      ],
      escrow_of_sellers: [
        `insert into escrow.seller_accounts (id, version, fees, balances, payouts, postings, created_at, updated_at)
          values ($1, 1, '[]', '[{"currency":"EUR","buyerPayments":"-5","refunded":"0","fees":"0","held":"5","released":"0","debt":"0","inPayout":"0","paidOut":"0"}]', '[]', 1, now(), now())`,
        "delete from escrow.seller_accounts where id = $1"
      ],
      transfer_sums: [
        `update payment.payments set method = 'bank_transfer', transfer_reference = 'RF', received = captured, intent = null, chargebacks = jsonb_build_array(intent) where id = $1`,
        "update payment.payments set method = null, transfer_reference = null, received = null, intent = chargebacks ->> 0, chargebacks = null where id = $1"
      ],
      owed_unseen: [
        `with o as (update orders.orders set status = 'failed', reason = 'x' where id = $1)
          update payment.payments set method = 'cash_on_delivery', received = captured + 1, owed = 1, intent = null, chargebacks = jsonb_build_array(intent) where id = $1`,
        `with o as (update orders.orders set status = 'confirmed', reason = null where id = $1)
          update payment.payments set method = null, received = null, owed = null, intent = chargebacks ->> 0, chargebacks = null where id = $1`
      ],
      claim_without_checkout: [
        "update warehouse.reservations set status = 'active', expires_at = now() where id = $1",
        "update warehouse.reservations set status = 'fulfilled', expires_at = null where id = $1"
      ],
      stock_without_order: [
        "update orders.orders set id = 'gone-' || id where id = $1",
        "update orders.orders set id = $1 where id = 'gone-' || $1"
      ],
      compensation_of_nothing: [
        `insert into payment.failed_compensations (id, order_id, operation_type, reservation_ids, customer_id, total_amount, currency, reason, error_message, created_at, updated_at)
          values ($1 || '~restock:1', $1, 'restock', '["nowhere"]', 'c', 1, 'EUR', 'x', 'x', now(), now())`,
        "delete from payment.failed_compensations where order_id = $1"
      ]
    }

    it.effect(
      "when each invariant is broken, then it is found with the order's id and raised; mended, then its alert is over (REQ-REC-04)",
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient
          const names = (yield* tableChecks).filter(({ group }) => group === "consistency").map(({ name }) => name)
          assert.sameMembers(names, Object.keys(wrongs))
          const ids = yield* orders
          for (const [name, [wrong, right]] of Object.entries(wrongs)) {
            const id = ids[3]!
            yield* sql.unsafe(wrong, [id])
            const run = yield* reconcile([name])
            assert.deepInclude(resultOf(run, name), { found: 1, corrected: 0, raised: 1 }, name)
            assert.include(run.findings[0]?.subject, id, name)
            const alert = yield* alertOf(name)
            assert.strictEqual(alert.status, "open", name)
            assert.include(alert.details.error, id)
            yield* sql.unsafe(right, [id])
            assert.deepInclude(resultOf(yield* reconcile([name]), name), { found: 0 }, name)
            assert.strictEqual((yield* alertOf(name)).status, "cleared", name)
          }
          assert.deepStrictEqual(yield* Shop.violations, [])
        }),
      60_000
    )

    it.effect("when the same key asks again, then it is the same run; with other checks, then it is refused", () =>
      Effect.gen(function* () {
        const { start } = yield* ReconciliationRequests
        const key = Shop.key()
        const first = yield* start({ key, by: operator, checks: ["stock"] })
        assert.strictEqual(yield* start({ key, by: operator, checks: ["stock"] }), first)
        assert.strictEqual((yield* Effect.flip(start({ key, by: operator })))._tag, "IdempotencyConflict")
        const unknown = yield* Effect.flip(start({ key: Shop.key(), by: operator, checks: ["nothing"] }))
        assert.deepInclude(unknown as object, { _tag: "InvalidRequest", field: "checks" })
        const sql = yield* SqlClient
        const audits =
          yield* sql`select outcome from ops.audit where operation = 'StartReconciliation' and subject = ${first}`
        assert.lengthOf(audits, 1)
      })
    )
  })
})

describe("given the schedules of reconciliation", () => {
  it("when it is asked what is due, then it is the latest time that has passed", () => {
    const at = (text: string) => DateTime.makeUnsafe(text)
    const hourly = { group: "stock", every: Duration.hours(1) } as const
    const nightly = { group: "provider", dailyAt: Duration.hours(2) } as const
    const due = (now: string, schedule: typeof hourly | typeof nightly) =>
      DateTime.formatIso(Reconciliation.latestOf(at(now), schedule))
    assert.strictEqual(due("2026-03-01T10:59:59Z", hourly), "2026-03-01T10:00:00.000Z")
    assert.strictEqual(due("2026-03-01T11:00:00Z", hourly), "2026-03-01T11:00:00.000Z")
    assert.strictEqual(due("2026-03-01T01:59:59Z", nightly), "2026-02-28T02:00:00.000Z")
    assert.strictEqual(due("2026-03-01T02:00:00Z", nightly), "2026-03-01T02:00:00.000Z")
  })
})

const often = {
  ...Shop.quickLimits,
  reconciliation: {
    ...Shop.quickLimits.reconciliation,
    schedules: [
      { group: "stock", every: Duration.seconds(1) },
      { group: "provider", dailyAt: Duration.hours(2) }
    ] as const
  }
}

describe("given a shop which reconciles by itself", () => {
  layer(shop(often), { excludeTestServices: true })((it) => {
    it.effect(
      "when time passes, then each group is looked at once for each of its times, and drift is mended unasked",
      () =>
        Effect.gen(function* () {
          yield* Shop.stock([{ sku: "alone", price: 100n, onHand: { berlin: 9 } }])
          const sql = yield* SqlClient
          yield* sql`update warehouse.stock set reserved = 4 where sku = 'alone'`
          yield* eventually(shelf("alone"), ({ reserved }) => reserved === 0)
          const runs = yield* eventually(
            sql<{
              id: string
              checks: ReadonlyArray<string>
            }>`select id, checks from ops.reconciliations where status = 'completed'`,
            (found) => found.filter(({ id }) => id.startsWith("stock:")).length > 2
          )
          assert.isTrue(runs.every(({ id }) => /^(stock|provider):20\d\d-/.test(id)))
          const nightly = runs.filter(({ id }) => id.startsWith("provider:"))
          assert.lengthOf(nightly, 1)
          assert.deepStrictEqual(nightly[0]!.checks, ["provider", "provider_missing"])
        })
    )
  })
})
