import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { connect, isRefusal } from "../../src/client/OrdersClient.ts"
import { eventually } from "../fixtures/Eventually.ts"
import * as Nodes from "../fixtures/Nodes.ts"
import * as Shop from "../fixtures/Shop.ts"
import { prepare, prepareMany, released, surroundings } from "../fixtures/Storefront.ts"

describe("given two nodes on one database", () => {
  it.live(
    "when one is killed in the middle of confirmations, then each of them still ends, once (T-CHK-01, T-CHK-02)",
    () =>
      Effect.gen(function* () {
        const { databaseUrl, pool, sandbox } = yield* surroundings
        yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 100, lyon: 100 } }]).pipe(Effect.provide(pool))
        const one = yield* Nodes.start({ databaseUrl, sandboxPort: sandbox.port })
        const other = yield* Nodes.start({ databaseUrl, sandboxPort: sandbox.port })
        // Half of the clients know the survivor as their first node.
        const buyers = yield* prepareMany(60, [one.url, other.url], "tea")
        // Authorizations take a while, so that the kill meets them in the middle.
        sandbox.provider.faults.inject({ operation: "confirm", times: 60, fault: { _tag: "Delay", ms: 400 } })
        const confirming = Promise.allSettled(
          buyers.map(({ checkout }) => checkout.confirmAndWait({ waitAtMost: "60 seconds" }))
        )
        yield* Effect.sleep("300 millis")
        yield* one.kill("SIGKILL")
        const results = yield* Effect.promise(() => confirming)
        for (const result of results) {
          if (result.status === "rejected") assert.fail(String(result.reason))
          assert.strictEqual(result.value._tag, "Confirmed")
        }
        for (const { checkout } of buyers) {
          const entries = sandbox.provider.ledger.ofCheckout(checkout.id)
          assert.strictEqual(
            entries.reduce((sum, entry) => sum + entry.captured.times, 0),
            1
          )
          assert.strictEqual(
            entries.reduce((sum, entry) => sum + entry.authorized.times - entry.voided.times, 0),
            1
          )
        }
        assert.deepStrictEqual(yield* Shop.violations.pipe(Effect.provide(pool)), [])
      }).pipe(Effect.scoped),
    120_000
  )

  it.live(
    "when one checkout is confirmed 50 times at once over both, then there is one order, one authorization, one capture (T-CHK-10)",
    () =>
      Effect.gen(function* () {
        const { databaseUrl, pool, sandbox } = yield* surroundings
        yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 10 } }]).pipe(Effect.provide(pool))
        const one = yield* Nodes.start({ databaseUrl, sandboxPort: sandbox.port })
        const other = yield* Nodes.start({ databaseUrl, sandboxPort: sandbox.port })
        const { checkout, shop } = yield* Effect.promise(() => prepare([one.url], "tea"))
        const token = yield* Effect.promise(() => shop.token())
        const elsewhere = connect({ urls: [other.url], token })
        yield* Effect.addFinalizer(() => released([{ shop }, { shop: elsewhere }]))
        const confirmations = yield* Effect.promise(() =>
          Promise.all(
            Array.from({ length: 50 }, (_, index) =>
              (index % 2 === 0 ? shop : elsewhere).checkout(checkout.id).confirm()
            )
          )
        )
        assert.deepStrictEqual([...new Set(confirmations.map(({ _tag }) => _tag))], ["Confirmed"])
        const [entry, ...more] = sandbox.provider.ledger.ofCheckout(checkout.id)
        assert.deepStrictEqual(more, [])
        assert.strictEqual(entry!.authorized.times, 1)
        assert.strictEqual(entry!.captured.times, 1)
        const { orders } = yield* Effect.promise(() => elsewhere.orders.list())
        assert.strictEqual(orders.length, 1)
        // All of it was served without a mailbox in the database.
        const tables = yield* Effect.gen(function* () {
          const sql = yield* SqlClient
          return yield* sql<{
            name: string
          }>`select tablename as name from pg_tables where tablename like 'cluster%' order by 1`
        }).pipe(Effect.provide(pool))
        assert.notInclude(JSON.stringify(tables), "cluster_messages")
        assert.notInclude(JSON.stringify(tables), "cluster_replies")
        assert.include(JSON.stringify(tables), "cluster_runners")
      }).pipe(Effect.scoped),
    120_000
  )

  it.live(
    "when a watched order's node is killed, then the watch goes on at the other, without a gap or a repeat",
    () =>
      Effect.gen(function* () {
        const { databaseUrl, pool, sandbox } = yield* surroundings
        yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 10 } }]).pipe(Effect.provide(pool))
        const one = yield* Nodes.start({ databaseUrl, sandboxPort: sandbox.port })
        const other = yield* Nodes.start({ databaseUrl, sandboxPort: sandbox.port })
        const { checkout, shop } = yield* Effect.promise(() => prepare([one.url, other.url], "tea"))
        yield* Effect.addFinalizer(() => released([{ shop }]))
        sandbox.provider.faults.inject({ operation: "capture", times: 1, fault: { _tag: "Delay", ms: 1500 } })
        const seen: Array<{ seq: number; event: string }> = []
        const confirming = checkout.confirmAndWait({ waitAtMost: "60 seconds" })
        yield* eventually(
          Effect.promise(() => shop.orders.list()),
          ({ orders }) => orders.length === 1
        )
        const watching = (async () => {
          for await (const { event, seq, status } of shop.orders.watch(checkout.id)) {
            seen.push({ seq, event })
            if (status === "confirmed") return
          }
        })()
        yield* eventually(
          Effect.sync(() => seen.length),
          (count) => count > 0
        )
        yield* one.kill("SIGKILL")
        yield* Effect.promise(() => watching)
        assert.strictEqual((yield* Effect.promise(() => confirming))._tag, "Confirmed")
        assert.deepStrictEqual(seen, [
          { seq: 1, event: "Placed" },
          { seq: 2, event: "Confirmed" }
        ])
      }).pipe(Effect.scoped),
    120_000
  )

  it.live(
    "when 50 buyers want the last 10 units over both nodes, then 10 get them and 40 hear what is left (T-INV-01)",
    () =>
      Effect.gen(function* () {
        const { databaseUrl, pool, sandbox } = yield* surroundings
        yield* Shop.stock([{ sku: "rare", price: 9900n, onHand: { berlin: 6, lyon: 4 } }]).pipe(Effect.provide(pool))
        const one = yield* Nodes.start({ databaseUrl, sandboxPort: sandbox.port })
        const other = yield* Nodes.start({ databaseUrl, sandboxPort: sandbox.port })
        const buyers = yield* Effect.promise(() =>
          Promise.all(
            Array.from({ length: 50 }, (_, index) => prepare([index % 2 === 0 ? one.url : other.url], "rare"))
          )
        )
        yield* Effect.addFinalizer(() => released(buyers))
        const results = yield* Effect.promise(() =>
          Promise.allSettled(buyers.map(({ checkout }) => checkout.confirm()))
        )
        assert.strictEqual(results.filter(({ status }) => status === "fulfilled").length, 10)
        for (const [index, result] of results.entries()) {
          if (result.status === "fulfilled") continue
          if (!isRefusal(result.reason, "OutOfStock")) assert.fail(String(result.reason))
          assert.strictEqual(result.reason.lines[0]!.have, 0)
          const entries = sandbox.provider.ledger.ofCheckout(buyers[index]!.checkout.id)
          assert.strictEqual(
            entries.reduce((sum, entry) => sum + entry.authorized.times, 0),
            0
          )
        }
        assert.deepStrictEqual(yield* Shop.violations.pipe(Effect.provide(pool)), [])
      }).pipe(Effect.scoped),
    120_000
  )
})
