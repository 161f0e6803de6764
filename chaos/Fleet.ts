/** Postgres, the payment sandbox and nodes, each a process of its own, with a tunnel on every way between them. */
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Clock, Config, Duration, Effect, Exit, Option, Redacted, Schedule, Scope, Semaphore } from "effect"
import * as Processes from "../bench/Processes.ts"
import * as Embedded from "../src/layers/Embedded.ts"
import { settings } from "../src/layers/Settings.ts"
import { EmbeddedPostgres } from "../src/postgres/EmbeddedPostgres.ts"
import type { Injection } from "../src/sandbox/Faults.ts"
import { freePort } from "../src/simulate/FreePort.ts"
import { isReady } from "../src/simulate/OwnNode.ts"
import { nameOf } from "./Plan.ts"
import * as Tunnel from "./Tunnel.ts"

/** Told with what happens, as it happens. */
export type Say = (line: string) => Effect.Effect<void>

export interface FleetOptions {
  /** Holds everything: a demo's folder, on which `npm start -- --directory` goes on. */
  readonly directory: string
  readonly nodes: number
  readonly say: Say
}

export interface FleetNode {
  readonly name: string
  readonly url: string
  readonly toDatabase: Tunnel.Tunnel
  /** From the other nodes to this one. */
  readonly fromNodes: Tunnel.Tunnel
  readonly kill: Effect.Effect<void>
  /** Asks it to end, and waits until it has. */
  readonly stop: Effect.Effect<void>
  readonly freeze: Effect.Effect<void>
  readonly thaw: Effect.Effect<void>
  readonly shiftClock: (ms: number) => Effect.Effect<void>
  /** Starts it unless it runs, and waits until it has its share of the work. */
  readonly start: Effect.Effect<void>
}

export interface Fleet {
  readonly postgres: EmbeddedPostgres["Service"]
  readonly sandboxUrl: string
  readonly inject: (injection: Injection) => Effect.Effect<void>
  readonly toProvider: Tunnel.Tunnel
  readonly nodes: ReadonlyArray<FleetNode>
  readonly secrets: Embedded.Secrets
  /** What no fault explains: a node that has ended by itself, or does not come back. */
  readonly problems: ReadonlyArray<string>
  /** Ends every fault; returns when all nodes have their share of the work. */
  readonly heal: Effect.Effect<void>
}

/** A provider is not next door: so confirmations are under way for a while, and faults meet them there. */
const providerDelayMs = 50
/** From its start to its share of the work, under load and on a busy machine. */
const readyWithin = Duration.minutes(2)
const stopWithin = Duration.seconds(40)

export const start = Effect.fn("Fleet.start")(function* (options: FleetOptions) {
  const { directory, say } = options
  const postgres = yield* EmbeddedPostgres.make({ directory: join(directory, "postgres") })
  const secrets = yield* Embedded.secrets(directory)
  const sandboxPort = yield* freePort
  const sandboxUrl = `http://127.0.0.1:${sandboxPort}`
  const sandbox = yield* Processes.start({
    name: "sandbox",
    script: cartwright,
    arguments: ["sandbox", "--port", String(sandboxPort), "--directory", join(directory, "sandbox")],
    environment: {},
    directory
  })
  yield* Processes.awaitHttp(sandbox, `${sandboxUrl}/sandbox/health`)
  const toProvider = yield* Tunnel.open({ to: sandboxPort, delayMs: providerDelayMs })
  const problems: Array<string> = []
  const given = yield* ownSettings
  const nodes = yield* Effect.forEach(Array.from({ length: options.nodes }), (_, index) =>
    makeNode({
      index,
      directory,
      say,
      problems,
      databasePort: postgres.port,
      environment: (databasePort) => ({
        ...quickly,
        ...given,
        DATABASE_URL: Redacted.value(postgres.url).replace(`:${postgres.port}/`, `:${databasePort}/`),
        AUTH_SECRET: Redacted.value(secrets.tokens),
        CLUSTER_SECRET: Redacted.value(secrets.cluster),
        STRIPE_SECRET_KEY: Embedded.sandboxKey,
        STRIPE_HOST: "127.0.0.1",
        STRIPE_PORT: String(toProvider.port),
        STRIPE_PROTOCOL: "http",
        HTTP_HOST: "127.0.0.1",
        HEALTH_PORT: "0",
        RUNNER_HOST: "127.0.0.1"
      })
    })
  )
  // The first migrates, and fills the shop.
  yield* nodes[0]!.start
  yield* Effect.forEach(nodes, (node) => node.start, { concurrency: "unbounded", discard: true })
  const fleet: Fleet = {
    postgres,
    sandboxUrl,
    inject: (injection) => control(`${sandboxUrl}/sandbox/faults`, "POST", JSON.stringify(injection)),
    toProvider,
    nodes,
    secrets,
    problems,
    heal: Effect.gen(function* () {
      yield* control(`${sandboxUrl}/sandbox/faults`, "DELETE")
      yield* toProvider.pass
      yield* Effect.forEach(
        nodes,
        (node) =>
          Effect.all([node.toDatabase.pass, node.fromNodes.pass, node.shiftClock(0), node.thaw, node.start], {
            discard: true
          }),
        { concurrency: "unbounded", discard: true }
      )
    })
  }
  return fleet
})

