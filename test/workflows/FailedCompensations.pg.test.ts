import { assert, describe, layer } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { CustomerId, IdempotencyKey, OrderId } from "../../src/domain/Ids.ts"
import { hashedReference } from "../../src/domain/SecretHash.ts"
import { Alert } from "../../src/entities/alert/Alert.ts"
import {
  type CompensationOperation,
  FailedCompensation,
  failedCompensationId
} from "../../src/entities/failedCompensation/FailedCompensation.ts"
import type { ShopLimits } from "../../src/layers/Shop.ts"
import { Placement } from "../../src/runtime/Placement.ts"
import { PaymentProvider } from "../../src/sandbox/PaymentProvider.ts"
import { eventually } from "../fixtures/Eventually.ts"
import * as Shop from "../fixtures/Shop.ts"

/** Waits a test need not sit through, and one which stays away from it. */
const withBackoff = (base: Duration.Input, cap: Duration.Input): ShopLimits => ({
  ...Shop.quickLimits,
  compensation: {
    ...Shop.quickLimits.compensation,
    backoff: { base: Duration.fromInputUnsafe(base), cap: Duration.fromInputUnsafe(cap) }
  }
})
const soon = withBackoff("150 millis", "2 seconds")
const later = withBackoff("1 hour", "2 hours")

const olga = CustomerId.make("olga")
const oscar = CustomerId.make("oscar")

/** An order whose hold could not be dropped: refused at capture, and the provider is away for voids until it heals. */
const stuckOrder = Effect.fnUntraced(function* (sku = "stuck") {
  const provider = yield* PaymentProvider
  const placement = yield* Placement
  const sql = yield* SqlClient
  yield* Shop.stock([{ sku, price: 700n, onHand: { berlin: 100 } }])
  provider.faults.inject({ operation: "cancel", fault: { _tag: "ServerError", done: false }, times: "always" })
  const { checkoutId, confirm } = yield* Shop.prepare({ lines: { [sku]: 1 }, card: "pm_sandbox_capture_declined" })
  assert.strictEqual((yield* Effect.flip(confirm()))._tag, "CheckoutCompensated")
  const id = failedCompensationId(OrderId.make(checkoutId), "void_authorization", 1)
  const record = placement.client(FailedCompensation)(id)
  return {
    checkoutId,
    id,
    record,
    status: Effect.map(record.GetFailedCompensation(), ({ status }) => status),
    until: (status: string) => eventually(record.GetFailedCompensation(), (found) => found.status === status),
    alert: eventually(
      Effect.option(placement.client(Alert)(`failed_compensation:${id}`).GetAlert()),
      ({ _tag }) => _tag === "Some"
    ),
    heal: () => provider.faults.clear(),
    entry: () => provider.ledger.ofCheckout(checkoutId)[0]!,
    order: Effect.map(
      sql`select status, payment_status, settlement_open from orders.orders where id = ${checkoutId}`,
      ([row]) => ({ ...row })
    ),
    records: Effect.map(
      sql`select id, status from payment.failed_compensations where order_id = ${checkoutId}`,
      (rows) => rows.map((row) => ({ ...row }))
    )
  }
})

const retry = (by: CustomerId) => ({ key: IdempotencyKey.make(Shop.fresh("operator-retry")), by })

const auditOf = (id: string) =>
  Effect.flatMap(SqlClient, (sql) =>
    Effect.map(
      sql<{
        actor: string
        operation: string
      }>`select actor, operation from ops.audit where subject = ${id} order by id`,
      (rows) => rows.map(({ actor, operation }) => `${actor} ${operation}`)
    )
  )

