import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { CheckoutId, CustomerId, IdempotencyKey } from "../../src/domain/Ids.ts"
import { migrate } from "../../src/migrations/Migrations.ts"
import { Placement } from "../../src/runtime/Placement.ts"
import * as Sandbox from "../../src/sandbox/Sandbox.ts"
import { Checkout } from "../../src/workflows/checkout/Checkout.ts"
import { runToEnd } from "../fixtures/KilledChild.ts"
import { freshDatabase } from "../fixtures/Postgres.ts"
import * as Shop from "../fixtures/Shop.ts"
import type { Arguments } from "./CrashingShop.ts"

const run = runToEnd(new URL("CrashingShop.ts", import.meta.url).pathname)

const cards = [
  { card: "pm_card_visa", ends: ["confirmed"] },
  { card: "pm_card_chargeDeclined", ends: ["rejected"] },
  { card: "pm_sandbox_capture_declined", ends: ["compensated"] },
  { card: "pm_sandbox_capture_500_stored", ends: ["confirmed"] }
]

describe("given a process that is killed at a boundary of a checkout", () => {
  for (const { card, ends } of cards) {
    it.live(
      `when another takes over (${card}), then all of it happened or nothing did, at every boundary (T-CHK-03, REQ-CHK-10)`,
      () =>
        Effect.gen(function* () {
          const url = yield* freshDatabase
          const sandbox = yield* Sandbox.start({ port: 0 })
          const pool = PgClient.layer({ url })
          yield* migrate.pipe(Effect.provide(pool))
          yield* Shop.stock([
            { sku: "tea", price: 1250n, onHand: { berlin: 500, lyon: 500 } },
            { sku: "cup", price: 900n, onHand: { lyon: 1000 }, seller: "potters-row" }
          ]).pipe(Effect.provide(pool))
          const argumentsOf = (dieAt: number): Arguments => ({
            databaseUrl: Redacted.value(url),
            sandboxPort: sandbox.port,
            checkoutId: Shop.fresh("checkout"),
            cartId: Shop.fresh("cart"),
            customer: Shop.fresh("customer"),
            confirmKey: Shop.fresh("confirm"),
            card,
            dieAt
          })
          const boundaries = (yield* run(argumentsOf(0))) ?? 0
          assert.isAbove(boundaries, 6)
          const killed = yield* Effect.forEach(
            Array.from({ length: boundaries }, (_, index) => argumentsOf(index + 1)),
            (args) => Effect.map(run(args), (lived) => ({ ...args, lived })),
            { concurrency: 2 }
          )
          // Every boundary was met: only those lived which had fewer of them, since what comes at one instant is written at once.
          const survivors = killed.filter(({ lived }) => lived !== undefined)
          for (const { dieAt, lived } of survivors) assert.isBelow(lived!, dieAt)
          assert.isAbove(killed.length - survivors.length, 6)

          yield* Effect.gen(function* () {
            const placement = yield* Placement
            const sql = yield* SqlClient
            for (const { checkoutId, confirmKey, customer, dieAt } of killed) {
              const at = `killed at boundary ${dieAt} of ${boundaries}`
              // Whoever was told nothing asks again with the same key, and gets the one answer there is.
              const checkout = placement.client(Checkout, { timeout: Shop.patience })(CheckoutId.make(checkoutId))
              const again = {
                by: CustomerId.make(customer),
                confirmKey: IdempotencyKey.make(confirmKey)
              }
              yield* checkout
                .Confirm(again)
                .pipe(
                  Effect.retry({ times: 50, while: ({ _tag }) => _tag === "Unavailable" || _tag === "CartLocked" }),
                  Effect.ignore
                )
              const [session] = yield* sql<{
                status: string
              }>`select status from checkout.sessions where id = ${checkoutId}`
              assert.include(ends, session!.status, at)
              const entries = sandbox.provider.ledger.ofCheckout(checkoutId)
              const times = (what: "authorized" | "captured" | "voided") =>
                entries.reduce((sum, entry) => sum + entry[what].times, 0)
              const confirmed = session!.status === "confirmed"
              assert.strictEqual(times("captured"), confirmed ? 1 : 0, at)
              assert.strictEqual(times("authorized") - times("voided"), confirmed ? 1 : 0, at)
            }
            assert.deepStrictEqual(yield* Shop.violations, [])
            const [claims] = yield* sql<{
              active: bigint
            }>`select count(*) as active from warehouse.reservations where status = 'active'`
            assert.strictEqual(Number(claims!.active), 0)
          }).pipe(Effect.provide(Shop.shopOn(url).pipe(Layer.provide(Shop.stripe(sandbox.port)))))
        }).pipe(Effect.scoped),
      300_000
    )
  }
})
