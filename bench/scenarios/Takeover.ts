/** What buyers notice of a node which is killed, stopped or frozen, and of a database which breaks down, while they confirm on two nodes. */
import * as PgClient from "@effect/sql-pg/PgClient"
import { Duration, Effect, Fiber, Schedule } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { connect, type SandboxSilent } from "../../src/simulate/SandboxControl.ts"
import * as HotSale from "../HotSale.ts"
import * as Processes from "../Processes.ts"
import { aligned, percentile } from "../Results.ts"
import { type BenchFailed, machine, secret, type Stage, type Subject } from "../Stage.ts"

export interface TakeoverOptions {
  readonly rounds: number
  /** Confirmations of one round. */
  readonly checkouts: number
  /** Who confirm at once, one after another each. */
  readonly customers: number
}

const faults = ["killed", "stopped", "frozen", "database"] as const
type Fault = (typeof faults)[number]

interface Incident {
  readonly fault: Fault
  readonly round: number
  /** Calls which were under way at that instant. */
  readonly underWay: number
  /** From that instant to their answers. */
  readonly underWayMs: { readonly p50: number; readonly most: number }
  /** Of any call that was sent then or later. */
  readonly longestMs: number
  /** The longest time in which nobody heard anything. */
  readonly silentMs: number
  /** From when Postgres took connections again to the first answer. */
  readonly servedAfterMs?: number
  /** Confirmations which ended as something else, by its name. */
  readonly refusals: Readonly<Record<string, number>>
}

export interface TakeoverResult {
  readonly scenario: "takeover"
  readonly machine: ReturnType<typeof machine>
  readonly options: TakeoverOptions
  readonly incidents: ReadonlyArray<Incident>
  /** What is not as it must be: a confirmation that failed, an order which is not paid exactly once. */
  readonly violations: ReadonlyArray<string>
}

export const run = (
  stage: Stage,
  options: TakeoverOptions
): Effect.Effect<TakeoverResult, BenchFailed | SandboxSilent> =>
  Effect.gen(function* () {
    const pair = yield* stage.start({ system: "node", name: "takeover", nodes: 2 })
    const incidents: Array<Incident> = []
    const paid: Array<string> = []
    for (let round = 1; round <= options.rounds; round++) {
      for (const fault of faults) {
        const { confirmed, ...incident } = yield* suffer(stage, pair, options, fault, round)
        paid.push(...confirmed)
        incidents.push(incident)
        yield* stage.say(
          `round ${round}  ${fault.padEnd(9)}${incident.underWay} under way, answered within ${incident.underWayMs.most.toFixed(0)} ms  ` +
            `others: ${JSON.stringify(incident.refusals)}`
        )
      }
    }
    const ours = new Set(paid)
    const charges = yield* Effect.flatMap(connect(stage.sandboxUrl), (sandbox) => sandbox.charges((id) => ours.has(id)))
    return {
      scenario: "takeover",
      machine: machine(),
      options,
      incidents,
      violations: [
        ...incidents.flatMap(({ fault, refusals, round }) =>
          Object.entries(refusals).map(([name, times]) => `round ${round}, ${fault}: ${times} heard ${name}`)
        ),
        ...HotSale.chargesAgainst([{ paid, unpaid: [] }], charges)
      ]
    } satisfies TakeoverResult
  }).pipe(Effect.scoped, Effect.withSpan("Takeover.run"))

