import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { CustomerId, IdempotencyKey, OrderId } from "../../src/domain/Ids.ts"
import { FailedCompensation, failedCompensationId } from "../../src/entities/failedCompensation/FailedCompensation.ts"
import { migrate } from "../../src/migrations/Migrations.ts"
import { Placement } from "../../src/runtime/Placement.ts"
import * as Sandbox from "../../src/sandbox/Sandbox.ts"
import { eventually } from "../fixtures/Eventually.ts"
import { runToEnd } from "../fixtures/KilledChild.ts"
import { freshDatabase } from "../fixtures/Postgres.ts"
import * as Shop from "../fixtures/Shop.ts"
import { type Arguments, limits } from "./CrashingCompensation.ts"

const run = runToEnd(new URL("CrashingCompensation.ts", import.meta.url).pathname)

const cancelling = { operation: "cancel", fault: { _tag: "Unavailable" }, times: "always" } as const

const idOf = (checkoutId: string) => failedCompensationId(OrderId.make(checkoutId), "void_authorization", 1)

const opened = Effect.gen(function* () {
  const url = yield* freshDatabase
  const sandbox = yield* Sandbox.start({ port: 0 })
  const pool = PgClient.layer({ url })
  yield* migrate.pipe(Effect.provide(pool))
  yield* Shop.stock([{ sku: "stuck", price: 700n, onHand: { berlin: 500 } }]).pipe(Effect.provide(pool))
  const shop = Shop.shopOn(url, limits).pipe(Layer.provide(Shop.stripe(sandbox.port)))
  const argumentsOf = (checkoutId: string, dieAt: number): Arguments => ({
    databaseUrl: Redacted.value(url),
    sandboxPort: sandbox.port,
    id: idOf(checkoutId),
    dieAt
  })
  return { argumentsOf, sandbox, shop }
})

describe("given an operator's retry of a failed void, in a process that is killed at one of its boundaries", () => {
  it.live(
    "when another takes over, then the hold is dropped once, the record is resolved with who did it, the order is settled, and there is one row about it in the audit trail, at every boundary",
    () =>
      Effect.gen(function* () {
        const { argumentsOf, sandbox, shop } = yield* opened

        /** An order whose hold could not be dropped, while the provider is down for voids; afterwards it is back. */
        const stuck = (count: number) =>
          Effect.gen(function* () {
            sandbox.provider.faults.inject(cancelling)
            const made: Array<string> = []
            for (let index = 0; index < count; index++) {
              const { checkoutId, confirm } = yield* Shop.prepare({
                lines: { stuck: 1 },
                card: "pm_sandbox_capture_declined"
              })
              yield* Effect.flip(confirm())
              made.push(checkoutId)
            }
            sandbox.provider.faults.clear()
            return made
          }).pipe(Effect.provide(shop))

        const retrying = (checkoutId: string, dieAt: number) => ({
          ...argumentsOf(checkoutId, dieAt),
          key: Shop.fresh("operator-retry")
        })
        const [first] = yield* stuck(1)
        const boundaries = (yield* run(retrying(first!, 0))) ?? 0
        assert.isAbove(boundaries, 4)
        const orders = yield* stuck(boundaries)
        // One after the other: each child is the only node on the database while it lives.
        const killed = yield* Effect.forEach(orders, (checkoutId, index) => {
          const args = retrying(checkoutId, index + 1)
          return Effect.map(run(args), (lived) => ({ ...args, checkoutId, lived }))
        })
        const met = killed.filter(({ lived }) => lived === undefined)
        assert.isAbove(met.length, 4)

        yield* Effect.gen(function* () {
          const placement = yield* Placement
          const sql = yield* SqlClient
          for (const { checkoutId, dieAt, id, key } of met) {
            const at = `killed at boundary ${dieAt} of ${boundaries}`
            const record = placement.client(FailedCompensation)(id)
            // Whoever was told nothing asks again with the same key; what had begun goes on by itself.
            yield* Effect.ignore(record.Retry({ key: IdempotencyKey.make(key), by: CustomerId.make("olga") }))
            const resolved = yield* eventually(record.GetFailedCompensation(), ({ status }) => status === "resolved")
            assert.strictEqual(resolved.resolvedBy, "olga", at)
            const entry = sandbox.provider.ledger.ofCheckout(checkoutId)[0]!
            assert.strictEqual(entry.voided.times, 1, at)
            const [order] =
              yield* sql`select status, payment_status, settlement_open from orders.orders where id = ${checkoutId}`
            assert.deepStrictEqual(
              { ...order },
              { status: "cancelled", payment_status: "cancelled", settlement_open: false },
              at
            )
            const [counts] = yield* sql<{ audits: number; records: number; alerts: string }>`
              select (select count(*)::int from ops.audit where subject = ${id}) as audits,
                (select count(*)::int from payment.failed_compensations where order_id = ${checkoutId}) as records,
                (select string_agg(a.id, ', ') from ops.alerts a where a.id like ${`%:${checkoutId}~%`}) as alerts`
            assert.deepStrictEqual({ ...counts }, { audits: 1, records: 1, alerts: `failed_compensation:${id}` }, at)
          }
          assert.deepStrictEqual(yield* Shop.violations, [])
        }).pipe(Effect.provide(shop))
      }).pipe(Effect.scoped),
    300_000
  )
})

