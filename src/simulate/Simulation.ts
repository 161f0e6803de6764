/** A storefront's traffic: everybody comes, buys or does not, and then the books are checked. */
import { Clock, Duration, Effect, Exit, Schedule } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import { type Buyer, draw, type Shelf } from "./Buyers.ts"
import { checkMoney, type Finding } from "./MoneyCheck.ts"
import type { SandboxControl, SandboxSilent } from "./SandboxControl.ts"
import { type Books, checkOrders, checkStock } from "./StockCheck.ts"
import { type Checked, progressLine, type Run } from "./Summary.ts"
import { askAgain, type Surroundings, visit, type Visit } from "./Visit.ts"

export interface SimulationOptions {
  readonly orders: number
  /** Buyers in the shop at once. */
  readonly concurrency: number
  readonly seed: number
  /** Lets all cards fail at once; otherwise buyers in trouble are few and come one after another. */
  readonly storm: boolean
  readonly shelves: ReadonlyArray<Shelf>
  readonly surroundings: Surroundings
  /** Absent where nobody knows the sandbox: a text says why. */
  readonly sandbox: SandboxControl | string
  /** The shop's books; a text says why nobody can read them. */
  readonly books: Effect.Effect<Books, SqlError> | string
  /** How long what goes on behind the answers may take until the books must be right. */
  readonly settleWithin: Duration.Duration
  /** Told while it goes on, a few times a second. */
  readonly progress: (line: string) => Effect.Effect<void>
}

export interface Simulated {
  readonly run: Run
  readonly checks: ReadonlyArray<Checked>
}

export const simulate = Effect.fn("simulate")(function* (options: SimulationOptions): Effect.fn.Return<Simulated> {
  const { concurrency, orders, progress, seed, shelves, storm, surroundings } = options
  const trouble = storm ? { troubledShare: 150, troubledMax: orders } : { troubledShare: 30, troubledMax: 7 }
  const buyers = yield* draw({ count: orders, seed, shelves, ...trouble })
  const visits: Array<Visit> = []
  const start = yield* Clock.currentTimeMillis
  let ordinaryEnd: number | undefined
  const shop = (buyer: Buyer) =>
    Effect.map(visit(surroundings, buyer), (made) => {
      visits.push(made)
    })

  const inTrouble = (buyer: Buyer) => !storm && buyer.kind === "in trouble"
  const ordinary = Effect.forEach(
    buyers.filter((buyer) => !inTrouble(buyer)),
    shop,
    { concurrency, discard: true }
  ).pipe(
    Effect.andThen(Clock.currentTimeMillis),
    Effect.tap((now) =>
      Effect.sync(() => {
        ordinaryEnd = now
      })
    )
  )
  const troubled = Effect.forEach(
    buyers.filter(inTrouble),
    (buyer, index) => Effect.delay(shop(buyer), Duration.times(betweenTroubles, index)),
    { concurrency: "unbounded", discard: true }
  )
  const told = Clock.currentTimeMillis.pipe(
    Effect.flatMap((now) => progress(progressLine(visits, orders, ((ordinaryEnd ?? now) - start) / 1000))),
    Effect.repeat(Schedule.spaced("250 millis"))
  )
  yield* Effect.all([ordinary, troubled], { concurrency: 2 }).pipe(Effect.raceFirst(Effect.andThen(told, Effect.never)))
  const seconds = ((ordinaryEnd ?? start) - start) / 1000
  yield* progress(progressLine(visits, orders, seconds))
  const settled = yield* settle(options, visits)
  return { run: { seed, visits: settled.visits, seconds }, checks: settled.checks }
})

/** Far apart: five failures of the provider within ten seconds stop all payments for half a minute. */
const betweenTroubles = Duration.seconds(6)

/** Captures are retried, and holds of unknown outcome dropped, behind the answers: looks until all is right, or time is up. */
const settle = Effect.fnUntraced(function* (options: SimulationOptions, heard: ReadonlyArray<Visit>) {
  const { books, progress, sandbox, settleWithin, surroundings } = options
  const look = Effect.fnUntraced(function* (visits: ReadonlyArray<Visit>) {
    const decided = yield* Effect.forEach(
      visits,
      (one) => (one.outcome._tag === "Undecided" ? askAgain(surroundings, one) : Effect.succeed(one)),
      { concurrency: 8 }
    )
    const money: Finding | string =
      typeof sandbox === "string"
        ? sandbox
        : yield* Effect.match(
            sandbox.charges((id) => id.startsWith(`${surroundings.run}-`)),
            {
              onFailure: ({ message }: SandboxSilent): Finding => ({ problems: [message], summary: "" }),
              onSuccess: (charges) => checkMoney(decided, charges)
            }
          )
    const read = typeof books === "string" ? books : yield* Effect.exit(books)
    const looked = (check: (found: Books) => Finding): Finding | string => {
      if (typeof read === "string") return read
      return Exit.isSuccess(read)
        ? check(read.value)
        : { problems: [`The database: ${String(read.cause)}`], summary: "" }
    }
    const checks: ReadonlyArray<Checked> = [
      { name: "answers", finding: checkAnswers(decided) },
      { name: "money", finding: money },
      { name: "stock", finding: looked((found) => checkStock(decided, found)) },
      { name: "orders", finding: looked((found) => checkOrders(decided, found)) }
    ]
    return { visits: decided, checks }
  })

  const from = yield* Clock.currentTimeMillis
  let found = yield* look(heard)
  while (found.checks.some(isWrong)) {
    const waited = (yield* Clock.currentTimeMillis) - from
    if (waited > Duration.toMillis(settleWithin)) break
    const open = found.checks.reduce(
      (sum, { finding }) => sum + (typeof finding === "string" ? 0 : finding.problems.length),
      0
    )
    yield* progress(`Waiting for what goes on behind the answers: ${open} open, ${Math.round(waited / 1000)} s`)
    yield* Effect.sleep(Duration.seconds(waited < 5000 ? 0.5 : 2))
    found = yield* look(found.visits)
  }
  return found
})

/** Whether everybody has heard how it ended, and all windows of one buyer the same. */
export const checkAnswers = (visits: ReadonlyArray<Visit>): Finding => ({
  problems: visits.flatMap(({ checkoutId, disagreement, outcome }) => [
    ...(disagreement === undefined ? [] : [disagreement]),
    ...(outcome._tag === "Undecided" ? [`${checkoutId}: nobody says how it ended (${outcome.why})`] : [])
  ]),
  summary: `${visits.length} buyers know how it ended; who clicked twice has heard it twice`
})

/** What was not looked at is not wrong. */
export const isWrong = ({ finding }: Checked): boolean => typeof finding !== "string" && finding.problems.length > 0
