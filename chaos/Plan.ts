/** What is done to whom, and when: drawn from a seed before anything starts. The same options give the same plan. */
import { Effect, Random } from "effect"
import type { Fault as SandboxFault, Operation } from "../src/sandbox/Faults.ts"

/**
 * How a connection is spoilt.
 *
 * - `reset`: those there are break, and new ones are refused.
 * - `silent`: nothing passes, and nobody is told; what was on its way arrives in the end.
 * - `slow`: everything is late.
 */
export type Spoilt = "reset" | "silent" | "slow"

/** What may happen to a provider that works; one which refuses for good has cards of its own. */
type ProviderFault = Extract<
  SandboxFault,
  { readonly _tag: "Delay" | "Processing" | "RateLimited" | "Reset" | "ServerError" | "Silence" | "Unavailable" }
>

/** `ms` is how long it lasts. Nodes count from 0. */
export type Fault =
  | { readonly _tag: "Kill"; readonly node: number; readonly ms: number }
  | { readonly _tag: "Stop"; readonly node: number; readonly ms: number }
  | { readonly _tag: "Freeze"; readonly node: number; readonly ms: number }
  | { readonly _tag: "CutDatabase"; readonly node: number; readonly how: Spoilt; readonly ms: number }
  /** The connection is lost in the middle of a write: `arrives` says whether Postgres has heard it. Nobody hears the answer. */
  | { readonly _tag: "CutWrites"; readonly node: number; readonly times: number; readonly arrives: boolean }
  | { readonly _tag: "CutNode"; readonly node: number; readonly how: Spoilt; readonly ms: number }
  | { readonly _tag: "ShiftClock"; readonly node: number; readonly offsetMs: number; readonly ms: number }
  | { readonly _tag: "RestartDatabase" }
  | { readonly _tag: "CutProvider"; readonly how: Spoilt; readonly ms: number }
  | {
      readonly _tag: "Provider"
      readonly operation: Operation
      readonly fault: ProviderFault
      readonly times: number
    }

export interface Planned {
  /** Since the faults began. */
  readonly atMs: number
  readonly fault: Fault
}

export interface PlanOptions {
  readonly seed: number
  /** Everything has begun, and what lasts has ended, by then. */
  readonly durationMs: number
  readonly nodes: number
}

/** Clocks jump no further than this: what waits for a shifted instant is late by as much. */
export const clockJumpMaxMs = 20_000

/** At the least one node is left alone by what takes a node away, so that somebody can take over. */
export const planOf = (options: PlanOptions): Effect.Effect<ReadonlyArray<Planned>> =>
  Effect.gen(function* () {
    const tracks = [yield* nodeTrack(options), yield* databaseTrack(options), yield* providerTrack(options)]
    return tracks
      .flat()
      .map((planned) => cutShort(planned, options.durationMs))
      .toSorted((left, right) => left.atMs - right.atMs)
  }).pipe(Random.withSeed(options.seed))

/** How long a node needs to be itself again, after it was started anew or let go. */
const recoveryMs = 5000

type NodeKind = (typeof nodeKinds)[number]
const nodeKinds = [
  "Kill",
  "Freeze",
  "CutWrites",
  "Stop",
  "CutDatabase",
  "Kill",
  "CutNode",
  "ShiftClock",
  "Freeze",
  "CutWrites",
  "CutDatabase",
  "CutNode"
] as const

const nodeTrack = Effect.fnUntraced(function* ({ durationMs, nodes }: PlanOptions) {
  const planned: Array<Planned> = []
  const freeAt = Array.from({ length: nodes }, () => 0)
  const kinds = deckOf<NodeKind>(nodeKinds)
  const ways = deckOf<Spoilt>(["reset", "silent", "slow"])
  const arrivals = deckOf([true, false])
  let at = yield* Random.nextIntBetween(300, 1500)
  while (at < durationMs - 500) {
    const free = freeAt.flatMap((until, node) => (until <= at ? [node] : []))
    // One that nobody has touched must stay: who takes over must be there.
    if (free.length > 1 || (nodes === 1 && free.length > 0)) {
      const node = free[yield* Random.nextIntBetween(0, free.length - 1)]!
      const fault = yield* nodeFault(yield* kinds, node, ways, arrivals)
      planned.push({ atMs: at, fault })
      freeAt[node] = at + ("ms" in fault ? fault.ms : 0) + recoveryMs
      at += yield* Random.nextIntBetween(700, 3500)
    } else at += 250
  }
  return planned
})

const nodeFault = Effect.fnUntraced(function* (
  kind: NodeKind,
  node: number,
  ways: Effect.Effect<Spoilt>,
  arrivals: Effect.Effect<boolean>
): Effect.fn.Return<Fault> {
  switch (kind) {
    case "Kill":
      return { _tag: kind, node, ms: yield* Random.nextIntBetween(500, 8000) }
    case "Stop":
      return { _tag: kind, node, ms: yield* Random.nextIntBetween(100, 4000) }
    case "Freeze":
      // From a hiccup to well past every lock and lease.
      return { _tag: kind, node, ms: yield* Random.nextIntBetween(1000, 14_000) }
    case "CutDatabase":
    case "CutNode":
      return { _tag: kind, node, how: yield* ways, ms: yield* Random.nextIntBetween(500, 9000) }
    case "CutWrites":
      return { _tag: kind, node, times: yield* Random.nextIntBetween(1, 4), arrives: yield* arrivals }
    case "ShiftClock": {
      const far = yield* Random.nextIntBetween(1000, clockJumpMaxMs)
      const offsetMs = (yield* Random.nextBoolean) ? far : -far
      return { _tag: kind, node, offsetMs, ms: yield* Random.nextIntBetween(3000, 15_000) }
    }
  }
})

