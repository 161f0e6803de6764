import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { run } from "../../bench/Bench.ts"
import { tableOf } from "../../bench/Results.ts"

describe("the benchmark", () => {
  it.live(
    "measures node and floor side by side, and a checkout stays within its budget of statements and commits",
    Effect.fnUntraced(function* () {
      const result = yield* run({
        orders: 32,
        concurrency: [1, 8],
        rounds: 1,
        warmUpRounds: 0,
        systems: ["node", "floor"],
        skus: 50,
        seed: 1,
        say: () => Effect.void
      })
      assert.deepStrictEqual(
        result.summary.map(({ concurrency }) => concurrency),
        [1, 8]
      )
      for (const { concurrency, ratio, systems } of result.summary) {
        const { floor, node } = systems
        assert.isDefined(ratio)
        for (const found of [node!, floor!]) {
          assert.deepStrictEqual(found.refusals, {})
          assert.strictEqual(found.checkouts, concurrency === 1 ? 8 : 32)
          for (const figure of [
            found.perSecond,
            found.milliseconds.p50,
            found.milliseconds.p99,
            found.perCheckout.walBytes
          ]) {
            assert.isAbove(figure, 0)
          }
          if (process.platform === "linux") assert.isAbove(found.cpuSecondsPerThousand.server!, 0)
        }
        assert.approximately(floor!.perCheckout.commits, 3, 0.3)
        // Generous: some are shared already when only a few buy at once.
        assert.isAtMost(node!.perCheckout.commits, 8)
        assert.isAtMost(node!.perCheckout.statements, 16)
      }
      assert.match(tableOf(result), /node/)
      assert.sameMembers(Object.keys(JSON.parse(JSON.stringify(result))), [
        "machine",
        "options",
        "idle",
        "cells",
        "summary"
      ])
    }, Effect.scoped),
    180_000
  )
})
