/** A run in figures: a line while it goes on, a table at its end. */
import type { Finding } from "./MoneyCheck.ts"
import type { Visit } from "./Visit.ts"

export interface Run {
  readonly seed: number
  readonly visits: ReadonlyArray<Visit>
  /** From the first ordinary buyer to the last, without those in trouble. */
  readonly seconds: number
}

/** What was checked; a text instead of a finding says why it was not. */
export interface Checked {
  readonly name: string
  readonly finding: Finding | string
}

export const progressLine = (visits: ReadonlyArray<Visit>, total: number, seconds: number): string => {
  const count = (tag: Visit["outcome"]["_tag"]) => visits.filter(({ outcome }) => outcome._tag === tag).length
  const rate = seconds === 0 ? 0 : visits.filter(({ buyer }) => buyer.kind !== "in trouble").length / seconds
  return (
    `${String(visits.length).padStart(String(total).length)} of ${total} buyers: ` +
    `${count("Confirmed")} confirmed, ${count("Rejected")} rejected, ${count("Cancelled")} cancelled, ` +
    `${count("WalkedAway")} walked away, ${rate.toFixed(0)}/s`
  )
}

export const tableOf = ({ seconds, seed, visits }: Run, checks: ReadonlyArray<Checked>): string => {
  const of = (tag: Visit["outcome"]["_tag"]) => visits.filter(({ outcome }) => outcome._tag === tag)
  const milliseconds = visits.flatMap((visit) => visit.milliseconds ?? []).toSorted((left, right) => left - right)
  const ordinary = visits.filter(({ buyer }) => buyer.kind !== "in trouble").length
  const cameBack = visits.filter((visit) => visit.cameBack > 0).length
  const rows: ReadonlyArray<readonly [name: string, figure: string, about: string]> = [
    ["buyers", String(visits.length), kinds(visits.map(({ buyer }) => buyer.kind))],
    ["confirmed", String(of("Confirmed").length), cameBack === 0 ? "" : `${cameBack} buyers came back later`],
    ["rejected", String(of("Rejected").length), kinds(reasons(of("Rejected")))],
    ["cancelled", String(of("Cancelled").length), kinds(reasons(of("Cancelled")))],
    ["walked away", String(of("WalkedAway").length), ""],
    ["undecided", String(of("Undecided").length), kinds(reasons(of("Undecided")))],
    ["confirm p50", `${at(milliseconds, 0.5)} ms`, "first answers to cards that behave"],
    ["confirm p95", `${at(milliseconds, 0.95)} ms`, ""],
    ["confirm p99", `${at(milliseconds, 0.99)} ms`, ""],
    [
      "checkouts",
      `${(ordinary / Math.max(seconds, 0.001)).toFixed(1)}/s`,
      "whole visits, without the buyers in trouble"
    ]
  ]
  const width = Math.max(...rows.map(([, figure]) => figure.length))
  return [
    "",
    ...rows.map(([name, figure, about]) => `  ${name.padEnd(12)}${figure.padStart(width)}   ${about}`.trimEnd()),
    "",
    ...checks.map((checked) => verdictOf(checked, 9)),
    "",
    `  The same again: --seed ${seed}`,
    ""
  ].join("\n")
}

/** A line that says whether it is right, and one for each of the first problems. Names have room for `width`. */
export const verdictOf = ({ finding, name }: Checked, width: number): string => {
  const title = `  ${name.padEnd(width)}`
  if (typeof finding === "string") return `${title}not looked at: ${finding}`
  const { problems, summary } = finding
  if (problems.length === 0) return `${title}right. ${summary}`
  const line = (problem: string) => `\n  ${"".padEnd(width)}${problem}`
  const more = problems.length > 20 ? line(`and ${problems.length - 20} more`) : ""
  return `${title}WRONG. ${summary}${problems.slice(0, 20).map(line).join("")}${more}`
}

const reasons = (visits: ReadonlyArray<Visit>): ReadonlyArray<string> =>
  visits.map(({ outcome }) => ("reason" in outcome ? outcome.reason : "why" in outcome ? outcome.why : outcome._tag))

/** Each with its number, the most frequent first. */
const kinds = (names: ReadonlyArray<string>): string =>
  [...Map.groupBy(names, (name) => name)]
    .toSorted(([, left], [, right]) => right.length - left.length)
    .map(([name, all]) => `${name} ${all.length}`)
    .join(", ")

const at = (sorted: ReadonlyArray<number>, share: number): string =>
  (sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0).toFixed(0)
