/** What a confirmed checkout of two lines costs on a node, and beside it what the same costs on the floor, which takes turns with it. */
import { Effect } from "effect"
import * as Confirmations from "../Confirmations.ts"
import { aligned, type Cell, type Idle, showRatio, type Summary, summaryOf, type System } from "../Results.ts"
import { type BenchFailed, machine, type Stage } from "../Stage.ts"
import * as Usage from "../Usage.ts"

export interface ConfirmOptions {
  /** Confirmations of one measurement; with one at a time a quarter of them. */
  readonly orders: number
  readonly concurrency: ReadonlyArray<number>
  readonly rounds: number
  /** Rounds before those, which nobody counts: compilers and plans settle. */
  readonly warmUpRounds: number
  readonly systems: ReadonlyArray<System>
  readonly seed: number
}

export interface ConfirmResult {
  readonly scenario: "confirm"
  readonly machine: ReturnType<typeof machine>
  readonly options: ConfirmOptions & { readonly skus: number }
  readonly idle: ReadonlyArray<Idle>
  readonly cells: ReadonlyArray<Cell>
  readonly summary: ReadonlyArray<Summary>
}

export const run = Effect.fn("Confirm.run")(function* (
  stage: Stage,
  options: ConfirmOptions
): Effect.fn.Return<ConfirmResult, BenchFailed> {
  const { rounds, warmUpRounds } = options
  const subjects = yield* Effect.forEach(options.systems, stage.plain)
  yield* stage.say(`Everything runs; ${warmUpRounds} rounds to warm up, ${rounds} to measure.`)
  const watched = yield* Effect.forEach(subjects, (subject) => Usage.whenIdle(stage, subject, "4 seconds"))
  const idle = watched.map((one) => one.idle)
  const cells: Array<Cell> = []
  for (let round = 1 - warmUpRounds; round <= rounds; round++) {
    for (const concurrency of options.concurrency) {
      // In turns, and who begins changes.
      for (const subject of round % 2 === 0 ? subjects : subjects.toReversed()) {
        const { system } = subject
        const measured = yield* Confirmations.measure(stage, subject, {
          checkouts: Math.max(concurrency, concurrency === 1 ? Math.ceil(options.orders / 4) : options.orders),
          concurrency,
          seed: options.seed,
          idle: idle.find((one) => one.system === system)!,
          last: round === rounds
        })
        yield* stage.say(Confirmations.lineOf(system, round, measured))
        if (round > 0) cells.push({ system, round, ...measured })
      }
    }
  }
  return {
    scenario: "confirm",
    machine: machine(),
    options: { ...options, skus: stage.skus },
    idle,
    cells,
    summary: summaryOf(cells)
  }
})

/** For people. */
export const tableOf = ({ idle, summary }: ConfirmResult): string => {
  const [perSecond, ...others] = Confirmations.columns
  const rows = summary.flatMap(({ concurrency, ratio, systems }) =>
    (["node", "floor"] as const).flatMap((system) => {
      const found = systems[system]
      if (found === undefined) return []
      const [first, ...rest] = Confirmations.rowOf(found)
      return [
        [
          String(concurrency),
          system,
          first!,
          ratio === undefined || system === "floor" ? "" : showRatio(ratio),
          ...rest
        ]
      ]
    })
  )
  return [
    aligned([["at once", "system", perSecond!, "x floor", ...others], ...rows], [1]),
    "",
    Confirmations.legend,
    ...idle.map(
      (one) =>
        `When nobody buys, the ${one.system} makes ${one.perSecond.statements.toFixed(1)} statements and ${one.perSecond.commits.toFixed(1)} commits a second; they are taken off.`
    )
  ].join("\n")
}
