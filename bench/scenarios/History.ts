/** Whether a confirmation costs the same with years of orders and many open timers in the database as with none: the same node, twice. */
import { DateTime, Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { tableChecks } from "../../src/layers/Shop.ts"
import type { Page, Run } from "../../src/workflows/reconciliation/Check.ts"
import * as Confirmations from "../Confirmations.ts"
import * as Past from "../Past.ts"
import { aligned, type Medians, mediansOf, type Measured, type Ratio, ratioOf, showRatio } from "../Results.ts"
import { type BenchFailed, machine, type Stage, type Subject } from "../Stage.ts"
import * as Usage from "../Usage.ts"

export interface HistoryOptions {
  /** Finished orders which are there before. */
  readonly ordersBefore: number
  /** Timers of open carts and checkouts, due within a day or a month. */
  readonly timersBefore: number
  readonly orders: number
  readonly concurrency: number
  readonly rounds: number
  readonly warmUpRounds: number
  readonly seed: number
}

type Database = "empty" | "full"

export interface HistoryResult {
  readonly scenario: "history"
  readonly machine: ReturnType<typeof machine>
  readonly options: HistoryOptions
  /** What is in the full one before the first confirmation. */
  readonly before: {
    readonly orders: number
    readonly timers: number
    readonly historyRows: number
    readonly gigabytes: number
    readonly secondsToMake: number
  }
  readonly cells: ReadonlyArray<Measured & { readonly database: Database; readonly round: number }>
  readonly summary: Readonly<Record<Database, Medians>>
  /** Confirmations/s with a full database by those with an empty one, in pairs. */
  readonly ratio: Ratio
  /** What it takes reconciliation to look the full one through, without its rests. */
  readonly reconciliation: {
    readonly page: number
    readonly seconds: number
    readonly slowestPageMs: number
    readonly checks: ReadonlyArray<{ readonly check: string; readonly examined: number; readonly seconds: number }>
  }
}

export const run = Effect.fn("History.run")(function* (stage: Stage, options: HistoryOptions) {
  return yield* Effect.scoped(measureBoth(stage, options))
})

/** Timers that a checkout leaves which nobody confirms: the cart's and its own. */
const timersOfEach = 2

const measureBoth = Effect.fnUntraced(function* (stage: Stage, options: HistoryOptions) {
  const { concurrency, orders, ordersBefore, rounds, seed, timersBefore, warmUpRounds } = options
  const empty = yield* stage.plain("node")
  const full = yield* stage.start({ system: "node", name: "full" })
  yield* stage.say(`${ordersBefore} orders and ${timersBefore} timers are made ...`)
  const from = performance.now()
  yield* Past.make(stage, full, [
    { count: ordersBefore, confirmed: true, owners: 50_000, hours: 365 * 24 },
    { count: Math.ceil(timersBefore / timersOfEach), confirmed: false, owners: 50_000, hours: 12 }
  ])
  const secondsToMake = (performance.now() - from) / 1000
  const before = { ...(yield* count(full)), secondsToMake }
  yield* stage.say(
    `${before.orders} orders, ${before.timers} timers, ${before.historyRows} rows of history, ` +
      `${before.gigabytes.toFixed(1)} GB after ${secondsToMake.toFixed(0)} s; ${warmUpRounds} rounds to warm up.`
  )
  const subjects = yield* Effect.forEach([["empty", empty] as const, ["full", full] as const], ([database, subject]) =>
    Effect.map(Usage.whenIdle(stage, subject, "4 seconds"), ({ idle }) => ({ database, subject, idle }))
  )
  const cells: Array<HistoryResult["cells"][number]> = []
  for (let round = 1 - warmUpRounds; round <= rounds; round++) {
    for (const { database, idle, subject } of round % 2 === 0 ? subjects : subjects.toReversed()) {
      const measured = yield* Confirmations.measure(stage, subject, {
        checkouts: orders,
        concurrency,
        seed,
        idle,
        last: round === rounds
      })
      yield* stage.say(Confirmations.lineOf(database, round, measured))
      if (round > 0) cells.push({ database, round, ...measured })
    }
  }
  yield* stage.say("Now reconciliation looks the full one through.")
  const reconciliation = yield* lookThrough(full)
  const of = (database: Database) => cells.filter((cell) => cell.database === database)
  return {
    scenario: "history",
    machine: machine(),
    options,
    before,
    cells,
    summary: { empty: mediansOf(of("empty")), full: mediansOf(of("full")) },
    ratio: ratioOf(of("full").map(({ perSecond }, index) => perSecond / of("empty")[index]!.perSecond)),
    reconciliation
  } satisfies HistoryResult
})

/** Of a node which was told nothing else. */
const page = 500

const lookThrough = Effect.fnUntraced(function* ({ sql }: Subject): Effect.fn.Return<HistoryResult["reconciliation"]> {
  const asked: Run = { id: "bench", askedAt: yield* DateTime.now, limit: page }
  const checks: Array<HistoryResult["reconciliation"]["checks"][number]> = []
  let slowestPageMs = 0
  for (const check of yield* Effect.provideService(tableChecks, SqlClient, sql)) {
    const from = performance.now()
    let examined = 0
    let place: string | undefined
    do {
      const begun = performance.now()
      const looked: Page = yield* Effect.orDie(check.page(asked, place))
      slowestPageMs = Math.max(slowestPageMs, performance.now() - begun)
      examined += looked.examined
      place = looked.next
    } while (place !== undefined)
    checks.push({ check: check.name, examined, seconds: (performance.now() - from) / 1000 })
  }
  return { page, seconds: checks.reduce((sum, { seconds }) => sum + seconds, 0), slowestPageMs, checks }
})

const count = ({ sql }: Subject): Effect.Effect<Omit<HistoryResult["before"], "secondsToMake">, BenchFailed> =>
  Effect.map(
    sql<{ orders: number; timers: number; rows: number; bytes: number }>`
      select (select count(*)::int from orders.orders) as orders, (select count(*)::int from runtime.timers) as timers,
        (select count(*)::int from runtime.history) as rows, pg_database_size(current_database())::float8 as bytes`,
    ([row]) => ({
      orders: row!.orders,
      timers: row!.timers,
      historyRows: row!.rows,
      gigabytes: row!.bytes / 2 ** 30
    })
  )

/** For people. */
export const tableOf = ({ before, options, ratio, reconciliation, summary }: HistoryResult): string => {
  const [perSecond, ...others] = Confirmations.columns
  const rows = (["empty", "full"] as const).map((database) => {
    const [first, ...rest] = Confirmations.rowOf(summary[database])
    return [database, first!, database === "full" ? showRatio(ratio) : "", ...rest]
  })
  return [
    aligned([["database", perSecond!, "x empty", ...others], ...rows]),
    "",
    Confirmations.legend,
    `The full one has ${before.orders} orders, ${before.timers} open timers and ${before.gigabytes.toFixed(1)} GB, made in ${before.secondsToMake.toFixed(0)} s; ${options.concurrency} at once.`,
    "",
    aligned([
      ["check", "rows", "s"],
      ...reconciliation.checks.map(({ check, examined, seconds }) => [check, String(examined), seconds.toFixed(1)])
    ]),
    "",
    `Reconciliation looks it through in ${reconciliation.seconds.toFixed(0)} s without its rests, ${reconciliation.page} rows at a time; ` +
      `the slowest statement took ${reconciliation.slowestPageMs.toFixed(0)} ms.`
  ].join("\n")
}
