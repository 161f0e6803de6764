/** What a node does when nobody buys: statements and CPU. */
import { Duration, Effect, Schedule } from "effect"
import { aligned, type Idle } from "../Results.ts"
import { type BenchFailed, machine, secret, type Stage, type Subject } from "../Stage.ts"
import * as Usage from "../Usage.ts"

export interface IdleOptions {
  readonly seconds: number
  /** Checkouts that were confirmed before, so that the node is not as good as new. */
  readonly ordersBefore: number
}

export interface IdleResult {
  readonly scenario: "idle"
  readonly machine: ReturnType<typeof machine>
  readonly options: IdleOptions
  readonly perSecond: Omit<Idle["perSecond"], "server" | "postgres">
  /** Of one processor, in percent. Absent where the kernel does not tell. */
  readonly cpuPercent: { readonly node: number | undefined; readonly postgres: number | undefined }
  readonly statements: ReadonlyArray<{
    readonly perSecond: number
    readonly milliseconds: number
    readonly text: string
  }>
}

export const run = Effect.fn("Idle.run")(function* (
  stage: Stage,
  options: IdleOptions
): Effect.fn.Return<IdleResult, BenchFailed> {
  const subject = yield* stage.plain("node")
  const visit = { urls: subject.urls, secret }
  const { checkouts } = yield* stage.ask({
    _tag: "Prepare",
    ...visit,
    customers: Math.min(16, options.ordersBefore),
    checkouts: options.ordersBefore,
    basket: { _tag: "TwoOf", skus: stage.skus },
    seed: 1
  })
  yield* stage.ask({ _tag: "Confirm", ...visit, checkouts })
  yield* subject.settled
  yield* looked(subject)
  // What was begun then has ended by now: compilers, a last sweep.
  yield* Effect.sleep(quiet(options))
  yield* stage.say(`Nobody buys for ${options.seconds} seconds.`)
  const watch = Usage.whenIdle(stage, subject, Duration.seconds(options.seconds))
  const { after, before, idle } = yield* Usage.profiled(stage, subject)(watch)
  const percent = (perSecond: number | undefined) => (perSecond === undefined ? undefined : perSecond * 100)
  const { postgres, server, ...perSecond } = idle.perSecond
  const elapsed = (after.at - before.at) / 1000
  return {
    scenario: "idle",
    machine: machine(),
    options,
    perSecond,
    cpuPercent: { node: percent(server), postgres: percent(postgres) },
    statements: (yield* Usage.topStatements(subject, before, after))
      .map(({ calls, milliseconds, text }) => ({
        perSecond: calls / elapsed,
        milliseconds: milliseconds / calls,
        text
      }))
      .toSorted((left, right) => right.perSecond - left.perSecond)
  }
})

/** What is due each hour is no rest: a node which has just started does it within minutes. */
const looked = ({ sql }: Subject) =>
  sql<{ readonly yes: boolean | null }>`select bool_and(finished_at is not null) as yes from ops.reconciliations`.pipe(
    Effect.repeat({
      until: ([row]) => row?.yes === true,
      schedule: Schedule.spaced("1 second").pipe(Schedule.upTo({ duration: "3 minutes" }))
    })
  )

const quiet = ({ seconds }: IdleOptions) => Duration.seconds(Math.min(10, seconds))

/** For people. */
export const tableOf = ({ cpuPercent, options, perSecond, statements }: IdleResult): string =>
  [
    aligned([
      ["", "statements/s", "commits/s", "WAL KB/s", "CPU node", "Postgres"],
      [
        "idle node",
        perSecond.statements.toFixed(2),
        perSecond.commits.toFixed(2),
        (perSecond.walBytes / 1024).toFixed(2),
        cpuPercent.node === undefined ? "-" : `${cpuPercent.node.toFixed(2)} %`,
        cpuPercent.postgres === undefined ? "-" : `${cpuPercent.postgres.toFixed(2)} %`
      ]
    ]),
    "",
    aligned(
      [
        ["/s", "ms", "statement"],
        ...statements.map((one) => [one.perSecond.toFixed(2), one.milliseconds.toFixed(2), one.text])
      ],
      [2]
    ),
    "",
    `Over ${options.seconds} seconds. CPU is of one processor.`
  ].join("\n")
