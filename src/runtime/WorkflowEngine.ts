/**
 * Effect's workflows on our journal. An execution is an actor: its start, its waits and its result are rows written like everybody's,
 * and what happens in between are units of its own. It runs on the node which has the business object it is about (`PlacedBy`).
 *
 * What survives a crash is the start, and that is enough: the next owner finds the execution's watchdog timer and runs the body again
 * from the top, at once. Therefore every activity must be safe to repeat, such as a keyed unit or a call with an idempotency key: it runs
 * again and finds its first answer. An activity which is not can be annotated with `Memo`; its first answer is then stored.
 *
 * `DurableClock.sleep` of up to `inMemoryThreshold` (60 s unless said otherwise) is an ordinary activity, so it starts over after a crash
 * and keeps the execution in memory. Pass `inMemoryThreshold: 0` to have it as a row with an exact instant.
 */
import { Clock, Context, DateTime, Duration, Effect, Exit, Fiber, Layer, Option, Schedule, Schema, Scope } from "effect"
import { Workflow, WorkflowEngine } from "effect/workflow"
import { IdempotencyConflict, Unavailable } from "../domain/Refusals.ts"
import { PlacedBy } from "../domain/PlacedBy.ts"
import type { Cell } from "./Actor.ts"
import { Journal } from "./Journal.ts"
import { type HandlersOf, Placement } from "./Placement.ts"
import { Lost, Store } from "./Store.ts"
import { keepFirst, type Row, setTimers } from "./Table.ts"
import { clear as clearTimer, Timers } from "./Timers.ts"
import type { Transaction } from "./Transaction.ts"
import {
  type ExecutionDefinition,
  type ExecutionState,
  Executions,
  executionType,
  type InFlight,
  makeDefinition,
  Parent,
  type Standing,
  steps as stepsTable,
  watchdogTimer,
  type Whereabouts,
  whereaboutsOf
} from "./WorkflowExecution.ts"
import {
  type Begun,
  endingOf,
  keepLogged,
  logColumns,
  loggedOf,
  rowOf,
  type StepName,
  WorkflowLog
} from "./WorkflowLog.ts"

/** Annotates an activity whose first answer is to be stored, since asking again could give another one. */
export const Memo: Context.Reference<boolean> = Context.Reference("cartwright/runtime/WorkflowEngine/Memo", {
  defaultValue: () => false
})

/** An execution which may be started in somebody's unit. */
export interface Prepared {
  readonly executionId: string
  /** To be among the unit's cells. */
  readonly cell: Cell
  /** Makes the start part of the unit; nothing when it was started before. The body runs as soon as the unit is durable. */
  readonly start: (transaction: Transaction) => void
}

/** What Effect's `WorkflowEngine` has no words for. */
export class Workflows extends Context.Service<
  Workflows,
  {
    /** For a workflow that is placed by the id the unit is about: another node hears of it only when its watchdog is due. */
    readonly prepare: <
      Name extends string,
      Payload extends Workflow.AnyStructSchema,
      Success extends Schema.Top,
      Error extends Schema.Top
    >(
      workflow: Workflow.Workflow<Name, Payload, Success, Error>,
      payload: Payload["~type.make.in"]
    ) => Effect.Effect<Prepared, Unavailable, Payload["EncodingServices"]>
    /** Executions with a body under way on this node; the suspended ones take no memory. */
    readonly running: Effect.Effect<number>
    /** The tags of the workflows this node can run. */
    readonly registered: Effect.Effect<ReadonlyArray<string>>
    /** What an execution is at right now, on whichever node it lives: what its log does not tell yet. */
    readonly inFlight: (execution: {
      readonly id: string
      readonly businessKey: string
    }) => Effect.Effect<InFlight, Unavailable>
    /** Wakes an execution, also one that waits on failure. Whether there was one which had not ended. */
    readonly resume: (executionId: string) => Effect.Effect<boolean, Unavailable>
    /** Ends an execution where it would wait next, with its compensations. Whether there was one which had not ended. */
    readonly interrupt: (executionId: string) => Effect.Effect<boolean, Unavailable>
  }
>()("cartwright/runtime/WorkflowEngine/Workflows") {}

export interface WorkflowEngineOptions {
  /** How long an execution which nobody is at waits for its node to notice. A new owner does not wait. */
  readonly watchdog: Duration.Duration
  /** The longest single wait for a result on another node; then it is asked again. */
  readonly awaitWithin: Duration.Duration
  /** How long stopping waits for bodies and compensations under way. They run again elsewhere. */
  readonly stopWithin: Duration.Duration
}

/** A body under way. */
interface Execution {
  readonly id: string
  readonly bucket: number
  /** Started in this life of this node, so that `attempted` holds every activity there has been. */
  fresh: boolean
  readonly attempted: Set<string>
  readonly steps: Map<string, Exit.Exit<unknown, unknown>>
  readonly parents: Map<string, Parent>
  readonly clocks: Set<string>
  readonly log: WorkflowLog
  cell: Cell<ExecutionDefinition> | undefined
  workflow: string | undefined
  /** The turn its run began in. */
  turn: number
  instance: WorkflowEngine.WorkflowInstance["Service"] | undefined
  /** What activities of this run wait for. It wakes the run when it has come to rest, but does not cut it short. */
  activityAwaits: Map<string, number>
  body: Fiber.Fiber<unknown, unknown> | undefined
  fiber: Fiber.Fiber<unknown, unknown> | undefined
  abandoned: boolean
}