describe("given a void that fails for good", () => {
  layer(Shop.layer(soon), { excludeTestServices: true })((it) => {
    it.effect(
      "when its retries are vain as well, then they back off and stop at three, with one record, one alert, the order cancelled and its stock back (T-PAY-03, T-CMP-02)",
      () =>
        Effect.gen(function* () {
          const { alert, checkoutId, entry, heal, id, order, record, records, until } = yield* stuckOrder()
          const first = yield* record.GetFailedCompensation()
          assert.deepInclude(first, {
            operation: "void_authorization",
            customerId: first.customerId,
            totalAmount: 1190n
          })
          const failed = yield* until("failed")
          assert.strictEqual(failed.retryCount, 3)
          assert.match(failed.error, /OutcomeUnknown|ProviderUnavailable/)
          const sql = yield* SqlClient
          const starts = yield* sql<{ at: number }>`
            select (extract(epoch from at) * 1000)::float8 as at from runtime.history where actor_id = ${id} and command = 'Start' order by seq`
          const [one, two, three] = starts.map(({ at }) => at)
          assert.lengthOf(starts, 3)
          assert.isAtLeast(two! - one!, 300)
          assert.isAtLeast(three! - two!, 600)
          assert.deepStrictEqual(yield* records, [{ id, status: "failed" }])
          assert.deepStrictEqual(yield* order, {
            status: "cancelled",
            payment_status: "authorized",
            settlement_open: true
          })
          const [stock] = yield* sql`select reserved, committed from warehouse.stock where sku = 'stuck'`
          assert.deepStrictEqual({ ...stock }, { reserved: 0, committed: 0 })
          const raised = yield* alert
          assert(raised._tag === "Some")
          assert.deepInclude(raised.value, { status: "open", severity: "critical" })
          assert.deepInclude(raised.value.details as object, {
            orderId: checkoutId,
            amount: 1190n,
            authorization: hashedReference(entry().id)
          })
          const [alerts] = yield* sql`select count(*)::int as count from ops.alerts where id like ${`%${checkoutId}%`}`
          assert.deepStrictEqual({ ...alerts }, { count: 1 })
          assert.deepStrictEqual(entry().voided, { times: 0, amount: 0 })
          heal()
        })
    )

    it.effect(
      "when the provider recovers, then it is resolved by itself, and order and payment say so (T-CMP-01)",
      () =>
        Effect.gen(function* () {
          const { alert, entry, heal, id, order, until } = yield* stuckOrder()
          heal()
          const resolved = yield* until("resolved")
          assert.deepInclude(resolved, { resolution: "retried" })
          assert.isUndefined(resolved.resolvedBy)
          assert.isDefined(resolved.resolvedAt)
          assert.strictEqual(entry().voided.times, 1)
          assert.deepStrictEqual(yield* order, {
            status: "cancelled",
            payment_status: "cancelled",
            settlement_open: false
          })
          yield* eventually(alert, (found) => found._tag === "Some" && found.value.status === "cleared")
          assert.deepStrictEqual(yield* auditOf(id), [])
          assert.deepStrictEqual(yield* Shop.violations, [])
        })
    )
  })

  layer(Shop.layer(later), { excludeTestServices: true })((it) => {
    it.effect(
      "when the provider heals and an operator retries it, then there is one void, it is resolved, and who did it and when is known",
      () =>
        Effect.gen(function* () {
          const { entry, heal, id, order, record, until } = yield* stuckOrder()
          heal()
          const begun = yield* record.Retry(retry(olga))
          assert.deepInclude(begun, { status: "retrying", startedBy: olga })
          const resolved = yield* until("resolved")
          assert.deepInclude(resolved, { resolvedBy: olga, resolution: "retried" })
          assert.strictEqual(entry().voided.times, 1)
          assert.deepInclude(yield* order, { payment_status: "cancelled", settlement_open: false })
          assert.deepStrictEqual(yield* auditOf(id), ["olga RetryCompensation"])
          const refused = yield* Effect.flip(record.Retry(retry(oscar)))
          assert.deepInclude(refused as object, { _tag: "IllegalTransition", status: "resolved" })
        })
    )

    it.effect(
      "when two operators retry it at once, then one attempt is made, and one is in the audit trail (T-CMP-04)",
      () =>
        Effect.gen(function* () {
          const { entry, heal, id, record, until } = yield* stuckOrder()
          heal()
          const calls = entry().calls.cancel ?? 0
          const provider = yield* PaymentProvider
          provider.faults.inject({ operation: "cancel", fault: { _tag: "Delay", ms: 300 }, times: 1 })
          const both = yield* Effect.all(
            [olga, oscar].map((by) => Effect.result(record.Retry(retry(by)))),
            {
              concurrency: 2
            }
          )
          assert.deepStrictEqual(both.map(({ _tag }) => _tag).toSorted(), ["Failure", "Success"])
          const late = yield* Effect.flip(record.Resolve({ ...retry(oscar), reason: "Voided by hand" }))
          assert.deepInclude(late as object, { _tag: "IllegalTransition", status: "retrying" })
          yield* until("resolved")
          assert.strictEqual(entry().calls.cancel, calls + 1)
          assert.strictEqual(entry().voided.times, 1)
          assert.lengthOf(yield* auditOf(id), 1)
        })
    )

    it.effect("when an operator's retry fails, then its error is shown, and it can be retried again", () =>
      Effect.gen(function* () {
        const { heal, record, until } = yield* stuckOrder()
        yield* record.Retry(retry(olga))
        const failed = yield* until("pending")
        assert.deepInclude(failed, { retryCount: 1 })
        assert.match(failed.error, /OutcomeUnknown/)
        heal()
        yield* record.Retry(retry(olga))
        yield* until("resolved")
      })
    )

    it.effect(
      "when it was voided by hand and an operator resolves it, then the order is settled and the payment follows what the provider says (REQ-CMP-06)",
      () =>
        Effect.gen(function* () {
          const { entry, heal, id, order, record } = yield* stuckOrder()
          heal()
          const provider = yield* PaymentProvider
          provider.handle(
            {
              method: "POST",
              path: `/v1/payment_intents/${entry().id}/cancel`,
              params: {},
              key: Shop.fresh("by-hand"),
              credential: "secret"
            },
            () => {}
          )
          const reason = "Voided in the provider's dashboard"
          const resolved = yield* record.Resolve({ ...retry(oscar), reason })
          assert.deepInclude(resolved, { status: "resolved", resolution: "by_hand", resolvedBy: oscar, note: reason })
          assert.deepInclude(yield* order, { payment_status: "cancelled", settlement_open: false })
          const sql = yield* SqlClient
          const [payment] = yield* sql`select saga_state from payment.payments where id = ${id.split("~")[0]!}`
          assert.deepStrictEqual({ ...payment }, { saga_state: "voided" })
        })
    )

    it.effect(
      "when an operator resolves one whose hold still stands, then the order is settled and its payment stays authorized",
      () =>
        Effect.gen(function* () {
          const { heal, order, record } = yield* stuckOrder()
          heal()
          const key = retry(oscar)
          const reason = "The customer was paid in cash"
          yield* record.Resolve({ ...key, reason })
          assert.deepStrictEqual(yield* order, {
            status: "cancelled",
            payment_status: "authorized",
            settlement_open: false
          })
          // The same request again is the same answer, and not another one.
          assert.deepInclude(yield* record.Resolve({ ...key, reason }), { status: "resolved" })
          const refused = yield* Effect.flip(record.Resolve({ ...retry(olga), reason }))
          assert.deepInclude(refused as object, { _tag: "IllegalTransition", status: "resolved" })
        })
    )

    it.effect(
      "when nobody knows its operation, then it stays pending, is never resolved by itself, and raises one alert (T-CMP-03)",
      () =>
        Effect.gen(function* () {
          const { heal, id, record, until } = yield* stuckOrder()
          heal()
          const sql = yield* SqlClient
          const other = id.replace("void_authorization", "loyalty_reversal")
          yield* sql`
          insert into payment.failed_compensations (id, order_id, operation_type, customer_id, total_amount, currency, reason, error_message,
            created_at, updated_at, recorded_at)
          select ${other}, order_id, 'loyalty_reversal', customer_id, total_amount, currency, reason, error_message, now(), now(), now()
          from payment.failed_compensations where id = ${id}`
          const placement = yield* Placement
          const unknown = placement.client(FailedCompensation)(other)
          for (let again = 0; again < 2; again++) {
            yield* unknown.Retry(retry(olga))
            const found = yield* eventually(unknown.GetFailedCompensation(), ({ status }) => status === "pending")
            assert.deepInclude(found, { operation: "loyalty_reversal", retryCount: 0 })
            assert.isDefined(found.nextAttemptAt)
          }
          const alert = yield* eventually(
            Effect.option(placement.client(Alert)(`failed_compensation:${other}`).GetAlert()),
            ({ _tag }) => _tag === "Some"
          )
          assert(alert._tag === "Some")
          assert.deepInclude(alert.value, { raises: 1, severity: "critical" })
          yield* record.Retry(retry(olga))
          yield* until("resolved")
        })
    )
  })
})

