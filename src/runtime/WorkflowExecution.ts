/**
 * One execution of a workflow, as an actor: its states, its row, its contract. It is placed by its business key and not by its id, so
 * that it lives with the actors it is about.
 */
import { DateTime, Duration, Result, Schema } from "effect"
import { Entity } from "effect/cluster"
import { Rpc } from "effect/rpc"
import { LoggedStep } from "../domain/Executions.ts"
import type { ActorDefinition } from "./Actor.ts"
import { instantOf, type LogTable, type Row, type StateTable } from "./Table.ts"

const terms = {
  name: Schema.String,
  businessKey: Schema.String,
  bucket: Schema.Int,
  /** In the JSON of the workflow's payload schema. */
  payload: Schema.Unknown,
  /** Somebody asked it to end; it compensates as soon as it has to wait. */
  interrupted: Schema.Boolean,
  /** Grows with every wake-up: a run which ends in waiting runs again when it has grown meanwhile. */
  turn: Schema.Int
}

export const ExecutionState = Schema.TaggedUnion({
  Absent: {},
  Running: {
    ...terms,
    /** The turn in which somebody asked for it by name, which also wakes what failed. */
    explicitTurn: Schema.Int,
    /** Run again by then, should nobody be at it. */
    watchdogAt: Schema.DateTimeUtc
  },
  Suspended: {
    ...terms,
    /** By `Workflow.SuspendOnFailure`: only `resume` and `interrupt` wake it. */
    failed: Schema.Boolean,
    /** JSON of `Workflow.Suspended`. */
    result: Schema.Unknown
  },
  Finished: {
    ...terms,
    succeeded: Schema.Boolean,
    /** JSON of `Workflow.Complete`. */
    result: Schema.Unknown
  }
})
export type ExecutionState = typeof ExecutionState.Type

const Command = Schema.TaggedUnion({
  Start: { name: Schema.String, businessKey: Schema.String, bucket: Schema.Int, payload: Schema.Unknown },
  Wake: { explicit: Schema.Boolean, interrupt: Schema.Boolean },
  Extend: {},
  Suspend: { failed: Schema.Boolean, result: Schema.Unknown },
  Finish: { succeeded: Schema.Boolean, result: Schema.Unknown }
})
type Command = typeof Command.Type

const Event = Schema.TaggedUnion({
  Started: {
    name: Schema.String,
    businessKey: Schema.String,
    bucket: Schema.Int,
    payload: Schema.Unknown,
    watchdogAt: Schema.DateTimeUtc
  },
  Woken: { explicit: Schema.Boolean, interrupt: Schema.Boolean, watchdogAt: Schema.DateTimeUtc },
  Extended: { watchdogAt: Schema.DateTimeUtc },
  Suspended: { failed: Schema.Boolean, result: Schema.Unknown },
  Finished: { succeeded: Schema.Boolean, result: Schema.Unknown }
})
type Event = typeof Event.Type

export type ExecutionDefinition = ActorDefinition<ExecutionState, Command, Event, never>

export const executionType = "Workflow"

/** Its names: `watchdog`, `wake/<child>` and `clock/<name>`. Only the first follows from the state. */
export const watchdogTimer = "watchdog"

const decide = (state: ExecutionState, command: Command, watchdogAt: DateTime.Utc): ReadonlyArray<Event> => {
  switch (command._tag) {
    case "Start":
      return state._tag === "Absent" ? [{ ...command, _tag: "Started", watchdogAt }] : []
    case "Wake":
      return state._tag === "Running" || state._tag === "Suspended" ? [{ ...command, _tag: "Woken", watchdogAt }] : []
    case "Extend":
      return state._tag === "Running" ? [{ _tag: "Extended", watchdogAt }] : []
    case "Suspend":
      return state._tag === "Running" ? [{ ...command, _tag: "Suspended" }] : []
    case "Finish":
      return state._tag === "Running" || state._tag === "Suspended" ? [{ ...command, _tag: "Finished" }] : []
  }
}

const evolve = (state: ExecutionState, event: Event): ExecutionState => {
  if (event._tag === "Started") return { ...event, _tag: "Running", interrupted: false, turn: 1, explicitTurn: 0 }
  if (state._tag === "Absent" || state._tag === "Finished") return state
  const { bucket, businessKey, interrupted, name, payload, turn } = state
  const kept = { bucket, businessKey, interrupted, name, payload, turn }
  switch (event._tag) {
    case "Woken": {
      const explicitTurn = event.explicit ? turn + 1 : state._tag === "Running" ? state.explicitTurn : 0
      // While it runs its watchdog stays where it is.
      const watchdogAt = state._tag === "Running" ? state.watchdogAt : event.watchdogAt
      return {
        ...kept,
        _tag: "Running",
        interrupted: interrupted || event.interrupt,
        turn: turn + 1,
        explicitTurn,
        watchdogAt
      }
    }
    case "Extended":
      return state._tag === "Running" ? { ...state, watchdogAt: event.watchdogAt } : state
    case "Suspended":
      return { ...kept, _tag: "Suspended", failed: event.failed, result: event.result }
    case "Finished":
      return { ...kept, _tag: "Finished", succeeded: event.succeeded, result: event.result }
  }
}

