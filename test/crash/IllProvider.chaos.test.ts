import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Fiber, Layer, Random, Result, Schedule, Schema } from "effect"
import { checkCompensations, checkUnfinished } from "../../chaos/Checks.ts"
import { readSnapshot } from "../../chaos/Tables.ts"
import type { ShopLimits } from "../../src/layers/Shop.ts"
import { migrate } from "../../src/migrations/Migrations.ts"
import { Placement } from "../../src/runtime/Placement.ts"
import type { Fault, Operation } from "../../src/sandbox/Faults.ts"
import { PaymentProvider } from "../../src/sandbox/PaymentProvider.ts"
import { Charge } from "../../src/simulate/SandboxControl.ts"
import { Checkout } from "../../src/workflows/checkout/Checkout.ts"
import { freshDatabase } from "../fixtures/Postgres.ts"
import * as Shop from "../fixtures/Shop.ts"

const seeds = [3, 6]
const buyerCount = 24

/** What was looked into in vain during the illness is tried again soon after it: until then its buyer waits. */
const limits: ShopLimits = {
  ...Shop.quickLimits,
  compensation: {
    ...Shop.quickLimits.compensation,
    backoff: { base: Duration.millis(500), cap: Duration.seconds(2) },
    maxRetries: 10
  }
}

const operations: ReadonlyArray<Operation> = ["create", "confirm", "capture", "retrieve", "cancel", "refund"]
const faults: ReadonlyArray<Fault> = [
  { _tag: "Delay", ms: 300 },
  { _tag: "Delay", ms: 2500 },
  { _tag: "Unavailable" },
  { _tag: "RateLimited", retryAfterSeconds: 1 },
  { _tag: "Reset", done: true },
  { _tag: "Reset", done: false },
  { _tag: "Silence", done: true },
  { _tag: "Silence", done: false },
  { _tag: "ServerError", done: true },
  { _tag: "ServerError", done: false }
]

const oneOf = <A>(from: ReadonlyArray<A>) => Effect.map(Random.nextIntBetween(0, from.length - 1), (at) => from[at]!)

/** For a while, whatever the provider is asked next may go wrong. */
const fallIll = Effect.gen(function* () {
  const provider = yield* PaymentProvider
  while (true) {
    const [operation, fault] = [yield* oneOf(operations), yield* oneOf(faults)]
    provider.faults.inject({ operation, fault, times: yield* Random.nextIntBetween(1, 3) })
    if (yield* Random.nextBoolean) {
      provider.faults.inject({
        operation: "any",
        fault: { _tag: "Down", ms: yield* Random.nextIntBetween(50, 300) },
        times: 1
      })
    }
    yield* Effect.sleep(yield* Random.nextIntBetween(10, 60))
  }
}).pipe(
  Effect.timeoutOption("8 seconds"),
  Effect.andThen(PaymentProvider),
  Effect.map(({ faults: book }) => book.clear())
)

/** The attempt has not ended, or has not begun: the same key is asked again. */
const open = new Set(["CartLocked", "Pending", "Unavailable"])

