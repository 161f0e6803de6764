import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { withTimeLimit } from "../../src/domain/TimeLimit.ts"

const limit = withTimeLimit(Duration.millis(20), () => Effect.fail("late" as const))
const generous = withTimeLimit(Duration.minutes(1), () => Effect.fail("late" as const))

describe("given something with a time limit, on the machine's clock", () => {
  it.live("when it ends in time, then its own answer is given", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* generous(Effect.succeed(1)), 1)
      assert.strictEqual(yield* generous(Effect.delay(Effect.succeed(2), 1)), 2)
      assert.strictEqual(yield* Effect.flip(generous(Effect.delay(Effect.fail("own"), 1))), "own")
      const died = yield* Effect.exit(generous(Effect.delay(Effect.die("defect"), 1)))
      assert.deepStrictEqual(died, Exit.die("defect"))
    })
  )

  it.live("when it does not, then it is interrupted, waited for, and answered for", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const endless = Effect.never.pipe(
        Effect.onInterrupt(() =>
          Effect.andThen(
            Effect.sleep(5),
            Effect.sync(() => seen.push("cleaned up"))
          )
        )
      )
      assert.strictEqual(yield* Effect.flip(limit(endless)), "late")
      assert.deepStrictEqual(seen, ["cleaned up"])
    })
  )

  it.live("when whoever waits is interrupted, then so is what is waited for, and no answer is made up", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const endless = Effect.onInterrupt(Effect.never, () => Effect.sync(() => seen.push("cleaned up")))
      const fiber = yield* Effect.forkChild(generous(endless), { startImmediately: true })
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(seen, ["cleaned up"])
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
    })
  )

  it.live("when it must not be interrupted, then its end is waited for", () =>
    Effect.gen(function* () {
      let ended = false
      const slow = Effect.andThen(
        Effect.sleep(40),
        Effect.sync(() => {
          ended = true
        })
      )
      assert.strictEqual(yield* Effect.flip(limit(Effect.uninterruptible(slow))), "late")
      assert.isTrue(ended)
      ended = false
      yield* Effect.exit(Effect.uninterruptible(limit(slow)))
      assert.isTrue(ended)
    })
  )

  it.live("when the limit is further away than a timer reaches, then it is not cut short", () =>
    Effect.gen(function* () {
      const far = withTimeLimit(Duration.days(60), () => Effect.fail("late" as const))
      assert.strictEqual(yield* far(Effect.delay(Effect.succeed(1), 5)), 1)
    })
  )
})

describe("given something with a time limit, on a clock of a test", () => {
  it.effect("when that clock reaches the limit, then it has passed", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(Effect.exit(generous(Effect.never)), { startImmediately: true })
      yield* TestClock.adjust("59 seconds")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.join(fiber), Exit.fail("late"))
      assert.strictEqual(yield* Clock.currentTimeMillis, 60_000)
    })
  )
})
