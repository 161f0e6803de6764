import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type * as Sandbox from "../../src/sandbox/Sandbox.ts"
import { eventually } from "../fixtures/Eventually.ts"
import * as Nodes from "../fixtures/Nodes.ts"
import * as Shop from "../fixtures/Shop.ts"
import { type Buyer, prepareMany, surroundings } from "../fixtures/Storefront.ts"

const confirmAll = (buyers: ReadonlyArray<Buyer>) =>
  Promise.allSettled(buyers.map(({ checkout }) => checkout.confirmAndWait({ waitAtMost: "60 seconds" })))

/** Fails with the first buyer who did not hear that the order is confirmed. */
const allConfirmed = (results: Awaited<ReturnType<typeof confirmAll>>) => {
  for (const result of results) {
    if (result.status === "rejected") assert.fail(String(result.reason))
    assert.strictEqual(result.value._tag, "Confirmed")
  }
}

const capturedOnce = (buyers: ReadonlyArray<Buyer>, sandbox: Effect.Success<ReturnType<typeof Sandbox.start>>) => {
  for (const { checkout } of buyers) {
    const entries = sandbox.provider.ledger.ofCheckout(checkout.id)
    const times = (what: "authorized" | "captured" | "voided") =>
      entries.reduce((sum, entry) => sum + entry[what].times, 0)
    assert.strictEqual(times("captured"), 1)
    assert.strictEqual(times("authorized") - times("voided"), 1)
  }
}

describe("given two nodes, and confirmations under way on both", () => {
  it.live(
    "when one is killed, then the other has them all to their end within 5 s, long before a heartbeat is missed",
    () =>
      Effect.gen(function* () {
        const { databaseUrl, pool, sandbox } = yield* surroundings
        yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 100 } }]).pipe(Effect.provide(pool))
        const settings = { SHARD_LOCK_EXPIRATION: "60 seconds" }
        const one = yield* Nodes.start({ databaseUrl, sandboxPort: sandbox.port, settings })
        const other = yield* Nodes.start({ databaseUrl, sandboxPort: sandbox.port, settings })
        const buyers = yield* prepareMany(40, [one.url, other.url], "tea")
        sandbox.provider.faults.inject({ operation: "confirm", times: 40, fault: { _tag: "Delay", ms: 300 } })
        const confirming = confirmAll(buyers)
        yield* Effect.sleep("200 millis")
        yield* one.kill("SIGKILL")
        const results = yield* Effect.promise(() => confirming).pipe(Effect.timeout("5 seconds"))
        allConfirmed(results)
        capturedOnce(buyers, sandbox)
        assert.deepStrictEqual(yield* Shop.violations.pipe(Effect.provide(pool)), [])
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "when one is asked to stop, then it ends in order and nothing under way fails (REQ-OPS-05)",
    () =>
      Effect.gen(function* () {
        const { databaseUrl, pool, sandbox } = yield* surroundings
        yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 100 } }]).pipe(Effect.provide(pool))
        const one = yield* Nodes.start({ databaseUrl, sandboxPort: sandbox.port })
        const other = yield* Nodes.start({ databaseUrl, sandboxPort: sandbox.port })
        const buyers = yield* prepareMany(40, [one.url, other.url], "tea")
        sandbox.provider.faults.inject({ operation: "confirm", times: 40, fault: { _tag: "Delay", ms: 300 } })
        const confirming = confirmAll(buyers)
        yield* Effect.sleep("200 millis")
        yield* one.kill("SIGTERM")
        allConfirmed(yield* Effect.promise(() => confirming))
        assert.strictEqual(yield* one.ended, 0)
        capturedOnce(buyers, sandbox)
        assert.deepStrictEqual(yield* Shop.violations.pipe(Effect.provide(pool)), [])
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "when one is frozen until another has its work, then thawed, then buyers have their answer within 15 s, and it writes nothing more",
    () =>
      Effect.gen(function* () {
        const { databaseUrl, pool, sandbox } = yield* surroundings
        yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 100 } }]).pipe(Effect.provide(pool))
        const one = yield* Nodes.start({ databaseUrl, sandboxPort: sandbox.port })
        const other = yield* Nodes.start({ databaseUrl, sandboxPort: sandbox.port })
        const buyers = yield* prepareMany(40, [one.url, other.url], "tea")
        sandbox.provider.faults.inject({ operation: "confirm", times: 40, fault: { _tag: "Delay", ms: 300 } })
        const confirming = confirmAll(buyers)
        yield* Effect.sleep("200 millis")
        yield* one.kill("SIGSTOP")
        allConfirmed(yield* Effect.promise(() => confirming).pipe(Effect.timeout("15 seconds")))
        yield* Effect.gen(function* () {
          const sql = yield* SqlClient
          const written = sql<{ rows: bigint }>`select count(*) as rows from runtime.history`
          const pendingNotices = sql<{ rows: bigint }>`select count(*) as rows from runtime.notices`
          yield* eventually(pendingNotices, ([{ rows } = { rows: 1n }]) => Number(rows) === 0)
          const before = yield* written
          yield* one.kill("SIGCONT")
          // It is back when it is ready: by then it has tried whatever it still had to say.
          yield* eventually(
            Effect.promise(() => fetch(`${one.url}/readyz`).then(({ ok }) => ok)),
            (ready) => ready
          )
          yield* Effect.sleep("1 second")
          assert.deepStrictEqual(yield* written, before)
          assert.deepStrictEqual(yield* Shop.violations, [])
        }).pipe(Effect.provide(pool))
        capturedOnce(buyers, sandbox)
      }).pipe(Effect.scoped),
    60_000
  )
})

