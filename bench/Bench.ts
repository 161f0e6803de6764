/**
 * Measures what a confirmed checkout costs on a node, and beside it what the same costs on the floor. Node, floor, provider and buyers
 * are processes of their own, each server has a Postgres of its own, and the two take turns, so that whatever else the machine does
 * hits both: believe the ratios, not the rates.
 */
import { mkdir, readFile, rm } from "node:fs/promises"
import { cpus, tmpdir, totalmem } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Duration, Effect, Redacted, Schedule, type Scope } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { EmbeddedPostgres } from "../src/postgres/EmbeddedPostgres.ts"
import type { EmbeddedPostgresError } from "../src/postgres/EmbeddedPostgresError.ts"
import { freePort } from "../src/simulate/FreePort.ts"
import * as DatabaseFigures from "./DatabaseFigures.ts"
import { type Cell, type Idle, percentile, type Result, summaryOf, type System } from "./Results.ts"
import type { Order, Report } from "./LoadOrders.ts"
import * as Processes from "./Processes.ts"
import type { ProcessFailed } from "./Processes.ts"

export interface BenchOptions {
  /** Confirmations of one measurement; with one at a time a quarter of them. */
  readonly orders: number
  readonly concurrency: ReadonlyArray<number>
  readonly rounds: number
  /** Rounds before those, which nobody counts: compilers and plans settle. */
  readonly warmUpRounds: number
  readonly systems: ReadonlyArray<System>
  readonly skus: number
  readonly seed: number
  /** Where to put CPU profiles of the measured node, one a concurrency. */
  readonly profiles?: string
  /** Told as it goes. */
  readonly say: (line: string) => Effect.Effect<void>
}

type BenchFailed = EmbeddedPostgresError | ProcessFailed | SqlError

export const run = Effect.fn("Bench.run")(function* (
  options: BenchOptions
): Effect.fn.Return<Result, BenchFailed, Scope.Scope> {
  const directory = yield* Effect.acquireRelease(
    // Open to the user which Postgres runs as where this one is root.
    Effect.promise(async () => {
      const made = join(tmpdir(), `cartwright-bench-${process.pid}`)
      await mkdir(made, { recursive: true })
      return made
    }),
    (made) => Effect.promise(() => rm(made, { recursive: true, force: true, maxRetries: 5 }))
  )
  const sandboxPort = yield* freePort
  const sandbox = yield* Processes.start({
    name: "sandbox",
    script: cartwright,
    arguments: ["sandbox", "--port", String(sandboxPort)],
    environment: {},
    directory
  })
  yield* Processes.awaitHttp(sandbox, `http://127.0.0.1:${sandboxPort}/sandbox/health`)
  const load = yield* Processes.start({
    name: "load",
    script: fileURLToPath(new URL("loadGenerator.ts", import.meta.url)),
    arguments: [],
    environment: {},
    directory
  })
  const bench: Bench = { options, directory, sandboxPort, sandbox, load }
  const subjects = yield* Effect.forEach(options.systems, (system) => startSubject(bench, system))
  yield* options.say(`Everything runs; ${options.warmUpRounds} rounds to warm up, ${options.rounds} to measure.`)

  const idle = yield* Effect.forEach(subjects, idleOf)
  const cells: Array<Cell> = []
  for (let round = 1 - options.warmUpRounds; round <= options.rounds; round++) {
    for (const concurrency of options.concurrency) {
      // In turns, and who begins changes.
      const inTurn = round % 2 === 0 ? subjects : subjects.toReversed()
      for (const subject of inTurn) {
        const measured = yield* measure(
          bench,
          subject,
          idle.find(({ system }) => system === subject.system)!,
          round,
          concurrency
        )
        yield* options.say(lineOf(measured, round < 1))
        if (round > 0) cells.push(measured)
      }
    }
  }
  return {
    machine: {
      cpus: cpus().length,
      cpu: cpus()[0]?.model ?? "unknown",
      memoryGb: Math.round(totalmem() / 2 ** 30),
      node: process.version
    },
    options: {
      orders: options.orders,
      concurrency: options.concurrency,
      rounds: options.rounds,
      warmUpRounds: options.warmUpRounds,
      skus: options.skus,
      seed: options.seed
    },
    idle,
    cells,
    summary: summaryOf(cells)
  }
})

const cartwright = fileURLToPath(new URL("../src/bin/cartwright.ts", import.meta.url))

interface Bench {
  readonly options: BenchOptions
  readonly directory: string
  readonly sandboxPort: number
  readonly sandbox: Processes.Running
  readonly load: Processes.Running
}

// ---- node and floor

interface Subject {
  readonly system: System
  readonly url: string
  readonly secret: string
  readonly running: Processes.Running
  readonly postmaster: number
  readonly figures: DatabaseFigures.DatabaseFigures
}

