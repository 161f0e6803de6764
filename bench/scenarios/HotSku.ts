/** One product, few units, many buyers: how fast a node answers them all beside the floor, and whether it sells what there is, no more and no less. */
import { Effect } from "effect"
import { connect, type SandboxSilent } from "../../src/simulate/SandboxControl.ts"
import * as HotSale from "../HotSale.ts"
import { aligned, median, type Ratio, ratioOf, showRatio, type System } from "../Results.ts"
import { type BenchFailed, machine, type Stage, type Subject } from "../Stage.ts"

export interface SaleRounds {
  readonly buyers: number
  readonly units: number
  readonly atOnce: number
  readonly rounds: number
  /** Rounds before those, which nobody counts; their books are checked all the same. */
  readonly warmUpRounds: number
}

export interface SaleCell extends Omit<HotSale.Sale, "violations" | "paid" | "unpaid"> {
  readonly system: System
  readonly round: number
}

export interface SaleResult<Scenario extends string> {
  readonly scenario: Scenario
  readonly machine: ReturnType<typeof machine>
  readonly options: SaleRounds
  readonly cells: ReadonlyArray<SaleCell>
  /** Buyers/s of the nodes by those of the floor. */
  readonly ratio: Ratio
  /** What is not as it must be: too much sold, an answer that is not true, money of somebody who got nothing. */
  readonly violations: ReadonlyArray<string>
}

export const run = Effect.fn("HotSku.run")(function* (
  stage: Stage,
  options: SaleRounds
): Effect.fn.Return<SaleResult<"hot-sku">, BenchFailed | SandboxSilent> {
  return yield* contest(stage, "hot-sku", yield* stage.plain("node"), yield* stage.plain("floor"), options)
})

/** Sale after sale, in turns, each of a product of its own. */
export const contest = Effect.fn("HotSku.contest")(function* <Scenario extends string>(
  stage: Stage,
  scenario: Scenario,
  nodes: Subject,
  floor: Subject,
  options: SaleRounds
): Effect.fn.Return<SaleResult<Scenario>, BenchFailed | SandboxSilent> {
  const { atOnce, buyers, rounds, units, warmUpRounds } = options
  yield* stage.say(`${buyers} buyers of ${units} units, ${atOnce} at once; ${warmUpRounds} rounds to warm up.`)
  const cells: Array<SaleCell> = []
  const sales: Array<HotSale.Sale> = []
  for (let round = 1 - warmUpRounds; round <= rounds; round++) {
    for (const subject of round % 2 === 0 ? [nodes, floor] : [floor, nodes]) {
      const sku = `HOT-${scenario}-${round + warmUpRounds}`
      const sale = yield* HotSale.hold(stage, subject, { buyers, units, atOnce, sku, last: round === rounds })
      sales.push(sale)
      const { paid: _, unpaid: __, violations, ...figures } = sale
      yield* stage.say(
        `${round < 1 ? "warm-up" : `round ${round}`}  ${subject.name.padEnd(5)} ${sale.buyersPerSecond.toFixed(0).padStart(5)} buyers/s  ` +
          `${sale.confirmed} have it  refused: ${JSON.stringify(sale.refusals)}${violations.map((one) => `\n  ${one}`).join("")}`
      )
      if (round > 0) cells.push({ system: subject.system, round, ...figures })
    }
  }
  const ours = new Set(sales.flatMap(({ paid, unpaid }) => [...paid, ...unpaid]))
  const charges = yield* Effect.flatMap(connect(stage.sandboxUrl), (sandbox) => sandbox.charges((id) => ours.has(id)))
  const of = (system: System) => cells.filter((cell) => cell.system === system)
  return {
    scenario,
    machine: machine(),
    options,
    cells,
    ratio: ratioOf(of("node").map((cell, index) => cell.buyersPerSecond / of("floor")[index]!.buyersPerSecond)),
    violations: [...sales.flatMap(({ violations }) => violations), ...HotSale.chargesAgainst(sales, charges)]
  }
})

/** For people. */
export const tableOf = ({ cells, options, ratio, scenario, violations }: SaleResult<string>): string => {
  const rows = (["node", "floor"] as const).map((system) => {
    const these = cells.filter((cell) => cell.system === system)
    const of = (pick: (cell: SaleCell) => number) => median(these.map(pick))
    return [
      system === "node" && scenario === "two-nodes" ? "two nodes" : system,
      of(({ buyersPerSecond }) => buyersPerSecond).toFixed(0),
      system === "node" ? showRatio(ratio) : "",
      of(({ milliseconds }) => milliseconds.p50).toFixed(1),
      of(({ milliseconds }) => milliseconds.p99).toFixed(1),
      [...new Set(these.map(({ confirmed }) => confirmed))].join(", ")
    ]
  })
  return [
    aligned([["system", "buyers/s", "x floor", "p50 ms", "p99", "sold"], ...rows]),
    "",
    `${options.buyers} buyers of ${options.units} units, ${options.atOnce} at once. Medians over ${options.rounds} rounds; x floor is the median (least-most) of pairs.`,
    violations.length === 0
      ? "Tables, stock ledger and the provider's ledger say the same: as many sold as there were, everybody else refused and not charged."
      : `WRONG:\n${violations.map((violation) => `  ${violation}`).join("\n")}`
  ].join("\n")
}
