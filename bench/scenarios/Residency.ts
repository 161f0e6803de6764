/** What memory a node needs for many open orders: it is asked for each of them, keeps as many of their actors as it may, and is asked again. */
import { Effect } from "effect"
import type { Finished } from "../LoadOrders.ts"
import * as Past from "../Past.ts"
import * as Processes from "../Processes.ts"
import { aligned } from "../Results.ts"
import { type BenchFailed, machine, secret, type Stage, type Subject } from "../Stage.ts"

export interface ResidencyOptions {
  /** Open orders: paid, and not delivered yet. Each is four actors of its checkout. */
  readonly orders: number
  /** `ACTORS_RESIDENT_MAX` of the node; its own default unless given. */
  readonly residentMax?: number
  /** How many of them are asked for a second time, those asked for first. */
  readonly again: number
}

export interface ResidencyResult {
  readonly scenario: "residency"
  readonly machine: ReturnType<typeof machine>
  readonly options: ResidencyOptions
  /** Bytes. Absent where the kernel does not tell. */
  readonly memory: {
    /** Before the first order was asked for. */
    readonly before: number | undefined
    readonly after: number | undefined
    readonly most: number | undefined
  }
  readonly actors: {
    /** Of all orders together. */
    readonly asked: number
    /** In memory at the end. */
    readonly resident: number
    /** What was forgotten to make room; it is read again when it is asked for. */
    readonly dropped: number
  }
  /** From question to question, many at once. */
  readonly perSecond: { readonly first: number; readonly again: number }
  /** Memory on the way. */
  readonly growth: ReadonlyArray<{ readonly orders: number; readonly bytes: number | undefined }>
  /** Answers that are not true, of whichever order; a confirmed one that was confirmed anew. There are none. */
  readonly violations: ReadonlyArray<string>
}

/** The checkout's session, its reservation, its payment, the order. */
const actorsOfEach = 4

const atOnce = 64

export const run = Effect.fn("Residency.run")(function* (stage: Stage, options: ResidencyOptions) {
  return yield* Effect.scoped(measure(stage, options))
})

const measure = Effect.fnUntraced(function* (stage: Stage, options: ResidencyOptions) {
  const { again, orders, residentMax } = options
  const subject = yield* stage.start({
    system: "node",
    name: "resident",
    ...(residentMax === undefined ? {} : { environment: { ACTORS_RESIDENT_MAX: String(residentMax) } })
  })
  const [past] = yield* Past.make(stage, subject, [{ count: orders, confirmed: true, owners: "customers", hours: 24 }])
  const { made, models } = past!
  const visit = { urls: subject.urls, secret }
  const ask = (some: ReadonlyArray<Finished>) => stage.ask({ _tag: "AskStatus", ...visit, orders: some, atOnce })
  yield* stage.say(`${made.length} open orders are in the database; the node is asked for each.`)
  const before = yield* Processes.memoryOf(pidOf(subject))
  const wrong: Array<string> = []
  const growth: Array<ResidencyResult["growth"][number]> = []
  let seconds = 0
  const tenth = Math.ceil(made.length / 10)
  const asking = Effect.gen(function* () {
    for (let from = 0; from < made.length; from += tenth) {
      const some = made.slice(from, from + tenth)
      const report = yield* ask(some)
      wrong.push(...report.wrong)
      seconds += report.seconds
      growth.push({ orders: from + some.length, bytes: (yield* Processes.memoryOf(pidOf(subject)))?.now })
    }
  })
  yield* asking
  const after = yield* Processes.memoryOf(pidOf(subject))
  const resident = yield* residentOf(subject)
  const asked = made.length * actorsOfEach
  const first = made.slice(0, again)
  const second = yield* ask(first)
  // Those which have been confirmed by this node long ago: the key they were confirmed with still has its answer, and nothing happens.
  const ordersBefore = yield* countOrders(subject)
  const repeated = yield* stage.ask({ _tag: "Confirm", ...visit, checkouts: models })
  const ordersAfter = yield* countOrders(subject)
  const must = (right: boolean, sentence: string) => (right ? [] : [sentence])
  return {
    scenario: "residency",
    machine: machine(),
    options,
    memory: { before: before?.now, after: after?.now, most: after?.most },
    actors: { asked, resident, dropped: Math.max(0, asked - resident) },
    perSecond: { first: made.length / seconds, again: first.length / second.seconds },
    growth,
    violations: [
      ...wrong,
      ...second.wrong.map((one) => `asked again: ${one}`),
      ...must(second.right === first.length, `${second.right} of ${first.length} answers are right when asked again`),
      ...must(
        repeated.confirmed.length === models.length,
        `of ${models.length} confirmed checkouts ${repeated.confirmed.length} are so when confirmed again: ${JSON.stringify(repeated.refusals)}`
      ),
      ...must(ordersBefore === ordersAfter, `confirming again has made ${ordersAfter - ordersBefore} orders`)
    ]
  } satisfies ResidencyResult
})

const pidOf = ({ nodes }: Subject) => nodes[0]!.pid

const countOrders = ({ sql }: Subject): Effect.Effect<number, BenchFailed> =>
  Effect.map(sql<{ orders: number }>`select count(*)::int as orders from orders.orders`, ([row]) => row!.orders)

/** As the node's own metrics tell. */
const residentOf = ({ nodes, urls }: Subject) =>
  Effect.tryPromise(async () => {
    const text = await (await fetch(`${urls[0]!}/metrics`)).text()
    const found = /^journal_actors_resident(?:\{[^}]*\})? (\d+)/m.exec(text)
    if (found === null) throw new Error("no such metric")
    return Number(found[1])
  }).pipe(Effect.catch(() => nodes[0]!.fail("does not tell how many actors it has in memory.")))

/** For people. */
export const tableOf = ({ actors, growth, memory, options, perSecond, violations }: ResidencyResult): string => {
  const megabytes = (bytes: number | undefined) => (bytes === undefined ? "-" : (bytes / 2 ** 20).toFixed(0))
  return [
    aligned(
      [
        ["open orders", "RSS MB"],
        ["0", megabytes(memory.before)],
        ...growth.map((one) => [String(one.orders), megabytes(one.bytes)])
      ],
      []
    ),
    "",
    `${megabytes(memory.most)} MB at the most. Of ${actors.asked} actors ${actors.resident} are in memory and ${actors.dropped} were dropped to make room` +
      `${options.residentMax === undefined ? "" : ` (ACTORS_RESIDENT_MAX=${options.residentMax})`}; they are read again when asked for.`,
    `${perSecond.first.toFixed(0)} orders/s are read for the first time, ${perSecond.again.toFixed(0)}/s once they were dropped.`,
    violations.length === 0
      ? `${options.again} were asked for again and answered right; those confirmed again had their first answer.`
      : `WRONG:\n${violations.map((violation) => `  ${violation}`).join("\n")}`
  ].join("\n")
}