describe("given an authorization of unknown outcome whose hold the provider does not drop, in a process that is killed at a boundary of the last look", () => {
  it.live(
    "when another takes over, then one record and one alert stand for it and nothing is looked up any more, and an operator's retry drops the hold once, at every boundary",
    () =>
      Effect.gen(function* () {
        const { argumentsOf, sandbox, shop } = yield* opened
        const recordOf = (checkoutId: string) =>
          Effect.map(Placement, (placement) => placement.client(FailedCompensation)(idOf(checkoutId)))
        const recorded = (checkoutId: string) =>
          Effect.flatMap(recordOf(checkoutId), (record) =>
            eventually(Effect.option(record.GetFailedCompensation()), ({ _tag }) => _tag === "Some")
          )

        /** One more, with those before at rest: who takes over looks into all that are open. */
        const stuck = (before: ReadonlyArray<string>) =>
          Effect.gen(function* () {
            yield* Effect.forEach(before, recorded, { discard: true })
            sandbox.provider.faults.inject({
              operation: "confirm",
              times: 1,
              fault: { _tag: "Processing", ms: 1 }
            })
            const { checkoutId, confirm } = yield* Shop.prepare({ lines: { stuck: 1 } })
            assert.strictEqual((yield* Effect.flip(confirm()))._tag, "PaymentUnavailable")
            return checkoutId
          }).pipe(Effect.provide(shop))

        sandbox.provider.faults.inject(cancelling)
        const first = yield* stuck([])
        const boundaries = (yield* run(argumentsOf(first, 0))) ?? 0
        assert.isAbove(boundaries, 4)
        const killed: Array<string> = []
        const made = [first]
        for (let dieAt = 1; dieAt <= boundaries; dieAt++) {
          const checkoutId = yield* stuck(made)
          made.push(checkoutId)
          if ((yield* run(argumentsOf(checkoutId, dieAt))) === undefined) killed.push(checkoutId)
        }
        assert.isAbove(killed.length, 4)

        yield* Effect.gen(function* () {
          const sql = yield* SqlClient
          for (const [index, checkoutId] of killed.entries()) {
            const at = `killed at boundary ${index + 1} of ${boundaries}`
            const id = idOf(checkoutId)
            const found = yield* recorded(checkoutId)
            assert(found._tag === "Some", at)
            assert.deepInclude(
              found.value,
              { status: "pending", operation: "void_authorization", totalAmount: 1190n },
              at
            )
            const alerts = sql<{ alerts: string }>`
              select string_agg(id, ', ') as alerts from ops.alerts where id like ${`%:${checkoutId}~%`}`
            yield* eventually(alerts, ([row]) => row?.alerts === `failed_compensation:${id}`)
            const [left] = yield* sql`
              select saga_state, next_attempt_at, (select count(*)::int from runtime.timers where actor_id = p.id and actor_type = 'Payment') as timers,
                (select count(*)::int from payment.failed_compensations where order_id = p.id) as records
              from payment.payments p where id = ${checkoutId}`
            assert.deepStrictEqual(
              { ...left },
              { saga_state: "none", next_attempt_at: null, timers: 0, records: 1 },
              at
            )
          }
          sandbox.provider.faults.clear()
          for (const [index, checkoutId] of killed.entries()) {
            const at = `killed at boundary ${index + 1} of ${boundaries}`
            const record = yield* recordOf(checkoutId)
            yield* record.Retry({ key: IdempotencyKey.make(Shop.fresh("retry")), by: CustomerId.make("olga") })
            const resolved = yield* eventually(record.GetFailedCompensation(), ({ status }) => status === "resolved")
            assert.strictEqual(resolved.resolvedBy, "olga", at)
            const [payment] = yield* sql`select saga_state from payment.payments where id = ${checkoutId}`
            assert.deepStrictEqual({ ...payment }, { saga_state: "voided" }, at)
            const entry = sandbox.provider.ledger.ofCheckout(checkoutId)[0]!
            assert.strictEqual(entry.voided.times, 1, at)
          }
          assert.deepStrictEqual(yield* Shop.violations, [])
        }).pipe(Effect.provide(shop))
      }).pipe(Effect.scoped),
    300_000
  )
})
