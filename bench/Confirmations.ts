/** One measurement of confirmations: so many checkouts are prepared, then confirmed by so many customers at once. */
import { Effect } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import type { ProcessFailed } from "./Processes.ts"
import { type Idle, type Measured, percentile } from "./Results.ts"
import { secret, type Stage, type Subject } from "./Stage.ts"
import * as Usage from "./Usage.ts"

export interface MeasureOptions {
  readonly checkouts: number
  readonly concurrency: number
  readonly seed: number
  /** What goes on anyway: signs of life, sweeps. It is taken off. */
  readonly idle: Idle
  /** Whether this is the last one of its kind: then statements are told, and nodes profiled where that is wanted. */
  readonly last: boolean
}

export const measure = Effect.fn("Confirmations.measure")(function* (
  stage: Stage,
  subject: Subject,
  { checkouts, concurrency, idle, last, seed }: MeasureOptions
): Effect.fn.Return<Measured, ProcessFailed | SqlError> {
  const visit = { urls: subject.urls, secret }
  yield* subject.alone
  const prepared = yield* stage.ask({
    _tag: "Prepare",
    ...visit,
    customers: concurrency,
    checkouts,
    basket: { _tag: "TwoOf", skus: stage.skus },
    seed
  })
  yield* subject.settled
  const confirmed = Effect.gen(function* () {
    const before = yield* Usage.read(stage, subject)
    const report = yield* stage.ask({ _tag: "Confirm", ...visit, checkouts: prepared.checkouts })
    yield* subject.settled
    return { before, report, after: yield* Usage.read(stage, subject) }
  })
  const { after, before, report } = yield* last ? Usage.profiled(stage, subject)(confirmed) : confirmed

  const elapsed = (after.at - before.at) / 1000
  const net = (name: "commits" | "statements" | "walBytes") =>
    (after[name] - before[name] - idle.perSecond[name] * elapsed) / checkouts
  const perThousand = (name: "server" | "postgres" | "sandbox" | "load", whenIdle: number | undefined) => {
    const [one, other] = [before[name], after[name]]
    return one === undefined || other === undefined
      ? undefined
      : ((other - one - (whenIdle ?? 0) * elapsed) * 1000) / checkouts
  }
  const sorted = report.milliseconds.toSorted((left, right) => left - right)
  const top = last ? yield* Usage.topStatements(subject, before, after) : []
  return {
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
    perCheckout: { commits: net("commits"), statements: net("statements"), walBytes: net("walBytes") },
    cpuSecondsPerThousand: {
      server: perThousand("server", idle.perSecond.server),
      postgres: perThousand("postgres", idle.perSecond.postgres),
      sandbox: perThousand("sandbox", 0),
      load: perThousand("load", 0)
    },
    refusals: report.refusals,
    ...(top.length === 0
      ? {}
      : {
          topStatements: top.map(({ calls, milliseconds, text }) => ({
            perCheckout: calls / checkouts,
            milliseconds: milliseconds / checkouts,
            text
          }))
        })
  }
})

/** One measurement in a line. */
export const lineOf = (name: string, round: number, measured: Measured): string => {
  const { concurrency, milliseconds, perSecond, refusals } = measured
  return (
    `${round < 1 ? "warm-up" : `round ${round}`}  ${name.padEnd(5)} at ${String(concurrency).padStart(3)}: ` +
    `${perSecond.toFixed(0).padStart(5)}/s  p50 ${milliseconds.p50.toFixed(1)} ms  p99 ${milliseconds.p99.toFixed(1)} ms` +
    (Object.keys(refusals).length === 0 ? "" : `  refused: ${JSON.stringify(refusals)}`)
  )
}

/** For people: what a table of measurements says of each. */
export const columns = [
  "/s",
  "p50 ms",
  "p95",
  "p99",
  "commits",
  "statements",
  "WAL KB",
  "CPU server",
  "Postgres",
  "sandbox",
  "load"
]

export const rowOf = (measured: Omit<Measured, "concurrency" | "topStatements">): ReadonlyArray<string> => {
  const { cpuSecondsPerThousand: cpu, milliseconds, perCheckout, perSecond } = measured
  return [
    perSecond.toFixed(0),
    milliseconds.p50.toFixed(1),
    milliseconds.p95.toFixed(1),
    milliseconds.p99.toFixed(1),
    perCheckout.commits.toFixed(2),
    perCheckout.statements.toFixed(2),
    (perCheckout.walBytes / 1024).toFixed(1),
    cpu.server?.toFixed(2) ?? "-",
    cpu.postgres?.toFixed(2) ?? "-",
    cpu.sandbox?.toFixed(2) ?? "-",
    cpu.load?.toFixed(2) ?? "-"
  ]
}

/** Under such a table. */
export const legend =
  "Per checkout: commits, statements, WAL. CPU: seconds per 1000 checkouts. Medians over the rounds; x is the median (least-most) of pairs."
