/** What others notice of one customer whose calls can never be carried out: their throughput with and without, in turns. */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import { aligned, type Ratio, ratioOf, showRatio } from "../Results.ts"
import { type BenchFailed, machine, secret, type Stage } from "../Stage.ts"
import * as StormOrders from "../StormOrders.ts"

export interface PoisonOptions {
  readonly seconds: number
  readonly rounds: number
}

interface Effects {
  readonly kind: string
  readonly callsPerSecond: number
  /** Calls of the others that were answered, with the poison by without it. */
  readonly ratio: Ratio
  /** What its sender heard. */
  readonly heard: Readonly<Record<string, number>>
  /** Calls of the others which ended as something else than their answer. */
  readonly othersFailed: number
}

export interface PoisonResult {
  readonly scenario: "poison"
  readonly machine: ReturnType<typeof machine>
  readonly options: PoisonOptions
  readonly effects: ReadonlyArray<Effects>
}

const poisons = [
  { kind: "a key with other content", rate: 1000, call: { key: "poison-the-one-key", cartId: "poison-conflicting" } },
  { kind: "a violated constraint", rate: 100, call: { sku: "BENCH-POISON" } },
  { kind: "a row that does not decode", rate: 100, call: { cartId: "poison-broken-row" } }
]

export const run = Effect.fn("Poison.run")(function* (
  stage: Stage,
  options: PoisonOptions
): Effect.fn.Return<PoisonResult, BenchFailed, Scope.Scope> {
  const subject = yield* stage.plain("node")
  const { sql } = subject
  const directory = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "cartwright-poison-"))),
    (made) => Effect.promise(() => rm(made, { recursive: true, force: true }))
  )
  const others = yield* StormOrders.start(directory, "others")
  const sender = yield* StormOrders.start(directory, "sender")
  const at = { url: subject.urls[0]!, secret, skus: stage.skus, seconds: options.seconds }
  const buying = others({ ...at, name: "others", customers: 32, connections: 32 })
  yield* buying
  yield* sql`insert into catalog.products (sku, name, category, active, taxable, version, created_at, updated_at)
    values ('BENCH-POISON', 'Poison', 'bench', true, true, 1, now(), now())`
  yield* sql`insert into catalog.prices (sku, currency, amount, version, valid_from) values ('BENCH-POISON', 'EUR', 1, 1, now())`
  yield* sql`alter table checkout.carts add constraint poison check (lines::text not like '%BENCH-POISON%')`
  yield* sql`insert into checkout.carts select broken.* from (select * from checkout.carts limit 1) as cart
    cross join lateral jsonb_populate_record(cart::checkout.carts, '{"id": "poison-broken-row", "lines": {"of": "nothing"}}') as broken`

  const effects: Array<Effects> = []
  for (const { call, kind, rate } of poisons) {
    const ratios: Array<number> = []
    const heard: Record<string, number> = {}
    let othersFailed = 0
    for (let round = 0; round < options.rounds; round++) {
      const without = yield* buying
      const [beside, poisoned] = yield* Effect.all(
        [buying, sender({ ...at, ...call, name: "sender", customers: 1, connections: 1, rate })],
        { concurrency: 2 }
      )
      ratios.push(beside.answered.length / beside.seconds / (without.answered.length / without.seconds))
      othersFailed += Object.values(beside.other).reduce((sum, times) => sum + times, beside.unanswered)
      const all = { ...poisoned.other, Answered: poisoned.answered.length, Unavailable: poisoned.refused.length }
      for (const [name, times] of Object.entries(all)) if (times > 0) heard[name] = (heard[name] ?? 0) + times
    }
    const one = { kind, callsPerSecond: rate, ratio: ratioOf(ratios), heard, othersFailed }
    yield* stage.say(`${kind}: ${showRatio(one.ratio)}`)
    effects.push(one)
  }
  return { scenario: "poison", machine: machine(), options, effects }
})

/** For people. */
export const tableOf = ({ effects }: PoisonResult): string =>
  aligned(
    [
      ["poison", "calls/s", "others, with by without", "others failed", "its sender heard"],
      ...effects.map(({ callsPerSecond, heard, kind, othersFailed, ratio }) => [
        kind,
        String(callsPerSecond),
        showRatio(ratio),
        String(othersFailed),
        Object.entries(heard)
          .map(([name, times]) => `${name} ${times}`)
          .join(", ")
      ])
    ],
    [0, 4]
  )

/** Whoever is not its sender must not notice. */
export const violationsOf = ({ effects }: PoisonResult): ReadonlyArray<string> =>
  effects.flatMap(({ kind, othersFailed }) =>
    othersFailed === 0 ? [] : [`${othersFailed} calls of others failed beside ${kind}`]
  )
