/** What a node does with three times as many calls as it can answer, and with one customer who sends most of them. */
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import { aligned, percentile } from "../Results.ts"
import { type BenchFailed, machine, secret, type Stage } from "../Stage.ts"
import * as StormOrders from "../StormOrders.ts"
import type { Weather } from "../StormOrders.ts"
import * as Usage from "../Usage.ts"

export interface OverloadOptions {
  readonly seconds: number
  /** Times as many calls as were answered at the peak. */
  readonly times: number
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

export interface OverloadResult {
  readonly scenario: "overload"
  readonly machine: ReturnType<typeof machine>
  readonly options: OverloadOptions
  readonly peak: Figures
  readonly crowd: Figures & { readonly offeredPerSecond: number; readonly ofPeak: number }
  /** Megabytes of the node before the storm, at its end, and after another as long as it. */
  readonly memoryMb: ReadonlyArray<number>
  readonly greedy: { readonly one: Figures; readonly others: Figures; readonly othersAnsweredPercent: number }
}

export const run = Effect.fn("Overload.run")(function* (
  stage: Stage,
  options: OverloadOptions
): Effect.fn.Return<OverloadResult, BenchFailed, Scope.Scope> {
  const subject = yield* stage.plain("node")
  const directory = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "cartwright-storm-"))),
    (made) => Effect.promise(() => rm(made, { recursive: true, force: true }))
  )
  const crowd = yield* StormOrders.start(directory, "crowd")
  const others = yield* StormOrders.start(directory, "others")
  const at = { url: subject.urls[0]!, secret, skus: stage.skus, seconds: options.seconds }
  const memory = memoryOf(subject.nodes[0]!.pid)

  const asking = (connections: number, seconds = options.seconds) =>
    crowd({ ...at, name: `peak-${connections}`, customers: connections, connections, seconds })
  yield* asking(64, Math.min(options.seconds, 5))
  const found: Array<Figures> = []
  for (const connections of [32, 64, 128]) found.push(figuresOf(yield* asking(connections)))
  const peak = found.toSorted((one, other) => other.answeredPerSecond - one.answeredPerSecond)[0]!
  yield* stage.say(`${peak.answeredPerSecond.toFixed(0)} calls/s at the peak; now ${options.times} times as many.`)

  const rate = peak.answeredPerSecond * options.times
  const storm = { ...at, name: "crowd", customers: 300, connections: 300, rate }
  const memoryMb = [yield* memory]
  const raged = figuresOf(yield* Usage.profiled(stage, subject)(crowd(storm)))
  memoryMb.push(yield* memory)
  yield* crowd(storm)
  memoryMb.push(yield* memory)

  yield* stage.say("Now one customer sends most of them, and fifty others one a second each.")
  const [one, rest] = yield* Effect.all(
    [
      crowd({ ...at, name: "greedy", customers: 1, connections: 16, rate }),
      others({ ...at, name: "others", customers: 50, connections: 50, rate: 50 })
    ],
    { concurrency: 2 }
  )
  return {
    scenario: "overload",
    machine: machine(),
    options,
    peak,
    crowd: { ...raged, offeredPerSecond: rate, ofPeak: raged.answeredPerSecond / peak.answeredPerSecond },
    memoryMb,
    greedy: {
      one: figuresOf(one),
      others: figuresOf(rest),
      othersAnsweredPercent: (100 * rest.answered.length) / Math.max(1, rest.answered.length + rest.refused.length)
    }
  }
})

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
export const tableOf = ({ crowd, greedy, memoryMb, options, peak }: OverloadResult): string => {
  const row = (
    name: string,
    { answeredMs, answeredPerSecond, refusedMs, refusedPerSecond, retryAfterMs, within50ms }: Figures
  ) => [
    name,
    answeredPerSecond.toFixed(0),
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
  return [
    aligned([
      ["", "answered/s", "p50 ms", "p99", "refused/s", "p50 ms", "p95", "p99", "within 50 ms", "come back after ms"],
      row("peak", peak),
      row(`${options.times} x the peak`, crowd),
      row("one greedy customer", greedy.one),
      row("fifty others", greedy.others)
    ]),
    "",
    `answered of the peak: ${(100 * crowd.ofPeak).toFixed(0)} %; memory ${memoryMb.join(", ")} MB; ` +
      `of the fifty others' calls ${greedy.othersAnsweredPercent.toFixed(1)} % were answered beside the greedy one`
  ].join("\n")
}
