/** `cartwright bench`: what an order costs here, beside a hand-written floor. What its numbers mean: `bench/README.md`. */
import { mkdir, readdir, readFile } from "node:fs/promises"
import { join, resolve } from "node:path"
import { Console, Effect, Option } from "effect"
import { CliError, Command, Flag } from "effect/cli"
import { reportOf } from "../../bench/ProfileReport.ts"
import * as Confirm from "../../bench/scenarios/Confirm.ts"
import * as History from "../../bench/scenarios/History.ts"
import * as HotSku from "../../bench/scenarios/HotSku.ts"
import * as Idle from "../../bench/scenarios/Idle.ts"
import * as Overload from "../../bench/scenarios/Overload.ts"
import * as Poison from "../../bench/scenarios/Poison.ts"
import * as Residency from "../../bench/scenarios/Residency.ts"
import * as Takeover from "../../bench/scenarios/Takeover.ts"
import * as TwoNodes from "../../bench/scenarios/TwoNodes.ts"
import * as Stage from "../../bench/Stage.ts"
import { explained } from "./Explained.ts"

const whole = (name: string, fallback: number, description: string) =>
  Flag.Int(name).pipe(Flag.withDescription(description), Flag.withDefault(fallback))

// ---- flags which mean the same in several scenarios

const skus = whole("skus", 1000, "Products to choose from; fewer are fought over more")
const seed = whole("seed", 1, "Of what is bought")
const rounds = (fallback: number) => whole("rounds", fallback, "How often each is measured")
const warmUp = (fallback: number) => whole("warm-up", fallback, "Rounds before those, which do not count")
const profile = Flag.String("profile").pipe(
  Flag.withDescription("Folder for CPU profiles of the nodes, of the last round"),
  Flag.optional
)

interface StageFlags {
  readonly skus?: number
  readonly profile: Option.Option<string>
}

/** Sets the stage, plays, and tells: people read the one, programs the other. What is wrong fails the command. */
const play = <Result, E extends { readonly _tag: string; readonly message: string }>(
  { profile: folder, skus: products = 1000 }: StageFlags,
  scenario: (stage: Stage.Stage) => Effect.Effect<Result, E>,
  tableOf: (result: Result) => string,
  violationsOf: (result: Result) => ReadonlyArray<string> = () => []
): Effect.Effect<void, CliError.UserError> =>
  Effect.gen(function* () {
    const profiles = Option.getOrUndefined(Option.map(folder, (path) => resolve(path)))
    if (profiles !== undefined) yield* Effect.promise(() => mkdir(profiles, { recursive: true }))
    const result = yield* Stage.open({
      skus: products,
      say: Console.error,
      ...(profiles === undefined ? {} : { profiles })
    }).pipe(Effect.flatMap(scenario), Effect.scoped, explained)
    yield* Console.error(`\n${tableOf(result)}\n`)
    if (profiles !== undefined) yield* Console.error(yield* reportsIn(profiles))
    yield* Console.log(JSON.stringify(result))
    const violations = violationsOf(result)
    if (violations.length > 0) {
      return yield* new CliError.UserError({ cause: `${violations.length} things are wrong, see above.` })
    }
  })

const reportsIn = (folder: string): Effect.Effect<string> =>
  Effect.promise(async () => {
    const names = (await readdir(folder)).filter((name) => name.endsWith(".cpuprofile")).toSorted()
    const reports = names.map(
      async (name) => `${join(folder, name)}: ${reportOf(await readFile(join(folder, name), "utf8"))}\n`
    )
    return (await Promise.all(reports)).join("\n")
  })

// ---- scenarios

const confirmFlags = {
  orders: whole("orders", 2000, "Confirmations of one measurement; with one at a time a quarter of them"),
  concurrency: Flag.String("concurrency").pipe(
    Flag.withDescription("How many confirm at once; several numbers are separated by commas"),
    Flag.withDefault("1,16,64")
  ),
  rounds: rounds(5),
  warmUp: warmUp(2),
  only: Flag.Literals("only", ["both", "node", "floor"]).pipe(
    Flag.withDescription("What to measure"),
    Flag.withDefault("both")
  ),
  skus,
  seed,
  profile
}

const playConfirm = (flags: Command.Command.Config.Infer<typeof confirmFlags>) =>
  play(
    flags,
    (stage) =>
      Confirm.run(stage, {
        orders: flags.orders,
        concurrency: flags.concurrency
          .split(",")
          .map(Number)
          .filter((number) => number > 0),
        rounds: flags.rounds,
        warmUpRounds: flags.warmUp,
        systems: flags.only === "both" ? ["node", "floor"] : [flags.only],
        seed: flags.seed
      }),
    Confirm.tableOf
  )

const confirm = Command.make("confirm", confirmFlags, playConfirm).pipe(
  Command.withDescription(
    "What a confirmed checkout of two lines costs: checkouts/s by those of the floor, and commits, statements, log and CPU of each"
  )
)

const saleFlags = {
  buyers: whole("buyers", 1000, "Who come to the sale, each for one unit"),
  units: whole("units", 100, "What there is to sell"),
  concurrency: whole("concurrency", 64, "Buyers whose confirmation is under way at once"),
  rounds: rounds(5),
  warmUp: warmUp(1),
  profile
}

const playSale = <Scenario extends string, E extends { readonly _tag: string; readonly message: string }>(
  flags: Command.Command.Config.Infer<typeof saleFlags>,
  run: (stage: Stage.Stage, options: HotSku.SaleRounds) => Effect.Effect<HotSku.SaleResult<Scenario>, E>
) =>
  play(
    flags,
    (stage) =>
      run(stage, {
        buyers: flags.buyers,
        units: flags.units,
        atOnce: flags.concurrency,
        rounds: flags.rounds,
        warmUpRounds: flags.warmUp
      }),
    HotSku.tableOf,
    ({ violations }) => violations
  )