interface Registration {
  readonly workflow: Workflow.Any
  readonly execute: (
    payload: object,
    executionId: string
  ) => Effect.Effect<unknown, unknown, WorkflowEngine.WorkflowInstance | WorkflowEngine.WorkflowEngine>
  readonly services: Context.Context<never>
}

export const make = Effect.fnUntraced(function* (options: WorkflowEngineOptions) {
  const store = yield* Store
  const journal = yield* Journal
  const placement = yield* Placement
  const timers = yield* Timers
  const runFork = Effect.runForkWith(yield* Effect.context<never>())
  const clock = yield* Clock.Clock
  const definition = makeDefinition(options.watchdog)
  const executions = new Map<string, Execution>()
  const registrations = new Map<string, Registration>()
  /** Executions of workflows which this node does not know yet, by workflow. */
  const unknown = new Map<string, Map<string, number>>()
  let stopped = false

  const cellOf = (id: string, bucket: number) => journal.cell(definition, id, bucket)

  /** Read again unless it is as `expected`: another node may have had it meanwhile. What is finished stays so. */
  const freshCellOf = Effect.fnUntraced(function* (
    id: string,
    bucket: number,
    expected: (state: ExecutionState) => boolean
  ) {
    const cell = yield* cellOf(id, bucket)
    if (cell.state._tag !== "Finished" && !expected(cell.state)) yield* journal.reread([cell])
    return cell
  })

  /** Runs the body of an execution, unless it is under way here. */
  const run = (id: string, bucket: number, started = false): void => {
    if (stopped || executions.has(id)) return
    const execution: Execution = {
      id,
      bucket,
      fresh: started,
      attempted: new Set(),
      steps: new Map(),
      parents: new Map(),
      clocks: new Set(),
      log: new WorkflowLog(),
      cell: undefined,
      workflow: undefined,
      turn: 0,
      instance: undefined,
      activityAwaits: new Map(),
      body: undefined,
      fiber: undefined,
      abandoned: false
    }
    executions.set(id, execution)
    execution.fiber = runFork(drive(execution))
  }

  const drive = (execution: Execution): Effect.Effect<void> =>
    Effect.gen(function* () {
      const { bucket, id } = execution
      const cell = yield* patient(cellOf(id, bucket))
      cell.pending++
      execution.cell = cell
      const { state } = cell
      if (state._tag !== "Running") return
      const registration = registrations.get(state.name)
      if (registration === undefined) {
        const waiting = unknown.get(state.name) ?? new Map<string, number>()
        unknown.set(state.name, waiting.set(id, bucket))
        return
      }
      execution.workflow = state.name
      execution.fresh &&= cell.version === 1
      yield* Effect.all([loadSteps(execution), execution.fresh ? Effect.void : loadLog(execution)], {
        concurrency: "unbounded",
        discard: true
      })
      const payload = yield* decodePayload(registration.workflow, state.payload).pipe(
        Effect.provideContext(registration.services)
      )
      while (!execution.abandoned) {
        const result = yield* runOnce(execution, cell, registration, payload)
        if (result._tag === "Complete") return yield* finish(execution, cell, registration, result)
        yield* suspend(execution, cell, registration, result)
        // Woken up before it slept. Looking and leaving are one, so that no wake-up falls in between.
        if (!isRunning(cell)) {
          forget(execution)
          return
        }
      }
    }).pipe(
      Effect.catchCause((cause) =>
        execution.abandoned
          ? Effect.void
          : Effect.logError(`Workflow ${execution.workflow} stopped; its watchdog runs it again`, cause)
      ),
      Effect.ensuring(
        Effect.sync(() => {
          if (execution.cell !== undefined) execution.cell.pending--
          forget(execution)
        })
      ),
      Effect.annotateLogs({ executionId: execution.id })
    )

  const forget = (execution: Execution) => {
    if (executions.get(execution.id) === execution) executions.delete(execution.id)
  }

  /** Like the other engines: a run of its own scope, which ends as a result or in waiting. */
  const runOnce = (
    execution: Execution,
    cell: Cell<ExecutionDefinition>,
    { execute, workflow }: Registration,
    payload: object
  ): Effect.Effect<Workflow.Result<unknown, unknown>> =>
    Effect.suspend(() => {
      const instance = WorkflowEngine.WorkflowInstance.initial(workflow, execution.id)
      execution.instance = instance
      execution.activityAwaits = new Map()
      execution.turn = cell.state._tag === "Running" ? cell.state.turn : 0
      return Effect.withFiber<unknown, unknown, WorkflowEngine.WorkflowInstance | WorkflowEngine.WorkflowEngine>(
        (fiber) => {
          execution.body = fiber
          return execute(payload, execution.id)
        }
      ).pipe(
        // An interruption takes effect where the run would wait; until then it goes on.
        Effect.onExit((exit) => {
          if (!isInterrupted(cell) || instance.abandoned || instance.interrupted) return Effect.void
          const failing = Exit.isFailure(exit) && Context.get(workflow.annotations, Workflow.SuspendOnFailure)
          if (!instance.suspended && !failing) return Effect.void
          instance.interrupted = true
          instance.suspended = false
          return Effect.withFiber((fiber) => Effect.interruptible(Fiber.interrupt(fiber)))
        }),
        Workflow.intoResult,
        Effect.provideService(WorkflowEngine.WorkflowEngine, engine),
        Effect.provideService(WorkflowEngine.WorkflowInstance, instance)
      )
    })

  const suspend = Effect.fnUntraced(function* (
    execution: Execution,
    cell: Cell<ExecutionDefinition>,
    registration: Registration,
    result: Workflow.Suspended
  ) {
    // The next run registers its compensations again; this one's resources are released, and its compensations forgotten.
    const instance = execution.instance!
    instance.abandoned = true
    yield* Scope.close(instance.scope, Exit.void)
    const encoded = yield* encodeResult(registration, result)
    const failed = result.failed === true
    yield* logging(execution, (write) =>
      journal.unit({
        cells: [cell],
        cause: "workflow waits",
        body: (transaction) => {
          write(transaction)
          const state = transaction.state(cell)
          if (state._tag !== "Running") return
          if (failed ? state.explicitTurn > execution.turn : state.turn > execution.turn) return
          // Its interruption came too late for this run.
          if (state.interrupted && !instance.interrupted) return
          transaction.execute(cell, `suspend/${state.turn}`, { _tag: "Suspend", failed, result: encoded })
        }
      })
    )
  })

  const finish = Effect.fnUntraced(function* (
    execution: Execution,
    cell: Cell<ExecutionDefinition>,
    registration: Registration,
    result: Workflow.Complete<unknown, unknown>
  ) {
    const encoded = yield* encodeResult(registration, result)
    const succeeded = Exit.isSuccess(result.exit)
    yield* logging(execution, (write) =>
      journal.unit({
        cells: [cell],
        cause: "workflow ends",
        body: (transaction) => {
          const state = transaction.state(cell)
          // Of two owners the first one's result counts.
          if (state._tag !== "Running" && state._tag !== "Suspended") return
          execution.log.close(transaction.now)
          write(transaction)
          transaction.execute(cell, `finish/${state.turn}`, { _tag: "Finish", succeeded, result: encoded })
          for (const name of execution.clocks) transaction.write(clearTimer, timerOf(execution.id, name))
          for (const { businessKey, executionId } of execution.parents.values()) {
            transaction.write(setTimers, {
              ...timerOf(executionId, `wake/${execution.id}`),
              bucket: placement.bucketOf(businessKey),
              due_at: DateTime.formatIso(transaction.now),
              urgent: true
            })
          }
        }
      })
    )
  })

  /** Stops a body without a result and without compensation: whoever owns it next runs it from the top. */
  const abandon = (execution: Execution) => {
    execution.abandoned = true
    if (execution.instance !== undefined) execution.instance.abandoned = true
    forget(execution)
    execution.body?.interruptUnsafe()
    execution.fiber?.interruptUnsafe()
  }

  const abandonAll = (which: (execution: Execution) => boolean) => {
    const abandoned = [...executions.values()].filter(which)
    abandoned.forEach(abandon)
    return abandoned.flatMap(({ fiber }) => (fiber === undefined ? [] : [fiber]))
  }

  /** Before what the bodies use is closed. */
  const stopAll = (which: (execution: Execution) => boolean) =>
    Effect.suspend(() => {
      const fibers = abandonAll(which)
      return Effect.forEach(fibers, (fiber) => Fiber.await(fiber), { concurrency: "unbounded", discard: true }).pipe(
        Effect.timeoutOption(options.stopWithin),
        Effect.asVoid
      )
    })

  interface Awakening {
    readonly cause: string
    readonly explicit?: boolean
    readonly interrupt?: boolean
    readonly write?: (transaction: Transaction) => void
    /** `turn` is the one it was woken up for. */
    readonly afterwards?: (turn: number) => void
  }

  const awaken = Effect.fnUntraced(function* (id: string, bucket: number, how: Awakening) {
    const { afterwards, cause, explicit = false, interrupt = false, write } = how
    const wakes = (state: ExecutionState) =>
      state._tag === "Running" || (state._tag === "Suspended" && (!state.failed || explicit))
    const cell = yield* freshCellOf(id, bucket, wakes)
    const turn = yield* journal.unit({
      cells: [cell],
      cause,
      body: (transaction) => {
        write?.(transaction)
        const state = transaction.state(cell)
        if (state._tag === "Absent" || state._tag === "Finished" || !wakes(state)) return undefined
        transaction.execute(cell, `wake/${state.turn}`, { _tag: "Wake", explicit, interrupt })
        return state.turn + 1
      }
    })
    if (isRunning(cell)) run(id, bucket)
    if (turn !== undefined) afterwards?.(turn)
  })

  /**
   * Brings an execution to life again; with `write`, something becomes durable along with it. In a fiber of its own: once it is queued it
   * will happen, and then it has to be acted on, whether or not somebody still waits for it.
   */
  const wake = (id: string, bucket: number, how: Awakening): Effect.Effect<void, Unavailable | IdempotencyConflict> =>
    Effect.suspend(() => Fiber.join(runFork(awaken(id, bucket, how))))

  /** Cuts short a run which waits for this. One that began in `turn` or later looks for it after it was written, and finds it. */
  const preempt = (id: string, deferred: string, turn: number) => {
    const execution = executions.get(id)
    const instance = execution?.instance
    if (execution === undefined || instance === undefined || execution.turn >= turn) return
    if (!instance.awaitedDeferreds.has(deferred) || instance.abandoned) return
    instance.suspended = true
    execution.body?.interruptUnsafe()
  }

  const query = (text: string, parameters: ReadonlyArray<unknown>): Effect.Effect<ReadonlyArray<Row>> =>
    patient(store.query(text, parameters))

  const whereabouts = (id: string): Effect.Effect<Whereabouts | undefined> =>
    query(whereaboutsQuery, [id]).pipe(Effect.map(([row]) => (row === undefined ? undefined : whereaboutsOf(row))))

  const loadSteps = (execution: Execution) =>
    query("select name, result from runtime.workflow_steps where execution_id = $1", [execution.id]).pipe(
      Effect.map((rows) => {
        for (const row of rows) {
          const name = String(row["name"])
          if (name.startsWith(parentStep(""))) {
            const parent = decodeParent(row["result"])
            execution.parents.set(parent.executionId, parent)
          } else execution.steps.set(name, decodeStep(name, row["result"]))
        }
      })
    )

  const loadLog = (execution: Execution) =>
    query(`select ${logColumns} from runtime.workflow_log where execution_id = $1`, [execution.id]).pipe(
      Effect.map((rows) => {
        execution.log.load(rows.map(loggedOf))
      })
    )

  const instant = () => DateTime.makeUnsafe(clock.currentTimeMillisUnsafe())

  const beginStep = (execution: Execution, step: StepName): Begun =>
    execution.log.begin(step, execution.turn, instant())

  const endStep = (execution: Execution, begun: Begun, exit: Exit.Exit<unknown, unknown>) => {
    execution.log.end(begun, execution.turn, instant(), endingOf(exit))
  }

  /** A write of an execution, which takes along what is not in its log yet. */
  const logging = <A>(
    execution: Execution | undefined,
    unit: (write: (transaction: Transaction) => void) => Effect.Effect<A, Unavailable | IdempotencyConflict>
  ): Effect.Effect<A> => {
    let steps: WorkflowLog["unwritten"] = []
    return patient(
      unit((transaction) => {
        if (execution === undefined) return
        steps = execution.log.unwritten
        for (const step of steps) transaction.write(keepLogged, rowOf(execution.id, step))
      })
    ).pipe(Effect.tap(Effect.sync(() => execution?.log.written(steps))))
  }

  /** The first answer a step was given, if any. Read again when it is not in memory: any node may have written it. */
  const findStep = (id: string, name: string): Effect.Effect<Option.Option<Exit.Exit<unknown, unknown>>> =>
    Effect.suspend(() => {
      const execution = executions.get(id)
      const known = execution?.steps.get(name)
      if (known !== undefined) return Effect.succeedSome(known)
      return query("select result from runtime.workflow_steps where execution_id = $1 and name = $2", [id, name]).pipe(
        Effect.map(([row]) => {
          const exit = row === undefined ? undefined : decodeStep(name, row["result"])
          if (exit !== undefined) execution?.steps.set(name, exit)
          return Option.fromUndefinedOr(exit)
        })
      )
    })

  const writeStep = (transaction: Transaction, id: string, name: string, result: unknown) => {
    transaction.write(keepStep, { execution_id: id, name, result, at: DateTime.formatIso(transaction.now) })
  }

  const keep = (id: string, name: string, result: unknown) =>
    logging(executions.get(id), (write) =>
      journal.unit({
        cells: [],
        cause: `workflow step ${name}`,
        body: (transaction) => {
          write(transaction)
          writeStep(transaction, id, name, result)
        }
      })
    )

  const clients = placement.client(Executions, {
    timeout: Duration.sum(options.awaitWithin, Duration.seconds(5))
  })

  /** What is written for a bucket that has just moved would be seen by its new owner only when the watchdog is due. */
  const localBucket = (businessKey: string): Effect.Effect<number, Unavailable> =>
    Effect.suspend(() => {
      const bucket = placement.bucketOf(businessKey)
      return placement.isLocal(bucket) ? Effect.succeed(bucket) : Effect.fail(new Unavailable({ retryAfterMs: 100 }))
    })

  const wakeHere = (businessKey: string, executionId: string, how: Awakening) =>
    Effect.flatMap(localBucket(businessKey), (bucket) => wake(executionId, bucket, how))

  const handlers: HandlersOf<typeof Executions> = {
    Start: Effect.fnUntraced(function* (businessKey, { executionId, parent, payload, workflow }) {
      const bucket = yield* localBucket(businessKey)
      const cell = yield* cellOf(executionId, bucket)
      if (cell.state._tag === "Finished" || (cell.state._tag !== "Absent" && parent === undefined)) return
      yield* journal.unit({
        cells: [cell],
        cause: parent === undefined ? "workflow starts" : `workflow ${parent.executionId} starts it`,
        body: (transaction) => {
          const state = transaction.state(cell)
          if (state._tag === "Finished") return
          if (parent !== undefined) {
            executions.get(executionId)?.parents.set(parent.executionId, parent)
            writeStep(transaction, executionId, parentStep(parent.executionId), parent)
          }
          if (state._tag !== "Absent") return
          transaction.execute(cell, "start", { _tag: "Start", name: workflow, businessKey, bucket, payload })
        }
      })
    }),
    Await: (businessKey, { atMostMs, executionId, suspended }) =>
      Effect.gen(function* (): Effect.fn.Return<Standing, Unavailable> {
        while (true) {
          const bucket = yield* localBucket(businessKey)
          // Whoever hears that it waits is told once when it has ended: not before it asked.
          const cell = suspended
            ? yield* freshCellOf(executionId, bucket, ({ _tag }) => _tag !== "Suspended")
            : yield* cellOf(executionId, bucket)
          const { state, version } = cell
          if (state._tag === "Finished" || (suspended && state._tag === "Suspended")) {
            return { _tag: "Settled", result: state.result }
          }
          // Looks up now and then, since it is not seen here what happens to one that has moved.
          yield* journal.changed(executionType, executionId, version).pipe(Effect.timeoutOption(250))
        }
      }).pipe(Effect.timeoutOption(atMostMs), Effect.map(Option.getOrElse((): Standing => ({ _tag: "Pending" })))),
    Complete: (businessKey, { deferred, executionId, exit }) =>
      wakeHere(businessKey, executionId, {
        cause: `deferred ${deferred}`,
        write: (transaction) => {
          writeStep(transaction, executionId, deferredStep(deferred), exit)
        },
        afterwards: (turn) => {
          preempt(executionId, deferred, turn)
        }
      }),
    InFlight: (businessKey, { executionId }) =>
      Effect.map(localBucket(businessKey), () => {
        const execution = executions.get(executionId)
        return { running: execution !== undefined, steps: execution?.log.unwritten ?? [] }
      }),
    Resume: (businessKey, { executionId }) => wakeHere(businessKey, executionId, { cause: "resumed", explicit: true }),
    Interrupt: (businessKey, { executionId, unsafe }) =>
      wakeHere(businessKey, executionId, {
        cause: "interrupted",
        explicit: true,
        interrupt: true,
        afterwards: () => {
          const { body, instance } = executions.get(executionId) ?? {}
          if (!unsafe || instance === undefined) return
          instance.interrupted = true
          body?.interruptUnsafe()
        }
      })
  }
  placement.serve(Executions, handlers)

  timers.onDue(executionType, (id, name, dueAt, bucket) =>
    Effect.gen(function* () {
      const clear = (transaction: Transaction) => {
        transaction.write(clearTimer, timerOf(id, name))
      }
      if (name.startsWith(clockTimer(""))) {
        const deferred = `${clockPrefix}${name.slice(clockTimer("").length)}`
        yield* wake(id, bucket, {
          cause: `timer ${name}`,
          write: (transaction) => {
            clear(transaction)
            writeStep(transaction, id, deferredStep(deferred), rang)
          },
          afterwards: (turn) => {
            preempt(id, deferred, turn)
          }
        })
        return
      }
      if (name !== watchdogTimer) return yield* wake(id, bucket, { cause: `timer ${name}`, write: clear })
      const cell = yield* freshCellOf(id, bucket, ({ _tag }) => _tag === "Running")
      const now = yield* DateTime.now
      if (isRunning(cell)) run(id, bucket)
      // A new owner hears of it before it is due; only afterwards must it be moved.
      if (DateTime.isLessThan(now, dueAt)) return
      const execution = executions.get(id)
      yield* logging(execution, (write) =>
        journal.unit({
          cells: [cell],
          cause: "watchdog",
          body: (transaction) => {
            const state = transaction.state(cell)
            if (state._tag === "Running") {
              write(transaction)
              transaction.execute(cell, `extend/${state.watchdogAt.epochMilliseconds}/${dueAt.epochMilliseconds}`, {
                _tag: "Extend"
              })
            } else if (state._tag === "Finished" || state._tag === "Absent") clear(transaction)
          }
        })
      )
    })
  )

  // Whoever starts or wakes an execution, here it begins to run.
  journal.onCommit((committed) => {
    for (const row of committed.timers) {
      if (row["actor_type"] !== executionType || row["name"] !== watchdogTimer) continue
      const bucket = Number(row["bucket"])
      if (placement.isLocal(bucket)) run(String(row["actor_id"]), bucket, true)
    }
  })
  placement.onLost((buckets) => Effect.sync(() => void abandonAll(({ bucket }) => buckets.has(bucket))))
  yield* Effect.addFinalizer(() => {
    stopped = true
    return stopAll(() => true)
  })

  const engine = WorkflowEngine.makeUnsafe({
    register: Effect.fnUntraced(function* (workflow, execute) {
      const registration: Registration = { workflow, execute, services: yield* Effect.context<never>() }
      const name = workflow._tag
      if (registrations.has(name))
        yield* Effect.logWarning(`Workflow ${name} is registered twice; the later one counts`)
      registrations.set(name, registration)
      yield* Effect.addFinalizer(() => {
        if (registrations.get(name) === registration) registrations.delete(name)
        return stopAll((execution) => execution.workflow === name)
      })
      const waiting = unknown.get(name) ?? []
      unknown.delete(name)
      for (const [id, bucket] of waiting) if (placement.isLocal(bucket)) run(id, bucket)
    }),

    execute: Effect.fnUntraced(function* (workflow, { detached, discard, executionId, parent, payload }) {
      const businessKey = businessKeyOf(workflow, payload)
      const client = clients(businessKey)
      const waits = parent !== undefined && detached !== true && !discard
      const own = parent === undefined ? undefined : executions.get(parent.executionId)
      const begun =
        own === undefined
          ? undefined
          : beginStep(own, { kind: "child", name: workflow._tag, attempt: 1, childId: executionId })
      yield* patient(
        client.Start({
          executionId,
          workflow: workflow._tag,
          payload: yield* encodePayload(workflow, payload),
          parent: waits ? yield* asParent(parent.executionId) : undefined
        })
      )
      if (discard) {
        if (own !== undefined && begun !== undefined) own.log.end(begun, own.turn, instant(), { outcome: "started" })
        return undefined as never
      }
      while (true) {
        const standing = yield* patient(
          client.Await({ executionId, suspended: waits, atMostMs: Duration.toMillis(options.awaitWithin) })
        )
        if (standing._tag === "Pending") continue
        const result = yield* decodeResult(workflow, standing.result)
        if (result._tag === "Complete" && own !== undefined && begun !== undefined) endStep(own, begun, result.exit)
        return result as never
      }
    }),

    poll: Effect.fnUntraced(function* (workflow, executionId) {
      const found = yield* whereabouts(executionId)
      if (found === undefined || found.workflow !== workflow._tag || found.status === "running") return Option.none()
      return Option.some(yield* decodeResult(workflow, found.result))
    }),

    interrupt: (_workflow, executionId) => interrupt(executionId, false),
    interruptUnsafe: (_workflow, executionId) => interrupt(executionId, true),

    resume: Effect.fnUntraced(function* (_workflow, executionId) {
      const found = yield* unfinished(executionId)
      if (found !== undefined) yield* patient(clients(found.businessKey).Resume({ executionId }))
    }),

    activityExecute: Effect.fnUntraced(function* (activity, attempt) {
      const outer = yield* WorkflowEngine.WorkflowInstance
      const execution = executions.get(outer.executionId)
      if (execution === undefined) return yield* Effect.interrupt
      const step = activityStep(activity.name, attempt)
      const memo = Context.get(activity.annotations, Memo)
      const known = memo ? yield* findStep(execution.id, step) : Option.none()
      if (Option.isSome(known)) {
        endStep(execution, beginStep(execution, activityName(activity.name, attempt)), known.value)
        return new Workflow.Complete({ exit: known.value })
      }
      // An interrupted execution begins nothing new; whether this is new is known of one which has not moved.
      const begun = execution.attempted.has(step) || !execution.fresh
      if (!begun && execution.cell !== undefined && isInterrupted(execution.cell) && !outer.interrupted) {
        return new Workflow.Suspended({})
      }
      execution.attempted.add(step)
      const logged = beginStep(execution, activityName(activity.name, attempt))
      const instance = WorkflowEngine.WorkflowInstance.initial(outer.workflow, outer.executionId, {
        awaitedDeferreds: execution.activityAwaits
      })
      instance.interrupted = outer.interrupted
      const result = yield* activity.executeEncoded.pipe(
        Workflow.intoResult,
        Effect.provideService(WorkflowEngine.WorkflowInstance, instance),
        Effect.onExit((exit) =>
          Effect.sync(() => {
            if (Exit.isFailure(exit)) endStep(execution, logged, exit)
            else if (exit.value._tag === "Complete") endStep(execution, logged, exit.value.exit)
          })
        )
      ) as Effect.Effect<Workflow.Result<unknown, unknown>>
      if (!memo || result._tag === "Suspended") return result
      yield* keep(execution.id, step, encodeActivityExit(Exit.map(result.exit, (value) => value ?? null)))
      // Another owner may have been first.
      const first = yield* findStep(execution.id, step)
      return new Workflow.Complete({ exit: Option.getOrElse(first, () => result.exit) })
    }),

    deferredResult: Effect.fnUntraced(function* (deferred) {
      const { executionId } = yield* WorkflowEngine.WorkflowInstance
      const exit = yield* findStep(executionId, deferredStep(deferred.name))
      const execution = executions.get(executionId)
      if (execution !== undefined) {
        const begun = beginStep(execution, waitName(deferred.name))
        if (Option.isSome(exit)) endStep(execution, begun, exit.value)
      }
      return exit
    }),

    deferredDone: Effect.fnUntraced(function* ({ deferredName, executionId, exit }) {
      const encoded = encodeDeferredExit(Exit.map(exit, (value) => value ?? null))
      const own = yield* Effect.serviceOption(WorkflowEngine.WorkflowInstance)
      if (Option.isSome(own) && own.value.executionId === executionId) {
        yield* keep(executionId, deferredStep(deferredName), encoded)
        // A later wait of this run finds it; only one which has begun must be told.
        const { activityAwaits, instance } = executions.get(executionId) ?? {}
        if (instance?.awaitedDeferreds.has(deferredName) !== true && activityAwaits?.has(deferredName) !== true) return
      }
      let found = yield* whereabouts(executionId)
      if (found === undefined) {
        // Not started yet: it finds this when it is, unless it is being started just now.
        yield* keep(executionId, deferredStep(deferredName), encoded)
        found = yield* whereabouts(executionId)
      }
      if (found === undefined || isFinal(found)) return
      yield* patient(clients(found.businessKey).Complete({ executionId, deferred: deferredName, exit: encoded }))
    }),

    scheduleClock: Effect.fnUntraced(function* (_workflow, { clock: wait, executionId }) {
      if (!Duration.isFinite(wait.duration)) return
      const execution = executions.get(executionId)
      const found = execution === undefined ? yield* unfinished(executionId) : undefined
      const bucket = execution?.bucket ?? (found === undefined ? undefined : placement.bucketOf(found.businessKey))
      if (bucket === undefined) return
      const name = clockTimer(wait.name)
      execution?.clocks.add(name)
      // One that was set before keeps its instant; one that rang has left its step. In this order, since ringing turns one into the other.
      const pending = yield* query(
        "select name from runtime.timers where actor_id = $1 and actor_type = $2 and name = $3",
        [executionId, executionType, name]
      )
      if (pending.length > 0) return
      if (Option.isSome(yield* findStep(executionId, deferredStep(wait.deferred.name)))) return
      yield* logging(execution, (write) =>
        journal.unit({
          cells: [],
          cause: `clock ${wait.name}`,
          body: (transaction) => {
            write(transaction)
            const dueAt = DateTime.addDuration(transaction.now, wait.duration)
            transaction.write(setTimers, {
              ...timerOf(executionId, name),
              bucket,
              due_at: DateTime.formatIso(dueAt),
              urgent: false
            })
          }
        })
      )
    })
  })

  const unfinished = (id: string) =>
    Effect.map(whereabouts(id), (found) => (found === undefined || isFinal(found) ? undefined : found))

  const interrupt = Effect.fnUntraced(function* (executionId: string, unsafe: boolean) {
    const found = yield* unfinished(executionId)
    if (found !== undefined) yield* patient(clients(found.businessKey).Interrupt({ executionId, unsafe }))
  })

  /** For whoever would rather hear that it cannot be done now than wait. */
  const told = Effect.fnUntraced(function* (
    executionId: string,
    tell: (found: Whereabouts) => Effect.Effect<void, Unavailable>
  ) {
    const rows = yield* Effect.mapError(
      store.query(whereaboutsQuery, [executionId]),
      () => new Unavailable({ retryAfterMs: 1000 })
    )
    const found = rows[0] === undefined ? undefined : whereaboutsOf(rows[0])
    if (found === undefined || isFinal(found)) return false
    yield* tell(found)
    return true
  })

  /** How a child remembers who waits for it. Only an execution which runs here starts children here. */
  const asParent = (executionId: string): Effect.Effect<Parent> =>
    Effect.suspend(() => {
      const state = executions.get(executionId)?.cell?.state
      return state === undefined || state._tag === "Absent"
        ? Effect.interrupt
        : Effect.succeed({ executionId, businessKey: state.businessKey })
    })

  const workflows = Workflows.of({
    prepare: Effect.fnUntraced(function* (workflow, given) {
      const payload = yield* Effect.orDie(workflow.payloadSchema.makeEffect(given))
      const executionId = yield* workflow.executionId(given)
      const businessKey = businessKeyOf(workflow, payload)
      const bucket = placement.bucketOf(businessKey)
      const encoded = yield* encodePayload(workflow, payload)
      const cell = yield* cellOf(executionId, bucket)
      return {
        executionId,
        cell,
        start: (transaction) => {
          if (transaction.state(cell)._tag !== "Absent") return
          transaction.execute(cell, "start", {
            _tag: "Start",
            name: workflow._tag,
            businessKey,
            bucket,
            payload: encoded
          })
        }
      }
    }),
    running: Effect.sync(() => executions.size),
    registered: Effect.sync(() => [...registrations.keys()].toSorted()),
    inFlight: ({ businessKey, id }) => keyless(clients(businessKey).InFlight({ executionId: id })),
    resume: (executionId) =>
      told(executionId, ({ businessKey }) => keyless(clients(businessKey).Resume({ executionId }))),
    interrupt: (executionId) =>
      told(executionId, ({ businessKey }) => keyless(clients(businessKey).Interrupt({ executionId, unsafe: false })))
  })

  return Context.make(WorkflowEngine.WorkflowEngine, engine).pipe(Context.add(Workflows, workflows))
})