describe("given stock that cannot be given back", () => {
  layer(Shop.layer(later), { excludeTestServices: true })((it) => {
    it.effect(
      "when the database refuses it, then the order is cancelled, one record has exactly its reservation ids, and a retry gives back just those (REQ-CMP-08, T-CMP-09)",
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient
          const placement = yield* Placement
          yield* Shop.stock([{ sku: "crate", price: 700n, onHand: { berlin: 10 } }])
          // What a bug would do: the constraint of the stock row refuses the release.
          const { checkoutId, confirm } = yield* Shop.prepare({
            lines: { crate: 2 },
            card: "pm_sandbox_capture_declined"
          })
          yield* sql`alter table warehouse.stock add constraint stuck check (sku <> 'crate' or reserved >= 2) not valid`
          assert.strictEqual((yield* Effect.flip(confirm()))._tag, "CheckoutCompensated")
          const id = failedCompensationId(OrderId.make(checkoutId), "release_reservations", 1)
          const record = placement.client(FailedCompensation)(id)
          const found = yield* record.GetFailedCompensation()
          assert.deepInclude(found, { status: "pending", reservationIds: [`${checkoutId}.1.0`] })
          const [order] =
            yield* sql`select status, payment_status, settlement_open from orders.orders where id = ${checkoutId}`
          assert.deepStrictEqual(
            { ...order },
            { status: "cancelled", payment_status: "cancelled", settlement_open: false }
          )
          const reserved = Effect.map(
            sql<{ reserved: number }>`select reserved from warehouse.stock where sku = 'crate'`,
            ([row]) => row!.reserved
          )
          assert.strictEqual(yield* reserved, 2)
          yield* record.Retry(retry(olga))
          assert.match(
            (yield* eventually(record.GetFailedCompensation(), ({ status }) => status === "pending")).error,
            /stuck/
          )
          yield* sql`alter table warehouse.stock drop constraint stuck`
          yield* record.Retry(retry(olga))
          yield* eventually(record.GetFailedCompensation(), ({ status }) => status === "resolved")
          assert.strictEqual(yield* reserved, 0)
          assert.deepStrictEqual(yield* Shop.violations, [])
        })
    )
  })
})