const hotSku = Command.make("hot-sku", saleFlags, (flags) => playSale(flags, HotSku.run)).pipe(
  Command.withDescription(
    "One product, few units, many buyers: buyers/s by those of the floor. Fails unless exactly what there was is sold, and nobody else has paid"
  )
)

const twoNodes = Command.make("two-nodes", saleFlags, (flags) => playSale(flags, TwoNodes.run)).pipe(
  Command.withDescription("The sale of hot-sku on two nodes of one database; the floor beside it is one process")
)

const history = Command.make(
  "history",
  {
    ordersBefore: whole("orders-before", 1_000_000, "Finished orders in the database"),
    timersBefore: whole("timers-before", 200_000, "Open timers of carts and checkouts in it"),
    orders: whole("orders", 2000, "Confirmations of one measurement"),
    concurrency: whole("concurrency", 64, "How many confirm at once"),
    rounds: rounds(5),
    warmUp: warmUp(2),
    seed,
    profile
  },
  (flags) =>
    play(
      flags,
      (stage) =>
        History.run(stage, {
          ordersBefore: flags.ordersBefore,
          timersBefore: flags.timersBefore,
          orders: flags.orders,
          concurrency: flags.concurrency,
          rounds: flags.rounds,
          warmUpRounds: flags.warmUp,
          seed: flags.seed
        }),
      History.tableOf
    )
).pipe(
  Command.withDescription(
    "Confirmations with years of orders in the database, by those of the same node on an empty one. Needs about 15 GB in the temporary folder meanwhile"
  )
)

const residency = Command.make(
  "residency",
  {
    orders: whole("orders", 100_000, "Open orders, each of which the node is asked for"),
    residentMax: Flag.Int("resident-max").pipe(
      Flag.withDescription("ACTORS_RESIDENT_MAX of the node; its own default unless given"),
      Flag.optional
    ),
    again: whole("again", 1000, "How many are asked for again once they are forgotten"),
    profile
  },
  (flags) =>
    play(
      flags,
      (stage) =>
        Residency.run(stage, {
          orders: flags.orders,
          again: flags.again,
          ...(Option.isNone(flags.residentMax) ? {} : { residentMax: flags.residentMax.value })
        }),
      Residency.tableOf,
      ({ violations }) => violations
    )
).pipe(
  Command.withDescription(
    "The memory of a node that has been asked for many open orders, and what of them it keeps. Fails unless what it has forgotten is answered right"
  )
)

const idle = Command.make(
  "idle",
  {
    seconds: whole("seconds", 60, "How long it is watched"),
    ordersBefore: whole("orders-before", 200, "Checkouts that are confirmed before"),
    profile
  },
  (flags) =>
    play(flags, (stage) => Idle.run(stage, { seconds: flags.seconds, ordersBefore: flags.ordersBefore }), Idle.tableOf)
).pipe(Command.withDescription("Statements a second and CPU of a node when nobody buys"))

const overload = Command.make(
  "overload",
  {
    seconds: whole("seconds", 10, "How long each storm lasts"),
    times: whole("times", 3, "Calls that are sent, times those that can be answered"),
    storms: whole("storms", 3, "Storms of confirmations, and as many of carts"),
    skus,
    profile
  },
  (flags) =>
    play(
      flags,
      (stage) =>
        Effect.scoped(Overload.run(stage, { seconds: flags.seconds, times: flags.times, storms: flags.storms })),
      Overload.tableOf,
      Overload.violationsOf
    )
).pipe(Command.withDescription("What a node does with three times as many calls as it can answer"))

const poison = Command.make(
  "poison",
  {
    seconds: whole("seconds", 5, "How long each is measured"),
    rounds: rounds(3),
    skus,
    profile
  },
  (flags) =>
    play(
      flags,
      (stage) => Effect.scoped(Poison.run(stage, { seconds: flags.seconds, rounds: flags.rounds })),
      Poison.tableOf,
      Poison.violationsOf
    )
).pipe(Command.withDescription("What others notice of one customer whose calls can never be carried out"))

const takeover = Command.make(
  "takeover",
  {
    checkouts: whole("checkouts", 1200, "Confirmations of one round"),
    customers: whole("customers", 32, "Who confirm at once, one after another each"),
    rounds: rounds(3),
    skus,
    profile
  },
  (flags) =>
    play(
      flags,
      (stage) => Takeover.run(stage, { checkouts: flags.checkouts, customers: flags.customers, rounds: flags.rounds }),
      Takeover.tableOf,
      ({ violations }) => violations
    )
).pipe(
  Command.withDescription(
    "What buyers notice of a node which is killed, stopped or frozen, and of a database which breaks down. Fails unless every order is confirmed and paid once"
  )
)

export const bench = Command.make("bench", confirmFlags, playConfirm).pipe(
  Command.withSubcommands([confirm, hotSku, twoNodes, history, residency, idle, overload, poison, takeover]),
  Command.withDescription(
    "Measure what orders cost here, beside a hand-written floor that answers the same calls. Without a scenario's name: confirm"
  ),
  Command.withExamples([
    { command: "cartwright bench > result.json", description: "The table at the terminal, the figures in a file" },
    {
      command: "cartwright bench --only node --concurrency 64 --profile profiles",
      description: "Where the node's time goes"
    },
    { command: "cartwright bench hot-sku", description: "1,000 buyers of 100 units" },
    {
      command: "cartwright bench history --orders-before 100000 --timers-before 20000",
      description: "A smaller past, made within seconds"
    }
  ])
)
