/**
 * Runs simulations of the runtime from the command line: a range of seeds, or one with all that happened in it. See docs/simulation.md.
 *
 *     npm run simulate:runtime -- --seeds 1-2000
 *     npm run simulate:runtime -- --seed 42
 *     npm run simulate:runtime -- --mutations --seeds 1-300
 */
import { parseArgs } from "node:util"
import { findWithout, mutations } from "./Mutations.ts"
import { failureText, seedsOf, simulate } from "./Simulation.ts"

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    seeds: { type: "string", default: "1-500" },
    quiet: { type: "boolean", default: false },
    /** Leaves out one protection after the other, and says which seed notices. */
    mutations: { type: "boolean", default: false },
    /** Only those which do not take many seeds. */
    frequent: { type: "boolean", default: false }
  }
})

const seeds = seedsOf(values.seed ?? values.seeds)

const withoutProtections = async () => {
  for (const mutation of mutations) {
    if (values.frequent && mutation.rare === true) continue
    const { name, seeds: taken, violation } = await findWithout(mutation, seeds)
    console.log(
      `${taken === undefined ? "not found" : `found after ${taken}`}: ${name}${violation === undefined ? "" : ` (${violation.slice(0, 120)})`}`
    )
    if (taken === undefined) process.exitCode = 1
  }
}

const asItIs = async () => {
  const total = { tasks: 0, commands: 0, failed: 0, seconds: 0 }
  for (const seed of seeds) {
    const outcome = await simulate(seed)
    total.tasks += outcome.tasks
    total.commands += outcome.commands
    total.seconds += outcome.simulatedMillis / 1000
    if (outcome.violations.length > 0) total.failed++
    if (values.seed !== undefined && !values.quiet) console.log(outcome.trace.lines.join("\n"))
    if (outcome.violations.length > 0) console.log(failureText(outcome))
    if (values.seed !== undefined) console.log(`trace ${outcome.trace.digest}`)
  }
  const cpu = process.cpuUsage()
  console.log(
    `${seeds.length} seeds, ${total.failed} failed: ${total.commands} commands in ${Math.round(total.seconds)} simulated seconds, ${total.tasks} turns of fibers, ${((cpu.user + cpu.system) / 1e6).toFixed(1)} s of one core`
  )
  process.exitCode = total.failed === 0 ? 0 : 1
}

await (values.mutations ? withoutProtections() : asItIs())
