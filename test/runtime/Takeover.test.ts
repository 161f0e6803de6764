/** What is left to go wrong when two nodes have had the same bucket: the version guard admits what the last owner writes late. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Layer, Scope } from "effect"
import { TestClock } from "effect/testing"
import { Activity, DurableDeferred, Workflow, WorkflowEngine } from "effect/workflow"
import { Store } from "../../src/runtime/Store.ts"
import { layerWith } from "../../src/runtime/WorkflowEngine.ts"
import { Executions } from "../../src/runtime/WorkflowExecution.ts"
import { makeSwitchboard } from "../fixtures/Runtime.ts"
import { Account } from "./Account.ts"
import { onMemory } from "./Backends.ts"
import { deposit, quiet, send } from "./JournalScenarios.ts"
import { type Node, startNode } from "./Nodes.ts"

/** A node which believes that it has every bucket, whatever others believe. */
const startBeliever = (store: Store["Service"]) => startNode(store, makeSwitchboard(() => "me").sharding("me"))

const Word = DurableDeferred.make("Word")
const Listen = Workflow.make("Listen", { payload: {}, idempotencyKey: () => "hello" })

const Greet = Workflow.make("Greet", { payload: {}, idempotencyKey: () => "hello" })

/** Runs workflows on a node; `work` is all there is to do. */
const withWorkflows = Effect.fnUntraced(function* (node: Node, store: Store["Service"], work: Effect.Effect<void>) {
  const engine = layerWith({
    watchdog: Duration.seconds(10),
    awaitWithin: Duration.seconds(1),
    stopWithin: Duration.seconds(1)
  })
  const greeting = Layer.merge(
    Greet.toLayer(() => Activity.make({ name: "work", execute: work })),
    Listen.toLayer(() => DurableDeferred.await(Word))
  )
  const scope = yield* Scope.Scope
  const context = yield* greeting.pipe(
    Layer.provideMerge(engine),
    Layer.provide(Layer.succeedContext(node.context)),
    Layer.provide(Layer.succeed(Store, store)),
    Layer.buildWithScope(scope)
  )
  return Context.get(context, WorkflowEngine.WorkflowEngine)
})

describe("given an actor whose last owner writes to it once more", () => {
  it.effect(
    "when its new owner is asked, then the answer is no older than that, as soon as nobody else can write",
    () =>
      Effect.gen(function* () {
        const store = yield* (yield* onMemory).open
        const old = yield* startBeliever(store)
        yield* send(old.journal, "a", "open", deposit(5n))
        const node = yield* startBeliever(store)
        const balance = node.placement.client(Account)("a").GetBalance()
        yield* TestClock.adjust("1 seconds")
        assert.strictEqual(yield* balance, 5n)
        yield* TestClock.adjust("8 seconds")
        yield* send(old.journal, "a", "late", deposit(1n))
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(yield* balance, 6n)
      })
  )
})

describe("given an execution which the last owner has started, of which the new one knows that there was none", () => {
  it.effect("when the last owner dies, then the watchdog runs it again on the new one", () =>
    Effect.gen(function* () {
      const store = yield* (yield* onMemory).open
      const old = yield* startBeliever(store)
      const oldEngine = yield* withWorkflows(old, store, Effect.never)
      const node = yield* startBeliever(store)
      let worked = 0
      yield* withWorkflows(
        node,
        store,
        Effect.sync(() => void worked++)
      )
      yield* TestClock.adjust("20 seconds")
      const executionId = yield* Greet.executionId({})
      yield* node.placement.client(Executions)("hello").Await({ executionId, suspended: false, atMostMs: 0 })
      yield* Greet.execute({}, { discard: true }).pipe(Effect.provideService(WorkflowEngine.WorkflowEngine, oldEngine))
      yield* old.stop
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(worked, 1)
      assert.deepStrictEqual(yield* store.query("select status from runtime.workflows where id = $1", [executionId]), [
        { status: "completed" }
      ])
    }).pipe(quiet)
  )
})

describe("given an execution which the last owner has ended, of which the new one knows that it waits", () => {
  it.effect("when the one that waits for it asks how it stands, then it hears that it has ended", () =>
    Effect.gen(function* () {
      const store = yield* (yield* onMemory).open
      const old = yield* startBeliever(store)
      const oldEngine = yield* withWorkflows(old, store, Effect.never)
      const onOld = Effect.provideService(WorkflowEngine.WorkflowEngine, oldEngine)
      const node = yield* startBeliever(store)
      yield* withWorkflows(node, store, Effect.never)
      yield* TestClock.adjust("20 seconds")
      const executionId = yield* onOld(Listen.execute({}, { discard: true }))
      yield* TestClock.adjust("1 seconds")
      const asked = node.placement.client(Executions)("hello").Await({ executionId, suspended: true, atMostMs: 100 })
      assert.nestedPropertyVal(yield* asked, "result._tag", "Suspended")
      const token = DurableDeferred.tokenFromExecutionId(Word, { workflow: Listen, executionId })
      yield* onOld(DurableDeferred.succeed(Word, { token, value: undefined }))
      yield* TestClock.adjust("1 seconds")
      assert.nestedPropertyVal(yield* asked, "result._tag", "Complete")
    }).pipe(quiet)
  )
})
