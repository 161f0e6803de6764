/**
 * Real nodes, a real Postgres, the payment sandbox and customers, while things break as a seed says; then everything that was said is
 * held against the provider's ledger and the tables. The same seed breaks the same things at the same times; what the processes make of
 * it is theirs, and differs from run to run.
 */
import { appendFile, chmod, mkdir, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Clock, Duration, Effect, Fiber, Layer, Redacted, Result, type Scope, Stream } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type * as Processes from "../bench/Processes.ts"
import { makeRun, runImport } from "../src/catalog/Import.ts"
import { stockImport } from "../src/catalog/StockImport.ts"
import { counts } from "../src/demo/DemoCatalog.ts"
import { CustomerId } from "../src/domain/Ids.ts"
import type { EmbeddedRefused } from "../src/layers/Embedded.ts"
import type { EmbeddedPostgresError } from "../src/postgres/EmbeddedPostgresError.ts"
import { AuthTokens, type AuthTokensRefused } from "../src/rpc/AuthTokens.ts"
import { type Buyer, draw } from "../src/simulate/Buyers.ts"
import { checkMoney, type Finding } from "../src/simulate/MoneyCheck.ts"
import * as SandboxControl from "../src/simulate/SandboxControl.ts"
import { checkAnswers as checkHeard, isWrong } from "../src/simulate/Simulation.ts"
import { checkOrders, checkStock, readBooks } from "../src/simulate/StockCheck.ts"
import type { Checked } from "../src/simulate/Summary.ts"
import { askAgain, checkoutIdOf, type Surroundings, type Visit } from "../src/simulate/Visit.ts"
import { buy, type Bought, repeat } from "./Buying.ts"
import { checkAnswers, checkCompensations, checkKeys, checkNotices, checkPlaces, checkUnfinished } from "./Checks.ts"
import * as Fleet from "./Fleet.ts"
import { type History, recorded, takeoverAt, throughputIn } from "./History.ts"
import { problemsOf } from "./HistoryCheck.ts"
import { describe, type Fault, nameOf, type Planned, planOf } from "./Plan.ts"
import type { Report } from "./Report.ts"
import { forEachActor, readSnapshot, type Snapshot } from "./Tables.ts"

export interface ChaosOptions {
  readonly seed: number
  /** How long things break. */
  readonly faultsFor: Duration.Duration
  /** How long everything works before that, and again after it. */
  readonly calmFor: Duration.Duration
  readonly nodes: number
  /** Customers in the shop at once. */
  readonly buyers: number
  /** When everything must have ended, once nothing breaks any more. */
  readonly settleWithin: Duration.Duration
  /** Holds data, logs and what was said; made anew. */
  readonly directory: string
  /** Keeps the folder when all is well, too. */
  readonly keep: boolean
  readonly say: Fleet.Say
}

export type ChaosFailed =
  | AuthTokensRefused
  | EmbeddedPostgresError
  | EmbeddedRefused
  | Processes.ProcessFailed
  | SandboxControl.SandboxSilent
  | SqlError

