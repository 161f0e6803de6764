import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Fiber, Layer } from "effect"
import { Runner } from "effect/cluster/Runner"
import { RunnerAddress } from "effect/cluster/RunnerAddress"
import { makeMemory, RunnerStorage } from "effect/cluster/RunnerStorage"
import * as ShardId from "effect/cluster/ShardId"
import { TestClock } from "effect/testing"
import * as Roster from "../../src/layers/Roster.ts"

const self = RunnerAddress.make({ host: "127.0.0.1", port: 5005 })
const other = RunnerAddress.make({ host: "127.0.0.1", port: 5006 })
const runner = (address: RunnerAddress) => Runner.make({ address, groups: ["default"], weight: 1 })

const shards = [ShardId.make("default", 1), ShardId.make("default", 2), ShardId.make("default", 3)]

/** The storage of all nodes, as this one uses it; and how often it was asked. `free` are the shards which nobody holds. */
const setting = Effect.gen(function* () {
  const shared = yield* makeMemory
  const free = new Set(shards)
  let asked = 0
  let attempts = 0
  const counted = RunnerStorage.of({
    ...shared,
    getRunners: Effect.suspend(() => {
      asked++
      return shared.getRunners
    }),
    acquire: (_, wanted) =>
      Effect.sync(() => {
        attempts++
        return [...wanted].filter((shard) => free.has(shard))
      })
  })
  const context = yield* Layer.build(
    Roster.layer({ self, attemptFor: Duration.millis(600) }).pipe(Layer.provide(Layer.succeed(RunnerStorage, counted)))
  )
  const own = Context.get(context, RunnerStorage)
  const { leave } = Context.get(context, Roster.Roster)
  yield* own.register(runner(self), true)
  const look = Effect.map(own.getRunners, (found) => found.map(([{ address }, healthy]) => [address.port, healthy]))
  return { shared, own, look, leave, free, asked: () => asked, attempts: () => attempts }
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

describe("given a node which should have shards that another still holds", () => {
  it.effect("when they are let go one after another, then it has them within moments, and all at once otherwise", () =>
    Effect.gen(function* () {
      const { attempts, free, own } = yield* setting
      assert.deepStrictEqual(yield* own.acquire(self, shards), shards)
      assert.strictEqual(attempts(), 1)
      free.delete(shards[2]!)
      const acquiring = yield* Effect.forkChild(own.acquire(self, shards))
      yield* TestClock.adjust("300 millis")
      assert.isUndefined(acquiring.pollUnsafe())
      free.add(shards[2]!)
      yield* TestClock.adjust("50 millis")
      assert.deepStrictEqual(yield* Fiber.join(acquiring), shards)
    })
  )

  it.effect("when they are not let go, then it has what there is before it is asked for a sign of life", () =>
    Effect.gen(function* () {
      const { attempts, free, own } = yield* setting
      free.delete(shards[0]!)
      const acquiring = yield* Effect.forkChild(own.acquire(self, shards))
      yield* TestClock.adjust("650 millis")
      assert.deepStrictEqual(yield* Fiber.join(acquiring), shards.slice(1))
      assert.isAtMost(attempts(), 14)
    })
  )
})

describe("given a node which stops", () => {
  const leaving = Effect.gen(function* () {
    const found = yield* setting
    yield* found.shared.register(runner(other), true)
    yield* found.own.acquire(self, shards)
    const left = yield* Effect.forkChild(found.leave(Duration.seconds(3)))
    yield* TestClock.adjust("40 millis")
    assert.lengthOf(yield* found.shared.getRunners, 2, "as long as it does not know it itself, the others do not")
    yield* found.look
    yield* TestClock.adjust("20 millis")
    return { ...found, left }
  })

  it.effect(
    "when another is there, then nobody finds it any more, it finds itself ill, and it stays as long as it has shards",
    () =>
      Effect.gen(function* () {
        const { left, look, own, shared } = yield* leaving
        assert.deepStrictEqual(
          (yield* shared.getRunners).map(([{ address }]) => address.port),
          [5006]
        )
        const seen = [
          [5006, true],
          [5005, false]
        ]
        assert.deepStrictEqual(yield* look, seen)
        // What the cluster would say of it, since it answers.
        yield* own.setRunnerHealth(self, true)
        assert.deepStrictEqual(yield* look, seen)
        for (const shard of shards) {
          assert.isUndefined(left.pollUnsafe())
          yield* own.release(self, shard)
          yield* TestClock.adjust("20 millis")
        }
        yield* Fiber.join(left)
      })
  )

  it.effect("when its shards are not given up, then it goes after a while all the same", () =>
    Effect.gen(function* () {
      const { left } = yield* leaving
      yield* TestClock.adjust("2920 millis")
      assert.isUndefined(left.pollUnsafe())
      yield* TestClock.adjust("20 millis")
      yield* Fiber.join(left)
    })
  )

  it.effect("when there is nobody else, or nobody who is well, then it has nobody to leave its shards to", () =>
    Effect.gen(function* () {
      const { leave, look, own, shared } = yield* setting
      yield* own.acquire(self, shards)
      yield* leave(Duration.seconds(3))
      yield* shared.register(runner(other), false)
      yield* TestClock.adjust("2 seconds")
      yield* leave(Duration.seconds(3))
      assert.sameDeepMembers(yield* look, [
        [5005, true],
        [5006, false]
      ])
    })
  )
})
