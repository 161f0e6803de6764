/** One run from one seed: a cluster, its customers and what befalls them, and at the end what was violated. */
import { Context, Effect, Layer } from "effect"
import * as MemoryStore from "../../src/runtime/MemoryStore.ts"
import { check, checkCounters } from "./Checker.ts"
import { habitsOf, type Histories, look, startClient, walletNames } from "./Clients.ts"
import { Cluster } from "./Cluster.ts"
import { type Around, Database } from "./Database.ts"
import { diceOf } from "./Dice.ts"
import { errands } from "./Errand.ts"
import { type FaultKind, Faults } from "./Faults.ts"
import { Node } from "./Node.ts"
import { toJson } from "../../src/runtime/Table.ts"
import type { Trace } from "./Trace.ts"
import { bins, memoryOptions, wallets } from "./Wallet.ts"
import { Stuck, World } from "./World.ts"

export interface Outcome {
  readonly seed: number
  readonly violations: ReadonlyArray<string>
  readonly faults: ReadonlyArray<FaultKind>
  readonly trace: Trace
  readonly commands: number
  /** Turns of fibers. */
  readonly tasks: number
  readonly simulatedMillis: number
}

export interface SimulationOptions {
  /** Put around the store of each node: what is switched off to see whether it is missed. */
  readonly around?: Around
}

/** How long faults come. */
const faultyMillis = 10_000
/** How long everything may take after the last of them. */
const mendedMillis = 60_000

/** When, after the last fault, what a node says of an actor is no older than its row: buckets have moved, and their last owners are silent. */
const settledMillis = 26_000

/** What is written is known to its writer when the database has answered. */
const heardMillis = 1000

/** Never fails: what goes wrong in it is a violation. */
export const simulate = async (seed: number, options: SimulationOptions = {}): Promise<Outcome> => {
  const world = new World(diceOf(seed))
  const dice = world.dice.fork("shape")
  const memory = Effect.runSync(MemoryStore.make(memoryOptions))
  const database = new Database(world, memory)
  const cluster = new Cluster(world, 6)
  let started = 0
  const faults = new Faults({
    world,
    database,
    cluster,
    nodes: dice.between(1, 3),
    millis: faultyMillis,
    startNode: () =>
      new Node(world, `node-${++started}`, database, cluster, {
        counters: bins,
        around: options.around ?? ((store) => store),
        hosted: Layer.mergeAll(wallets, errands)
      })
  })
  const histories: Histories = { commands: [], seen: [] }
  const clients = dice.between(2, 5)
  const habits = habitsOf(dice)
  let ended = 0
  for (let index = 0; index < clients; index++) {
    startClient(
      { world, histories, habits, until: faultyMillis, nodes: () => faults.nodes },
      `client-${index}`,
      () => ended++
    )
  }
  const violations: Array<string> = []
  const atRest = () =>
    ended === clients && database.rows("runtime.notices").length === 0 && database.rows("runtime.timers").length === 0
  try {
    let until = faultyMillis
    await world.runUntil(until)
    while (!atRest() && until < faultyMillis + mendedMillis) {
      until += 500
      await world.runUntil(until)
    }
    if (!atRest()) violations.push(`not all is done ${mendedMillis / 1000} s after everything was mended`)
    // What a customer is told is how it is, also where somebody else wrote last: as soon as nobody else can have.
    until = Math.max(until + heardMillis, faultyMillis + settledMillis)
    await world.runUntil(until)
    const told = new Map<string, string>()
    for (const id of walletNames) look(faults.nodes, id, (answer) => told.set(id, toJson(answer)))
    await world.runUntil(until + 3000)
    for (const { balance, id, version } of database.rows("simulated.wallets")) {
      const is = toJson({ balance, version })
      if (told.get(String(id)) !== is)
        violations.push(`${String(id)} is ${is}, and a customer is told ${told.get(String(id))}`)
    }
  } catch (error) {
    if (!(error instanceof Stuck)) throw error
    violations.push(error.message)
  }
  const counters = Effect.runSync(Context.get(memory, MemoryStore.Memory).counters)
  violations.push(
    ...check(database, histories, { clocksRight: !faults.kinds.includes("clock") }),
    ...checkCounters(database, counters)
  )
  world.trace.add("world", `ends after ${world.tasks} turns`)
  return {
    seed,
    violations,
    faults: faults.kinds,
    trace: world.trace,
    commands: histories.commands.length,
    tasks: world.tasks,
    simulatedMillis: world.elapsed
  }
}

/** `7`, or `1-500`. */
export const seedsOf = (text: string): ReadonlyArray<number> => {
  const [from = 1, to = from] = text.split("-").map(Number)
  return Array.from({ length: to - from + 1 }, (_, index) => from + index)
}

/** What somebody needs who has to find out why a seed fails. */
export const failureText = ({ faults, seed, trace, violations }: Outcome): string =>
  [
    `seed ${seed} with ${faults.join(", ") || "no faults"}:`,
    ...violations.slice(0, 10).map((violation) => `  ${violation}`),
    `the last of ${trace.lines.length} events:`,
    ...trace.lines.slice(-30).map((line) => `  ${line.slice(0, 200)}`),
    `all of it: npm run simulate:runtime -- --seed ${seed}`
  ].join("\n")
