import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { connect } from "../../src/client/OrdersClient.ts"
import { EmbeddedPostgres } from "../../src/postgres/EmbeddedPostgres.ts"
import * as Nodes from "../fixtures/Nodes.ts"
import * as Shop from "../fixtures/Shop.ts"
import { prepareMany, surroundings, surroundingsOn } from "../fixtures/Storefront.ts"

const ownServer = Effect.gen(function* () {
  const directory = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "cartwright-away-"))),
    (made) => Effect.promise(() => rm(made, { recursive: true, force: true, maxRetries: 5 }))
  )
  return yield* EmbeddedPostgres.make({ directory, port: 0, stopOnClose: true })
})

describe("given a node with checkouts under way", () => {
  it.live(
    "when Postgres is restarted without a goodbye, then every answer is true, and the node serves again soon after it is back",
    () =>
      Effect.gen(function* () {
        const postgres = yield* ownServer
        const { databaseUrl, pool, sandbox } = yield* surroundingsOn(postgres.url)
        yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 100 } }]).pipe(Effect.provide(pool))
        const node = yield* Nodes.start({ databaseUrl, sandboxPort: sandbox.port })
        const buyers = yield* prepareMany(30, [node.url], "tea")
        const shop = yield* Effect.acquireRelease(
          Effect.sync(() => connect({ urls: node.url, deadline: "30 seconds" })),
          (connected) => Effect.promise(() => connected.close())
        )
        yield* Effect.promise(() => shop.cart("warm-up-cart").add({ sku: "tea", quantity: 1, currency: "EUR" }))
        const confirming = Promise.allSettled(
          buyers.map(({ checkout }) => checkout.confirmAndWait({ waitAtMost: "60 seconds" }))
        )
        yield* Effect.sleep("100 millis")
        yield* postgres.restart
        // Two seconds on a machine of its own; a shared one gets some more.
        yield* Effect.promise(() =>
          shop.cart("back-again-cart").add({ sku: "tea", quantity: 1, currency: "EUR" })
        ).pipe(Effect.timeout("5 seconds"))
        const results = yield* Effect.promise(() => confirming)
        for (const [index, result] of results.entries()) {
          if (result.status === "rejected") assert.fail(String(result.reason))
          assert.strictEqual(result.value._tag, "Confirmed")
          const entries = sandbox.provider.ledger.ofCheckout(buyers[index]!.checkout.id)
          assert.strictEqual(
            entries.reduce((sum, { captured }) => sum + captured.times, 0),
            1
          )
        }
        assert.deepStrictEqual(yield* Shop.violations.pipe(Effect.provide(pool)), [])
      }).pipe(Effect.scoped),
    90_000
  )

  it.live(
    "when all of its connections are cut, three times, then every answer is true",
    () =>
      Effect.gen(function* () {
        const { databaseUrl, pool, sandbox } = yield* surroundings
        yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 100 } }]).pipe(Effect.provide(pool))
        const node = yield* Nodes.start({ databaseUrl, sandboxPort: sandbox.port })
        const buyers = yield* prepareMany(30, [node.url], "tea")
        const confirming = Promise.allSettled(
          buyers.map(({ checkout }) => checkout.confirmAndWait({ waitAtMost: "60 seconds" }))
        )
        yield* Effect.gen(function* () {
          const sql = yield* SqlClient
          yield* sql`select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and application_name like 'cartwright%'`.pipe(
            Effect.repeat({ schedule: Schedule.spaced("700 millis"), times: 2 })
          )
          for (const result of yield* Effect.promise(() => confirming)) {
            if (result.status === "rejected") assert.fail(String(result.reason))
            assert.strictEqual(result.value._tag, "Confirmed")
          }
          assert.deepStrictEqual(yield* Shop.violations, [])
        }).pipe(Effect.provide(pool))
      }).pipe(Effect.scoped),
    90_000
  )
})

describe("given a customer whose calls cannot be carried out", () => {
  it.live(
    "when units violate a constraint, a row does not decode, and a key comes with other content, then the others notice nothing",
    () =>
      Effect.gen(function* () {
        const { databaseUrl, pool, sandbox } = yield* surroundings
        yield* Shop.stock([
          { sku: "tea", price: 1250n, onHand: { berlin: 100 } },
          { sku: "poison", price: 1n, onHand: { berlin: 100 } }
        ]).pipe(Effect.provide(pool))
        yield* Effect.gen(function* () {
          const sql = yield* SqlClient
          yield* sql`alter table checkout.carts add constraint no_poison check (lines::text not like '%poison%')`
          const node = yield* Nodes.start({ databaseUrl, sandboxPort: sandbox.port })
          const buyers = yield* prepareMany(20, [node.url], "tea")
          const bad = yield* Effect.acquireRelease(
            Effect.sync(() => connect({ urls: node.url })),
            (connected) => Effect.promise(() => connected.close())
          )
          const spoilt = bad.cart()
          yield* Effect.promise(() => spoilt.add({ sku: "tea", quantity: 1, currency: "EUR" }, { key: "the-one-key" }))
          yield* sql`insert into checkout.carts select broken.* from (select * from checkout.carts limit 1) as cart
            cross join lateral jsonb_populate_record(cart::checkout.carts, '{"id": "broken-cart-01", "lines": {"of": "nothing"}}') as broken`
          let over = false
          const told: Record<string, number> = {}
          const tell = (error: unknown) => {
            const name = error instanceof Error && "code" in error ? String(error.code) : String(error)
            told[name] = (told[name] ?? 0) + 1
          }
          const repeat = async (call: (times: number) => Promise<unknown>) => {
            for (let times = 0; !over; times++) await call(times).catch(tell)
          }
          const poisoning = Promise.all([
            repeat(() => bad.cart().add({ sku: "poison", quantity: 1, currency: "EUR" })),
            repeat(() => bad.cart("broken-cart-01").get()),
            repeat((times) =>
              spoilt.add({ sku: "tea", quantity: 2 + (times % 40), currency: "EUR" }, { key: "the-one-key" })
            )
          ])
          const results = yield* Effect.promise(() =>
            Promise.allSettled(buyers.map(({ checkout }) => checkout.confirmAndWait({ waitAtMost: "30 seconds" })))
          )
          over = true
          yield* Effect.promise(() => poisoning)
          for (const result of results) {
            if (result.status === "rejected") assert.fail(String(result.reason))
            assert.strictEqual(result.value._tag, "Confirmed")
          }
          assert.deepStrictEqual(Object.keys(told).toSorted(), ["IdempotencyConflict", "InternalError"])
          assert.deepStrictEqual(yield* Shop.violations, [])
        }).pipe(Effect.provide(pool))
      }).pipe(Effect.scoped),
    60_000
  )
})