export const layerWith = (
  options: WorkflowEngineOptions
): Layer.Layer<WorkflowEngine.WorkflowEngine | Workflows, never, Store | Journal | Placement | Timers> =>
  Layer.effectContext(make(options))

/** With the numbers a node has in service. */
export const layer = layerWith({
  watchdog: Duration.minutes(1),
  awaitWithin: Duration.seconds(10),
  stopWithin: Duration.seconds(5)
})

const whereaboutsQuery = "select name, business_key, status, result from runtime.workflows where id = $1"
const keepStep = keepFirst(stepsTable)
const activityStep = (name: string, attempt: number) => `activity/${name}/${attempt}`
const deferredStep = (name: string) => `deferred/${name}`
const parentStep = (executionId: string) => `parent/${executionId}`
/** Effect's own name for what a clock completes, and for one which is short enough to be slept through. */
const clockPrefix = "DurableClock/"
const activityName = (name: string, attempt: number): StepName =>
  name.startsWith(clockPrefix)
    ? { kind: "clock", name: name.slice(clockPrefix.length), attempt }
    : { kind: "activity", name, attempt }
const waitName = (deferred: string): StepName =>
  deferred.startsWith(clockPrefix)
    ? { kind: "clock", name: deferred.slice(clockPrefix.length), attempt: 1 }
    : { kind: "deferred", name: deferred, attempt: 1 }