describe("given two nodes which both believe to own everything, and a provider which is ill", () => {
  for (const seed of seeds) {
    it.live(
      `when checkouts are confirmed on both at once, then each ends, paid for once or given back, and no answer is wrong (seed ${seed})`,
      () =>
        Effect.gen(function* () {
          const url = yield* freshDatabase
          yield* migrate.pipe(Effect.provide(PgClient.layer({ url })))
          yield* Effect.gen(function* () {
            const one = yield* Layer.build(Layer.fresh(Shop.shopOn(url, limits)))
            const other = yield* Layer.build(Layer.fresh(Shop.shopOn(url, limits)))
            yield* Effect.gen(function* () {
              yield* Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 15, lyon: 15 } }])
              const { ledger } = yield* PaymentProvider
              const buyers = yield* Effect.forEach(Array.from({ length: buyerCount }), () =>
                Shop.prepare({ lines: { tea: 1 } })
              )
              const confirmOn = (
                node: typeof one,
                { by, checkoutId }: (typeof buyers)[number],
                confirmKey: ReturnType<typeof Shop.key>
              ) =>
                Context.get(node, Placement)
                  .client(Checkout, { timeout: Shop.patience })(checkoutId)
                  .Confirm({ by, confirmKey })
                  .pipe(
                    Effect.result,
                    Effect.map((result) => (Result.isSuccess(result) ? result.success._tag : result.failure._tag)),
                    Effect.repeat({
                      schedule: Schedule.max([Schedule.spaced("100 millis"), Schedule.recurs(300)]),
                      while: (told) => open.has(told)
                    })
                  )
              const illness = yield* Effect.forkChild(fallIll)
              const told = yield* Effect.forEach(
                buyers,
                Effect.fnUntraced(function* (buyer) {
                  const answers: Array<readonly [ReturnType<typeof Shop.key>, string]> = []
                  // Whoever is refused comes back with another try, as buyers do.
                  for (let round = 0; round < 3 && !answers.some(([, answer]) => answer === "Confirmed"); round++) {
                    const keys = [Shop.key(), Shop.key()] as const
                    const [left, right] = yield* Effect.all(
                      [confirmOn(one, buyer, keys[0]), confirmOn(other, buyer, keys[1])],
                      { concurrency: 2 }
                    )
                    answers.push([keys[0], left], [keys[1], right])
                  }
                  return answers
                }),
                { concurrency: buyerCount }
              )
              yield* Fiber.join(illness)
              const recorded = (snapshot: Effect.Success<ReturnType<typeof readSnapshot>>) =>
                new Set(snapshot.compensations.map(({ orderId }) => orderId))
              const unfinished = Effect.map(
                readSnapshot(),
                (snapshot) => checkUnfinished(snapshot, recorded(snapshot)).problems
              )
              const left = yield* unfinished.pipe(
                Effect.repeat({
                  schedule: Schedule.max([Schedule.spaced("200 millis"), Schedule.recurs(200)]),
                  while: (problems) => problems.length > 0
                })
              )
              assert.deepStrictEqual(left, [])
              const snapshot = yield* readSnapshot()
              const { entries } = ledger.page({ limit: 1000 })
              const charges = yield* Schema.decodeEffect(Schema.Array(Charge))(entries)
              assert.deepStrictEqual(checkCompensations(snapshot, charges).problems, [])
              const wrong: Array<string> = []
              for (const [index, { checkoutId }] of buyers.entries()) {
                const order = snapshot.orders.find(({ id }) => id === checkoutId)
                const confirmed = order?.status === "confirmed"
                const own = entries.filter((entry) => entry.checkoutId === checkoutId)
                const taken = own.reduce((sum, { captured, refunded }) => sum + captured.amount - refunded.amount, 0)
                if (own.filter(({ captured }) => captured.times > 0).length > 1)
                  wrong.push(`${checkoutId}: taken twice`)
                if (!recorded(snapshot).has(checkoutId)) {
                  if (taken !== (confirmed ? Number(order.amount) : 0)) wrong.push(`${checkoutId}: ${taken} were taken`)
                  for (const { authorized, captured, id, status } of own) {
                    if (authorized.times > 0 && captured.times === 0 && status !== "canceled") {
                      wrong.push(`${checkoutId}: ${id} is ${status}`)
                    }
                  }
                }
                for (const [key, answer] of told[index]!) {
                  if (open.has(answer)) continue
                  if (answer === "Confirmed" && !confirmed) wrong.push(`${checkoutId}: told of an order which is not`)
                  for (const node of [one, other]) {
                    const again = yield* confirmOn(node, buyers[index]!, key)
                    if (again !== answer) wrong.push(`${checkoutId}: ${key} was ${answer} and is ${again}`)
                  }
                }
              }
              assert.deepStrictEqual(wrong, [])
              assert.deepStrictEqual(yield* Shop.violations, [])
            }).pipe(Effect.provide(one))
          }).pipe(Effect.provide(Shop.gateway()))
        }).pipe(Effect.scoped, Random.withSeed(seed)),
      240_000
    )
  }
})
