import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { clockJumpMaxMs, describe as textOf, type Planned, planOf } from "../../chaos/Plan.ts"

const minutes = (count: number) => count * 60_000

/** Nodes which are out of service, or on their own, at an instant. */
const troubledAt = (plan: ReadonlyArray<Planned>, ms: number) =>
  new Set(
    plan.flatMap(({ atMs, fault }) =>
      "node" in fault && "ms" in fault && atMs <= ms && ms < atMs + fault.ms ? [fault.node] : []
    )
  )

describe("the plan of faults", () => {
  it.effect("is the same for the same seed, and another for another one", () =>
    Effect.gen(function* () {
      const options = { seed: 7, durationMs: minutes(3), nodes: 3 }
      assert.deepStrictEqual(yield* planOf(options), yield* planOf(options))
      assert.notDeepEqual(yield* planOf(options), yield* planOf({ ...options, seed: 8 }))
    })
  )

  it.effect("breaks everything there is within minutes, in order, and all of it is over in time", () =>
    Effect.gen(function* () {
      for (let seed = 1; seed <= 20; seed++) {
        const durationMs = minutes(3)
        const plan = yield* planOf({ seed, durationMs, nodes: 3 })
        assert.sameMembers(
          [...new Set(plan.map(({ fault }) => fault._tag))],
          [
            "CutDatabase",
            "CutNode",
            "CutProvider",
            "CutWrites",
            "Freeze",
            "Kill",
            "Provider",
            "RestartDatabase",
            "ShiftClock",
            "Stop"
          ]
        )
        assert.deepStrictEqual(
          plan,
          plan.toSorted((left, right) => left.atMs - right.atMs)
        )
        for (const { atMs, fault } of plan) {
          assert.isAtMost(atMs + ("ms" in fault ? fault.ms : 0), durationMs)
          if (fault._tag === "ShiftClock") assert.isAtMost(Math.abs(fault.offsetMs), clockJumpMaxMs)
          assert.notInclude(textOf(fault), "undefined")
        }
      }
    })
  )

  it.effect("leaves one node alone at any time, so that somebody can take over", () =>
    Effect.gen(function* () {
      for (let seed = 1; seed <= 20; seed++) {
        for (const nodes of [2, 3, 4]) {
          const plan = yield* planOf({ seed, durationMs: minutes(2), nodes })
          for (const { atMs } of plan) assert.isBelow(troubledAt(plan, atMs).size, nodes)
        }
      }
    })
  )

  it.effect("kills, freezes and restarts even when there is little time", () =>
    Effect.gen(function* () {
      const kinds = new Set<string>()
      for (let seed = 1; seed <= 30; seed++) {
        const plan = yield* planOf({ seed, durationMs: 18_000, nodes: 2 })
        assert.isAbove(plan.length, 4)
        assert.include(
          plan.map(({ fault }) => fault._tag),
          "RestartDatabase"
        )
        for (const { fault } of plan) kinds.add(fault._tag)
      }
      assert.includeMembers([...kinds], ["Kill", "Freeze", "Stop", "CutWrites"])
    })
  )
})