const cartwright = fileURLToPath(new URL("../src/bin/cartwright.ts", import.meta.url))
const shiftClock = new URL("shiftClock.ts", import.meta.url).href

/**
 * Waits which a run of minutes cannot sit through, shortened alike. What decides how soon a node is missed, and who takes over, is as
 * everybody has it. The environment's own settings stand before these.
 */
const quickly: Readonly<Record<string, string>> = {
  DATABASE_POOL_SIZE: "10",
  LOG_LEVEL: "info",
  LOG_FORMAT: "json",
  PAYMENT_TIMEOUT: "4 seconds",
  CHECKOUT_SYNC_WAIT: "10 seconds",
  CHECKOUT_WATCH_AFTER: "12 seconds",
  PAYMENT_WINDOW: "20 seconds",
  PAYMENT_LOOKUP_BACKOFF_BASE: "1 second",
  PAYMENT_LOOKUP_BACKOFF_CAP: "4 seconds",
  PAYMENT_BREAKER_OPEN: "2 seconds",
  CAPTURE_BACKOFF_BASE: "500 millis",
  CAPTURE_BACKOFF_CAP: "2 seconds",
  REFUND_BACKOFF_BASE: "1 second",
  REFUND_BACKOFF_CAP: "4 seconds",
  REFUND_MAX_RETRIES: "8",
  REFUND_WATCH_AFTER: "12 seconds",
  CART_LOCK_CHECK: "10 seconds",
  NOTICE_BACKOFF_CAP: "4 seconds",
  RATE_LIMIT_CONFIRM: "1000"
}

/** The shop's settings which the person who runs this has put into the environment, e.g. `SHARD_LOCK_EXPIRATION`. */
const ownSettings = Effect.gen(function* () {
  const found: Record<string, string> = {}
  for (const key of Object.keys(settings)) {
    const value = yield* Effect.orElseSucceed(Config.option(Config.String(key)), () => undefined)
    if (value?._tag === "Some") found[key] = value.value
  }
  return found
})

const control = (url: string, method: string, body?: string): Effect.Effect<void> =>
  Effect.promise(async () => {
    const response = await fetch(url, { method, ...(body === undefined ? {} : { body }) })
    if (!response.ok) throw new Error(`the sandbox refuses ${method} ${url} with ${response.status}`)
    await response.body?.cancel()
  })

interface NodeParts {
  readonly index: number
  readonly directory: string
  readonly say: Say
  readonly problems: Array<string>
  readonly databasePort: number
  readonly environment: (databasePort: number) => Readonly<Record<string, string>>
}

