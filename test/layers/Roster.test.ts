import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Runner } from "effect/cluster/Runner"
import { RunnerAddress } from "effect/cluster/RunnerAddress"
import { makeMemory, RunnerStorage } from "effect/cluster/RunnerStorage"
import { TestClock } from "effect/testing"
import * as Roster from "../../src/layers/Roster.ts"

const self = RunnerAddress.make({ host: "127.0.0.1", port: 5005 })
const other = RunnerAddress.make({ host: "127.0.0.1", port: 5006 })
const runner = (address: RunnerAddress) => Runner.make({ address, groups: ["default"], weight: 1 })

/** The storage of all nodes, as this one uses it; and how often it was asked. */
const setting = Effect.gen(function* () {
  const shared = yield* makeMemory
  let asked = 0
  const counted = RunnerStorage.of({
    ...shared,
    getRunners: Effect.suspend(() => {
      asked++
      return shared.getRunners
    })
  })
  const own = yield* Effect.provide(
    RunnerStorage,
    Roster.layer(self).pipe(Layer.provide(Layer.succeed(RunnerStorage, counted)))
  )
  yield* own.register(runner(self), true)
  const look = Effect.map(own.getRunners, (found) => found.map(([{ address }, healthy]) => [address.port, healthy]))
  return { shared, own, look, asked: () => asked }
})

describe("given a node which is alone", () => {
  it.effect("when it looks again and again, then the database is asked every two seconds", () =>
    Effect.gen(function* () {
      const { asked, look } = yield* setting
      for (let quarter = 0; quarter < 24; quarter++) {
        assert.deepStrictEqual(yield* look, [[5005, true]])
        yield* TestClock.adjust("250 millis")
      }
      assert.strictEqual(asked(), 3)
    })
  )

  it.effect("when another joins, then it is seen within two seconds, and from then on every look asks", () =>
    Effect.gen(function* () {
      const { asked, look, shared } = yield* setting
      yield* look
      yield* shared.register(runner(other), true)
      yield* TestClock.adjust("2 seconds")
      assert.sameDeepMembers(yield* look, [
        [5005, true],
        [5006, true]
      ])
      const before = asked()
      yield* shared.setRunnerHealth(other, false)
      assert.sameDeepMembers(yield* look, [
        [5005, true],
        [5006, false]
      ])
      assert.strictEqual(asked(), before + 1)
    })
  )

  it.effect("when it writes itself, then its next look sees that", () =>
    Effect.gen(function* () {
      const { look, own } = yield* setting
      yield* look
      yield* own.register(runner(other), true)
      assert.lengthOf(yield* look, 2)
      yield* own.unregister(other)
      assert.deepStrictEqual(yield* look, [[5005, true]])
      yield* own.setRunnerHealth(self, false)
      assert.deepStrictEqual(yield* look, [[5005, false]])
    })
  )
})

describe("given a node which is alone and not well, or not there", () => {
  it.effect("when it looks, then every look asks, so that it is put right at once", () =>
    Effect.gen(function* () {
      const { asked, look, own, shared } = yield* setting
      yield* own.setRunnerHealth(self, false)
      yield* look
      yield* shared.setRunnerHealth(self, true)
      assert.deepStrictEqual(yield* look, [[5005, true]])
      assert.strictEqual(asked(), 2)
      yield* own.unregister(self)
      assert.deepStrictEqual(yield* look, [])
      yield* shared.register(runner(other), true)
      assert.deepStrictEqual(yield* look, [[5006, true]])
      yield* shared.register(runner(self), true)
      assert.lengthOf(yield* look, 2)
    })
  )
})
