/** `cartwright simulate`: a storefront's traffic against a running node, or against one of its own; then the books are checked. */
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import {
  Clock,
  Console,
  Context,
  Duration,
  Effect,
  Layer,
  Option,
  Random,
  Redacted,
  References,
  Result,
  Schema,
  type Scope
} from "effect"
import { CliError, Command, Flag } from "effect/cli"
import { SqlClient } from "effect/sql/SqlClient"
import { StorefrontClient } from "../client/OrdersClient.ts"
import { counts } from "../demo/DemoCatalog.ts"
import { CustomerId } from "../domain/Ids.ts"
import * as Config from "../layers/Config.ts"
import * as Sql from "../layers/Sql.ts"
import { AuthTokens, type AuthTokensRefused } from "../rpc/AuthTokens.ts"
import { deliver } from "../simulate/Delivery.ts"
import * as OwnNode from "../simulate/OwnNode.ts"
import * as SandboxControl from "../simulate/SandboxControl.ts"
import { isWrong, simulate as runSimulation } from "../simulate/Simulation.ts"
import { readBooks } from "../simulate/StockCheck.ts"
import { tableOf } from "../simulate/Summary.ts"
import type { Surroundings } from "../simulate/Visit.ts"
import { databaseSettings, directoryFlag } from "./Database.ts"
import { explained } from "./Explained.ts"

export const simulate = Command.make(
  "simulate",
  {
    orders: Flag.Int("orders").pipe(Flag.withDescription("How many buyers come"), Flag.withDefault(500)),
    concurrency: Flag.Int("concurrency").pipe(Flag.withDescription("Buyers in the shop at once"), Flag.withDefault(16)),
    url: Flag.String("url").pipe(
      Flag.withDescription(
        "A node's address; may be given several times. http://127.0.0.1:4000, or a node of its own, unless given"
      ),
      Flag.atLeast(0)
    ),
    seed: Flag.Int("seed").pipe(Flag.withDescription("Repeats the buyers of an earlier run"), Flag.optional),
    storm: Flag.Boolean("storm").pipe(
      Flag.withDescription("Let the provider fail for many at once: the payment breaker opens, and buyers come back"),
      Flag.withDefault(false)
    ),
    delivery: Flag.Boolean("delivery").pipe(
      Flag.withDescription("Fill up the demo's shelves first; --no-delivery sells what there is"),
      Flag.withDefault(true)
    ),
    sandbox: Flag.String("sandbox").pipe(
      Flag.withDescription("Address of the payment sandbox; found by itself for the demo on this machine"),
      Flag.optional
    ),
    settleWithin: Flag.Int("settle-within").pipe(
      Flag.withDescription("Seconds until the books must be right, once everybody has left"),
      Flag.withDefault(150)
    ),
    directory: directoryFlag
  },
  Effect.fn("commands.simulate")(function* (flags) {
    const right = yield* run(flags).pipe(
      Effect.scoped,
      explained,
      // That Postgres goes on when we leave is no news.
      Effect.provideService(References.MinimumLogLevel, "Warn")
    )
    if (!right) return yield* new CliError.UserError({ cause: "Something is wrong with the books, see above." })
  })
).pipe(
  Command.withDescription(
    "Let customers come: they fill carts, pay, click twice, prove who they are, walk away. Then money and stock are checked"
  ),
  Command.withExamples([
    {
      command: "cartwright simulate",
      description: "500 buyers for the node at port 4000; starts one when there is none"
    },
    {
      command: "cartwright simulate --url http://127.0.0.1:4000 --url http://127.0.0.1:4001",
      description: "Two nodes; kill one meanwhile"
    }
  ])
)

interface Flags {
  readonly orders: number
  readonly concurrency: number
  readonly url: ReadonlyArray<string>
  readonly seed: Option.Option<number>
  readonly storm: boolean
  readonly delivery: boolean
  readonly sandbox: Option.Option<string>
  readonly settleWithin: number
  readonly directory: string
}

