/**
 * Protections of the runtime, each with the line that is it: what is left of the source without that line must not survive a simulation.
 * A line that has changed is named by an error: then say here where its protection stands now.
 */
import { readFileSync } from "node:fs"
import { registerHooks } from "node:module"
import { fileURLToPath } from "node:url"
import type { Outcome } from "./Simulation.ts"

export interface Mutation {
  readonly name: string
  /** What shows it, where there is more than one protection in the changes. */
  readonly shows?: string
  /** Takes more seeds than a test has time for. */
  readonly rare?: boolean
  readonly changes: ReadonlyArray<{ readonly file: string; readonly find: string; readonly put: string }>
}

const change = (file: string, find: string, put: string) => ({ file: `src/runtime/${file}.ts`, find, put })

const readOnceMore = change(
  "Journal",
  "settled !== undefined && readMillis < settled",
  "settled === -1 && readMillis < settled"
)

export const mutations: ReadonlyArray<Mutation> = [
  {
    name: "a write counts only on the version it was decided on",
    changes: [
      change("MemoryStore", "if (written !== guarded) throw new Conflict({})", ""),
      change("MemoryStore", 'throw new Conflict(constraint === "history_pkey" ? {} : { constraint })', "continue")
    ]
  },
  {
    name: "memory and reply follow the commit",
    changes: [change("Journal", "      return decided.write\n", "      apply(decided)\n      return decided.write\n")]
  },
  {
    name: "after a lost or refused flush its actors are read again",
    // Without the other change that comes to the rescue, some time later.
    shows: "not all is done",
    changes: [
      readOnceMore,
      change("Journal", "for (const unit of batch) for (const cell of unit.options.cells) cell.loaded = false", "")
    ]
  },
  {
    name: "keys are remembered",
    changes: [change("Journal", "        cell.keys.set(key, remembered)\n", "")]
  },
  {
    name: "keys that are not in memory are looked up",
    changes: [
      change("Decision", "if (!cell.keysComplete && cell.newKeys?.has(key) !== true)", "if (Date.now() < 0)"),
      change("Journal", "if (!cell.keysComplete && !cell.keys.has(key)) {", "if (Date.now() < 0) {")
    ]
  },
  {
    name: "a repeated key gets its first answer",
    changes: [
      change(
        "Journal",
        "return before === undefined ? { state, version } : yield* answerAt(cell, before)",
        "return { state, version }"
      )
    ]
  },
  {
    name: "units of one flush see each other's counters",
    changes: [
      // The table would refuse it, and each unit would be tried alone.
      change("MemoryStore", "if (negative !== undefined) throw", "if (negative === undefined && Date.now() < 0) throw"),
      change("Decision", "row.values[name] = row.values[name]! + sign * delta", "void [row, sign, name, delta]")
    ],
    rare: true
  },
  {
    name: "a new owner forgets what it had of a bucket before",
    changes: [
      change("Timers", "journal.release(new Set(buckets)).pipe(Effect.andThen(", "Effect.void.pipe(Effect.andThen(")
    ]
  },
  {
    name: "what is read while a bucket moves is read once more",
    changes: [readOnceMore],
    rare: true
  },
  {
    name: "a timer is cleared with the transition that needs it no more",
    changes: [change("Decision", "if (after[name] === undefined) clear({ ...address, name })", "void after[name]")]
  },
  {
    name: "timers are read from their rows",
    changes: [change("Timers", "for (const timer of current) schedule(timer, false)", "void current")]
  },
  {
    name: "notices are acknowledged when they were delivered",
    changes: [
      change(
        "Notices",
        "      if (Exit.isSuccess(exit)) {\n        yield* Metric.update(delivered",
        "      {\n        yield* Metric.update(delivered"
      )
    ]
  },
  {
    name: "pending notices are read from their rows",
    changes: [change("Notices", "if (!found.parked.has(wayOf(notice))) enqueue(notice)", "void notice")]
  },
  {
    name: "notices of an actor that was read since wait for the next read",
    changes: [change("Notices", "if (readAt > since) Queue", "if (readAt < 0) Queue")],
    rare: true
  },
  {
    name: "notices wait for the one before",
    changes: [
      change(
        "Notices",
        "if (way !== undefined) way.waiting.push(notice)",
        "if (way !== undefined) fork(work(`${name} `, { bucket: notice.bucket, waiting: [notice], fiber: undefined }))"
      )
    ]
  },
  {
    name: "an execution has a watchdog",
    changes: [
      change(
        "WorkflowExecution",
        '(state._tag === "Running" ? { [watchdogTimer]',
        '(state._tag === ("Nothing" as string) ? { [watchdogTimer]'
      )
    ]
  },
  {
    name: "a wake-up that came during a run makes it run again",
    changes: [
      change(
        "WorkflowEngine",
        "if (failed ? state.explicitTurn > execution.turn : state.turn > execution.turn) return",
        "void failed"
      )
    ]
  }
]

const root = new URL("../../", import.meta.url).href

const mutate = (name: string, url: string, source: string): string => {
  const path = url.slice(root.length)
  for (const { file, find, put } of mutations.find((one) => one.name === name)!.changes) {
    if (file !== path) continue
    if (source.split(find).length !== 2) throw new Error(`${file} has no single "${find}" any more`)
    source = source.replace(find, () => put)
  }
  return source
}

let registered = false
/** The simulation over another copy of the program, in which one protection is missing. */
const simulationWithout = async (name: string): Promise<(seed: number) => Promise<Outcome>> => {
  if (!registered) {
    registered = true
    registerHooks({
      resolve: (specifier, context, next) => {
        const found = next(specifier, context)
        const query = context.parentURL === undefined ? "" : new URL(context.parentURL).search
        return query !== "" && found.url.startsWith(root) && !found.url.includes("node_modules")
          ? { ...found, url: `${found.url.split("?")[0]}${query}` }
          : found
      },
      load: (url, context, next) => {
        const [file = url, query] = url.split("?without=")
        if (query === undefined) return next(url, context)
        const source = mutate(decodeURIComponent(query), file, readFileSync(fileURLToPath(file), "utf8"))
        return { format: "module-typescript", source, shortCircuit: true }
      }
    })
  }
  const { simulate } = (await import(
    `./Simulation.ts?without=${encodeURIComponent(name)}`
  )) as typeof import("./Simulation.ts")
  return (seed) => simulate(seed)
}

export interface Found {
  readonly name: string
  /** How many seeds it took; absent when none of them has noticed. */
  readonly seeds: number | undefined
  readonly violation: string | undefined
}

/** Looks for the first seed which notices that a protection is missing. */
export const findWithout = async ({ name, shows = "" }: Mutation, seeds: ReadonlyArray<number>): Promise<Found> => {
  const run = await simulationWithout(name)
  for (const [index, seed] of seeds.entries()) {
    const violation = (await run(seed)).violations.find((text) => text.includes(shows))
    if (violation !== undefined) return { name, seeds: index + 1, violation }
  }
  return { name, seeds: undefined, violation: undefined }
}
