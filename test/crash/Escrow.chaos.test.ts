import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { migrate } from "../../src/migrations/Migrations.ts"
import * as Sandbox from "../../src/sandbox/Sandbox.ts"
import { runToEnd } from "../fixtures/KilledChild.ts"
import { freshDatabase } from "../fixtures/Postgres.ts"
import { booksAre, booksOf } from "../fixtures/Sellers.ts"
import * as Shop from "../fixtures/Shop.ts"
import { type Arguments, ask, type Deed } from "./CrashingEscrow.ts"

const run = runToEnd(new URL("CrashingEscrow.ts", import.meta.url).pathname)

/** Of a lamp for ten euro, and its shipping for 4.90, once each has been done once. */
const ends: Readonly<
  Record<
    Deed,
    {
      /** What the provider has given back. */
      readonly refunded: { readonly times: number; readonly amount: number }
      readonly books: Readonly<Record<string, bigint>>
      /** What stands in the audit trail. */
      readonly operation: string
    }
  >
> = {
  release: {
    refunded: { times: 0, amount: 0 },
    books: { buyerPayments: -1000n, fees: 100n, released: 900n },
    operation: "ReleaseEscrow"
  },
  refund: {
    refunded: { times: 1, amount: 745 },
    books: { buyerPayments: -1000n, refunded: 500n, fees: 50n, held: 450n },
    operation: "RefundPayment"
  }
}

describe("given a paid order of a seller's goods, and a process that is killed while it does what an operator asks", () => {
  for (const [deed, { books, operation, refunded }] of Object.entries(ends) as ReadonlyArray<
    [Deed, (typeof ends)[Deed]]
  >) {
    it.live(
      `when two others take over and it is asked for again (${deed}), then it was done once, and the seller's books say so, at every boundary (T-ESC-01)`,
      () =>
        Effect.gen(function* () {
          const url = yield* freshDatabase
          const sandbox = yield* Sandbox.start({ port: 0 })
          const pool = yield* Layer.build(PgClient.layer({ url }))
          yield* migrate.pipe(Effect.provide(pool))
          const sql = Context.get(pool, SqlClient)
          const node = () => Layer.fresh(Shop.shopOn(url).pipe(Layer.provide(Shop.stripe(sandbox.port))))
          const ready = (dieAt: number) =>
            Effect.gen(function* () {
              const seller = Shop.fresh("seller")
              const lamp = Shop.fresh("lamp")
              yield* Shop.stock([{ sku: lamp, price: 1000n, onHand: { berlin: 10 }, seller }])
              const { checkoutId, confirm } = yield* Shop.prepare({ lines: { [lamp]: 1 } })
              yield* confirm()
              yield* booksAre(seller, { buyerPayments: -1000n, fees: 100n, held: 900n })
              const args: Arguments = {
                databaseUrl: Redacted.value(url),
                sandboxPort: sandbox.port,
                deed,
                orderId: checkoutId,
                key: Shop.fresh("asked"),
                dieAt
              }
              return { args, seller }
            }).pipe(Effect.provide(node()))
          const boundaries = (yield* run((yield* ready(0)).args)) ?? 0
          assert.isAtLeast(boundaries, 4)
          let killed = 0
          for (let dieAt = 1; dieAt <= boundaries; dieAt++) {
            const { args, seller } = yield* ready(dieAt)
            if ((yield* run(args)) === undefined) killed++
            const at = `killed at boundary ${dieAt} of ${boundaries}`
            const again = ask(args)
            yield* Effect.all([again.pipe(Effect.provide(node())), again.pipe(Effect.provide(node()))], {
              concurrency: "unbounded"
            })
            assert.deepStrictEqual(yield* booksOf(seller).pipe(Effect.provide(node())), books, at)
            const [entry] = sandbox.provider.ledger.ofCheckout(args.orderId)
            assert.deepStrictEqual(entry?.refunded, refunded, at)
            const audited = yield* sql`
              select operation, outcome from ops.audit where subject = ${args.orderId} or details ->> 'orderId' = ${args.orderId}`
            assert.deepStrictEqual(
              audited.map((row) => ({ ...row })),
              [{ operation, outcome: "done" }],
              at
            )
          }
          assert.isAtLeast(killed, 4)
          assert.deepStrictEqual(yield* Shop.violations.pipe(Effect.provide(node())), [])
        }).pipe(Effect.scoped),
      300_000
    )
  }
})