const clockTimer = (name: string) => `clock/${name}`
const timerOf = (executionId: string, name: string) => ({ actor_id: executionId, actor_type: executionType, name })

const isRunning = ({ state }: Cell<ExecutionDefinition>) => state._tag === "Running"
const isInterrupted = ({ state }: Cell<ExecutionDefinition>) => state._tag === "Running" && state.interrupted
const isFinal = ({ status }: Whereabouts) => status === "completed" || status === "failed"

const businessKeyOf = (workflow: Workflow.Any, payload: unknown): string => {
  const placedBy = Context.get(workflow.annotations, PlacedBy)
  return placedBy === undefined ? workflow.idempotencyKey(payload) : placedBy(payload as never)
}

const faults = Schedule.min([Schedule.exponential(50, 2), Schedule.spaced("2 seconds")]).pipe(Schedule.jittered)

/** Faults of the engine are nobody's answer: it is tried again until it works, or until whoever waits gives up. */
const patient = <A, R>(
  effect: Effect.Effect<A, Unavailable | IdempotencyConflict | Lost, R>
): Effect.Effect<A, never, R> =>
  effect.pipe(Effect.retry({ schedule: faults, while: (error) => error._tag !== "IdempotencyConflict" }), Effect.orDie)

/** Of messages which have no keys. */
const keyless = <A>(effect: Effect.Effect<A, Unavailable | IdempotencyConflict>): Effect.Effect<A, Unavailable> =>
  Effect.catchTag(effect, "IdempotencyConflict", (conflict) => Effect.die(conflict))

