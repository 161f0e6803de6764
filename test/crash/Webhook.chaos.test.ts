import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { migrate } from "../../src/migrations/Migrations.ts"
import * as Sandbox from "../../src/sandbox/Sandbox.ts"
import { runToEnd } from "../fixtures/KilledChild.ts"
import { freshDatabase } from "../fixtures/Postgres.ts"
import * as Shop from "../fixtures/Shop.ts"
import * as Webhooks from "../fixtures/Webhooks.ts"
import type { Arguments } from "./CrashingWebhook.ts"

const run = runToEnd(new URL("CrashingWebhook.ts", import.meta.url).pathname)

describe("given a process that is killed while it handles a webhook", () => {
  it.live(
    "when the webhook comes again to another, then it has had one effect and never none, at every boundary (T-PAY-11)",
    () =>
      Effect.gen(function* () {
        const database = yield* freshDatabase
        const sandbox = yield* Sandbox.start({ port: 0 })
        const pool = PgClient.layer({ url: database })
        yield* migrate.pipe(Effect.provide(pool))
        yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 500 } }]).pipe(Effect.provide(pool))
        const argumentsOf = (dieAt: number): Arguments => ({
          databaseUrl: Redacted.value(database),
          sandboxPort: sandbox.port,
          checkoutId: Shop.fresh("checkout"),
          cartId: Shop.fresh("cart"),
          customer: Shop.fresh("customer"),
          eventId: Shop.fresh("evt"),
          dieAt
        })
        const boundaries = (yield* run(argumentsOf(0))) ?? 0
        assert.isAbove(boundaries, 6)
        const killed = yield* Effect.forEach(
          Array.from({ length: boundaries }, (_, index) => argumentsOf(index + 1)),
          (args) => Effect.map(run(args), (lived) => ({ ...args, lived })),
          { concurrency: 2 }
        )
        const lived = killed.filter((one) => one.lived !== undefined)
        // The last ones belong to what comes after the order is confirmed, which a busy machine may not come to in time.
        assert.isBelow(lived.length, 3)
        yield* Effect.gen(function* () {
          const sql = yield* SqlClient
          const url = yield* Webhooks.endpoint()
          for (const { checkoutId, dieAt, eventId } of killed) {
            const at = `killed at boundary ${dieAt} of ${boundaries}`
            const [entry, ...others] = sandbox.provider.ledger.ofCheckout(checkoutId)
            assert.deepStrictEqual(others, [], at)
            const body = Webhooks.proofBody(eventId, entry!.id, checkoutId)
            assert.strictEqual(yield* Webhooks.send(url, body), 200, at)
            const order = sql<{ readonly status: string }>`select status from orders.orders where id = ${checkoutId}`
            yield* order.pipe(
              Effect.repeat({
                until: ([row]) => row?.status === "confirmed",
                schedule: Schedule.spaced("20 millis").pipe(Schedule.upTo({ duration: "20 seconds" }))
              })
            )
            assert.strictEqual((yield* order)[0]?.status, "confirmed", at)
            const { authorized, captured } = sandbox.provider.ledger.entry(entry!.id)!
            assert.deepStrictEqual([authorized.times, captured.times], [1, 1], at)
            const events = sql<{ readonly status: string }>`
              select status from payment.provider_events where event_id = ${eventId}`
            yield* events.pipe(
              Effect.repeat({
                until: ([row]) => row?.status === "applied",
                schedule: Schedule.spaced("20 millis").pipe(Schedule.upTo({ duration: "20 seconds" }))
              })
            )
            assert.deepStrictEqual(yield* events, [{ status: "applied" }], at)
          }
          assert.deepStrictEqual(yield* Shop.violations, [])
        }).pipe(Effect.scoped, Effect.provide(Shop.shopOn(database).pipe(Layer.provide(Shop.stripe(sandbox.port)))))
      }).pipe(Effect.scoped),
    300_000
  )
})
