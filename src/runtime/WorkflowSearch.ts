/**
 * Executions of workflows for whoever looks after them: found by workflow, status, business key and age, newest first; and one of them
 * with its step log, joined with what it is at right now. Read from the engine's own tables, a page at a time, by an index.
 */
import { Context, DateTime, Duration, Effect, Layer, Option, Predicate, Result, Schema } from "effect"
import { type ExecutionDescription, ExecutionStatus, type ExecutionSummary } from "../domain/Executions.ts"
import { InvalidRequest, Unavailable } from "../domain/Refusals.ts"
import { Store } from "./Store.ts"
import { instantOf, type Row } from "./Table.ts"
import { Workflows } from "./WorkflowEngine.ts"
import { executionType } from "./WorkflowExecution.ts"
import { classOf, logColumns, loggedOf } from "./WorkflowLog.ts"

export interface WorkflowQuery {
  /** A workflow's tag. */
  readonly workflow?: string | undefined
  /** Any of these; all unless given. */
  readonly statuses?: ReadonlyArray<ExecutionStatus> | undefined
  readonly businessKey?: string | undefined
  /** Inclusive. */
  readonly createdAfter?: DateTime.Utc | undefined
  /** Exclusive. */
  readonly createdBefore?: DateTime.Utc | undefined
  /** Only those which have not ended so long after they were created. */
  readonly unfinishedFor?: Duration.Duration | undefined
  /** The `next` of the page before. */
  readonly after?: string | undefined
  readonly limit: number
}

export interface WorkflowPage {
  readonly executions: ReadonlyArray<ExecutionSummary>
  /** Where the next page starts; absent on the last. */
  readonly next?: string
}

export class WorkflowSearch extends Context.Service<
  WorkflowSearch,
  {
    /** Newest first. A cursor which is not one of ours is an `InvalidRequest`. */
    readonly list: (query: WorkflowQuery) => Effect.Effect<WorkflowPage, InvalidRequest | Unavailable>
    /** One execution with a page of its steps, oldest first; none when there is no such execution, or not any more. */
    readonly get: (
      executionId: string,
      steps: { readonly after?: number | undefined; readonly limit: number }
    ) => Effect.Effect<Option.Option<ExecutionDescription>, Unavailable>
  }
>()("cartwright/runtime/WorkflowSearch") {
  static readonly layer: Layer.Layer<WorkflowSearch, never, Store | Workflows> = Layer.effect(
    WorkflowSearch,
    Effect.suspend(() => make)
  )
}

const unfinished: ReadonlyArray<ExecutionStatus> = ["running", "suspended"]

/** How long the node an execution lives on may take to tell what it is at. */
const askWithin = Duration.seconds(2)

const microseconds = (column: string) =>
  `to_char(${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as ${column}`
const summaryColumns = `id, name, business_key, status, interrupted, ${microseconds("created_at")}, ${microseconds("updated_at")}`

/** The statement of a page, with its parameters: a page of each status, each from the top of an index, joined. */
export const listStatement = (
  {
    businessKey,
    createdAfter,
    createdBefore,
    limit,
    statuses,
    workflow
  }: Omit<WorkflowQuery, "after" | "unfinishedFor">,
  after?: { readonly createdAt: string; readonly id: string }
): readonly [text: string, parameters: ReadonlyArray<unknown>] => {
  const parameters: Array<unknown> = [statuses ?? ExecutionStatus.literals, limit + 1]
  const conditions: Array<string> = []
  const where = (value: unknown, condition: (parameter: string) => string) => {
    if (value !== undefined) conditions.push(`and ${condition(`$${parameters.push(value)}`)}`)
  }
  where(workflow, (name) => `w.name = ${name}`)
  where(businessKey, (key) => `w.business_key = ${key}`)
  where(createdAfter && DateTime.formatIso(createdAfter), (at) => `w.created_at >= ${at}::timestamptz`)
  where(createdBefore && DateTime.formatIso(createdBefore), (at) => `w.created_at < ${at}::timestamptz`)
  if (after !== undefined) {
    where(after.createdAt, (at) => `(w.created_at, w.id) < (${at}::timestamptz, $${parameters.length + 1})`)
    parameters.push(after.id)
  }
  return [
    `select ${summaryColumns} from (
       select w.* from unnest($1::text[]) s(wanted) cross join lateral (
         select id, name, business_key, status, interrupted, created_at, updated_at from runtime.workflows w
         where w.status = s.wanted ${conditions.join(" ")}
         order by w.created_at desc, w.id desc limit $2
       ) w order by w.created_at desc, w.id desc limit $2
     ) page order by page.created_at desc, page.id desc`,
    parameters
  ]
}