const run = Effect.fnUntraced(function* (flags: Flags) {
  const { directory } = flags
  const seed = Option.getOrElse(flags.seed, () => undefined) ?? (yield* Random.nextIntBetween(1, 1_000_000))
  const name = `sim-${(yield* Random.nextIntBetween(0, 36 ** 6 - 1)).toString(36).padStart(6, "0")}`
  const urls = yield* nodes(flags)
  const tokenOf = yield* tokens(directory, urls)
  const sandbox = yield* findSandbox(flags)
  const books = yield* findBooks(directory, urls, name)
  if (flags.delivery && typeof books !== "string") {
    const units = yield* Effect.provideService(deliver(name), SqlClient, books)
    if (units > 0) yield* Console.log(`A delivery: ${units} units`)
  }
  yield* Console.log(`${flags.orders} buyers come to ${urls.join(" and ")}, ${flags.concurrency} at once`)

  const surroundings: Surroundings = {
    urls,
    run: name,
    tokenOf,
    prove: typeof sandbox === "string" ? () => Effect.succeed(false) : sandbox.prove
  }
  const { checks, run: made } = yield* runSimulation({
    orders: flags.orders,
    concurrency: flags.concurrency,
    seed,
    storm: flags.storm,
    shelves,
    surroundings,
    sandbox,
    books: typeof books === "string" ? books : Effect.provideService(readBooks(name), SqlClient, books),
    settleWithin: Duration.seconds(flags.settleWithin),
    progress: progressTo(process.stdout)
  })
  if (process.stdout.isTTY) yield* Console.log("")
  yield* Console.log(tableOf(made, checks))
  return !checks.some(isWrong)
})

/** People buy most of what there is most of; what is scarce is asked for now and then. */
const shelves = [...Map.groupBy(counts, ({ sku }) => sku)].map(([sku, places]) => ({
  sku,
  weight: Math.max(
    12,
    places.reduce((sum, { onHand }) => sum + onHand, 0)
  )
}))

// ---- where everything is

/** The nodes that were named; else the one at the usual place; else one of our own. */
const nodes = Effect.fnUntraced(function* ({
  directory,
  url: named
}: Flags): Effect.fn.Return<
  ReadonlyArray<string>,
  OwnNode.OwnNodeFailed | CliError.UserError | Config.InvalidConfig,
  Scope.Scope
> {
  if (named.length > 0) {
    const ready = yield* Effect.filter(named, OwnNode.isReady, { concurrency: "unbounded" })
    if (ready.length > 0) return named
    return yield* new CliError.UserError({ cause: `No node answers at ${named.join(" or ")}.` })
  }
  const { HTTP_PORT } = yield* Config.some(["HTTP_PORT"])
  const usual = `http://127.0.0.1:${HTTP_PORT}`
  if (yield* OwnNode.isReady(usual)) return [usual]
  yield* Console.log(`No node answers at ${usual}: one is started in ${directory}/ for this run ...`)
  return [yield* OwnNode.start(directory)]
})

/** A customer's token for each buyer, signed with the shop's secret; without it everybody is a guest. */
const tokens = Effect.fnUntraced(function* (
  directory: string,
  urls: ReadonlyArray<string>
): Effect.fn.Return<Surroundings["tokenOf"], AuthTokensRefused | Config.InvalidConfig> {
  const asGuest = () => Effect.succeed<string | undefined>(undefined)
  const settings = yield* Config.some(["AUTH_AUDIENCE", "AUTH_ISSUER", "AUTH_SECRET"])
  const secret = settings.AUTH_SECRET ?? (yield* secretOf(directory))
  if (secret === undefined) return asGuest
  const options = {
    issuer: settings.AUTH_ISSUER,
    audience: settings.AUTH_AUDIENCE,
    keys: { _tag: "Secret", secret } as const
  }
  const { issue } = yield* Effect.provide(AuthTokens, AuthTokens.layer(options))
  if (issue === undefined) return asGuest
  const tokenOf: Surroundings["tokenOf"] = (customer) =>
    Effect.map(
      issue({ customerId: CustomerId.make(customer), role: "customer", timeToLive: Duration.hours(4) }),
      ({ token }) => Redacted.value(token)
    )
  const token = yield* tokenOf("simulate")
  const answer = yield* Effect.result(
    Effect.flatMap(StorefrontClient, (client) => client.ListOrders({ limit: 1 })).pipe(
      Effect.provide(StorefrontClient.layer({ urls, token }))
    )
  )
  if (Result.isSuccess(answer) || answer.failure._tag !== "Unauthenticated") return tokenOf
  yield* Console.log("The shop does not know our AUTH_SECRET: everybody comes as a guest")
  return asGuest
})

