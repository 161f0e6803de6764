/** A run in figures and words: what was done, how long others took to go on, how much was sold meanwhile, and the verdict. */
import { percentile } from "../bench/Results.ts"
import { type Checked, verdictOf } from "../src/simulate/Summary.ts"
import type { Takeover, Throughput } from "./History.ts"

export interface Report {
  readonly seed: number
  readonly right: boolean
  readonly options: { readonly minutes: number; readonly nodes: number; readonly buyers: number }
  /** Where data and logs were kept; absent when they were not. */
  readonly directory: string | undefined
  readonly timeline: ReadonlyArray<string>
  readonly takeovers: ReadonlyArray<Takeover>
  readonly phases: ReadonlyArray<Throughput>
  /** From the last customer let in to the end of all that was under way. */
  readonly settledAfterSeconds: number
  readonly visits: number
  readonly checks: ReadonlyArray<Checked>
}

export const textOf = (report: Report): string =>
  [
    "",
    "How long those waited whose confirmation was under way:",
    ...report.takeovers.map(takeoverLine),
    "",
    "What was sold meanwhile:",
    ...report.phases.map(phaseLine),
    "",
    `Verdict on ${report.visits} visits, settled ${report.settledAfterSeconds.toFixed(1)} s after the last one came in:`,
    ...report.checks.map((checked) => verdictOf(checked, 11)),
    "",
    report.right ? "  Nothing was lost, nothing was done twice." : "  NOT RIGHT, see above.",
    ...(report.directory === undefined
      ? []
      : [
          `  Kept in ${report.directory}: history.jsonl (every call), report.json, node-*.log, sandbox.log, postgres/ (the data;`,
          `  \`npm start -- --directory ${report.directory}\` looks at it).`
        ]),
    `  The same faults again: ${rerun(report)}`,
    ""
  ].join("\n")

/** The command of this run. */
export const rerun = ({ options: { buyers, minutes, nodes }, seed }: Pick<Report, "options" | "seed">): string =>
  `npm run chaos -- --seed ${seed} --minutes ${Number(minutes.toFixed(3))} --nodes ${nodes} --buyers ${buyers}`

const takeoverLine = ({ inFlight, milliseconds, what }: Takeover): string => {
  if (inFlight === 0) return `  ${what}: nobody waited`
  const missing = inFlight - milliseconds.length
  return (
    `  ${what}: ${inFlight} under way; median ${seconds(percentile(milliseconds, 0.5))}, max ${seconds(milliseconds.at(-1) ?? 0)}` +
    (missing === 0 ? "" : `, ${missing} heard nothing`)
  )
}

const phaseLine = ({ calls, confirmed, fromMs, max, name, p50, p99, toMs }: Throughput): string => {
  const length = Math.max(toMs - fromMs, 1) / 1000
  return (
    `  ${name.padEnd(7)} ${seconds(toMs - fromMs).padStart(7)}: ${(confirmed / length).toFixed(1)} confirmed/s, ${(calls / length).toFixed(0)} calls/s; ` +
    `a confirmation takes ${p50.toFixed(0)} ms (p99 ${p99.toFixed(0)}, max ${max.toFixed(0)})`
  )
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`