const make = Effect.gen(function* () {
  const store = yield* Store
  const workflows = yield* Workflows

  const query = (text: string, parameters: ReadonlyArray<unknown>) =>
    Effect.mapError(store.query(text, parameters), () => new Unavailable({ retryAfterMs: 1000 }))

  const list = Effect.fn("WorkflowSearch.list")(function* ({ after, unfinishedFor, ...wanted }: WorkflowQuery) {
    const behind = after === undefined ? undefined : yield* Effect.fromResult(decodeCursor(after))
    let { createdBefore, statuses } = wanted
    if (unfinishedFor !== undefined) {
      const oldest = DateTime.subtractDuration(yield* DateTime.now, unfinishedFor)
      createdBefore = createdBefore === undefined ? oldest : DateTime.min(createdBefore, oldest)
      statuses = (statuses ?? unfinished).filter((status) => unfinished.includes(status))
    }
    // One more than the page holds tells whether there is a next one.
    const rows = yield* query(...listStatement({ ...wanted, createdBefore, statuses }, behind))
    const shown = rows.slice(0, wanted.limit)
    const last = shown.at(-1)
    return {
      executions: yield* Effect.forEach(shown, summaryOf),
      ...(rows.length > wanted.limit && last !== undefined ? { next: encodeCursor(last) } : {})
    }
  })

  const get = Effect.fn("WorkflowSearch.get")(function* (
    id: string,
    { after = 0, limit }: { readonly after?: number | undefined; readonly limit: number }
  ) {
    const [[row], logged, [clock]] = yield* Effect.all(
      [
        query(`select ${summaryColumns}, payload, result from runtime.workflows where id = $1`, [id]),
        query(
          `select ${logColumns} from runtime.workflow_log where execution_id = $1 and ordinal > $2 order by ordinal, kind, name limit $3`,
          [id, after, limit + 1]
        ),
        query(
          `select ${microseconds("due_at")} from runtime.timers where actor_id = $1 and actor_type = $2 and name like 'clock/%' order by timers.due_at limit 1`,
          [id, executionType]
        )
      ],
      { concurrency: "unbounded" }
    )
    if (row === undefined) return Option.none()
    const summary = yield* summaryOf(row)
    const inFlight = unfinished.includes(summary.status)
      ? yield* Effect.option(Effect.timeout(workflows.inFlight(summary), askWithin))
      : Option.none()
    const steps = new Map(logged.map(loggedOf).map((step) => [step.ordinal, step]))
    for (const step of Option.isSome(inFlight) ? inFlight.value.steps : []) {
      if (step.ordinal > after) steps.set(step.ordinal, step)
    }
    const ordered = [...steps.values()].sort((left, right) => left.ordinal - right.ordinal)
    const shown = ordered.slice(0, limit)
    const error = failureOf(row["result"])
    return Option.some<ExecutionDescription>({
      ...summary,
      payload: JSON.stringify(row["payload"]),
      steps: shown,
      ...(error === undefined ? {} : { error }),
      ...(clock === undefined ? {} : { wakesAt: instantOf(clock["due_at"]) }),
      ...(Option.isSome(inFlight) ? { bodyUnderWay: inFlight.value.running } : {}),
      ...(ordered.length > limit && shown.length > 0 ? { nextStep: shown.at(-1)!.ordinal } : {})
    })
  })

  return WorkflowSearch.of({ list, get })
})

const decodeSummary = Schema.decodeUnknownEffect(
  Schema.Struct({
    id: Schema.String,
    name: Schema.String,
    business_key: Schema.String,
    status: ExecutionStatus,
    interrupted: Schema.Boolean,
    created_at: Schema.DateTimeUtcFromString,
    updated_at: Schema.DateTimeUtcFromString
  })
)

const summaryOf = (row: Row): Effect.Effect<ExecutionSummary> =>
  Effect.orDie(decodeSummary(row)).pipe(
    Effect.map(({ business_key, created_at, id, interrupted, name, status, updated_at }) => ({
      id,
      workflow: name,
      businessKey: business_key,
      status,
      interrupted,
      createdAt: created_at,
      updatedAt: updated_at
    }))
  )

/** Which refusal or defect the JSON of a result tells of: those of the engine's own codecs, so that no workflow has to be known. */
const failureOf = (result: unknown): string | undefined => {
  const exit = Predicate.hasProperty(result, "exit") ? result.exit : result
  const reasons = Predicate.hasProperty(exit, "cause") && Array.isArray(exit.cause) ? exit.cause : []
  const named = (tag: string, field: string) => {
    const reason: unknown = reasons.find((found: unknown) => Predicate.isTagged(found, tag))
    return Predicate.hasProperty(reason, field) ? classOf(reason[field]) : undefined
  }
  const interrupted = reasons.some((reason: unknown) => Predicate.isTagged(reason, "Interrupt"))
  return named("Fail", "error") ?? named("Die", "defect") ?? (interrupted ? "Interrupted" : undefined)
}

/** The whole time and id of a row: the database knows microseconds, which a `DateTime` does not hold. */
const encodeCursor = (row: Row): string =>
  Buffer.from(`${String(row["created_at"])} ${String(row["id"])}`).toString("base64url")

const cursor = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) ([\w-]{1,128})$/

const decodeCursor = (
  text: string
): Result.Result<{ readonly createdAt: string; readonly id: string }, InvalidRequest> => {
  const [, createdAt, id] = cursor.exec(Buffer.from(text.slice(0, 400), "base64url").toString()) ?? []
  return createdAt === undefined || id === undefined || Number.isNaN(Date.parse(createdAt))
    ? Result.fail(new InvalidRequest({ field: "after", message: "Expected the `next` of the page before" }))
    : Result.succeed({ createdAt, id })
}