const statusOf = (state: Exclude<ExecutionState, { _tag: "Absent" }>) => {
  switch (state._tag) {
    case "Running":
      return "running"
    case "Suspended":
      return "suspended"
    case "Finished":
      return state.succeeded ? "completed" : "failed"
  }
}

const makeTable = (watchdog: Duration.Duration): StateTable<ExecutionState> => ({
  name: "runtime.workflows",
  columns: {
    name: "text",
    business_key: "text",
    status: "text",
    payload: "jsonb",
    result: "jsonb",
    interrupted: "boolean",
    bucket: "int"
  },
  immutable: ["name", "business_key", "payload", "bucket"],
  toRow: (state) => {
    if (state._tag === "Absent") throw new Error("an absent execution has no row")
    return {
      name: state.name,
      business_key: state.businessKey,
      status: statusOf(state),
      payload: state.payload,
      result: state._tag === "Running" ? undefined : state.result,
      interrupted: state.interrupted,
      bucket: state.bucket
    }
  },
  fromRow: (row) => {
    const result = row["result"]
    const shared = {
      name: String(row["name"]),
      businessKey: String(row["business_key"]),
      bucket: Number(row["bucket"]),
      payload: row["payload"],
      interrupted: row["interrupted"] === true,
      // Not less than it was: every turn was a version.
      turn: Number(row["version"])
    }
    const status = String(row["status"])
    switch (status) {
      case "running": {
        const updatedAt = instantOf(row["updated_at"])
        // Rather woken up once more than not at all.
        const explicitTurn = shared.turn
        return { ...shared, _tag: "Running", explicitTurn, watchdogAt: DateTime.addDuration(updatedAt, watchdog) }
      }
      case "suspended": {
        const failed = typeof result === "object" && result !== null && "failed" in result && result.failed === true
        return { ...shared, _tag: "Suspended", failed, result }
      }
      case "completed":
      case "failed":
        return { ...shared, _tag: "Finished", succeeded: status === "completed", result }
      default:
        throw new Error(`an execution is never ${status}`)
    }
  }
})

/** `watchdog`: how long an execution which nobody is at waits for its node to notice. */
export const makeDefinition = (watchdog: Duration.Duration): ExecutionDefinition => ({
  type: executionType,
  initial: { _tag: "Absent" },
  decide: (state, command, { now }) => Result.succeed(decide(state, command, DateTime.addDuration(now, watchdog))),
  evolve,
  event: Event,
  refusal: Schema.Never,
  table: makeTable(watchdog),
  timers: (state) => (state._tag === "Running" ? { [watchdogTimer]: { dueAt: state.watchdogAt, urgent: true } } : {})
})

/** What memoised activities, deferreds and clocks have answered, and which executions wait for this one. */
export const steps: LogTable = {
  name: "runtime.workflow_steps",
  columns: { execution_id: "text", name: "text", result: "jsonb", at: "timestamptz" }
}

/** The execution that waits for another one. */
export const Parent = Schema.Struct({ executionId: Schema.String, businessKey: Schema.String })
export type Parent = typeof Parent.Type

/** How an execution stands for somebody who waits for it. */
export const Standing = Schema.TaggedUnion({
  /** Not there yet: ask again. */
  Pending: {},
  /** JSON of `Workflow.Result`. */
  Settled: { result: Schema.Unknown }
})
export type Standing = typeof Standing.Type

/** What an execution is at, of which nothing is durable yet. */
export const InFlight = Schema.Struct({
  /** Whether its body is under way on its node. */
  running: Schema.Boolean,
  steps: Schema.Array(LoggedStep)
})
export type InFlight = typeof InFlight.Type

/** Reaches an execution on whichever node it lives. Entity id: its business key. Every message may be repeated. */
export const Executions = Entity.make("Executions", [
  /** Answers as soon as the start is durable. */
  Rpc.make("Start", {
    payload: {
      executionId: Schema.String,
      workflow: Schema.String,
      payload: Schema.Unknown,
      parent: Schema.UndefinedOr(Parent)
    }
  }),
  /** Waits until it is finished, or with `suspended` until it is finished or has to wait; but for `atMostMs` at the most. */
  Rpc.make("Await", {
    payload: { executionId: Schema.String, suspended: Schema.Boolean, atMostMs: Schema.Int },
    success: Standing
  }),
  /** Stores what a deferred was completed with, unless it was before, and wakes who waits for it. */
  Rpc.make("Complete", {
    payload: { executionId: Schema.String, deferred: Schema.String, exit: Schema.Unknown }
  }),
  Rpc.make("InFlight", { payload: { executionId: Schema.String }, success: InFlight }),
  Rpc.make("Resume", { payload: { executionId: Schema.String } }),
  Rpc.make("Interrupt", { payload: { executionId: Schema.String, unsafe: Schema.Boolean } })
])

/** An execution's row, as far as reaching it takes. */
export interface Whereabouts {
  readonly workflow: string
  readonly businessKey: string
  readonly status: string
  readonly result: unknown
}

export const whereaboutsOf = (row: Row): Whereabouts => ({
  workflow: String(row["name"]),
  businessKey: String(row["business_key"]),
  status: String(row["status"]),
  result: row["result"]
})