describe("given records of an order that is paid and confirmed after all", () => {
  layer(Shop.layer(later), { excludeTestServices: true })((it) => {
    it.effect("when they are retried, then they end, and neither its money nor its stock is touched", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        const placement = yield* Placement
        const provider = yield* PaymentProvider
        yield* Shop.stock([{ sku: "kept", price: 700n, onHand: { berlin: 10 } }])
        const { checkoutId, confirm } = yield* Shop.prepare({ lines: { kept: 2 } })
        yield* confirm()
        const orderId = OrderId.make(checkoutId)
        const stands = Effect.map(
          sql`
            select o.status, o.payment_status, s.committed, p.saga_state, p.refunded
            from orders.orders o join payment.payments p using (id), warehouse.stock s where o.id = ${checkoutId} and s.sku = 'kept'`,
          ([row]) => ({ ...row })
        )
        const before = yield* stands
        assert.deepInclude(before, { status: "confirmed", saga_state: "captured", committed: 2 })
        const operations: ReadonlyArray<CompensationOperation> = [
          "void_authorization",
          "release_reservations",
          "restock",
          "order_compensation"
        ]
        for (const operation of operations) {
          const id = failedCompensationId(orderId, operation, 1)
          yield* sql`
            insert into payment.failed_compensations (id, order_id, operation_type, authorization_id, reservation_ids, customer_id, total_amount,
              currency, reason, error_message, created_at, updated_at, recorded_at)
            select ${id}, id, ${operation}, intent, ${JSON.stringify([`${checkoutId}.1.0`])}::text::jsonb, customer_id, amount, currency,
              'payment_failed', 'of a node which did not know', now(), now(), now()
            from payment.payments where id = ${checkoutId}`
          const record = placement.client(FailedCompensation)(id)
          yield* record.Retry(retry(olga))
          yield* eventually(record.GetFailedCompensation(), ({ status }) => status === "resolved")
        }
        assert.deepStrictEqual(yield* stands, before)
        assert.deepInclude(provider.ledger.ofCheckout(checkoutId)[0], {
          refunded: { times: 0, amount: 0 },
          voided: { times: 0, amount: 0 }
        })
        // Rows which this test has made have no past.
        const found = (yield* Shop.violations).filter(({ problem }) => problem !== "history with a gap")
        assert.deepStrictEqual(found, [])
      })
    )
  })
})

