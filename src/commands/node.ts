/** `cartwright node`: one node of the cluster. Without a database it brings everything along; see `layers/Embedded.ts`. */
import { Console, Duration, Effect, Layer, Option, Redacted } from "effect"
import { CliError, Command, Flag, GlobalFlag } from "effect/cli"
import { SqlClient } from "effect/sql/SqlClient"
import { CustomerId } from "../domain/Ids.ts"
import * as Cluster from "../layers/Cluster.ts"
import * as Config from "../layers/Config.ts"
import * as Embedded from "../layers/Embedded.ts"
import * as Heap from "../layers/Heap.ts"
import * as Node from "../layers/Node.ts"
import type { Key, Values } from "../layers/Settings.ts"
import * as Telemetry from "../layers/Telemetry.ts"
import { version } from "../layers/Version.ts"
import { AuthTokens } from "../rpc/AuthTokens.ts"
import { directoryFlag } from "./Database.ts"
import { explained } from "./Explained.ts"

const portFlag = (name: string, description: string) =>
  Flag.Int(name).pipe(Flag.withDescription(description), Flag.optional)

export const node = Command.make(
  "node",
  {
    port: portFlag("port", "Port of the shop's API; HTTP_PORT, else 4000"),
    host: Flag.String("host").pipe(
      Flag.withDescription("Address to listen on, 0.0.0.0 for all; HTTP_HOST, else 127.0.0.1"),
      Flag.optional
    ),
    healthPort: portFlag(
      "health-port",
      "Port of health checks and metrics, 0 for none of their own; HEALTH_PORT, else 8081, and 0 for the demo"
    ),
    runnerPort: portFlag("runner-port", "Port at which other nodes reach this one; RUNNER_PORT, else 5005"),
    demo: Flag.Boolean("demo").pipe(
      Flag.withDescription(
        "Fill an empty database of DATABASE_URL with the demo's shop and pay at the sandbox; always so without DATABASE_URL"
      ),
      Flag.withDefault(false)
    ),
    directory: directoryFlag,
    postgresPort: portFlag(
      "postgres-port",
      "Port of the embedded Postgres when it is started; any free one by default"
    ),
    sandboxPort: portFlag("sandbox-port", "Port of the demo's payment sandbox; 4010 or any free one by default")
  },
  Effect.fn("commands.node")(function* (flags) {
    yield* Heap.bound
    return yield* run({
      ...flags,
      postgresPort: Option.getOrUndefined(flags.postgresPort),
      sandboxPort: Option.getOrUndefined(flags.sandboxPort)
    }).pipe(
      explained,
      Effect.provide(
        Config.overrides(
          given({
            HTTP_PORT: flags.port,
            HTTP_HOST: flags.host,
            HEALTH_PORT: flags.healthPort,
            RUNNER_PORT: flags.runnerPort
          })
        )
      )
    )
  })
).pipe(
  Command.withDescription(
    "Run a node: the shop's actors and its API. Without DATABASE_URL it starts a Postgres, fills it with a demo shop, and runs a payment sandbox"
  ),
  Command.withExamples([
    { command: "cartwright node", description: "The demo, with everything it needs" },
    { command: "cartwright node --port 4001 --runner-port 5006", description: "A second node beside it" },
    { command: "DATABASE_URL=postgres://... cartwright node", description: "A shop's node; see cartwright settings" }
  ])
)

interface Flags {
  readonly demo: boolean
  readonly directory: string
  readonly postgresPort: number | undefined
  readonly sandboxPort: number | undefined
}

const given = (flags: Partial<Record<Key, Option.Option<number | string>>>): Partial<Record<Key, string>> =>
  Object.fromEntries(
    Object.entries(flags).flatMap(([key, value]) => (Option.isSome(value) ? [[key, String(value.value)]] : []))
  )

