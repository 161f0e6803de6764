/**
 * Where scenarios play: a payment sandbox and a load generator, and whoever is measured. All are processes of their own, and each subject has
 * a Postgres of its own, so that a scenario counts what one of them does and nothing else.
 */
import { mkdir, readFile, rm } from "node:fs/promises"
import { cpus, tmpdir, totalmem } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Context, Duration, Effect, Layer, Redacted, Schedule, Scope } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { EmbeddedPostgres } from "../src/postgres/EmbeddedPostgres.ts"
import type { EmbeddedPostgresError } from "../src/postgres/EmbeddedPostgresError.ts"
import { settleFor } from "../src/runtime/Journal.ts"
import { freePort } from "../src/simulate/FreePort.ts"
import * as DatabaseFigures from "./DatabaseFigures.ts"
import * as Leftovers from "./Leftovers.ts"
import type { Order, Report, ReportTo } from "./LoadOrders.ts"
import * as Processes from "./Processes.ts"
import type { ProcessFailed } from "./Processes.ts"
import type { System } from "./Results.ts"

export type BenchFailed = EmbeddedPostgresError | ProcessFailed | SqlError

export interface StageOptions {
  /** Products of every subject, called `BENCH-0` and so on. */
  readonly skus: number
  /** Where to put CPU profiles of nodes. */
  readonly profiles?: string
  /** Told as it goes. */
  readonly say: (line: string) => Effect.Effect<void>
}

export interface Stage extends StageOptions {
  readonly sandbox: Processes.Running
  readonly sandboxUrl: string
  readonly load: Processes.Running
  /** Has the load generator do something. */
  readonly ask: <O extends Order>(order: O) => Effect.Effect<ReportTo<O>, ProcessFailed>
  /** A subject for as long as the scope lives. */
  readonly start: (options: SubjectOptions) => Effect.Effect<Subject, BenchFailed, Scope.Scope>
  /** One plain node, or the floor: started when first asked for, and then the same for every scenario. */
  readonly plain: (system: System) => Effect.Effect<Subject, BenchFailed>
}

export interface SubjectOptions {
  readonly system: System
  /** Of its processes and its database; no two of a stage have the same. */
  readonly name: string
  /** Nodes on one database; one unless given. */
  readonly nodes?: number
  /** Settings in which it differs from the others. */
  readonly environment?: Readonly<Record<string, string>>
}

/** A node, several nodes of one database, or the floor. */
export interface Subject {
  readonly system: System
  readonly name: string
  readonly urls: ReadonlyArray<string>
  readonly nodes: ReadonlyArray<Processes.Running>
  readonly postmaster: number
  readonly figures: DatabaseFigures.DatabaseFigures
  readonly database: Redacted.Redacted
  /** In it, to set scenes and to look after what became of them. */
  readonly sql: SqlClient
  /** Waits until its nodes know that nobody else still writes: till then they read again what they have read. */
  readonly alone: Effect.Effect<void>
  /** Waits for what goes on behind the answers. */
  readonly settled: Effect.Effect<void, ProcessFailed | SqlError>
  /** Starts the node at this place of `nodes` again once it has ended, at its old address. */
  readonly again: (index: number) => Effect.Effect<void, ProcessFailed, Scope.Scope>
  /** Waits until each node has its share of the work. */
  readonly shared: Effect.Effect<void, ProcessFailed | SqlError>
  /** Breaks all connections and starts Postgres anew, as after a crash. */
  readonly restartPostgres: Effect.Effect<void, EmbeddedPostgresError>
}

/** What subjects sign and verify tokens with. */
export const secret = "signs the tokens of made-up customers only"

export const machine = () => ({
  cpus: cpus().length,
  cpu: cpus()[0]?.model ?? "unknown",
  memoryGb: Math.round(totalmem() / 2 ** 30),
  node: process.version
})