const startSubject = Effect.fnUntraced(function* (bench: Bench, system: System) {
  const { directory, options, sandboxPort } = bench
  const at = join(directory, `postgres-${system}`)
  const postgres = yield* EmbeddedPostgres.make({ directory: at, settings: serverSettings })
  const name = `bench_${system}`
  const url = yield* postgres.createDatabase(name)
  const postmaster = Number(
    (yield* Effect.promise(() => readFile(join(at, "data", "postmaster.pid"), "utf8"))).split("\n")[0]
  )
  const port = yield* freePort
  const secret = "signs the tokens of made-up customers only"
  const profiled = system === "node" && options.profiles !== undefined
  const running = yield* Processes.start({
    name: system,
    script: system === "node" ? cartwright : fileURLToPath(new URL("floorNode.ts", import.meta.url)),
    arguments: system === "node" ? ["node"] : [],
    environment: {
      ...settings,
      DATABASE_URL: Redacted.value(url),
      HTTP_PORT: String(port),
      RUNNER_PORT: String(yield* freePort),
      AUTH_SECRET: secret,
      STRIPE_PORT: String(sandboxPort),
      ...(profiled ? { PROFILE_DIRECTORY: options.profiles } : {})
    },
    nodeOptions: profiled ? ["--import", new URL("profiler.ts", import.meta.url).href] : [],
    directory
  })
  yield* Processes.awaitHttp(running, `http://127.0.0.1:${port}/readyz`)
  yield* Effect.provide(fillCatalog(options.skus), PgClient.layer({ url, maxConnections: 1 }))
  const figures = yield* DatabaseFigures.make({ database: url, name, beside: postgres.urlOf("postgres") })
  return { system, url: `http://127.0.0.1:${port}`, secret, running, postmaster, figures } satisfies Subject
})

/** No checkpoint within a run: it would make the next rows' first changes write whole pages. */
const serverSettings = { shared_buffers: "256MB", checkpoint_timeout: "1h", max_wal_size: "8GB" }

/** Of both; what a made-up load needs to get past the limits on real customers, and nothing else. */
const settings = {
  HTTP_HOST: "127.0.0.1",
  HEALTH_PORT: "0",
  LOG_LEVEL: "warn",
  CLUSTER_SECRET: "shared by the nodes of a benchmark, which is one",
  STRIPE_SECRET_KEY: "sk_test_bench",
  STRIPE_HOST: "127.0.0.1",
  STRIPE_PROTOCOL: "http",
  SHIPPING_RATES: '{"EUR":{"standard":"490","express":"1290"}}',
  PAYMENT_BREAKER_FAILURES: "1000",
  RATE_LIMIT_CONFIRM: "1000000",
  RATE_LIMIT_CONFIRM_WINDOW: "1 second"
}

/** More of everything than can be sold, in two warehouses. */
const fillCatalog = Effect.fnUntraced(function* (skus: number) {
  const sql = yield* SqlClient
  const last = skus - 1
  yield* sql`
    insert into warehouse.warehouses (id, name, priority, active) values ('BENCH-A', 'First', 1, true), ('BENCH-B', 'Second', 2, true)`
  yield* sql`
    insert into catalog.products (sku, name, category, active, taxable, version, created_at, updated_at)
    select 'BENCH-' || n, 'Product ' || n, 'bench', true, true, 1, now(), now() from generate_series(0, ${last}::int) n`
  yield* sql`
    insert into catalog.prices (sku, currency, amount, version, valid_from)
    select 'BENCH-' || n, 'EUR', 1000 + n, 1, now() from generate_series(0, ${last}::int) n`
  yield* sql`
    insert into warehouse.stock (sku, warehouse_id, on_hand)
    select 'BENCH-' || n, w.id, 1000000 from generate_series(0, ${last}::int) n cross join warehouse.warehouses w`
  yield* sql`analyze`
})

// ---- one measurement

