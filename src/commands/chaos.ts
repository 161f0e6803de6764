/** `cartwright chaos`: break everything on purpose, and see whether anything was lost. How to read it: `docs/chaos.md`. */
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { Console, Duration, Effect, Option, Random, References } from "effect"
import { CliError, Command, Flag } from "effect/cli"
import { run } from "../../chaos/Chaos.ts"
import { textOf } from "../../chaos/Report.ts"
import { explained } from "./Explained.ts"

export const chaos = Command.make(
  "chaos",
  {
    seed: Flag.Int("seed").pipe(
      Flag.withDescription(
        "Decides what breaks and when, and who buys what; any number unless given, and always printed"
      ),
      Flag.optional
    ),
    minutes: Flag.Finite("minutes").pipe(
      Flag.withDescription("How long things break; a calm time comes before and after it"),
      Flag.withDefault(2)
    ),
    nodes: Flag.Int("nodes").pipe(
      Flag.withDescription("Nodes; with one there is nobody to take over"),
      Flag.withDefault(3)
    ),
    buyers: Flag.Int("buyers").pipe(Flag.withDescription("Customers in the shop at once"), Flag.withDefault(12)),
    settleWithin: Flag.Int("settle-within").pipe(
      Flag.withDescription("Seconds within which everything must have ended, once nothing breaks any more"),
      Flag.withDefault(90)
    ),
    keep: Flag.Boolean("keep").pipe(
      Flag.withDescription("Keep data, logs and every call when all is well, too"),
      Flag.withDefault(false)
    ),
    directory: Flag.String("directory").pipe(
      Flag.withDescription(
        "Where those are put, a folder made anew; one in the system's temporary folder unless given"
      ),
      Flag.optional
    )
  },
  Effect.fn("commands.chaos")(function* (flags) {
    const seed = Option.getOrUndefined(flags.seed) ?? (yield* Random.nextIntBetween(1, 1_000_000))
    const calm = Math.min(10, Math.max(3, flags.minutes * 6))
    const report = yield* run({
      seed,
      faultsFor: Duration.minutes(flags.minutes),
      calmFor: Duration.seconds(calm),
      nodes: flags.nodes,
      buyers: flags.buyers,
      settleWithin: Duration.seconds(flags.settleWithin),
      keep: flags.keep,
      directory: resolve(
        Option.getOrElse(flags.directory, () => join(tmpdir(), `cartwright-chaos-${seed}-${process.pid}`))
      ),
      say: Console.log
    }).pipe(Effect.scoped, explained, Effect.provideService(References.MinimumLogLevel, "Warn"))
    yield* Console.log(textOf(report))
    if (!report.right) return yield* new CliError.UserError({ cause: "Something was lost or done twice, see above." })
  })
).pipe(
  Command.withDescription(
    "Run nodes, Postgres, a payment sandbox and customers; kill, freeze, cut and confuse them as a seed says; then check every answer, " +
      "all money, all stock and every history from outside. Ends with a verdict, and non-zero when it is not right. Settings in the " +
      "environment (see `cartwright settings`) hold for its nodes."
  ),
  Command.withExamples([
    { command: "cartwright chaos --seed 7 --minutes 3", description: "The faults of seed 7; the same ones each time" },
    {
      command: "SHARD_LOCK_EXPIRATION=2s cartwright chaos --minutes 5 --nodes 4 --keep",
      description: "Other settings, and everything kept for a look afterwards"
    }
  ])
)
