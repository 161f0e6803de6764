import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Layer } from "effect"
import * as Watchdog from "../../src/layers/Watchdog.ts"
import { Journal } from "../../src/runtime/Journal.ts"
import { Store } from "../../src/runtime/Store.ts"
import { eventually } from "../fixtures/Eventually.ts"
import * as Postgres from "../fixtures/Postgres.ts"

/** A node whose flushes hang, watched; `freeze` lets time pass for everybody but its process. */
const stuck = Effect.gen(function* () {
  let silent = 2000
  let shift = 0
  let looks = 0
  const exits: Array<number> = []
  const real = yield* Clock.Clock
  const clock: Clock.Clock = Object.assign(Object.create(real), {
    currentTimeMillisUnsafe: () => real.currentTimeMillisUnsafe() + shift,
    currentTimeMillis: Effect.sync(() => real.currentTimeMillisUnsafe() + shift)
  })
  const runtime = Layer.mergeAll(
    Layer.succeed(Journal, {
      waitingFor: Effect.sync(() => {
        looks++
        return Duration.millis(silent)
      })
    } as Journal["Service"]),
    Layer.succeed(Store, { silentFor: Effect.succeed(Duration.zero) } as Store["Service"])
  )
  yield* Layer.build(
    Watchdog.layer({ exitAfter: Duration.seconds(3), exit: (code) => exits.push(code) }).pipe(
      Layer.provide(runtime),
      Layer.provide(Postgres.layerEmpty)
    )
  ).pipe(Effect.provideService(Clock.Clock, clock))
  return {
    exits,
    looked: (times: number) => {
      const until = looks + times
      return eventually(
        Effect.sync(() => looks),
        (seen) => seen >= until
      )
    },
    freeze: (forMs: number) => {
      shift += forMs
      silent += forMs
    },
    heal: () => {
      silent = 0
    }
  }
})

describe("given a node for whose flushes a database which answers others does not come back", () => {
  it.live("when it has looked at that for as long as it may, then it ends itself", () =>
    Effect.gen(function* () {
      const { exits } = yield* stuck
      yield* eventually(
        Effect.sync(() => exits[0]),
        (code) => code === Watchdog.stalledExitCode
      )
    }).pipe(Effect.scoped)
  )

  it.live("when its process is frozen meanwhile, then it has missed nothing, and goes on once it runs again", () =>
    Effect.gen(function* () {
      const { exits, freeze, heal, looked } = yield* stuck
      yield* looked(2)
      freeze(60_000)
      yield* looked(2)
      heal()
      yield* looked(8)
      assert.deepStrictEqual(exits, [])
    }).pipe(Effect.scoped)
  )
})