const databaseTrack = Effect.fnUntraced(function* ({ durationMs }: PlanOptions) {
  const planned: Array<Planned> = []
  let at = yield* Random.nextIntBetween(Math.floor(durationMs / 4), Math.max(Math.floor(durationMs / 2), 1))
  while (at < Math.min(durationMs - 500, 50_000_000)) {
    planned.push({ atMs: at, fault: { _tag: "RestartDatabase" } })
    at += yield* Random.nextIntBetween(15_000, 40_000)
  }
  return planned
})

const providerTrack = Effect.fnUntraced(function* ({ durationMs }: PlanOptions) {
  const planned: Array<Planned> = []
  const operations = deckOf<Operation>(["confirm", "capture", "create", "retrieve", "cancel", "refund"])
  const faults = deckOf<ProviderFault | "cut">([
    { _tag: "Delay", ms: 1500 },
    { _tag: "Unavailable" },
    { _tag: "Reset", done: true },
    { _tag: "Silence", done: true },
    { _tag: "ServerError", done: true },
    { _tag: "Reset", done: false },
    { _tag: "Delay", ms: 6000 },
    { _tag: "RateLimited", retryAfterSeconds: 1 },
    { _tag: "Processing", ms: 2000 },
    { _tag: "ServerError", done: false },
    { _tag: "Silence", done: false },
    "cut"
  ])
  const ways = deckOf<Spoilt>(["reset", "silent", "slow"])
  let at = yield* Random.nextIntBetween(200, 1500)
  while (at < durationMs - 500) {
    const fault = yield* faults
    if (fault === "cut") {
      planned.push({
        atMs: at,
        fault: { _tag: "CutProvider", how: yield* ways, ms: yield* Random.nextIntBetween(500, 5000) }
      })
    } else {
      // A payment can only be `processing` once it was confirmed.
      const operation = fault._tag === "Processing" ? "confirm" : yield* operations
      const times = yield* Random.nextIntBetween(1, 8)
      planned.push({ atMs: at, fault: { _tag: "Provider", operation, fault, times } })
    }
    at += yield* Random.nextIntBetween(1500, 6000)
  }
  return planned
})

const cutShort = (planned: Planned, durationMs: number): Planned =>
  "ms" in planned.fault && planned.atMs + planned.fault.ms > durationMs
    ? { ...planned, fault: { ...planned.fault, ms: durationMs - planned.atMs } }
    : planned

/** Deals each of them before one comes again, in another order each time. */
const deckOf = <A>(all: ReadonlyArray<A>): Effect.Effect<A> => {
  let left: Array<A> = []
  return Effect.gen(function* () {
    if (left.length === 0) left = [...all]
    const drawn = yield* Random.nextIntBetween(0, left.length - 1)
    return left.splice(drawn, 1)[0]!
  })
}

/** For the timeline. */
export const describe = (fault: Fault): string => {
  switch (fault._tag) {
    case "Kill":
      return `${nameOf(fault.node)}: kill -9, started again after ${seconds(fault.ms)}`
    case "Stop":
      return `${nameOf(fault.node)}: SIGTERM, started again ${seconds(fault.ms)} after its end`
    case "Freeze":
      return `${nameOf(fault.node)}: SIGSTOP for ${seconds(fault.ms)}`
    case "CutDatabase":
      return `${nameOf(fault.node)}: its connections to Postgres ${spoilt[fault.how]} for ${seconds(fault.ms)}`
    case "CutWrites":
      return `${nameOf(fault.node)}: ${fault.times} of its writes ${fault.arrives ? "arrive" : "are lost"}, and break the connection before an answer`
    case "CutNode":
      return `${nameOf(fault.node)}: its connections from other nodes ${spoilt[fault.how]} for ${seconds(fault.ms)}`
    case "ShiftClock":
      return `${nameOf(fault.node)}: its clock jumps by ${fault.offsetMs > 0 ? "+" : ""}${seconds(fault.offsetMs)} for ${seconds(fault.ms)}`
    case "RestartDatabase":
      return "Postgres: stopped as if it crashed (-m immediate), and started"
    case "CutProvider":
      return `provider: connections to it ${spoilt[fault.how]} for ${seconds(fault.ms)}`
    case "Provider":
      return `provider: the next ${fault.times} ${fault.operation} calls: ${providerText(fault.fault)}`
  }
}

export const nameOf = (node: number): string => `node-${node + 1}`

const spoilt = { reset: "are refused", silent: "are silent", slow: "are slow" } as const

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`

const providerText = (fault: ProviderFault): string => {
  switch (fault._tag) {
    case "Delay":
      return `${seconds(fault.ms)} late`
    case "Unavailable":
      return "503"
    case "ServerError":
      return `500, the work ${fault.done ? "done" : "not done"}`
    case "RateLimited":
      return "429"
    case "Reset":
      return `the answer is lost, the work ${fault.done ? "done" : "not done"}`
    case "Silence":
      return `no answer, the work ${fault.done ? "done" : "not done"}`
    case "Processing":
      return `undecided for ${seconds(fault.ms)}`
  }
}
