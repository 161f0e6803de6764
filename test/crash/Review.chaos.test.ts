import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { migrate } from "../../src/migrations/Migrations.ts"
import { ReconciliationList } from "../../src/projections/ReconciliationList.ts"
import * as Sandbox from "../../src/sandbox/Sandbox.ts"
import { runToEnd } from "../fixtures/KilledChild.ts"
import { moneyFor } from "../fixtures/Orphans.ts"
import { freshDatabase } from "../fixtures/Postgres.ts"
import { reconcile, resultOf } from "../fixtures/Reconciliations.ts"
import * as Shop from "../fixtures/Shop.ts"
import type { Arguments } from "./CrashingReview.ts"

const run = runToEnd(new URL("CrashingReview.ts", import.meta.url).pathname)

describe("given money at the provider which nothing stands behind, and a process that is killed while it gives it back", () => {
  it.live(
    "when two others take over, then each hold is dropped and each capture refunded once, and the run says so, at every boundary",
    () =>
      Effect.gen(function* () {
        const url = yield* freshDatabase
        const sandbox = yield* Sandbox.start({ port: 0 })
        const pool = yield* Layer.build(PgClient.layer({ url }))
        yield* migrate.pipe(Effect.provide(pool))
        yield* Shop.stock([{ sku: "lamp", price: 9510n, onHand: { berlin: 500 } }]).pipe(Effect.provide(pool))
        const node = () =>
          ReconciliationList.layer.pipe(
            Layer.provideMerge(Layer.fresh(Shop.shopOn(url).pipe(Layer.provide(Shop.stripe(sandbox.port)))))
          )
        /** A hold of a declined attempt, a capture beside a paid order, and a paid order that was cancelled behind its payment's back. */
        const orphans = Effect.gen(function* () {
          const sql = yield* SqlClient
          const declined = yield* Shop.prepare({ lines: { lamp: 1 }, card: "pm_card_chargeDeclined" })
          yield* Effect.exit(declined.confirm())
          const paid = yield* Shop.prepare({ lines: { lamp: 1 } })
          yield* paid.confirm()
          const over = yield* Shop.prepare({ lines: { lamp: 1 } })
          yield* over.confirm()
          yield* sql`update orders.orders set status = 'cancelled', reason = 'order_expired', cancelled_at = now() where id = ${over.checkoutId}`
          yield* sql`update warehouse.reservations set status = 'reversed' where id = ${over.checkoutId}`
          yield* sql`update warehouse.stock set committed = committed - 1 where sku = 'lamp'`
          const held = yield* moneyFor(sandbox.provider, declined.checkoutId, { amount: 10_000, capture: false })
          const second = yield* moneyFor(sandbox.provider, paid.checkoutId, { amount: 10_000, capture: true })
          yield* Effect.sleep("1100 millis")
          return { held, second, own: () => sandbox.provider.ledger.ofCheckout(over.checkoutId)[0]! }
        }).pipe(Effect.provide(node()))

        const argumentsOf = (dieAt: number): Arguments => ({
          databaseUrl: Redacted.value(url),
          sandboxPort: sandbox.port,
          dieAt
        })
        yield* orphans
        const boundaries = (yield* run(argumentsOf(0))) ?? 0
        assert.isAbove(boundaries, 8)
        let killed = 0
        for (let dieAt = 1; dieAt <= boundaries; dieAt++) {
          const { held, own, second } = yield* orphans
          if ((yield* run(argumentsOf(dieAt))) === undefined) killed++
          const at = `killed at boundary ${dieAt} of ${boundaries}`
          // The run that was left behind is gone on with first; two nodes are at it at once.
          const ended = reconcile(["provider"])
          const both = yield* Effect.all([ended.pipe(Effect.provide(node())), ended.pipe(Effect.provide(node()))], {
            concurrency: "unbounded"
          })
          assert.strictEqual(held().voided.times, 1, at)
          assert.deepStrictEqual(second().refunded, { times: 1, amount: 10_000 }, at)
          assert.deepStrictEqual(own().refunded, { times: 1, amount: 10_000 }, at)
          for (const one of both) assert.strictEqual(one.report.status, "completed", at)
          const last = yield* reconcile(["provider"]).pipe(Effect.provide(node()))
          assert.deepInclude(resultOf(last, "provider"), { found: 0 }, at)
        }
        assert.isAbove(killed, 8)
        const sql = Context.get(pool, SqlClient)
        const open = yield* sql`select * from ops.reconciliation_findings where outcome <> 'corrected'`
        assert.deepStrictEqual(open, [])
        yield* Effect.gen(function* () {
          assert.deepStrictEqual(yield* Shop.violations, [])
        }).pipe(Effect.provide(node()))
      }).pipe(Effect.scoped),
    300_000
  )
})
