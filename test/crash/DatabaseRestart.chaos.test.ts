import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Result, Schedule } from "effect"
import { migrate } from "../../src/migrations/Migrations.ts"
import { EmbeddedPostgres } from "../../src/postgres/EmbeddedPostgres.ts"
import { PaymentProvider } from "../../src/sandbox/PaymentProvider.ts"
import * as Shop from "../fixtures/Shop.ts"

/** A database that is away must not have a payment's time run out. */
const limits = {
  ...Shop.quickLimits,
  checkout: { ...Shop.quickLimits.checkout, paymentTimeout: Duration.minutes(1) }
}

describe("given checkouts under way", () => {
  it.live(
    "when Postgres is restarted at once in the middle, twice, then each has one true answer and nothing is lost",
    () =>
      Effect.gen(function* () {
        const directory = yield* Effect.acquireRelease(
          Effect.promise(() => mkdtemp(join(tmpdir(), "cartwright-restart-"))),
          (made) => Effect.promise(() => rm(made, { recursive: true, force: true }))
        )
        const postgres = yield* EmbeddedPostgres.make({ directory, port: 0, stopOnClose: true })
        yield* migrate.pipe(Effect.provide(PgClient.layer({ url: postgres.url })))
        yield* Effect.gen(function* () {
          yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 40, lyon: 20 } }])
          const buyers = yield* Effect.forEach(Array.from({ length: 120 }), () => Shop.prepare({ lines: { tea: 1 } }), {
            concurrency: 10
          })
          // As the client does: whoever hears nothing asks again with the same key.
          const confirmed = yield* Effect.forEach(
            buyers,
            ({ confirm }) => {
              const key = Shop.key()
              return confirm(key).pipe(
                Effect.retry({
                  schedule: Schedule.max([Schedule.spaced("200 millis"), Schedule.recurs(100)]),
                  while: ({ _tag }) => _tag === "Unavailable"
                }),
                Effect.result
              )
            },
            { concurrency: 8 }
          ).pipe(Effect.forkChild)
          yield* Effect.sleep("50 millis")
          yield* postgres.restart
          yield* Effect.sleep("300 millis")
          yield* postgres.restart
          const results = yield* Fiber.join(confirmed)
          assert.strictEqual(results.filter(Result.isSuccess).length, 60)
          for (const result of results) {
            if (Result.isFailure(result)) assert.strictEqual(result.failure._tag, "OutOfStock")
          }
          assert.deepStrictEqual(yield* Shop.violations, [])
          const { ledger } = yield* PaymentProvider
          for (const [index, { checkoutId }] of buyers.entries()) {
            const times = ledger.ofCheckout(checkoutId).reduce((sum, entry) => sum + entry.captured.times, 0)
            assert.strictEqual(times, Result.isSuccess(results[index]!) ? 1 : 0)
          }
        }).pipe(Effect.provide(Shop.shopOn(postgres.url, limits).pipe(Layer.provideMerge(Shop.gateway(limits)))))
      }).pipe(Effect.scoped),
    120_000
  )
})
