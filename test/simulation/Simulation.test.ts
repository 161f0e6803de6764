import { execFile } from "node:child_process"
import { randomInt } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { failureText, type Outcome, seedsOf, simulate } from "./Simulation.ts"

/** Says of each seed that fails which it is, how to have it again, and what happened last. */
const failures = (outcomes: ReadonlyArray<Outcome>): string =>
  outcomes
    .flatMap((outcome) => (outcome.violations.length > 0 ? [failureText(outcome)] : []))
    .slice(0, 3)
    .join("\n\n")

const simulateAll = async (seeds: ReadonlyArray<number>) => {
  const outcomes: Array<Outcome> = []
  for (const seed of seeds) outcomes.push(await simulate(seed))
  return outcomes
}

describe("given a cluster in simulated time, whose nodes die, freeze and lose their connections", () => {
  it("no seed of a fixed range violates anything", { timeout: 120_000 }, async () => {
    const outcomes = await simulateAll(seedsOf("1-150"))
    assert.strictEqual(failures(outcomes), "")
    // That nothing happened would prove nothing.
    assert.isAbove(
      outcomes.reduce((sum, { commands }) => sum + commands, 0),
      4000
    )
    assert.isAtLeast(new Set(outcomes.flatMap(({ faults }) => faults)).size, 9)
  })

  it("no seed that nobody has seen before does", { timeout: 120_000 }, async () => {
    const seeds = Array.from({ length: 25 }, () => randomInt(1_000_000, 1_000_000_000))
    console.log(`simulated seeds ${seeds.join(" ")}`)
    assert.strictEqual(failures(await simulateAll(seeds)), "")
  })

  it("the same seed gives the same trace, whatever ran before it", { timeout: 60_000 }, async () => {
    const seeds = seedsOf("1-30")
    const first = await simulateAll(seeds)
    const again = await simulateAll(seeds.toReversed())
    const digests = (outcomes: ReadonlyArray<Outcome>) => outcomes.map(({ trace }) => trace.digest)
    assert.deepStrictEqual(digests(again.toReversed()), digests(first))
    assert.strictEqual(new Set(digests(first)).size, seeds.length)
  })
})

describe("given the runtime without one of its protections", () => {
  // In a process of its own, since it loads the program again and again with a line of it changed.
  const run = (...args: ReadonlyArray<string>) =>
    new Promise<string>((resolve) => {
      const program = new URL("simulate.ts", import.meta.url).pathname
      execFile(process.execPath, [program, ...args], (error, stdout, stderr) =>
        resolve(error === null ? stdout : stdout + stderr)
      )
    })

  it("some seed notices, whichever it is", { timeout: 300_000 }, async () => {
    const lines = (await run("--mutations", "--frequent", "--seeds", "1-60")).trim().split("\n")
    assert.isAtLeast(lines.length, 14)
    assert.deepStrictEqual(
      lines.filter((line) => !line.startsWith("found")),
      []
    )
  })
})
