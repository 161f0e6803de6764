/**
 * What a node does with three times as many calls as it can answer: with confirmations, which are what it is there for, with carts, the
 * cheapest calls that write, and with one customer who sends most of them.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import { connect, type SandboxSilent } from "../../src/simulate/SandboxControl.ts"
import * as HotSale from "../HotSale.ts"
import type { Checkout } from "../LoadOrders.ts"
import { aligned, percentile } from "../Results.ts"
import { type BenchFailed, machine, secret, type Stage, type Subject } from "../Stage.ts"
import * as StormOrders from "../StormOrders.ts"
import type { Rage, Weather } from "../StormOrders.ts"
import * as Usage from "../Usage.ts"

export interface OverloadOptions {
  readonly seconds: number
  /** Times as many calls as were answered at the peak. */
  readonly times: number
  /** One after another, of each kind of calls. */
  readonly storms: number
}

interface Figures {
  readonly answeredPerSecond: number
  readonly answeredMs: { readonly p50: number; readonly p99: number }
  readonly refusedPerSecond: number
  readonly refusedMs: { readonly p50: number; readonly p95: number; readonly p99: number }
  /** Of refused calls, in percent. */
  readonly within50ms: number
  readonly retryAfterMs: { readonly least: number; readonly most: number }
  readonly unanswered: number
  readonly other: Readonly<Record<string, number>>
}

/** What a node did with calls of one kind. */
interface Overloaded {
  readonly peak: Figures
  readonly offeredPerSecond: number
  /** One after another. */
  readonly storms: ReadonlyArray<Figures & { readonly ofPeak: number }>
  /** Megabytes of the node before the storms, and at the end of each. */
  readonly memoryMb: ReadonlyArray<number>
}

export interface OverloadResult {
  readonly scenario: "overload"
  readonly machine: ReturnType<typeof machine>
  readonly options: OverloadOptions
  readonly confirmations: Overloaded & {
    /** Checkouts which were turned away, and were confirmed when their customers came back. */
    readonly cameBack: number
  }
  readonly carts: Overloaded
  readonly greedy: { readonly one: Figures; readonly others: Figures; readonly othersAnsweredPercent: number }
  /** What is not as it must be: a checkout which is not confirmed in the end, or not paid exactly once. */
  readonly violations: ReadonlyArray<string>
}

export const run = Effect.fn("Overload.run")(function* (
  stage: Stage,
  options: OverloadOptions
): Effect.fn.Return<OverloadResult, BenchFailed | SandboxSilent, Scope.Scope> {
  const subject = yield* stage.plain("node")
  const directory = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "cartwright-storm-"))),
    (made) => Effect.promise(() => rm(made, { recursive: true, force: true }))
  )
  const crowd = yield* StormOrders.start(directory, "crowd")
  const others = yield* StormOrders.start(directory, "others")

  const { comeBack, confirm } = buying(stage, subject, crowd)
  const confirmations = yield* overloaded(stage, subject, options, "confirmations", confirm)
  const { cameBack, violations } = yield* comeBack
  const carts = yield* overloaded(stage, subject, options, "carts", crowd)

  yield* stage.say("Now one customer sends most of them, and fifty others one a second each.")
  const at = { url: subject.urls[0]!, secret, skus: stage.skus, seconds: options.seconds }
  const [one, rest] = yield* Effect.all(
    [
      crowd({ ...at, name: "greedy", customers: 1, connections: 16, rate: carts.offeredPerSecond }),
      others({ ...at, name: "others", customers: 50, connections: 50, rate: 50 })
    ],
    { concurrency: 2 }
  )
  return {
    scenario: "overload",
    machine: machine(),
    options,
    confirmations: { ...confirmations, cameBack },
    carts,
    greedy: {
      one: figuresOf(one),
      others: figuresOf(rest),
      othersAnsweredPercent: (100 * rest.answered.length) / Math.max(1, rest.answered.length + rest.refused.length)
    },
    violations
  }
})

/** The peak, and then storms of so many times as much. */
const overloaded = Effect.fnUntraced(function* (
  stage: Stage,
  subject: Subject,
  { seconds, storms: count, times }: OverloadOptions,
  name: string,
  crowd: Rage
) {
  const at = { url: subject.urls[0]!, secret, skus: stage.skus, seconds }
  const memory = memoryOf(subject.nodes[0]!.pid)
  const asking = (connections: number) =>
    Effect.map(crowd({ ...at, name: `${name}-${connections}`, customers: connections, connections }), figuresOf)
  yield* asking(64)
  const found = yield* Effect.forEach([32, 64, 128], asking)
  const peak = found.toSorted((one, other) => other.answeredPerSecond - one.answeredPerSecond)[0]!
  yield* stage.say(`${name}: ${peak.answeredPerSecond.toFixed(0)} a second at the peak; now ${times} times as many.`)
  const offeredPerSecond = peak.answeredPerSecond * times
  const memoryMb = [yield* memory]
  const storms: Array<Overloaded["storms"][number]> = []
  for (let nth = 1; nth <= count; nth++) {
    const storm = crowd({ ...at, name, customers: 300, connections: 300, rate: offeredPerSecond })
    const figures = figuresOf(yield* nth === 1 ? Usage.profiled(stage, subject)(storm) : storm)
    memoryMb.push(yield* memory)
    storms.push({ ...figures, ofPeak: figures.answeredPerSecond / peak.answeredPerSecond })
  }
  return { peak, offeredPerSecond, storms, memoryMb } satisfies Overloaded
})