const measure = Effect.fnUntraced(function* (
  bench: Bench,
  subject: Subject,
  idle: Idle,
  round: number,
  concurrency: number
) {
  const { options } = bench
  const checkouts = Math.max(concurrency, concurrency === 1 ? Math.ceil(options.orders / 4) : options.orders)
  yield* ask(bench, {
    _tag: "Prepare",
    url: subject.url,
    secret: subject.secret,
    customers: concurrency,
    checkouts,
    skus: options.skus,
    seed: options.seed
  })
  yield* settle(subject)
  const profiling = round === options.rounds && subject.system === "node" && options.profiles !== undefined
  if (profiling) yield* toggleProfile(subject)
  const before = yield* used(bench, subject)
  const report = yield* ask(bench, { _tag: "Confirm", url: subject.url })
  if (report._tag !== "Confirmed") return yield* bench.load.fail(`answers ${report._tag}.`)
  yield* settle(subject)
  const after = yield* used(bench, subject)
  if (profiling) yield* toggleProfile(subject)

  const elapsed = (after.at - before.at) / 1000
  /** Without what goes on anyway: signs of life, sweeps. */
  const net = (name: "commits" | "statements" | "walBytes") =>
    after[name] - before[name] - idle.perSecond[name] * elapsed
  const perThousand = (one: number | undefined, other: number | undefined, whenIdle: number | undefined) =>
    one === undefined || other === undefined
      ? undefined
      : ((other - one - (whenIdle ?? 0) * elapsed) * 1000) / checkouts
  const sorted = report.milliseconds.toSorted((left, right) => left - right)
  const texts = round === options.rounds ? yield* subject.figures.texts : new Map<string, string>()
  return {
    system: subject.system,
    round,
    concurrency,
    checkouts,
    seconds: report.seconds,
    perSecond: checkouts / report.seconds,
    milliseconds: {
      p50: percentile(sorted, 0.5),
      p95: percentile(sorted, 0.95),
      p99: percentile(sorted, 0.99),
      max: sorted.at(-1) ?? 0
    },
    perCheckout: {
      commits: net("commits") / checkouts,
      statements: net("statements") / checkouts,
      walBytes: net("walBytes") / checkouts
    },
    cpuSecondsPerThousand: {
      server: perThousand(before.server, after.server, idle.perSecond.server),
      postgres: perThousand(before.postgres, after.postgres, idle.perSecond.postgres),
      sandbox: perThousand(before.sandbox, after.sandbox, 0),
      load: perThousand(before.load, after.load, 0)
    },
    refusals: report.refusals,
    ...(texts.size === 0
      ? {}
      : {
          topStatements: [...after.calls]
            .map(([id, { calls, ms }]) => ({
              perCheckout: (calls - (before.calls.get(id)?.calls ?? 0)) / checkouts,
              milliseconds: (ms - (before.calls.get(id)?.ms ?? 0)) / checkouts,
              text: (texts.get(id) ?? "").replaceAll(/\s+/g, " ").slice(0, 160)
            }))
            .filter(({ perCheckout }) => perCheckout > 0)
            .toSorted((left, right) => right.milliseconds - left.milliseconds)
            .slice(0, 12)
        })
  } satisfies Cell
})

/** What everybody has used so far. */
const used = Effect.fnUntraced(function* ({ load, sandbox }: Bench, subject: Subject) {
  const cpu = yield* Effect.all({
    server: Processes.cpuOf(subject.running.pid),
    postgres: Processes.cpuOfTree(subject.postmaster),
    sandbox: Processes.cpuOf(sandbox.pid),
    load: Processes.cpuOf(load.pid)
  })
  return { ...cpu, ...(yield* subject.figures.read), at: performance.now() }
})

const idleOf = Effect.fnUntraced(function* (subject: Subject) {
  yield* settle(subject)
  const before = { ...(yield* subject.figures.read), ...(yield* cpuOf(subject)), at: performance.now() }
  yield* Effect.sleep(idleFor)
  const after = { ...(yield* subject.figures.read), ...(yield* cpuOf(subject)), at: performance.now() }
  const elapsed = (after.at - before.at) / 1000
  const rate = (one: number | undefined, other: number | undefined) =>
    one === undefined || other === undefined ? undefined : (other - one) / elapsed
  return {
    system: subject.system,
    perSecond: {
      commits: (after.commits - before.commits) / elapsed,
      statements: (after.statements - before.statements) / elapsed,
      walBytes: (after.walBytes - before.walBytes) / elapsed,
      server: rate(before.server, after.server),
      postgres: rate(before.postgres, after.postgres)
    }
  } satisfies Idle
})

const idleFor = Duration.seconds(4)

const cpuOf = (subject: Subject) =>
  Effect.all({ server: Processes.cpuOf(subject.running.pid), postgres: Processes.cpuOfTree(subject.postmaster) })

/** Waits for what goes on behind the answers. */
const settle = ({ figures, running }: Subject) =>
  figures.settled.pipe(
    Effect.repeat({
      until: (settled) => settled,
      schedule: Schedule.spaced("50 millis").pipe(Schedule.upTo({ duration: "10 seconds" }))
    }),
    Effect.flatMap((settled) => (settled ? Effect.void : running.fail("has not come to rest within 30 seconds.")))
  )

const ask = ({ load }: Bench, order: Order): Effect.Effect<Report, ProcessFailed> =>
  Effect.callback<Report, ProcessFailed>((resume) => {
    const heard = (report: Report) => {
      resume(report._tag === "Failed" ? load.fail(`failed: ${report.cause}`) : Effect.succeed(report))
    }
    load.child.once("message", heard)
    load.child.send(order)
    return Effect.sync(() => load.child.off("message", heard))
  }).pipe(Effect.raceFirst(load.ended))

/** Starts the profiler within the node, or stops it and has it write its file. */
const toggleProfile = ({ running }: Subject) =>
  Effect.andThen(
    Effect.sync(() => running.child.kill("SIGUSR2")),
    Effect.sleep("500 millis")
  )

const lineOf = ({ concurrency, milliseconds, perSecond, refusals, round, system }: Cell, warmingUp: boolean): string =>
  `${warmingUp ? "warm-up" : `round ${round}`}  ${system.padEnd(5)} at ${String(concurrency).padStart(3)}: ` +
  `${perSecond.toFixed(0).padStart(5)}/s  p50 ${milliseconds.p50.toFixed(1)} ms  p99 ${milliseconds.p99.toFixed(1)} ms` +
  (Object.keys(refusals).length === 0 ? "" : `  refused: ${JSON.stringify(refusals)}`)
