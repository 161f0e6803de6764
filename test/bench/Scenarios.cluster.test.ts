import { assert, describe, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import * as Confirm from "../../bench/scenarios/Confirm.ts"
import * as History from "../../bench/scenarios/History.ts"
import * as HotSku from "../../bench/scenarios/HotSku.ts"
import * as Idle from "../../bench/scenarios/Idle.ts"
import * as Residency from "../../bench/scenarios/Residency.ts"
import * as Takeover from "../../bench/scenarios/Takeover.ts"
import * as TwoNodes from "../../bench/scenarios/TwoNodes.ts"
import * as Stage from "../../bench/Stage.ts"

/** One for all of them: processes take longer to start than such small scenarios to play. */
class TheStage extends Context.Service<TheStage, Stage.Stage>()(
  "cartwright/test/bench/Scenarios.cluster.test/TheStage"
) {}
const stage = Layer.effect(TheStage, Stage.open({ skus: 50, say: () => Effect.void }))

/**
 * What a checkout may cost, what is done behind its answer included. These do not drift with the machine: one at a time they are counted
 * steps, and many at once share them whatever its speed. They only go down. What is due each hour may fall into so short a run, and is some
 * thirty statements.
 */
const budget = {
  oneAtATime: { commits: 6.5, statements: 10 },
  manyAtOnce: { commits: 0.45, statements: 0.9 }
}

/** Where other things run besides. */
const timeout = 240_000

describe("the benchmark", () => {
  layer(stage, { excludeTestServices: true, timeout })((it) => {
    it.effect(
      "confirm: node and floor are measured side by side, and a checkout stays within its budget of statements and commits",
      Effect.fnUntraced(function* () {
        const result = yield* Confirm.run(yield* TheStage, {
          orders: 192,
          concurrency: [1, 64],
          rounds: 1,
          warmUpRounds: 0,
          systems: ["node", "floor"],
          seed: 1
        })
        assert.deepStrictEqual(
          result.summary.map(({ concurrency }) => concurrency),
          [1, 64]
        )
        for (const { concurrency, ratio, systems } of result.summary) {
          const { floor, node } = systems
          assert.isDefined(ratio)
          for (const found of [node!, floor!]) {
            assert.deepStrictEqual(found.refusals, {})
            assert.strictEqual(found.checkouts, concurrency === 1 ? 48 : 192)
            for (const figure of [
              found.perSecond,
              found.milliseconds.p50,
              found.milliseconds.p99,
              found.perCheckout.walBytes
            ]) {
              assert.isAbove(figure, 0)
            }
            if (process.platform === "linux") assert.isAbove(found.cpuSecondsPerThousand.server!, 0)
          }
          assert.approximately(floor!.perCheckout.commits, 3, 0.3)
          assert.approximately(floor!.perCheckout.statements, 4, 0.3)
          const { commits, statements } = concurrency === 1 ? budget.oneAtATime : budget.manyAtOnce
          assert.isAtMost(node!.perCheckout.commits, commits)
          assert.isAtMost(node!.perCheckout.statements, statements)
          // Nothing is durable without one.
          assert.isAbove(node!.perCheckout.commits, concurrency === 1 ? 3 : 0)
        }
        assert.match(Confirm.tableOf(result), /^ +64 +node/m)
        assert.deepStrictEqual(JSON.parse(JSON.stringify(result)), result)
      }),
      timeout
    )

    it.effect(
      "hot-sku: of few units each is sold once, everybody else is refused, and nobody else has paid",
      Effect.fnUntraced(function* () {
        const result = yield* HotSku.run(yield* TheStage, sale)
        assertSold(result)
        assert.match(HotSku.tableOf(result), /the provider's ledger say the same/)
      }),
      timeout
    )

    it.effect(
      "two-nodes: the same where two nodes sell them",
      Effect.fnUntraced(function* () {
        const result = yield* TwoNodes.run(yield* TheStage, sale)
        assertSold(result)
        assert.match(HotSku.tableOf(result), /^two nodes/m)
      }),
      timeout
    )

    it.effect(
      "history: a past is made which looks like the real one, and confirmations beside it cost no more statements or commits",
      Effect.fnUntraced(function* () {
        const result = yield* History.run(yield* TheStage, {
          ordersBefore: 2000,
          timersBefore: 400,
          orders: 128,
          concurrency: 64,
          rounds: 1,
          warmUpRounds: 0,
          seed: 1
        })
        const { empty, full } = result.summary
        assert.isAtLeast(result.before.orders, 2000)
        assert.isAtLeast(result.before.timers, 400)
        assert.isAbove(result.before.historyRows, 5 * 2000)
        for (const found of [empty, full]) {
          assert.deepStrictEqual(found.refusals, {})
          assert.isAtMost(found.perCheckout.commits, budget.manyAtOnce.commits)
          assert.isAtMost(found.perCheckout.statements, budget.manyAtOnce.statements)
        }
        assert.isAbove(result.ratio.median, 0)
        assert.match(History.tableOf(result), /^full/m)
      }),
      timeout
    )

    it.effect(
      "residency: a node which has forgotten most of its actors answers for all of them, and does nothing twice",
      Effect.fnUntraced(function* () {
        const result = yield* Residency.run(yield* TheStage, { orders: 300, residentMax: 100, again: 50 })
        assert.deepStrictEqual(result.violations, [])
        assert.strictEqual(result.actors.asked, 1200)
        // Those which are needed are kept, whatever their number.
        assert.isAtMost(result.actors.resident, 400)
        assert.isAbove(result.actors.resident, 0)
        assert.strictEqual(result.actors.dropped, result.actors.asked - result.actors.resident)
        if (process.platform === "linux") assert.isAbove(result.memory.after!, 50 * 2 ** 20)
        assert.match(Residency.tableOf(result), /had their first answer/)
      }),
      timeout
    )

    it.effect(
      "idle: a node at rest asks the database for no more than signs of life and what is due",
      Effect.fnUntraced(function* () {
        // What a node does each hour, or soon after its start, may fall into so short a watch; not into each of three.
        const result = yield* Idle.run(yield* TheStage, { seconds: 6, ordersBefore: 16 }).pipe(
          Effect.repeat({ until: ({ perSecond }) => perSecond.commits <= 2, times: 2 })
        )
        assert.isAtMost(result.perSecond.statements, 8)
        assert.isAtMost(result.perSecond.commits, 2)
        assert.isAbove(result.statements.length, 0)
        assert.match(Idle.tableOf(result), /^idle node/m)
      }),
      timeout
    )

    it.effect(
      "takeover: a node is killed, stopped and frozen and the database breaks down, and every confirmation is heard and paid once",
      Effect.fnUntraced(function* () {
        const result = yield* Takeover.run(yield* TheStage, { checkouts: 400, customers: 16, rounds: 1 })
        assert.deepStrictEqual(result.violations, [])
        for (const { fault, underWay, underWayMs } of result.incidents) {
          assert.isAbove(underWay, 0, fault)
          assert.isAbove(underWayMs.most, 0, fault)
        }
        assert.isDefined(result.incidents.find(({ fault }) => fault === "database")?.servedAfterMs)
        assert.match(Takeover.tableOf(result), /^killed/m)
      }),
      timeout
    )
  })
})

const sale = { buyers: 80, units: 8, atOnce: 40, rounds: 1, warmUpRounds: 0 }

const assertSold = ({ cells, ratio, violations }: HotSku.SaleResult<string>) => {
  assert.deepStrictEqual(violations, [])
  assert.deepStrictEqual(
    cells.map(({ confirmed, refusals }) => ({ confirmed, refusals })),
    Array.from({ length: 2 }, () => ({ confirmed: 8, refusals: { OutOfStock: 72 } }))
  )
  assert.isAbove(ratio.median, 0)
}
