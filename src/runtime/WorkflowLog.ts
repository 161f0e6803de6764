/**
 * What an execution has done, for people: each activity, wait, clock and child with its outcome. Nothing is decided by it. Its rows travel
 * with the next durable write of the execution, so that no step waits for them; a crash loses those of the run in flight, which runs
 * again and logs again.
 */
import { Cause, DateTime, Exit, Predicate, Schema } from "effect"
import { type LoggedStep, StepKind, StepOutcome } from "../domain/Executions.ts"
import { instantOf, keepLast, type LogTable, type Row } from "./Table.ts"

export type StepName = Pick<LoggedStep, "kind" | "name" | "attempt" | "childId">

/** A step that was begun in this run. */
export interface Begun {
  readonly step: StepName
  readonly startedAt: DateTime.Utc
  /** Absent for one that was logged as ended before: what it answers this time counts only when it differs. */
  readonly ordinal: number | undefined
}

const addressOf = ({ attempt, childId, kind, name }: StepName) => `${kind}/${name}/${attempt}/${childId ?? ""}`

/** The log of one execution while it is under way here. */
export class WorkflowLog {
  readonly #steps = new Map<number, LoggedStep>()
  /** By step, the last one. */
  readonly #last = new Map<string, number>()
  /** Not durable yet. */
  readonly #unwritten = new Map<number, LoggedStep>()
  #highest = 0

  /** What was logged before this node had it. */
  load(steps: Iterable<LoggedStep>): void {
    for (const step of [...steps].sort((left, right) => left.ordinal - right.ordinal)) this.#keep(step)
  }

  #keep(step: LoggedStep): void {
    this.#steps.set(step.ordinal, step)
    this.#last.set(addressOf(step), step.ordinal)
    this.#highest = Math.max(this.#highest, step.ordinal)
  }

  #put(step: LoggedStep): void {
    this.#keep(step)
    this.#unwritten.set(step.ordinal, step)
  }

  begin(step: StepName, run: number, now: DateTime.Utc): Begun {
    const before = this.#steps.get(this.#last.get(addressOf(step)) ?? -1)
    if (before !== undefined) {
      return { step, startedAt: now, ordinal: before.outcome === undefined ? before.ordinal : undefined }
    }
    const ordinal = this.#highest + 1
    this.#put({ ...step, ordinal, run, startedAt: now })
    return { step, startedAt: now, ordinal }
  }

  /** A step that runs again and answers the same leaves no second entry; one that breaks again does. */
  end(begun: Begun, run: number, now: DateTime.Utc, ended: Pick<LoggedStep, "outcome" | "error">): void {
    const ordinal = begun.ordinal ?? this.#last.get(addressOf(begun.step))
    const before = this.#steps.get(ordinal ?? -1)
    if (before !== undefined && before.outcome === undefined) this.#put({ ...before, ...ended, endedAt: now })
    else if (before?.outcome !== ended.outcome || before?.error !== ended.error || ended.outcome === "died") {
      this.#put({ ...begun.step, ordinal: this.#highest + 1, run, startedAt: begun.startedAt, endedAt: now, ...ended })
    }
  }

  /** The execution is over: nothing is waited for any more. */
  close(now: DateTime.Utc): void {
    for (const step of this.#steps.values()) {
      if (step.outcome === undefined) this.#put({ ...step, endedAt: now, outcome: "interrupted" })
    }
  }

  /** What is not durable yet; to be given to `written` once it is. */
  get unwritten(): ReadonlyArray<LoggedStep> {
    return [...this.#unwritten.values()]
  }

  written(steps: ReadonlyArray<LoggedStep>): void {
    for (const step of steps) if (this.#unwritten.get(step.ordinal) === step) this.#unwritten.delete(step.ordinal)
  }
}

/** What became of a step; undefined for one that is waited for. */
export const endingOf = (exit: Exit.Exit<unknown, unknown>): Pick<LoggedStep, "outcome" | "error"> => {
  if (Exit.isSuccess(exit)) return { outcome: "succeeded" }
  const failed = exit.cause.reasons.find(Cause.isFailReason)
  if (failed !== undefined) return { outcome: "failed", error: classOf(failed.error) }
  const died = exit.cause.reasons.find(Cause.isDieReason)
  return died === undefined ? { outcome: "interrupted" } : { outcome: "died", error: classOf(died.defect) }
}

/** The tag or name of an error, or the type of whatever else was thrown: never its text, which may tell what nobody should read. */
export const classOf = (error: unknown): string => {
  if (Predicate.hasProperty(error, "_tag") && typeof error._tag === "string") return error._tag
  if (Predicate.hasProperty(error, "name") && typeof error.name === "string") return error.name
  return typeof error
}

const logTable: LogTable = {
  name: "runtime.workflow_log",
  columns: {
    execution_id: "text",
    ordinal: "int",
    kind: "text",
    name: "text",
    attempt: "int",
    run: "int",
    child_id: "text",
    started_at: "timestamptz",
    ended_at: "timestamptz",
    outcome: "text",
    error: "text"
  }
}

export const keepLogged = keepLast(logTable, ["execution_id", "ordinal", "kind", "name"])

/** Columns as `loggedOf` reads them, in the order of the log when sorted by `ordinal`. */
export const logColumns = "ordinal, kind, name, attempt, run, child_id, started_at, ended_at, outcome, error"

export const rowOf = (executionId: string, step: LoggedStep): Row => ({
  execution_id: executionId,
  ordinal: step.ordinal,
  kind: step.kind,
  name: step.name,
  attempt: step.attempt,
  run: step.run,
  child_id: step.childId,
  started_at: DateTime.formatIso(step.startedAt),
  ended_at: step.endedAt === undefined ? undefined : DateTime.formatIso(step.endedAt),
  outcome: step.outcome,
  error: step.error
})

const isKind = Schema.is(StepKind)
const isOutcome = Schema.is(StepOutcome)

export const loggedOf = (row: Row): LoggedStep => {
  const { kind, outcome } = row
  if (!isKind(kind)) throw new Error(`a step is never a ${String(kind)}`)
  return {
    ordinal: Number(row["ordinal"]),
    kind,
    name: String(row["name"]),
    attempt: Number(row["attempt"]),
    run: Number(row["run"]),
    startedAt: instantOf(row["started_at"]),
    ...(typeof row["child_id"] === "string" ? { childId: row["child_id"] } : {}),
    ...(row["ended_at"] === null ? {} : { endedAt: instantOf(row["ended_at"]) }),
    ...(isOutcome(outcome) ? { outcome } : {}),
    ...(typeof row["error"] === "string" ? { error: row["error"] } : {})
  }
}