describe("given a record of each operation", () => {
  layer(Shop.layer(later), { excludeTestServices: true })((it) => {
    it.effect("when operators retry them, then each is done by its own means, and resolved (T-CMP-03)", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        const placement = yield* Placement
        const { checkoutId, heal, records } = yield* stuckOrder("various")
        heal()
        const operations: ReadonlyArray<CompensationOperation> = [
          "release_reservations",
          "restock",
          "order_compensation"
        ]
        for (const operation of operations) {
          yield* sql`
            insert into payment.failed_compensations (id, order_id, operation_type, authorization_id, reservation_ids, customer_id, total_amount,
              currency, reason, error_message, created_at, updated_at, recorded_at)
            select ${failedCompensationId(OrderId.make(checkoutId), operation, 1)}, order_id, ${operation}, authorization_id,
              ${JSON.stringify([`${checkoutId}.1.0`])}::text::jsonb, customer_id, total_amount, currency, reason, error_message, now(), now(), now()
            from payment.failed_compensations where order_id = ${checkoutId} and operation_type = 'void_authorization'`
        }
        for (const { id } of yield* records) {
          yield* placement.client(FailedCompensation)(String(id)).Retry(retry(olga))
          yield* eventually(
            placement.client(FailedCompensation)(String(id)).GetFailedCompensation(),
            ({ status }) => status === "resolved"
          )
        }
        const provider = yield* PaymentProvider
        assert.strictEqual(provider.ledger.ofCheckout(checkoutId)[0]!.voided.times, 1)
        // Rows which this test has made have no past.
        const found = (yield* Shop.violations).filter(({ problem }) => problem !== "history with a gap")
        assert.deepStrictEqual(found, [])
      })
    )

    it.effect("when a resolved one has been kept for 90 days, then it goes, and one that failed stays (T-CMP-07)", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        const { heal, id, record, until } = yield* stuckOrder("old")
        const other = yield* stuckOrder("older")
        heal()
        yield* record.Retry(retry(olga))
        yield* until("resolved")
        // It was resolved 91 days ago: its timer has been due since yesterday.
        yield* sql`update payment.failed_compensations set resolved_at = now() - interval '91 days' where id = ${id}`
        const [timer] = yield* sql<{ due: Date }>`
          update runtime.timers set due_at = now() where actor_id = ${id} and name = 'retire' returning due_at as due`
        assert.isDefined(timer)
        yield* eventually(
          sql<{ count: number }>`select count(*)::int as count from payment.failed_compensations where id = ${id}`,
          ([row]) => row!.count === 0
        )
        const [left] = yield* sql<{ history: number; timers: number }>`
          select (select count(*)::int from runtime.history where actor_id = ${id}) as history,
            (select count(*)::int from runtime.timers where actor_id = ${id}) as timers`
        assert.deepStrictEqual({ ...left }, { history: 0, timers: 0 })
        assert.strictEqual((yield* Effect.flip(record.GetFailedCompensation()))._tag, "NotFound")
        assert.strictEqual(yield* other.status, "pending")
      })
    )
  })
})