type Untyped = Schema.Codec<unknown, unknown>

const payloadCodecs = new WeakMap<Workflow.Any, Untyped>()
const payloadCodecOf = (workflow: Workflow.Any): Untyped => {
  let codec = payloadCodecs.get(workflow)
  if (codec === undefined)
    payloadCodecs.set(workflow, (codec = Schema.toCodecJson(workflow.payloadSchema) as unknown as Untyped))
  return codec
}
const encodePayload = (workflow: Workflow.Any, payload: unknown) =>
  Effect.orDie(Schema.encodeUnknownEffect(payloadCodecOf(workflow))(payload))
/** What cannot be read is left as it is, for a version of the program which can. */
const decodePayload = (workflow: Workflow.Any, payload: unknown) =>
  Effect.orDie(Schema.decodeUnknownEffect(payloadCodecOf(workflow))(payload)) as Effect.Effect<object>

const resultCodecs = new WeakMap<Workflow.Any, Schema.Codec<Workflow.Result<unknown, unknown>, unknown>>()
const resultCodecOf = (workflow: Workflow.Any) => {
  let codec = resultCodecs.get(workflow)
  if (codec === undefined) {
    const result = Workflow.Result({ success: workflow.successSchema, error: workflow.errorSchema })
    codec = Schema.toCodecJson(result) as unknown as Schema.Codec<Workflow.Result<unknown, unknown>, unknown>
    resultCodecs.set(workflow, codec)
  }
  return codec
}
const encodeResult = ({ services, workflow }: Registration, result: Workflow.Result<unknown, unknown>) => {
  const encode = Schema.encodeUnknownEffect(resultCodecOf(workflow))
  return encode(result).pipe(
    // A result which is not what the workflow declares is a defect, and stored as one.
    Effect.catch((error) => Effect.orDie(encode(new Workflow.Complete({ exit: Exit.die(error) })))),
    Effect.provideContext(services)
  )
}
const decodeResult = (workflow: Workflow.Any, result: unknown) =>
  Effect.orDie(Schema.decodeUnknownEffect(resultCodecOf(workflow))(result))

const activityExit = Schema.toCodecJson(Schema.Exit(Schema.Unknown, Schema.Unknown, Schema.Defect()))
const encodeActivityExit = Schema.encodeUnknownSync(activityExit)
const decodeActivityExit = Schema.decodeUnknownSync(activityExit)
/** A deferred's exit is in the JSON of its own schema already. */
const deferredExit = Schema.toCodecJson(Schema.Exit(Schema.Unknown, Schema.Unknown, Schema.Unknown))
const encodeDeferredExit = Schema.encodeUnknownSync(deferredExit)
const decodeDeferredExit = Schema.decodeUnknownSync(deferredExit)
const decodeParent = Schema.decodeUnknownSync(Parent)
const rang = encodeDeferredExit(Exit.succeed(null))

const decodeStep = (name: string, result: unknown): Exit.Exit<unknown, unknown> =>
  name.startsWith("activity/") ? decodeActivityExit(result) : decodeDeferredExit(result)