/** More than are answered a second, where each asks again when it has its answer. */
const confirmedPerSecondMost = 800

/** Has a crowd confirm checkouts, and then those come back who were turned away. */
const buying = (stage: Stage, subject: Subject, crowd: Rage) => {
  const visit = { urls: subject.urls, secret }
  const paid: Array<string> = []
  const violations: Array<string> = []
  let waiting: ReadonlyArray<Checkout> = []

  const confirm: Rage = Effect.fnUntraced(function* (storm) {
    const missing = Math.ceil((storm.rate ?? confirmedPerSecondMost) * storm.seconds) - waiting.length
    if (missing > 0) {
      const basket = { _tag: "TwoOf", skus: stage.skus } as const
      const order = { _tag: "Prepare", ...visit, customers: 300, checkouts: missing, basket, seed: 1 } as const
      const { checkouts } = yield* stage.ask(order)
      waiting = [...waiting, ...checkouts]
    }
    const weather = yield* crowd({ ...storm, checkouts: waiting })
    const heard = new Set(weather.confirmed)
    paid.push(...heard)
    waiting = waiting.filter(({ checkoutId }) => !heard.has(checkoutId))
    violations.push(...Object.entries(weather.other).map(([name, times]) => `${times} confirmations heard ${name}`))
    if (weather.unanswered > 0) violations.push(`${weather.unanswered} confirmations were not answered`)
    return weather
  })

  const comeBack = Effect.gen(function* () {
    const { confirmed, refusals } = yield* stage.ask({ _tag: "Confirm", ...visit, checkouts: waiting, atOnce: 64 })
    paid.push(...confirmed.map(({ checkoutId }) => checkoutId))
    const ours = new Set(paid)
    const charges = yield* Effect.flatMap(connect(stage.sandboxUrl), (sandbox) => sandbox.charges((id) => ours.has(id)))
    return {
      cameBack: confirmed.length,
      violations: [
        ...violations,
        ...Object.entries(refusals).map(([name, times]) => `${times} who came back heard ${name}`),
        ...HotSale.chargesAgainst([{ paid, unpaid: [] }], charges)
      ]
    }
  })
  return { comeBack, confirm }
}

/** For the command: what is wrong fails it. */
export const violationsOf = ({ violations }: OverloadResult): ReadonlyArray<string> => violations

const memoryOf = (pid: number) =>
  Effect.promise(async () => {
    const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "")
    return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024)
  })

const figuresOf = ({ answered, other, refused, retryAfterMs, seconds, unanswered }: Weather): Figures => ({
  answeredPerSecond: answered.length / seconds,
  answeredMs: { p50: percentile(answered, 0.5), p99: percentile(answered, 0.99) },
  refusedPerSecond: refused.length / seconds,
  refusedMs: { p50: percentile(refused, 0.5), p95: percentile(refused, 0.95), p99: percentile(refused, 0.99) },
  within50ms: (100 * refused.filter((one) => one <= 50).length) / Math.max(1, refused.length),
  retryAfterMs: {
    least: retryAfterMs.reduce((least, one) => Math.min(least, one), Number.POSITIVE_INFINITY),
    most: retryAfterMs.reduce((most, one) => Math.max(most, one), 0)
  },
  unanswered,
  other
})

/** For people. */
export const tableOf = ({ carts, confirmations, greedy, options, violations }: OverloadResult): string => {
  const row = (
    name: string,
    { answeredMs, answeredPerSecond, refusedMs, refusedPerSecond, retryAfterMs, within50ms }: Figures,
    ofPeak?: number
  ) => [
    name,
    answeredPerSecond.toFixed(0),
    ofPeak === undefined ? "" : `${(100 * ofPeak).toFixed(0)} %`,
    answeredMs.p50.toFixed(0),
    answeredMs.p99.toFixed(0),
    refusedPerSecond.toFixed(0),
    ...(refusedPerSecond === 0
      ? ["-", "-", "-", "-", "-"]
      : [
          refusedMs.p50.toFixed(0),
          refusedMs.p95.toFixed(0),
          refusedMs.p99.toFixed(0),
          `${within50ms.toFixed(1)} %`,
          `${retryAfterMs.least}-${retryAfterMs.most}`
        ])
  ]
  const rows = (name: string, { peak, storms }: Overloaded) => [
    row(`${name} at the peak`, peak),
    ...storms.map((storm) => row(`${name}, ${options.times} x as many`, storm, storm.ofPeak))
  ]
  return [
    aligned([
      [
        "",
        "answered/s",
        "of peak",
        "p50 ms",
        "p99",
        "refused/s",
        "p50 ms",
        "p95",
        "p99",
        "within 50 ms",
        "come back after ms"
      ],
      ...rows("confirmations", confirmations),
      ...rows("carts", carts),
      row("one greedy customer", greedy.one),
      row("fifty others", greedy.others)
    ]),
    "",
    `Memory before and after each storm: ${confirmations.memoryMb.join(", ")} MB, then ${carts.memoryMb.join(", ")} MB. ` +
      `Of the fifty others' calls ${greedy.othersAnsweredPercent.toFixed(1)} % were answered beside the greedy one.`,
    violations.length === 0
      ? `All ${confirmations.cameBack} who were turned away last came back, and every checkout is confirmed and paid once.`
      : `WRONG:\n${violations.map((violation) => `  ${violation}`).join("\n")}`
  ].join("\n")
}