export const run = Effect.fn("Chaos.run")(function* (
  options: ChaosOptions
): Effect.fn.Return<Report, ChaosFailed, Scope.Scope> {
  const { directory, seed } = options
  const plan = yield* planOf({
    seed,
    durationMs: Duration.toMillis(options.faultsFor),
    nodes: options.nodes
  })
  yield* Effect.promise(async () => {
    await rm(directory, { recursive: true, force: true })
    await mkdir(directory, { recursive: true })
    // Postgres does not run as root, and must come in.
    await chmod(directory, 0o755)
  })
  let right = false
  yield* Effect.addFinalizer(() =>
    right && !options.keep
      ? Effect.promise(() => rm(directory, { recursive: true, force: true, maxRetries: 20 }))
      : Effect.void
  )
  const story = yield* makeStory(options)
  yield* story.tell(
    `seed ${seed}: ${options.nodes} nodes, ${plan.length} faults within ${Duration.format(options.faultsFor)}`
  )
  const fleet = yield* Fleet.start({ directory, nodes: options.nodes, say: story.tell })
  const database = yield* Layer.build(PgClient.layer({ url: fleet.postgres.url, maxConnections: 2 }))
  const inDatabase = <A, E>(effect: Effect.Effect<A, E, SqlClient>) => Effect.provide(effect, database)
  yield* inDatabase(fillShelves)
  const initially = yield* inDatabase(readSnapshot())
  const sandbox = yield* SandboxControl.connect(fleet.sandboxUrl)
  const history: History = []
  const surroundings = yield* surroundingsOf(options, fleet, sandbox, history)
  const bought: Bought = { visits: [], begun: new Set() }
  let closed = false

  // ---- customers come, and things break
  const from = yield* Clock.currentTimeMillis
  const buying = yield* Effect.forkScoped(
    buy(
      {
        surroundings,
        history,
        concurrency: options.buyers,
        closed: () => closed,
        buyers: yield* drawBuyers(options)
      },
      bought
    )
  )
  yield* story.tell(`${options.buyers} customers at a time come to ${options.nodes} nodes`)
  yield* Effect.sleep(options.calmFor)
  const broken = yield* Clock.currentTimeMillis
  const marks: Array<{ readonly what: string; readonly at: number }> = []
  yield* Effect.forEach(plan, (planned) => Effect.delay(carryOut(fleet, story, marks, planned), planned.atMs), {
    concurrency: "unbounded",
    discard: true
    // What is still under way then, such as a start, is seen to by healing.
  }).pipe(Effect.andThen(Effect.never), Effect.timeoutOption(options.faultsFor))
  const healed = yield* Clock.currentTimeMillis
  yield* story.tell("nothing breaks any more")
  yield* fleet.heal
  yield* story.tell("all nodes are ready")
  const whole = yield* Clock.currentTimeMillis
  yield* Effect.sleep(options.calmFor)
  closed = true
  const end = yield* Clock.currentTimeMillis

  // ---- everybody leaves, and everything ends
  yield* Fiber.join(buying).pipe(Effect.timeoutOption(options.settleWithin))
  yield* Fiber.interrupt(buying)
  const left = yield* Clock.currentTimeMillis
  yield* story.tell(`the last customer has left, ${((left - end) / 1000).toFixed(1)} s after the doors were closed`)
  const settled = yield* settle({ options, inDatabase, surroundings, sandbox, initially, bought })
  yield* story.tell(
    settled.checks.some(isWrong)
      ? `something is not as it must be, ${settled.seconds.toFixed(1)} s after that`
      : `everything has ended, ${settled.seconds.toFixed(1)} s after that`
  )

  // ---- what was said is asked again, and every past is read
  yield* askEverybody(surroundings, history)
  const actors: Array<string> = []
  let pasts = 0
  let transitions = 0
  yield* inDatabase(
    forEachActor((actor) => {
      pasts++
      transitions += actor.transitions.length
      actors.push(...problemsOf(actor))
    })
  )
  const last = yield* inDatabase(readSnapshot())
  const checks: ReadonlyArray<Checked> = [
    { name: "answers", finding: checkAnswers(history, last) },
    { name: "keys", finding: checkKeys(history) },
    ...settled.checks,
    {
      name: "histories",
      finding: {
        problems: actors,
        summary: `${transitions} transitions of ${pasts} actors: no gap, no forbidden move, and each leads to its row`
      }
    },
    {
      name: "nodes",
      finding: {
        problems: [...fleet.problems],
        summary: "every node was ready again each time, and none ended by itself"
      }
    }
  ]
  right = !checks.some(isWrong)
  const report: Report = {
    seed,
    right,
    options: {
      minutes: Duration.toMillis(options.faultsFor) / 60_000,
      nodes: options.nodes,
      buyers: options.buyers
    },
    directory: right && !options.keep ? undefined : directory,
    timeline: story.lines,
    takeovers: marks.map(({ at, what }) => takeoverAt(history, what, at)),
    phases: [
      { name: "before", fromMs: from, toMs: broken },
      { name: "faults", fromMs: broken, toMs: healed },
      { name: "after", fromMs: whole, toMs: end }
    ].map((phase) => throughputIn(history, phase)),
    settledAfterSeconds: (left - end) / 1000 + settled.seconds,
    visits: bought.visits.length,
    checks
  }
  if (!right || options.keep) yield* keep(directory, history, report)
  return report
})

// ---- before it begins

/** Of nearly everything more than can be sold; what is scarce in the demo stays scarce. */
const fillShelves = Effect.gen(function* () {
  const records = counts
    .filter(({ onHand }) => onHand > 20)
    .map(({ onHand, sku, warehouse }, index) =>
      Result.succeed({ line: index + 1, value: { warehouse, sku, onHand: onHand * 200 } })
    )
  yield* runImport(
    stockImport,
    makeRun({ importId: "chaos", actor: "chaos" }),
    Stream.fromIterable(records),
    () => Effect.void
  )
})

/** Cards beside those of `simulate`: no answer at all, undecided ones, and money that cannot be given back. */
const moreTrouble = [
  "pm_sandbox_authorize_silent",
  "pm_sandbox_capture_and_void_fail_always",
  "pm_sandbox_create_lost_answer",
  "pm_sandbox_capture_silent",
  "pm_sandbox_capture_500_stored",
  "pm_sandbox_authorize_500_stored",
  "pm_sandbox_create_silent",
  "pm_sandbox_void_fails_twice",
  "pm_sandbox_create_503_twice"
]

