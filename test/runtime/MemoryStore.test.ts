import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { Lost, Rejected } from "../../src/runtime/Store.ts"
import { setTimers } from "../../src/runtime/Table.ts"
import { onMemory } from "./Backends.ts"
import { conformance } from "./StoreConformance.ts"

describe("given the store in memory", () => {
  conformance((name, body) =>
    it.effect(name, () =>
      Effect.gen(function* () {
        const backend = yield* onMemory
        yield* body(yield* backend.open, backend)
      })
    )
  )

  const row = {
    actor_id: "a",
    actor_type: "A",
    name: "n",
    bucket: 1,
    due_at: "2026-11-20T10:00:00.000Z",
    urgent: false
  }
  const batch = () => ({ guarded: 0, parts: [{ part: setTimers, rows: [row] }] })

  it.effect("when it is told to fail a write, then that one fails, before it was written or after it", () =>
    Effect.gen(function* () {
      const { inject, open, rows } = yield* onMemory
      const store = yield* open
      const lost = new Lost({ detail: "test" })
      const refused = new Rejected({ constraint: "test", detail: "" })
      yield* inject({ when: "before", error: refused }, { when: "after", error: lost })
      assert.deepStrictEqual(yield* Effect.exit(store.transact([], batch)), Exit.fail(refused))
      assert.deepStrictEqual(yield* rows("runtime.timers"), [])
      assert.deepStrictEqual(yield* Effect.exit(store.transact([], batch)), Exit.fail(lost))
      assert.deepStrictEqual(yield* rows("runtime.timers"), [row])
      yield* store.transact([], batch)
    })
  )

  it.effect("when it is away, then nothing is answered until it is back", () =>
    Effect.gen(function* () {
      const { open, rows, setAway } = yield* onMemory
      const store = yield* open
      yield* setAway(true)
      assert.instanceOf(yield* Effect.flip(store.transact([], batch)), Lost)
      assert.instanceOf(yield* Effect.flip(store.load([])), Lost)
      yield* setAway(false)
      yield* store.transact([], batch)
      assert.deepStrictEqual(yield* rows("runtime.timers"), [row])
    })
  )
})
