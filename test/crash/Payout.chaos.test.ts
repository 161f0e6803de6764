import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { migrate } from "../../src/migrations/Migrations.ts"
import * as Sandbox from "../../src/sandbox/Sandbox.ts"
import { runToEnd } from "../fixtures/KilledChild.ts"
import { freshDatabase } from "../fixtures/Postgres.ts"
import { booksOf, payable, payoutsEnded, startPayout } from "../fixtures/Sellers.ts"
import * as Shop from "../fixtures/Shop.ts"
import type { Arguments } from "./CrashingPayout.ts"

const run = runToEnd(new URL("CrashingPayout.ts", import.meta.url).pathname)

describe("given a seller to whom nine euro are due, and a process that is killed while it pays them out", () => {
  it.live(
    "when two others take over and it is asked for again, then one transfer is made, at every boundary (T-ESC-02)",
    () =>
      Effect.gen(function* () {
        const url = yield* freshDatabase
        const sandbox = yield* Sandbox.start({ port: 0 })
        const pool = yield* Layer.build(PgClient.layer({ url }))
        yield* migrate.pipe(Effect.provide(pool))
        const node = () => Layer.fresh(Shop.shopOn(url).pipe(Layer.provide(Shop.stripe(sandbox.port))))
        const argumentsOf = (seller: string, dieAt: number): Arguments => ({
          databaseUrl: Redacted.value(url),
          sandboxPort: sandbox.port,
          seller,
          key: `payout-of-${seller}`,
          dieAt
        })
        const due = payable.pipe(Effect.provide(node()))
        const boundaries = (yield* run(argumentsOf(yield* due, 0))) ?? 0
        // How many writes share a commit differs. There is at the least one before the transfer and one after it, and each has two sides.
        assert.isAtLeast(boundaries, 6)
        const sentTo = (seller: string) =>
          sandbox.provider.transfers().filter(({ metadata }) => metadata["seller"] === seller)
        const killed = { before: 0, after: 0 }
        for (let dieAt = 1; dieAt <= boundaries; dieAt++) {
          const seller = yield* due
          if ((yield* run(argumentsOf(seller, dieAt))) === undefined) {
            killed[sentTo(seller).length === 0 ? "before" : "after"]++
          }
          const at = `killed at boundary ${dieAt} of ${boundaries}`
          const again = Effect.gen(function* () {
            yield* startPayout(seller, { key: `payout-of-${seller}` })
            yield* payoutsEnded(seller)
          })
          yield* Effect.all([again.pipe(Effect.provide(node())), again.pipe(Effect.provide(node()))], {
            concurrency: "unbounded"
          })
          // Of two who both believe that it is theirs one may remember it as it was.
          const books = yield* booksOf(seller).pipe(Effect.provide(node()))
          assert.deepStrictEqual(books, { buyerPayments: -1000n, fees: 100n, paidOut: 900n }, at)
          assert.deepStrictEqual(
            sentTo(seller).map(({ amount, currency }) => [amount, currency]),
            [[900, "eur"]],
            at
          )
        }
        assert.isAtLeast(killed.before, 3)
        assert.isAtLeast(killed.after, 3)
        yield* Effect.gen(function* () {
          assert.deepStrictEqual(yield* Shop.violations, [])
        }).pipe(Effect.provide(node()))
      }).pipe(Effect.scoped),
    300_000
  )
})
