/** `cartwright bench`: what a confirmed checkout costs here, beside a hand-written floor. What its numbers mean: `bench/README.md`. */
import { mkdir, readdir, readFile } from "node:fs/promises"
import { join, resolve } from "node:path"
import { Console, Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { run } from "../../bench/Bench.ts"
import { reportOf } from "../../bench/ProfileReport.ts"
import { tableOf } from "../../bench/Results.ts"
import { explained } from "./Explained.ts"

const whole = (name: string, fallback: number, description: string) =>
  Flag.Int(name).pipe(Flag.withDescription(description), Flag.withDefault(fallback))

export const bench = Command.make(
  "bench",
  {
    orders: whole("orders", 2000, "Confirmations of one measurement; with one at a time a quarter of them"),
    concurrency: Flag.String("concurrency").pipe(
      Flag.withDescription("How many confirm at once; several numbers are separated by commas"),
      Flag.withDefault("1,16,64")
    ),
    rounds: whole("rounds", 5, "How often each is measured"),
    warmUp: whole("warm-up", 2, "Rounds before those, which do not count"),
    only: Flag.Literals("only", ["both", "node", "floor"]).pipe(
      Flag.withDescription("What to measure"),
      Flag.withDefault("both")
    ),
    skus: whole("skus", 1000, "Products to choose from; fewer are fought over more"),
    seed: whole("seed", 1, "Of what is bought"),
    profile: Flag.String("profile").pipe(
      Flag.withDescription("Folder for CPU profiles of the node, one a concurrency, of the last round"),
      Flag.optional
    )
  },
  Effect.fn("commands.bench")(function* (flags) {
    const profiles = Option.getOrUndefined(Option.map(flags.profile, (folder) => resolve(folder)))
    if (profiles !== undefined) yield* Effect.promise(() => mkdir(profiles, { recursive: true }))
    const result = yield* run({
      orders: flags.orders,
      concurrency: flags.concurrency
        .split(",")
        .map(Number)
        .filter((number) => number > 0),
      rounds: flags.rounds,
      warmUpRounds: flags.warmUp,
      systems: flags.only === "both" ? ["node", "floor"] : [flags.only],
      skus: flags.skus,
      seed: flags.seed,
      ...(profiles === undefined ? {} : { profiles }),
      say: Console.error
    }).pipe(Effect.scoped, explained)
    // People read the one, programs the other.
    yield* Console.error(`\n${tableOf(result)}\n`)
    if (profiles !== undefined) yield* Console.error(yield* reportsIn(profiles))
    yield* Console.log(JSON.stringify(result))
  })
).pipe(
  Command.withDescription(
    "Measure what a confirmed checkout costs, beside a hand-written floor that answers the same call"
  ),
  Command.withExamples([
    { command: "cartwright bench > result.json", description: "The table at the terminal, the figures in a file" },
    {
      command: "cartwright bench --only node --concurrency 64 --profile profiles",
      description: "Where the node's time goes"
    }
  ])
)

const reportsIn = (folder: string): Effect.Effect<string> =>
  Effect.promise(async () => {
    const names = (await readdir(folder)).filter((name) => name.endsWith(".cpuprofile")).toSorted()
    const reports = names.map(
      async (name) => `${join(folder, name)}: ${reportOf(await readFile(join(folder, name), "utf8"))}\n`
    )
    return (await Promise.all(reports)).join("\n")
  })