/** The demo's, where it has been started in this folder. */
const secretOf = (directory: string) =>
  Effect.tryPromise(() => readFile(join(directory, "secrets.json"), "utf8")).pipe(
    Effect.flatMap(decodeSecrets),
    Effect.map(({ tokens: secret }) => Redacted.make(secret)),
    Effect.orElseSucceed(() => undefined)
  )
const decodeSecrets = Schema.decodeUnknownEffect(
  Schema.fromJsonString(Schema.Struct({ tokens: Schema.NonEmptyString }))
)

/** The sandbox that was named, or the one this shop pays at; a text says why there is none. */
const findSandbox = Effect.fnUntraced(function* ({
  directory,
  sandbox: named
}: Flags): Effect.fn.Return<
  SandboxControl.SandboxControl | string,
  SandboxControl.SandboxSilent | Config.InvalidConfig
> {
  if (Option.isSome(named)) return yield* SandboxControl.connect(named.value.replace(/\/+$/, ""))
  const { STRIPE_HOST: host, STRIPE_PORT: port } = yield* Config.some(["STRIPE_HOST", "STRIPE_PORT"])
  const demo = yield* Effect.promise(() => readFile(join(directory, "sandbox", "port"), "utf8").catch(() => undefined))
  const urls = [
    ...(host === undefined ? [] : [`http://${host}:${port ?? 80}`]),
    ...(demo === undefined ? [] : [`http://127.0.0.1:${demo.trim()}`])
  ]
  for (const url of urls) {
    const found = yield* Effect.result(SandboxControl.connect(url))
    if (Result.isSuccess(found)) return found.success
  }
  return "no payment sandbox is known; name it with --sandbox"
})

/** The shop's database, as far as it is known and really is the shop's; a text says why it is not. */
const findBooks = Effect.fnUntraced(function* (directory: string, urls: ReadonlyArray<string>, name: string) {
  const running = yield* Effect.promise(() =>
    readFile(join(directory, "postgres", "data", "postmaster.pid")).then(
      () => true,
      () => false
    )
  )
  if (!running && !(yield* Config.isGiven("DATABASE_URL"))) return "no database is known; name it with DATABASE_URL"
  const sql = Context.get(yield* Layer.build(Sql.layer(yield* databaseSettings(directory))), SqlClient)
  // A trace in the shop must show in its database.
  const cartId = `${name}-cart-probe`
  const left = yield* Effect.result(
    Effect.flatMap(StorefrontClient, (client) =>
      client.AddItem({ cartId, currency: "EUR", sku: shelves[0]!.sku, quantity: 1 })
    ).pipe(Effect.provide(StorefrontClient.layer({ urls })))
  )
  if (Result.isFailure(left)) return `the shop refuses a first visitor (${left.failure._tag})`
  const seen = yield* sql`select from checkout.carts where id = ${cartId}`
  return seen.length > 0 ? sql : "the database known here is not that of the shop; name it with DATABASE_URL"
})

/** At a terminal the line changes in place; elsewhere there is a new one every few seconds. */
const progressTo = (out: NodeJS.WriteStream): ((line: string) => Effect.Effect<void>) => {
  let last = -Infinity
  let said = ""
  return (line) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      if (out.isTTY) return Effect.sync(() => void out.write(`\r\u001b[2K${line}`))
      if (line === said || now - last < 5000) return Effect.void
      last = now
      said = line
      return Console.log(line)
    })
}