/** One process after another, always at the same addresses. */
const makeNode = Effect.fnUntraced(function* (parts: NodeParts): Effect.fn.Return<FleetNode, never, Scope.Scope> {
  const { directory, index, problems, say } = parts
  const name = nameOf(index)
  const port = yield* freePort
  const runnerPort = yield* freePort
  const toDatabase = yield* Tunnel.open({ to: parts.databasePort })
  const fromNodes = yield* Tunnel.open({ to: runnerPort })
  const url = `http://127.0.0.1:${port}`
  const whole = yield* Scope.Scope
  const oneAtATime = Semaphore.makeUnsafe(1)
  let current: { readonly running: Processes.Running; readonly scope: Scope.Closeable; wanted: boolean } | undefined

  const spawn = Effect.gen(function* () {
    const scope = yield* Scope.fork(whole)
    const running = yield* Processes.start({
      name,
      script: cartwright,
      arguments: ["node", "--demo", "--directory", directory],
      environment: {
        ...parts.environment(toDatabase.port),
        HTTP_PORT: String(port),
        RUNNER_PORT: String(fromNodes.port),
        RUNNER_BIND_PORT: String(runnerPort)
      },
      nodeOptions: ["--import", shiftClock],
      directory
    }).pipe(Scope.provide(scope), Effect.orDie)
    const made = { running, scope, wanted: true }
    current = made
    // Quickly, and whatever state it is in: by then all is said about it.
    yield* Scope.addFinalizer(
      scope,
      Effect.sync(() => {
        made.wanted = false
        running.child.kill("SIGKILL")
      })
    )
    // Nobody has asked it to end: that is a finding, and it is started again, as whoever runs nodes does.
    yield* Effect.callback<void>((resume) => {
      running.child.once("exit", (code, signal) => {
        if (!made.wanted || current !== made) return
        problems.push(`${name} has ended by itself (${signal ?? code}), see ${name}.log`)
        resume(Effect.void)
      })
    }).pipe(
      Effect.andThen(say(`${name} has ended by itself`)),
      Effect.andThen(Effect.suspend(() => up)),
      Effect.forkIn(scope)
    )
  })

  const up: Effect.Effect<void> = oneAtATime.withPermits(1)(
    Effect.gen(function* () {
      const spawns = current === undefined || isGone(current.running)
      if (spawns) {
        if (current !== undefined) yield* Scope.close(current.scope, Exit.void)
        yield* fromNodes.open
        yield* spawn
      }
      const from = yield* Clock.currentTimeMillis
      const ended = () => current === undefined || isGone(current.running)
      const ready = yield* Effect.repeat(isReady(url), {
        until: (is) => is || ended(),
        schedule: Schedule.spaced("50 millis")
      }).pipe(Effect.timeoutOption(readyWithin))
      const took = (yield* Clock.currentTimeMillis) - from
      if (Option.isNone(ready)) problems.push(`${name} was not ready within ${Duration.format(readyWithin)}`)
      // Killed before it was: whoever did it starts it again.
      else if (ready.value && spawns) yield* say(`${name} is ready, ${(took / 1000).toFixed(1)} s after its start`)
    })
  )

  const end = (signal: "SIGKILL" | "SIGTERM") =>
    Effect.gen(function* () {
      if (current === undefined) return
      const { running } = current
      current.wanted = false
      running.child.kill(signal)
      const ended = yield* Effect.repeat(
        Effect.sync(() => isGone(running)),
        { until: (is) => is, schedule: Schedule.spaced("20 millis") }
      ).pipe(Effect.timeoutOption(stopWithin))
      // Who asks for it finds nobody, and not a tunnel to nowhere.
      yield* fromNodes.shut
      if (Option.isSome(ended)) return
      problems.push(`${name} does not end within ${Duration.format(stopWithin)} of ${signal}`)
      running.child.kill("SIGKILL")
    })

  const signal = (which: "SIGCONT" | "SIGSTOP") => Effect.sync(() => void current?.running.child.kill(which))

  return {
    name,
    url,
    toDatabase,
    fromNodes,
    kill: end("SIGKILL"),
    stop: end("SIGTERM"),
    freeze: signal("SIGSTOP"),
    thaw: signal("SIGCONT"),
    shiftClock: (ms) =>
      Effect.sync(() => {
        const child = current?.running.child
        if (child?.connected === true) child.send({ shiftClockMs: ms })
      }),
    start: up
  }
})

const isGone = ({ child }: Processes.Running): boolean => child.exitCode !== null || child.signalCode !== null