describe("given three nodes under load", () => {
  it.live(
    "when each is restarted in turn, then no client sees anything but latency (REQ-OPS-05)",
    () =>
      Effect.gen(function* () {
        const { databaseUrl, pool, sandbox } = yield* surroundings
        yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 10_000 } }]).pipe(Effect.provide(pool))
        const nodes = yield* Effect.forEach(
          Array.from({ length: 3 }),
          () => Nodes.start({ databaseUrl, sandboxPort: sandbox.port }),
          { concurrency: "unbounded" }
        )
        const urls = nodes.map(({ url }) => url)
        let stopping = false
        const failures: Array<string> = []
        const orders: Array<string> = []
        /** Buys one thing after another. */
        const shopping = async ({ shop }: Buyer) => {
          while (!stopping) {
            try {
              const cart = shop.cart()
              await cart.add({ sku: "tea", quantity: 1, currency: "EUR" })
              const checkout = await shop.checkout.start({ cartId: cart.id, currency: "EUR" })
              await checkout.setAddress(Shop.address)
              await checkout.setPaymentMethod("pm_card_visa")
              const { _tag } = await checkout.confirmAndWait({ waitAtMost: "30 seconds" })
              if (_tag === "Confirmed") orders.push(checkout.id)
              else failures.push(_tag)
            } catch (error) {
              failures.push(String(error))
            }
          }
        }
        const buyers = yield* prepareMany(6, urls, "tea")
        const shoppers = Promise.all(buyers.map(shopping))
        for (const node of nodes) {
          yield* Effect.sleep("500 millis")
          yield* node.kill("SIGTERM")
          assert.strictEqual(yield* node.ended, 0)
          yield* Nodes.start({ databaseUrl, sandboxPort: sandbox.port, port: node.port })
        }
        stopping = true
        yield* Effect.promise(() => shoppers)
        assert.deepStrictEqual(failures, [])
        assert.isAbove(orders.length, 0)
        assert.deepStrictEqual(yield* Shop.violations.pipe(Effect.provide(pool)), [])
      }).pipe(Effect.scoped),
    90_000
  )
})