const drawBuyers = Effect.fnUntraced(function* ({ calmFor, faultsFor, seed }: ChaosOptions) {
  const minutes = (Duration.toMillis(faultsFor) + 2 * Duration.toMillis(calmFor)) / 60_000
  const count = Math.ceil(minutes * 6000)
  const shelves = [...new Set(counts.map(({ sku }) => sku))].map((sku) => ({ sku, weight: 1 }))
  const buyers = yield* draw({ count, seed, shelves, troubledShare: 50, troubledMax: count })
  let troubled = 0
  return buyers.map((buyer): Buyer => {
    if (buyer.kind !== "in trouble" || troubled++ % 2 === 0) return buyer
    return { ...buyer, card: moreTrouble[Math.floor(troubled / 2) % moreTrouble.length]! }
  })
})

const surroundingsOf = Effect.fnUntraced(function* (
  { seed }: ChaosOptions,
  fleet: Fleet.Fleet,
  sandbox: SandboxControl.SandboxControl,
  history: History
) {
  const { issue } = yield* Effect.provide(
    AuthTokens,
    AuthTokens.layer({
      issuer: "cartwright",
      audience: "cartwright",
      keys: { _tag: "Secret", secret: fleet.secrets.tokens }
    })
  )
  const name = `chaos-${seed}`
  let minted = 0
  const tokenOf: Surroundings["tokenOf"] = (customer) =>
    issue === undefined
      ? Effect.succeed(undefined)
      : Effect.map(
          issue({ customerId: CustomerId.make(customer), role: "customer", timeToLive: Duration.hours(12) }),
          ({ token }) => Redacted.value(token)
        )
  return {
    urls: fleet.nodes.map(({ url }) => url),
    run: name,
    tokenOf,
    prove: sandbox.prove,
    around: (calls) => recorded(history, calls, () => `${name}-key-${++minted}`)
  } satisfies Surroundings
})

// ---- what happens

interface Story {
  readonly lines: ReadonlyArray<string>
  readonly tell: Fleet.Say
}

/** Every line has the time since the start. */
const makeStory = Effect.fnUntraced(function* ({ say }: ChaosOptions) {
  const from = yield* Clock.currentTimeMillis
  const lines: Array<string> = []
  return {
    lines,
    tell: (line) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const told = `${((now - from) / 1000).toFixed(1).padStart(7)} s  ${line}`
        lines.push(told)
        return say(told)
      })
  } satisfies Story
})

/** Those after which somebody else has to go on. */
const takesAway: ReadonlySet<Fault["_tag"]> = new Set(["Freeze", "Kill", "RestartDatabase", "Stop"])

/** From a fault's beginning to its end. */
const carryOut = Effect.fnUntraced(function* (
  fleet: Fleet.Fleet,
  story: Story,
  marks: Array<{ readonly what: string; readonly at: number }>,
  { fault }: Planned
) {
  yield* story.tell(describe(fault))
  if (takesAway.has(fault._tag)) {
    marks.push({ what: describe(fault), at: yield* Clock.currentTimeMillis })
  }
  const over = (node: number, what: string) => story.tell(`${nameOf(node)}: ${what}`)
  switch (fault._tag) {
    case "Kill": {
      const node = fleet.nodes[fault.node]!
      yield* node.kill
      yield* Effect.sleep(fault.ms)
      return yield* node.start
    }
    case "Stop": {
      const node = fleet.nodes[fault.node]!
      yield* node.stop
      yield* over(fault.node, "has ended")
      yield* Effect.sleep(fault.ms)
      return yield* node.start
    }
    case "Freeze": {
      const node = fleet.nodes[fault.node]!
      yield* node.freeze
      yield* Effect.sleep(fault.ms)
      yield* node.thaw
      return yield* over(fault.node, "goes on (SIGCONT)")
    }
    case "CutDatabase":
    case "CutNode": {
      const node = fleet.nodes[fault.node]!
      const tunnel = fault._tag === "CutDatabase" ? node.toDatabase : node.fromNodes
      yield* tunnel.spoil(fault.how)
      yield* Effect.sleep(fault.ms)
      return yield* tunnel.pass
    }
    case "CutWrites":
      return yield* fleet.nodes[fault.node]!.toDatabase.cutWrites(fault.times, fault.arrives)
    case "ShiftClock": {
      const node = fleet.nodes[fault.node]!
      yield* node.shiftClock(fault.offsetMs)
      yield* Effect.sleep(fault.ms)
      return yield* node.shiftClock(0)
    }
    case "RestartDatabase":
      yield* Effect.uninterruptible(Effect.orDie(fleet.postgres.restart))
      return yield* story.tell("Postgres is back")
    case "CutProvider":
      yield* fleet.toProvider.spoil(fault.how)
      yield* Effect.sleep(fault.ms)
      return yield* fleet.toProvider.pass
    case "Provider":
      return yield* fleet.inject({ operation: fault.operation, fault: fault.fault, times: fault.times })
  }
})

