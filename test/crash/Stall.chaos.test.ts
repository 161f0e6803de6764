import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { stalledExitCode } from "../../src/layers/Watchdog.ts"
import * as Nodes from "../fixtures/Nodes.ts"
import * as Proxy from "../fixtures/Proxy.ts"
import * as Shop from "../fixtures/Shop.ts"
import { prepareMany, surroundings } from "../fixtures/Storefront.ts"

const confirmAll = (buyers: Effect.Success<ReturnType<typeof prepareMany>>) =>
  Promise.allSettled(buyers.map(({ checkout }) => checkout.confirmAndWait({ waitAtMost: "60 seconds" })))

const allConfirmed = (results: Awaited<ReturnType<typeof confirmAll>>) => {
  for (const result of results) {
    if (result.status === "rejected") assert.fail(String(result.reason))
    assert.strictEqual(result.value._tag, "Confirmed")
  }
}

describe("given a node whose heartbeats go on", () => {
  it.live(
    "when nothing comes through for its journal any more, then it ends itself, the other has its work within 10 s, and nothing is lost",
    () =>
      Effect.gen(function* () {
        const { databaseUrl, pool, sandbox } = yield* surroundings
        yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 100 } }]).pipe(Effect.provide(pool))
        const proxy = yield* Proxy.start(databaseUrl)
        const stalling = yield* Nodes.start({ databaseUrl: proxy.url, sandboxPort: sandbox.port })
        const other = yield* Nodes.start({ databaseUrl, sandboxPort: sandbox.port })
        const buyers = yield* prepareMany(20, [stalling.url, other.url], "tea")
        proxy.silenceJournal()
        const confirming = confirmAll(buyers)
        const code = yield* stalling.ended.pipe(Effect.timeout("10 seconds"))
        assert.strictEqual(code, stalledExitCode)
        assert.include(stalling.output(), "this node ends itself")
        allConfirmed(yield* Effect.promise(() => confirming).pipe(Effect.timeout("15 seconds")))
        assert.deepStrictEqual(yield* Shop.violations.pipe(Effect.provide(pool)), [])
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "when the journal's connection alone hangs, then it makes another one and goes on",
    () =>
      Effect.gen(function* () {
        const { databaseUrl, pool, sandbox } = yield* surroundings
        yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 100 } }]).pipe(Effect.provide(pool))
        const proxy = yield* Proxy.start(databaseUrl)
        const node = yield* Nodes.start({ databaseUrl: proxy.url, sandboxPort: sandbox.port })
        const buyers = yield* prepareMany(10, [node.url], "tea")
        proxy.silenceJournalOnce()
        allConfirmed(yield* Effect.promise(() => confirmAll(buyers)).pipe(Effect.timeout("15 seconds")))
        assert.deepStrictEqual(yield* Shop.violations.pipe(Effect.provide(pool)), [])
      }).pipe(Effect.scoped),
    60_000
  )
})

describe("given a node which runs no code any more", () => {
  it.live(
    "when it is blocked for long, then it is killed, has said why, and the other has its work",
    () =>
      Effect.gen(function* () {
        const { databaseUrl, pool, sandbox } = yield* surroundings
        yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 100 } }]).pipe(Effect.provide(pool))
        const blocking = new URL("../fixtures/BlockOnSignal.ts", import.meta.url).pathname
        const blocked = yield* Nodes.start({
          databaseUrl,
          sandboxPort: sandbox.port,
          settings: { NODE_OPTIONS: `--import=${blocking}` }
        })
        const other = yield* Nodes.start({ databaseUrl, sandboxPort: sandbox.port })
        const buyers = yield* prepareMany(20, [blocked.url, other.url], "tea")
        yield* blocked.kill("SIGUSR2")
        const confirming = confirmAll(buyers)
        assert.strictEqual(yield* blocked.ended.pipe(Effect.timeout("10 seconds")), "SIGKILL")
        assert.include(blocked.output(), "has run no code")
        allConfirmed(yield* Effect.promise(() => confirming).pipe(Effect.timeout("15 seconds")))
        assert.deepStrictEqual(yield* Shop.violations.pipe(Effect.provide(pool)), [])
      }).pipe(Effect.scoped),
    60_000
  )
})

describe("given a node in front of a database", () => {
  it.live(
    "when answers to its writes are lost after they were carried out, then each checkout happens once all the same",
    () =>
      Effect.gen(function* () {
        const { databaseUrl, pool, sandbox } = yield* surroundings
        yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 100 } }]).pipe(Effect.provide(pool))
        const proxy = yield* Proxy.start(databaseUrl)
        const node = yield* Nodes.start({ databaseUrl: proxy.url, sandboxPort: sandbox.port })
        const buyers = yield* prepareMany(24, [node.url], "tea")
        // One after another, so that each write of a checkout is met: locks, claims, intents, placing, finishing.
        for (const [index, { checkout }] of buyers.entries()) {
          proxy.loseAnswer((index % 12) + 1)
          const { _tag } = yield* Effect.promise(() => checkout.confirmAndWait({ waitAtMost: "30 seconds" }))
          assert.strictEqual(_tag, "Confirmed")
          const entries = sandbox.provider.ledger.ofCheckout(checkout.id)
          assert.strictEqual(
            entries.reduce((sum, { captured }) => sum + captured.times, 0),
            1
          )
        }
        assert.deepStrictEqual(yield* Shop.violations.pipe(Effect.provide(pool)), [])
      }).pipe(Effect.scoped),
    60_000
  )
})
