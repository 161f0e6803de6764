import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { run } from "../../chaos/Chaos.ts"
import { textOf } from "../../chaos/Report.ts"

/** Kills, a database that is restarted, a node that nobody reaches, lost writes. */
const seed = 14

describe("given nodes, Postgres, a provider and customers", () => {
  it.live(
    "when all of them break as a seed says, then every answer was true, and nothing is lost, doubled or left behind (T-CHK-01, T-CHK-02)",
    () =>
      Effect.gen(function* () {
        const report = yield* run({
          seed,
          faultsFor: Duration.seconds(18),
          calmFor: Duration.seconds(3),
          nodes: 2,
          buyers: 8,
          settleWithin: Duration.seconds(90),
          directory: join(tmpdir(), `cartwright-test-${process.pid}-chaos`),
          keep: false,
          say: () => Effect.void
        })
        assert.isTrue(report.right, [...report.timeline, textOf(report)].join("\n"))
        // It has seen something: a run in which nobody buys proves nothing.
        const confirmed = report.phases.reduce((sum, phase) => sum + phase.confirmed, 0)
        assert.isAbove(confirmed, 5, report.timeline.join("\n"))
        assert.isTrue(report.takeovers.some(({ what }) => what.includes("kill -9")))
      }).pipe(Effect.scoped),
    420_000
  )
})
