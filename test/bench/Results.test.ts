import { assert, describe, it } from "@effect/vitest"
import { type Cell, median, percentile, summaryOf, type System } from "../../bench/Results.ts"

const cell = (system: System, round: number, perSecond: number): Cell => ({
  system,
  round,
  concurrency: 16,
  checkouts: 100,
  seconds: 100 / perSecond,
  perSecond,
  milliseconds: { p50: 1, p95: 2, p99: 3, max: 4 },
  perCheckout: { commits: 1, statements: 2, walBytes: 3 },
  cpuSecondsPerThousand: { server: 1, postgres: 1, sandbox: undefined, load: 1 },
  refusals: {}
})

describe("figures", () => {
  it("take the least number which a share does not exceed", () => {
    const sorted = Array.from({ length: 100 }, (_, index) => index + 1)
    assert.deepStrictEqual(
      [0.5, 0.95, 0.99, 1].map((share) => percentile(sorted, share)),
      [50, 95, 99, 100]
    )
    assert.strictEqual(percentile([], 0.5), 0)
    assert.strictEqual(percentile([7], 0.01), 7)
  })

  it("take the middle, or what lies between two", () => {
    assert.strictEqual(median([3, 1, 2]), 2)
    assert.strictEqual(median([4, 1, 2, 3]), 2.5)
  })

  it("compare node and floor within each round, since the machine is not the same in two", () => {
    const [summary] = summaryOf([
      cell("node", 1, 200),
      cell("floor", 1, 100),
      cell("floor", 2, 400),
      cell("node", 2, 400),
      cell("node", 3, 90),
      cell("floor", 3, 60)
    ])
    assert.deepStrictEqual(summary?.ratio, { median: 1.5, least: 1, most: 2 })
    assert.strictEqual(summary?.systems.node?.perSecond, 200)
    assert.strictEqual(summary?.systems.floor?.perSecond, 100)
    assert.isUndefined(summary?.systems.node?.cpuSecondsPerThousand.sandbox)
  })
})