const run = Effect.fnUntraced(function* (flags: Flags) {
  const embedded = !(yield* Config.isGiven("DATABASE_URL"))
  const demo = embedded || flags.demo
  const sandboxed = demo && !(yield* Config.isGiven("STRIPE_SECRET_KEY"))
  const standIns = demo ? yield* demoSettings(flags.directory, sandboxed) : {}
  const read = (more: Partial<Record<Key, string>>) =>
    Effect.provide(Config.load({ demo }), Config.fallbacks({ ...standIns, ...more }))

  // What can be wrong is found before anything is started.
  const planned = yield* read(embedded ? { DATABASE_URL: "postgres://127.0.0.1/cartwright" } : {})
  yield* requirePorts(planned)
  yield* Effect.forEach(yield* Config.misspelt, ({ found, meant }) =>
    Console.error(`${found} is not a setting. Did you mean ${meant}?`)
  )

  if (demo) yield* Console.log(`Cartwright ${version} is starting${embedded ? ` in ${flags.directory}/` : ""} ...`)
  return yield* Effect.gen(function* () {
    const databaseUrl = embedded
      ? (yield* Embedded.postgres(flags.directory, flags.postgresPort)).url
      : planned.DATABASE_URL
    const sandbox = sandboxed
      ? yield* Embedded.sandbox({
          databaseUrl,
          directory: flags.directory,
          ...webhookOf(planned),
          ...(flags.sandboxPort === undefined ? {} : { port: flags.sandboxPort })
        })
      : undefined
    const values = yield* read({
      DATABASE_URL: Redacted.value(databaseUrl),
      ...(sandbox === undefined ? {} : { STRIPE_PORT: String(sandbox.port) })
    })
    return yield* serve(values, { demo, embedded, directory: flags.directory, sandboxed })
  }).pipe(Effect.scoped, Effect.provide(yield* telemetry(planned)))
})

/** Where the sandbox tells of payments: at this node, unless its port is not known before it listens. */
const webhookOf = (values: Values) => {
  const [secret] =
    values.STRIPE_WEBHOOK_SECRETS === undefined ? [] : Redacted.value(values.STRIPE_WEBHOOK_SECRETS).split(",")
  return secret === undefined || values.HTTP_PORT === 0
    ? {}
    : { webhook: { url: `${httpUrl(values)}/webhooks/stripe`, secret: secret.trim() } }
}

/** What the demo says where nobody else does. */
const demoSettings = Effect.fnUntraced(function* (directory: string, sandboxed: boolean) {
  const secrets = yield* Embedded.secrets(directory)
  const settings: Partial<Record<Key, string>> = {
    CLUSTER_SECRET: Redacted.value(secrets.cluster),
    ...((yield* Config.isGiven("AUTH_JWKS_URL")) ? {} : { AUTH_SECRET: Redacted.value(secrets.tokens) }),
    SHIPPING_RATES: Embedded.demoShippingRates,
    CORS_ORIGINS: "*",
    HEALTH_PORT: "0",
    ...(sandboxed
      ? {
          STRIPE_SECRET_KEY: Embedded.sandboxKey,
          STRIPE_HOST: "127.0.0.1",
          STRIPE_PORT: "4010",
          STRIPE_PROTOCOL: "http",
          STRIPE_WEBHOOK_SECRETS: Embedded.sandboxWebhookSecret(secrets)
        }
      : {})
  }
  return settings
})

const requirePorts = Effect.fnUntraced(function* (values: Values) {
  const { listen } = Cluster.addressesOf(values)
  const wanted = [
    { host: values.HTTP_HOST, port: values.HTTP_PORT, flag: "--port" },
    { host: values.HTTP_HOST, port: values.HEALTH_PORT, flag: "--health-port" },
    { ...listen, flag: "--runner-port" }
  ]
  const used = wanted.filter((one) => one.port !== 0)
  const found = yield* Effect.forEach(used, (one) =>
    Effect.map(nextFree(one.host, one.port), (free) => ({ ...one, free }))
  )
  const taken = found.filter((one) => one.free !== one.port)
  if (taken.length === 0) return
  const which = taken.map((one) => `${one.port} (${one.flag})`).join(" and ")
  const another = found.map((one) => `${one.flag} ${one.free}`).join(" ")
  return yield* new CliError.UserError({
    cause: `Taken by another program: port ${which}. If that is a node of yours, start this one beside it with ${another}.`
  })
})

const nextFree = (host: string, port: number): Effect.Effect<number> =>
  Effect.flatMap(Embedded.isFree(host, port), (free) =>
    free || port >= 65_535 ? Effect.succeed(port) : nextFree(host, port + 1)
  )

const telemetry = Effect.fnUntraced(function* (values: Values) {
  const { advertised } = Cluster.addressesOf(values)
  const level = yield* GlobalFlag.LogLevel
  return Telemetry.layer(values, {
    version,
    instance: `${advertised.host}:${advertised.port}`,
    terminal: process.stdout.isTTY,
    ...(Option.isNone(level) ? {} : { level: level.value })
  })
})

interface Surroundings {
  readonly demo: boolean
  readonly embedded: boolean
  readonly sandboxed: boolean
  readonly directory: string
}

/** Serves until it is interrupted, then ends in order. */
const serve = Effect.fnUntraced(function* (values: Values, surroundings: Surroundings) {
  const services = yield* Layer.build(Node.layer({ values, demo: surroundings.demo }))
  yield* Effect.addFinalizer(() => stopping(values, surroundings))
  yield* Node.awaitReady().pipe(Effect.provide(services))
  if (surroundings.demo) yield* Console.log(yield* Effect.provide(banner(values, surroundings), services))
  else {
    yield* Effect.logInfo("The node is up").pipe(
      Effect.annotateLogs({ http: httpUrl(values), runner: runnerOf(values), version })
    )
  }
  return yield* Effect.never
})