const suffer = Effect.fnUntraced(function* (
  stage: Stage,
  subject: Subject,
  { checkouts: count, customers }: TakeoverOptions,
  fault: Fault,
  round: number
) {
  const visit = { urls: subject.urls, secret }
  const { checkouts } = yield* stage.ask({
    _tag: "Prepare",
    ...visit,
    customers,
    checkouts: count,
    basket: { _tag: "TwoOf", skus: stage.skus },
    seed: round
  })
  yield* subject.settled
  const confirming = yield* Effect.forkChild(stage.ask({ _tag: "Confirm", ...visit, checkouts }))
  yield* Effect.sleep("1 second")
  const happened = yield* strike(subject, fault)
  const report = yield* Fiber.join(confirming)
  yield* happened.mended
  yield* subject.shared
  yield* subject.settled
  const calls = report.sentAt.map((sent, index) => ({ sent, answered: sent + report.milliseconds[index]! }))
  const { at } = happened
  const later = calls.filter(({ answered }) => answered >= at)
  const underWay = later
    .filter(({ sent }) => sent < at)
    .map(({ answered }) => answered - at)
    .toSorted((one, other) => one - other)
  const answers = [at, ...later.map(({ answered }) => answered).toSorted((one, other) => one - other)]
  const most = (numbers: ReadonlyArray<number>) => numbers.reduce((found, one) => Math.max(found, one), 0)
  const { backAt } = happened
  const served = backAt === undefined ? undefined : answers.find((answered) => answered >= backAt)
  return {
    fault,
    round,
    underWay: underWay.length,
    underWayMs: { p50: percentile(underWay, 0.5), most: underWay.at(-1) ?? 0 },
    longestMs: most(later.map(({ answered, sent }) => answered - sent)),
    silentMs: most(answers.slice(1).map((answered, index) => answered - answers[index]!)),
    ...(backAt === undefined || served === undefined ? {} : { servedAfterMs: served - backAt }),
    refusals: report.refusals,
    confirmed: report.confirmed.map(({ checkoutId }) => checkoutId)
  }
})

const now = () => performance.timeOrigin + performance.now()

/** Strikes, and says when that was, when the database was back, and how to have everything as it was. */
const strike = Effect.fnUntraced(function* (subject: Subject, fault: Fault) {
  if (fault === "database") {
    const started = yield* startedAt(subject)
    const back = yield* startedAt(subject).pipe(
      Effect.repeat({
        until: (again) => again !== undefined && again !== started,
        schedule: Schedule.spaced("5 millis")
      }),
      Effect.map(now),
      Effect.forkChild
    )
    const at = now()
    yield* subject.restartPostgres
    // Our own connection has been cut as well, which is noticed when it is used.
    const reconnected = Effect.all([subject.settled, subject.shared]).pipe(
      Effect.retry({ times: 5, schedule: Schedule.spaced("100 millis") })
    )
    return { at, backAt: yield* Fiber.join(back), mended: Effect.asVoid(reconnected) }
  }
  const node = subject.nodes[0]!
  const at = now()
  node.child.kill(signals[fault])
  const thawed = Effect.suspend(() => {
    node.child.kill("SIGCONT")
    return Processes.awaitHttp(node, `${subject.urls[0]}/readyz`)
  })
  return { at, backAt: undefined, mended: fault === "frozen" ? thawed : subject.again(0) }
})

const signals = { killed: "SIGKILL", stopped: "SIGTERM", frozen: "SIGSTOP" } as const

/** When the server was started, as it says; nothing while there is none. */
const startedAt = ({ database }: Subject) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const [row] = yield* sql<{ at: string }>`select pg_postmaster_start_time()::text as at`
    return row?.at
  }).pipe(
    Effect.provide(PgClient.layer({ url: database, maxConnections: 1, connectTimeout: Duration.seconds(1) })),
    Effect.orElseSucceed(() => undefined)
  )

/** For people. */
export const tableOf = ({ incidents, options, violations }: TakeoverResult): string => {
  const rows = faults.map((fault) => {
    const these = incidents.filter((incident) => incident.fault === fault)
    const most = (pick: (incident: Incident) => number) => Math.max(...these.map(pick)).toFixed(0)
    return [
      fault,
      these.map(({ underWay }) => underWay).join(", "),
      most(({ underWayMs }) => underWayMs.p50),
      most(({ underWayMs }) => underWayMs.most),
      most(({ longestMs }) => longestMs),
      most(({ silentMs }) => silentMs),
      fault === "database" ? most(({ servedAfterMs }) => servedAfterMs!) : ""
    ]
  })
  return [
    aligned([
      ["", "under way", "p50 ms", "last", "longest call", "nobody heard anything for", "served again after"],
      ...rows
    ]),
    "",
    `${options.customers} customers confirm on two nodes; one of them, or the database, breaks down. The worst of ${options.rounds} rounds: from the instant to ` +
      "the answers of the calls which were under way, the longest call from then on, the longest silence, and from when Postgres was back to the next answer.",
    violations.length === 0
      ? "Every confirmation was heard as one, and the provider's ledger has each of them paid once."
      : `WRONG:\n${violations.map((violation) => `  ${violation}`).join("\n")}`
  ].join("\n")
}