export const open = Effect.fn("Stage.open")(function* (
  options: StageOptions
): Effect.fn.Return<Stage, ProcessFailed, Scope.Scope> {
  const scope = yield* Effect.scope
  yield* Effect.promise(() => Leftovers.remove(prefix))
  const directory = yield* Effect.acquireRelease(
    // Open to the user which Postgres runs as where this one is root.
    Effect.promise(async () => {
      const made = join(tmpdir(), `${prefix}${process.pid}`)
      await mkdir(made, { recursive: true })
      return made
    }),
    (made) => Effect.promise(() => rm(made, { recursive: true, force: true, maxRetries: 5 }))
  )
  const sandboxPort = yield* freePort
  const sandboxUrl = `http://127.0.0.1:${sandboxPort}`
  const sandbox = yield* Processes.start({
    name: "sandbox",
    script: cartwright,
    arguments: ["sandbox", "--port", String(sandboxPort)],
    environment: {},
    directory
  })
  yield* Processes.awaitHttp(sandbox, `${sandboxUrl}/sandbox/health`)
  const load = yield* Processes.start({
    name: "load",
    script: fileURLToPath(new URL("loadGenerator.ts", import.meta.url)),
    arguments: [],
    environment: {},
    directory
  })
  const place: Place = { options, directory, sandboxPort }
  const plain = new Map<System, Subject>()
  return {
    ...options,
    sandbox,
    sandboxUrl,
    load,
    ask: (order) => ask(load, order),
    start: (subject) => startSubject(place, subject),
    plain: Effect.fnUntraced(function* (system) {
      const found = plain.get(system)
      if (found !== undefined) return found
      const made = yield* Scope.provide(startSubject(place, { system, name: system }), scope)
      plain.set(system, made)
      return made
    })
  }
})

/** Of temporary folders; the process id follows. */
const prefix = "cartwright-bench-"

const cartwright = fileURLToPath(new URL("../src/bin/cartwright.ts", import.meta.url))

// ---- subjects

interface Place {
  readonly options: StageOptions
  readonly directory: string
  readonly sandboxPort: number
}

const startSubject = Effect.fnUntraced(function* (place: Place, options: SubjectOptions) {
  const { name, system } = options
  const directory = join(place.directory, `postgres-${name}`)
  const postgres = yield* Effect.acquireRelease(Effect.void, () =>
    // A scenario's gigabytes go with it.
    Effect.promise(() => rm(directory, { recursive: true, force: true, maxRetries: 5 }))
  ).pipe(Effect.andThen(EmbeddedPostgres.make({ directory, settings: serverSettings })))
  const databaseName = `bench_${name}`
  const url = yield* postgres.createDatabase(databaseName)
  const postmaster = Number(
    (yield* Effect.promise(() => readFile(join(directory, "data", "postmaster.pid"), "utf8"))).split("\n")[0]
  )
  const urls: Array<string> = []
  const nodes: Array<Processes.Running> = []
  const count = options.nodes ?? 1
  for (let index = 1; index <= count; index++) {
    const port = yield* freePort
    urls.push(`http://127.0.0.1:${port}`)
    nodes.push(yield* startNode(place, options, url, port, count === 1 ? name : `${name}-${index}`))
  }
  const context = yield* Layer.build(PgClient.layer({ url, maxConnections: 1 }))
  const sql = Context.get(context, SqlClient)
  yield* Effect.provideService(fillCatalog(place.options.skus), SqlClient, sql)
  const aloneAt = performance.now() + (system === "node" ? Duration.toMillis(settleFor) : 0)
  const alone = Effect.suspend(() => Effect.sleep(Math.max(0, aloneAt - performance.now())))
  const figures = yield* DatabaseFigures.make({ sql, name: databaseName, beside: postgres.urlOf("postgres") })
  if (count > 1) yield* shared(sql, nodes)
  const settled = figures.settled.pipe(
    Effect.repeat({
      until: (yes) => yes,
      schedule: Schedule.spaced("50 millis").pipe(Schedule.upTo({ duration: "30 seconds" }))
    }),
    Effect.flatMap((yes) => (yes ? Effect.void : nodes[0]!.fail("has not come to rest within 30 seconds.")))
  )
  return {
    system,
    name,
    urls,
    nodes,
    postmaster,
    figures,
    database: url,
    sql,
    alone,
    settled,
    again: Effect.fnUntraced(function* (index) {
      const { ended, name: old } = nodes[index]!
      yield* Effect.ignore(ended)
      nodes[index] = yield* startNode(place, options, url, Number(new URL(urls[index]!).port), old)
    }),
    shared: Effect.suspend(() => shared(sql, nodes)),
    restartPostgres: postgres.restart
  } satisfies Subject
})