// ---- after it

interface Settling {
  readonly options: ChaosOptions
  readonly inDatabase: <A, E>(effect: Effect.Effect<A, E, SqlClient>) => Effect.Effect<A, E>
  readonly surroundings: Surroundings
  readonly sandbox: SandboxControl.SandboxControl
  readonly initially: Snapshot
  readonly bought: Bought
}

/** Looks until all is as it must be, or the time for that is over. */
const settle = Effect.fnUntraced(function* ({
  bought,
  inDatabase,
  initially,
  options,
  sandbox,
  surroundings
}: Settling) {
  const own = surroundings.run
  const look = Effect.fnUntraced(function* (visits: ReadonlyArray<Visit>) {
    const decided = yield* Effect.forEach(
      visits,
      (one) => (one.outcome._tag === "Undecided" ? askAgain(surroundings, one) : Effect.succeed(one)),
      { concurrency: 8 }
    )
    const charges = yield* sandbox.charges((checkoutId) => checkoutId.startsWith(`${own}-`))
    const books = yield* inDatabase(readBooks(own))
    const snapshot = yield* inDatabase(readSnapshot())
    const leftToOperator = new Set(snapshot.compensations.map(({ orderId }) => orderId))
    const checks: ReadonlyArray<Checked> = [
      { name: "ends", finding: checkHeard(decided) },
      { name: "money", finding: checkMoney(decided, charges, leftToOperator) },
      { name: "stock", finding: both(checkStock(decided, books), checkPlaces(snapshot, initially)) },
      { name: "orders", finding: checkOrders(decided, books) },
      { name: "processes", finding: checkUnfinished(snapshot, leftToOperator) },
      { name: "notices", finding: checkNotices(snapshot) },
      { name: "undoing", finding: checkCompensations(snapshot, charges) }
    ]
    return { visits: decided, checks }
  })
  const from = yield* Clock.currentTimeMillis
  let found = yield* look(everybody(surroundings, bought))
  while (found.checks.some(isWrong)) {
    const waited = (yield* Clock.currentTimeMillis) - from
    if (waited > Duration.toMillis(options.settleWithin)) break
    yield* Effect.sleep(waited < 5000 ? 500 : 2000)
    found = yield* look(found.visits)
  }
  return { ...found, seconds: ((yield* Clock.currentTimeMillis) - from) / 1000 }
})

/** Those who have come in and not heard to the end belong to it. */
const everybody = (surroundings: Surroundings, { begun, visits }: Bought): ReadonlyArray<Visit> => {
  const heard = new Set(visits.map(({ buyer }) => buyer))
  const waiting = [...begun].filter((buyer) => !heard.has(buyer))
  return [
    ...visits,
    ...waiting.map((buyer): Visit => ({
      buyer,
      checkoutId: checkoutIdOf(surroundings, buyer),
      cameBack: 0,
      outcome: { _tag: "Undecided", why: "its buyer still waits" }
    }))
  ]
}

const both = (one: Finding, other: Finding): Finding => ({
  problems: [...one.problems, ...other.problems],
  summary: `${one.summary}; ${other.summary}`
})

/** Confirmations which are asked again with their keys in the end, at the most. */
const askedAgainMax = 400

/** Whether what was told stays told. The history takes the answers, and is checked as a whole. */
const askEverybody = Effect.fnUntraced(function* (surroundings: Surroundings, history: History) {
  const confirmations = history.filter(
    ({ answer, operation }) => operation === "ConfirmCheckout" && answer !== undefined
  )
  const each = Math.max(1, Math.ceil(confirmations.length / askedAgainMax))
  yield* Effect.forEach(
    confirmations.filter((_, index) => index % each === 0),
    (call) => repeat(surroundings, { index: Number(call.subject.split("-").at(-1)) }, [call]),
    { concurrency: 8, discard: true }
  )
})

/** What one needs to look into it: every call with its answer, and the report. */
const keep = (directory: string, history: History, report: Report): Effect.Effect<void> =>
  Effect.promise(async () => {
    await writeFile(join(directory, "report.json"), JSON.stringify(report, undefined, 2))
    await writeFile(join(directory, "history.jsonl"), "")
    for (let index = 0; index < history.length; index += 1000) {
      const lines = history.slice(index, index + 1000).map((call) => `${JSON.stringify(call, bigints)}\n`)
      await appendFile(join(directory, "history.jsonl"), lines.join(""))
    }
  })

const bigints = (_: string, value: unknown): unknown => (typeof value === "bigint" ? value.toString() : value)
