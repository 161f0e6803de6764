/** How an execution of a workflow stands, and what it has done, in the words of whoever looks after it. */
import { Schema } from "effect"

/** `running`: somebody is at it. `suspended`: it waits, and takes no memory. The other two are final. */
export const ExecutionStatus = Schema.Literals(["running", "suspended", "completed", "failed"])
export type ExecutionStatus = typeof ExecutionStatus.Type

export const StepKind = Schema.Literals(["activity", "deferred", "clock", "child"])
export type StepKind = typeof StepKind.Type

/**
 * `failed` is a refusal, an answer like another; `died` is a defect. `interrupted`: dropped, since the run went on without it. `started`: a
 * child whose end nobody waits for.
 */
export const StepOutcome = Schema.Literals(["succeeded", "failed", "died", "interrupted", "started"])
export type StepOutcome = typeof StepOutcome.Type

/** One entry of an execution's step log. */
export const LoggedStep = Schema.Struct({
  /** Its place in the log. */
  ordinal: Schema.Int,
  kind: StepKind,
  name: Schema.String,
  attempt: Schema.Int,
  /** The turn of the execution in which it began. */
  run: Schema.Int,
  /** The execution it waits for, of a child. */
  childId: Schema.optionalKey(Schema.String),
  startedAt: Schema.DateTimeUtc,
  /** Absent while it is under way, or waited for. */
  endedAt: Schema.optionalKey(Schema.DateTimeUtc),
  outcome: Schema.optionalKey(StepOutcome),
  /** Which refusal or defect: its tag or name, without what it says. */
  error: Schema.optionalKey(Schema.String)
})
export type LoggedStep = typeof LoggedStep.Type

export const ExecutionSummary = Schema.Struct({
  id: Schema.String,
  /** The workflow's tag. */
  workflow: Schema.String,
  /** What it is about, such as an order's id. */
  businessKey: Schema.String,
  status: ExecutionStatus,
  /** Somebody asked it to end. */
  interrupted: Schema.Boolean,
  createdAt: Schema.DateTimeUtc,
  /** When it last began to run, to wait, or ended. */
  updatedAt: Schema.DateTimeUtc
})
export type ExecutionSummary = typeof ExecutionSummary.Type

export const ExecutionDescription = Schema.Struct({
  ...ExecutionSummary.fields,
  /** What it was started with, as JSON. */
  payload: Schema.String,
  /** Which refusal or defect it ended with, or waits on. */
  error: Schema.optionalKey(Schema.String),
  /** The next of its clocks. */
  wakesAt: Schema.optionalKey(Schema.DateTimeUtc),
  /** Whether its body is under way on its node; absent when that node does not answer. */
  bodyUnderWay: Schema.optionalKey(Schema.Boolean),
  steps: Schema.Array(LoggedStep),
  /** The `ordinal` behind which the next page of steps starts; absent on the last. */
  nextStep: Schema.optionalKey(Schema.Int)
})
export type ExecutionDescription = typeof ExecutionDescription.Type