const startNode = Effect.fnUntraced(function* (
  { directory, options, sandboxPort }: Place,
  { environment, system }: SubjectOptions,
  database: Redacted.Redacted,
  port: number,
  name: string
) {
  const profiled = system === "node" && options.profiles !== undefined
  const running = yield* Processes.start({
    name,
    script: system === "node" ? cartwright : fileURLToPath(new URL("floorNode.ts", import.meta.url)),
    arguments: system === "node" ? ["node"] : [],
    environment: {
      ...settings,
      DATABASE_URL: Redacted.value(database),
      HTTP_PORT: String(port),
      RUNNER_PORT: String(yield* freePort),
      AUTH_SECRET: secret,
      STRIPE_PORT: String(sandboxPort),
      ...environment,
      ...(profiled ? { PROFILE_DIRECTORY: options.profiles, PROFILE_NAME: name } : {})
    },
    nodeOptions: profiled ? ["--import", new URL("profiler.ts", import.meta.url).href] : [],
    directory
  })
  yield* Processes.awaitHttp(running, `http://127.0.0.1:${port}/readyz`)
  return running
})

/** Waits until each node has its share of the work: a new one is ready as soon as it has any. */
const shared = (sql: SqlClient, nodes: ReadonlyArray<Processes.Running>) =>
  sql<{ least: number; nodes: number }>`
    select min(shards)::int as least, count(*)::int as nodes
    from (select count(*) as shards from pg_locks where locktype = 'advisory' and granted and objsubid = 2 group by pid) held`.pipe(
    Effect.map(([row]) => row?.nodes === nodes.length && row.least >= Math.floor(shards / nodes.length)),
    Effect.repeat({
      until: (yes) => yes,
      schedule: Schedule.spaced("100 millis").pipe(Schedule.upTo({ duration: "30 seconds" }))
    }),
    Effect.flatMap((yes) => (yes ? Effect.void : nodes[0]!.fail("does not share its work with the others.")))
  )

const shards = 32

/**
 * No checkpoint within a run: it would make the next rows' first changes write whole pages. And no vacuum because much was only inserted: a
 * past is as if that had been long ago.
 */
const serverSettings = {
  shared_buffers: "256MB",
  checkpoint_timeout: "1h",
  max_wal_size: "8GB",
  autovacuum_vacuum_insert_threshold: "-1"
}

/** Of all; what a made-up load needs to get past the limits on real customers, and nothing else. */
const settings = {
  HTTP_HOST: "127.0.0.1",
  HEALTH_PORT: "0",
  LOG_LEVEL: "warn",
  CLUSTER_SECRET: "shared by the nodes of a benchmark and nobody else",
  CLUSTER_SHARDS: String(shards),
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

// ---- the load generator

const ask = <O extends Order>(load: Processes.Running, order: O): Effect.Effect<ReportTo<O>, ProcessFailed> =>
  Effect.callback<ReportTo<O>, ProcessFailed>((resume) => {
    const heard = (report: Report) => {
      if (report._tag === "Failed") return resume(load.fail(`failed: ${report.cause}`))
      if (report.to !== order._tag) return resume(load.fail(`answers ${report._tag} to ${order._tag}.`))
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it says which order it answers
      resume(Effect.succeed(report as ReportTo<O>))
    }
    load.child.once("message", heard)
    load.child.send(order)
    return Effect.sync(() => load.child.off("message", heard))
  }).pipe(Effect.raceFirst(load.ended))