/** Who asks twice, or waits too long, is not kept. REQ-OPS-05. */
const stopping = (values: Values, { demo }: Surroundings) =>
  Effect.andThen(
    demo
      ? Console.log(
          "\nStopping: no new work, what is under way is finished or handed over. Ctrl-C again to end at once."
        )
      : Effect.logInfo("The node stops"),
    Effect.sync(() => {
      // The first Ctrl-C may arrive twice: from the terminal, and passed on by who started this.
      setTimeout(() => {
        for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130))
      }, 500).unref()
      setTimeout(() => process.exit(1), Duration.toMillis(values.SHUTDOWN_GRACE)).unref()
    })
  )

const httpHost = ({ HTTP_HOST }: Values): string => {
  if (HTTP_HOST === "0.0.0.0" || HTTP_HOST === "::") return "127.0.0.1"
  return HTTP_HOST.includes(":") ? `[${HTTP_HOST}]` : HTTP_HOST
}

const httpUrl = (values: Values): string => `http://${httpHost(values)}:${values.HTTP_PORT}`

const runnerOf = (values: Values): string => {
  const { advertised } = Cluster.addressesOf(values)
  return `${advertised.host}:${advertised.port}`
}

const banner = Effect.fnUntraced(function* (values: Values, { directory, embedded, sandboxed }: Surroundings) {
  const sql = yield* SqlClient
  const { issue } = yield* AuthTokens
  const runners = yield* Effect.orElseSucceed(
    sql<{ address: string }>`select address from cluster_runners where healthy order by address`,
    () => []
  )
  const nodes = runners.map(({ address }) => (address === runnerOf(values) ? `${address} (this one)` : address))
  const url = httpUrl(values)
  const places: ReadonlyArray<readonly [name: string, where: string, about: string]> = [
    ["API", url, "described at /docs"],
    ["RPC", `${url.replace("http", "ws")}/rpc/ws`, "what the typed client talks to"],
    [
      "Health",
      `${values.HEALTH_PORT === 0 ? url : `http://${httpHost(values)}:${values.HEALTH_PORT}`}/readyz`,
      "figures at /metrics"
    ],
    ...(sandboxed
      ? [["Payments", `http://127.0.0.1:${values.STRIPE_PORT}`, "a sandbox: no money moves"] as const]
      : []),
    ...(embedded ? [["Data", `${directory}/`, "without it everything starts anew"] as const] : []),
    ["Postgres", Redacted.value(values.DATABASE_URL), ""],
    ["Nodes", nodes.join(", "), ""]
  ]
  const timeToLive = Duration.days(30)
  const tokens =
    issue === undefined
      ? undefined
      : {
          customer: yield* issue({ customerId: CustomerId.make("demo"), role: "customer", timeToLive }),
          operator: yield* issue({ customerId: CustomerId.make("demo-operator"), role: "operator", timeToLive })
        }
  const lines = [
    "",
    `Cartwright ${version} is up.`,
    "",
    ...places.map(
      ([name, where, about]) => `  ${name.padEnd(10)}${about === "" ? where : `${where.padEnd(34)}${about}`}`
    ),
    "",
    ...(tokens === undefined
      ? []
      : [
          'You are the customer "demo" for 30 days with this token:',
          "",
          `  export TOKEN=${Redacted.value(tokens.customer.token)}`,
          "",
          "and an operator of the shop with this one, e.g. to confirm cash on delivery or to record a bank transfer",
          "(docs/operations/offline-payments.md):",
          "",
          `  export OPERATOR=${Redacted.value(tokens.operator.token)}`,
          ""
        ]),
    "Try next:",
    "",
    "  1. Put something into a cart:",
    `     curl -s ${url}/rpc/json -H "authorization: Bearer $TOKEN" -H "content-type: application/json" -d '${firstCall}'`,
    "",
    "  2. Let customers come:",
    "     npm run simulate",
    "",
    `  3. Start a second node, then \`kill -9 ${process.pid}\` this one, and see that nothing is lost:`,
    `     npm start -- --port ${values.HTTP_PORT + 1} --runner-port ${values.RUNNER_PORT + 1}`,
    "",
    "Ctrl-C stops it all."
  ]
  return lines.join("\n")
})

const firstCall = JSON.stringify({
  _tag: "Request",
  id: "1",
  tag: "AddItem",
  payload: { key: "first-item", cartId: "my-first-cart", currency: "EUR", sku: "MUG-350-SAND", quantity: 2 },
  headers: []
})
