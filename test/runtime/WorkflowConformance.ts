/** What every engine must do with the same definitions: ours on the journal, Effect's own in memory and on its cluster. */
import { assert } from "@effect/vitest"
import { Cause, Context, Deferred, type Duration, Effect, Exit, Layer, Option, Schema } from "effect"
import { Activity, DurableClock, DurableDeferred, Workflow, WorkflowEngine } from "effect/workflow"
import { Memo } from "../../src/runtime/WorkflowEngine.ts"
import { eventually } from "../fixtures/Eventually.ts"

/** What really happened, in order, by business key; it outlives engines. */
export class Trace extends Context.Service<
  Trace,
  {
    readonly add: (key: string, what: string) => Effect.Effect<void>
    readonly of: (key: string) => ReadonlyArray<string>
  }
>()("cartwright/test/runtime/WorkflowConformance/Trace") {
  static readonly make = () => {
    const entries = new Map<string, Array<string>>()
    return Trace.of({
      add: (key, what) => Effect.sync(() => void entries.set(key, [...(entries.get(key) ?? []), what])),
      of: (key) => entries.get(key) ?? []
    })
  }
  static readonly layer = Layer.sync(Trace, Trace.make)
}

export class OutOfTea extends Schema.TaggedError<OutOfTea>()("OutOfTea", { left: Schema.Int }) {}

const payload = { key: Schema.String }
const idempotencyKey = ({ key }: { readonly key: string }) => key

/** A step which leaves a trace each time it really happens. */
const step = (key: string, name: string) =>
  Activity.make({ name, execute: Effect.flatMap(Trace, ({ add }) => add(key, name)) })

export const Brew = Workflow.make("Brew", {
  payload: { ...payload, spoons: Schema.BigInt },
  success: Schema.BigInt,
  error: OutOfTea,
  idempotencyKey
})
const BrewLive = Brew.toLayer(
  Effect.fnUntraced(function* ({ key, spoons }) {
    const trace = yield* Trace
    const undoing = (name: string) => (_: void, cause: Cause.Cause<unknown>) =>
      Effect.andThen(
        step(key, `undo ${name}`),
        trace.add(key, Cause.hasFails(cause) ? "for a refusal" : "for a defect")
      )
    yield* step(key, "boil").pipe(Brew.withCompensation(undoing("boil")))
    yield* step(key, "warm").pipe(Brew.withCompensation(undoing("warm")))
    if (spoons < 0n) return yield* Effect.die(new Error("no such spoon"))
    const left = 5n - spoons
    yield* Activity.make({
      name: "take",
      error: OutOfTea,
      execute: left < 0n ? Effect.fail(new OutOfTea({ left: Number(left) })) : Effect.void
    })
    return left
  })
)

/** Waits for a word from outside. */
export const Word = DurableDeferred.make("Word", { success: Schema.BigInt, error: OutOfTea })
export const Ask = Workflow.make("Ask", { payload, success: Schema.BigInt, error: OutOfTea, idempotencyKey })
const AskLive = Ask.toLayer(
  Effect.fnUntraced(function* ({ key }) {
    const trace = yield* Trace
    yield* step(key, "ask").pipe(Ask.withCompensation(() => step(key, "apologize")))
    const word = yield* DurableDeferred.await(Word)
    yield* trace.add(key, `heard ${word}`)
    return word
  })
)

export const Wait = Workflow.make("Wait", { payload: { ...payload, millis: Schema.Int }, idempotencyKey })
const WaitLive = Wait.toLayer(
  Effect.fnUntraced(function* ({ key, millis }) {
    yield* step(key, "before")
    yield* DurableClock.sleep({ name: "pause", duration: millis, inMemoryThreshold: 0 })
    yield* step(key, "after")
  })
)

/** Two of its own, one after the other; then both words together. */
export const Household = Workflow.make("Household", {
  payload,
  success: Schema.BigInt,
  error: OutOfTea,
  idempotencyKey
})
const HouseholdLive = Household.toLayer(
  Effect.fnUntraced(function* ({ key }) {
    const left = yield* Brew.execute({ key: `${key}-brew`, spoons: 2n })
    const word = yield* Ask.execute({ key: `${key}-ask` })
    return left + word
  })
)

export const Fragile = Workflow.make("Fragile", { payload, success: Schema.String, idempotencyKey }).annotate(
  Workflow.SuspendOnFailure,
  true
)
const FragileLive = Fragile.toLayer(
  Effect.fnUntraced(function* ({ key }) {
    const trace = yield* Trace
    yield* trace.add(key, "tried")
    if (trace.of(key).length === 1) return yield* Effect.die(new Error("dropped"))
    return "whole"
  })
)

export const Race = Workflow.make("Race", { payload, success: Schema.String, idempotencyKey })
export const RaceLive = Race.toLayer(
  Effect.fnUntraced(function* ({ key }) {
    yield* step(key, "start")
    return yield* DurableDeferred.raceAll({
      name: "first",
      success: Schema.String,
      error: Schema.Never,
      effects: [
        DurableClock.sleep({ name: "slow", duration: "1 hour", inMemoryThreshold: 0 }).pipe(Effect.as("slow")),
        DurableClock.sleep({ name: "quick", duration: "100 millis", inMemoryThreshold: 0 }).pipe(Effect.as("quick"))
      ]
    })
  })
)

/** Holds its body until a test lets it go; then begins something else. */
export class Gate extends Context.Service<Gate, { readonly of: (key: string) => Deferred.Deferred<void> }>()(
  "cartwright/test/runtime/WorkflowConformance/Gate"
) {
  static readonly layer = Layer.sync(Gate, () => {
    const gates = new Map<string, Deferred.Deferred<void>>()
    return Gate.of({
      of: (key) => {
        const gate = gates.get(key) ?? Deferred.makeUnsafe<void>()
        gates.set(key, gate)
        return gate
      }
    })
  })
}
export const Gated = Workflow.make("Gated", { payload, idempotencyKey })
const GatedLive = Gated.toLayer(
  Effect.fnUntraced(function* ({ key }) {
    const gates = yield* Gate
    const trace = yield* Trace
    yield* step(key, "enter").pipe(Gated.withCompensation(() => step(key, "leave")))
    yield* Activity.make({
      name: "hold",
      execute: Effect.andThen(trace.add(key, "hold"), Deferred.await(gates.of(key)))
    })
    yield* step(key, "beyond")
  })
)

/** Works while it listens. */
export const Listen = Workflow.make("Listen", { payload, success: Schema.BigInt, error: OutOfTea, idempotencyKey })
const ListenLive = Listen.toLayer(
  Effect.fnUntraced(function* ({ key }) {
    const gates = yield* Gate
    const trace = yield* Trace
    const working = Activity.make({
      name: "work",
      execute: Effect.andThen(trace.add(key, "work"), Deferred.await(gates.of(key)))
    })
    return yield* Effect.race(Effect.as(working, 0n), DurableDeferred.await(Word))
  })
)

/** Draws a number which is another one each time, before it waits. */
export const Draw = Workflow.make("Draw", { payload, success: Schema.String, error: OutOfTea, idempotencyKey })
const DrawLive = Draw.toLayer(
  Effect.fnUntraced(function* ({ key }) {
    const trace = yield* Trace
    const drawn = yield* Activity.make({
      name: "draw",
      success: Schema.Int,
      execute: Effect.as(trace.add(key, "draw"), trace.of(key).length + 1)
    }).annotate(Memo, true)
    const word = yield* DurableDeferred.await(Word)
    yield* trace.add(key, "again")
    return `${drawn}, ${word}`
  })
)

/** Succeeds at the third try. */
export const Stubborn = Workflow.make("Stubborn", { payload, success: Schema.Int, error: OutOfTea, idempotencyKey })
const StubbornLive = Stubborn.toLayer(
  Effect.fnUntraced(function* ({ key }) {
    const trace = yield* Trace
    return yield* Activity.make({
      name: "try",
      success: Schema.Int,
      error: OutOfTea,
      execute: Effect.gen(function* () {
        const attempt = yield* Activity.CurrentAttempt
        yield* trace.add(key, `try ${attempt}`)
        return attempt < 3 ? yield* new OutOfTea({ left: attempt }) : attempt
      })
    }).pipe(Activity.retry({ times: 4 }))
  })
)

/** Has another one begin, and goes on at once. */
export const Delegate = Workflow.make("Delegate", { payload, success: Schema.String, idempotencyKey })
const DelegateLive = Delegate.toLayer(
  Effect.fnUntraced(function* ({ key }) {
    const id = yield* Ask.execute({ key: `${key}-ask` }, { discard: true })
    yield* step(key, "delegated")
    return id
  })
)

export const definitions = Layer.mergeAll(
  DrawLive,
  StubbornLive,
  DelegateLive,
  ListenLive,
  BrewLive,
  AskLive,
  WaitLive,
  HouseholdLive,
  FragileLive,
  RaceLive,
  GatedLive
)

let counter = 0
/** A key of nobody else's. */
export const newKey = (name: string) => `${name}-${++counter}-${process.pid}`

export const isSuspended = (result: Option.Option<Workflow.Result<unknown, unknown>>) =>
  Option.isSome(result) && result.value._tag === "Suspended"

type Services = WorkflowEngine.WorkflowEngine | Trace | Gate
/**
 * The suite; `test` registers one test which has an engine with `definitions`, and what they need. `hearsWithin`: how long a body under way
 * takes to hear that it is to end, of an engine which tells it by a message.
 */
export const conformance = (
  test: (name: string, body: Effect.Effect<void, unknown, Services>) => void,
  hearsWithin: Duration.Input = 0
): void => {
  test(
    "when it succeeds, then its result is given, and given again",
    Effect.gen(function* () {
      const key = newKey("brew")
      assert.strictEqual(yield* Brew.execute({ key, spoons: 2n }), 3n)
      assert.strictEqual(yield* Brew.execute({ key, spoons: 2n }), 3n)
      assert.deepStrictEqual((yield* Trace).of(key), ["boil", "warm"])
    })
  )
  test(
    "when it is refused, then its steps are undone in reverse order",
    Effect.gen(function* () {
      const key = newKey("brew")
      const refusal = yield* Effect.flip(Brew.execute({ key, spoons: 7n }))
      assert.deepStrictEqual(refusal, new OutOfTea({ left: -2 }))
      assert.deepStrictEqual((yield* Trace).of(key), [
        "boil",
        "warm",
        "undo warm",
        "for a refusal",
        "undo boil",
        "for a refusal"
      ])
    })
  )
  test(
    "when its body has a defect, then that is its result",
    Effect.gen(function* () {
      const key = newKey("brew")
      const exit = yield* Effect.exit(Brew.execute({ key, spoons: -1n }))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      assert.include(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "", "no such spoon")
      assert.deepStrictEqual((yield* Trace).of(key).slice(2), [
        "undo warm",
        "for a defect",
        "undo boil",
        "for a defect"
      ])
    })
  )
  test(
    "when it is started and left alone, then its result can be polled later",
    Effect.gen(function* () {
      const key = newKey("brew")
      const id = yield* Brew.execute({ key, spoons: 1n }, { discard: true })
      assert.strictEqual(id, yield* Brew.executionId({ key, spoons: 1n }))
      const result = yield* eventually(Brew.poll(id), Option.isSome)
      assert.deepStrictEqual(Option.getOrThrow(result), new Workflow.Complete({ exit: Exit.succeed(4n) }))
      assert.isTrue(Option.isNone(yield* Brew.poll("nobody")))
    })
  )
  test(
    "when a word comes after it began to wait, then it goes on",
    Effect.gen(function* () {
      const key = newKey("ask")
      const id = yield* Ask.execute({ key }, { discard: true })
      yield* eventually(Ask.poll(id), isSuspended)
      const token = DurableDeferred.tokenFromExecutionId(Word, { workflow: Ask, executionId: id })
      yield* DurableDeferred.succeed(Word, { token, value: 7n })
      assert.strictEqual(yield* Ask.execute({ key }), 7n)
    })
  )
  test(
    "when several words come, then the first one counts",
    Effect.gen(function* () {
      const key = newKey("ask")
      const id = yield* Ask.execute({ key }, { discard: true })
      const token = DurableDeferred.tokenFromExecutionId(Word, { workflow: Ask, executionId: id })
      yield* DurableDeferred.succeed(Word, { token, value: 1n })
      yield* DurableDeferred.succeed(Word, { token, value: 2n })
      yield* DurableDeferred.fail(Word, { token, error: new OutOfTea({ left: 0 }) })
      assert.strictEqual(yield* Ask.execute({ key }), 1n)
    })
  )
  test(
    "when the word came before it started, then it does not wait",
    Effect.gen(function* () {
      const key = newKey("ask")
      const executionId = yield* Ask.executionId({ key })
      const token = DurableDeferred.tokenFromExecutionId(Word, { workflow: Ask, executionId })
      yield* DurableDeferred.fail(Word, { token, error: new OutOfTea({ left: 3 }) })
      assert.deepStrictEqual(yield* Effect.flip(Ask.execute({ key })), new OutOfTea({ left: 3 }))
      assert.deepStrictEqual((yield* Trace).of(key), ["ask", "apologize"])
    })
  )
  test(
    "when the word comes while it works, then it drops its work",
    Effect.gen(function* () {
      const key = newKey("listen")
      const trace = yield* Trace
      const id = yield* Listen.execute({ key }, { discard: true })
      yield* eventually(
        Effect.sync(() => trace.of(key)),
        (entries) => entries.includes("work")
      )
      const token = DurableDeferred.tokenFromExecutionId(Word, { workflow: Listen, executionId: id })
      yield* DurableDeferred.succeed(Word, { token, value: 4n })
      assert.strictEqual(yield* Listen.execute({ key }), 4n)
    })
  )
  test(
    "when the word comes at any moment, then it is never missed",
    Effect.gen(function* () {
      const words = yield* Effect.forEach(
        Array.from({ length: 100 }, (_, index) => index),
        (index) =>
          Effect.gen(function* () {
            const key = newKey("ask")
            const id = yield* Ask.execute({ key }, { discard: true })
            const token = DurableDeferred.tokenFromExecutionId(Word, { workflow: Ask, executionId: id })
            yield* Effect.sleep(index % 40)
            yield* DurableDeferred.succeed(Word, { token, value: BigInt(index) })
            return yield* Ask.execute({ key })
          }),
        { concurrency: 50 }
      )
      assert.deepStrictEqual(
        words,
        Array.from({ length: 100 }, (_, index) => BigInt(index))
      )
    })
  )
  test(
    "when it sleeps, then it wakes up when the time has come",
    Effect.gen(function* () {
      const key = newKey("wait")
      const started = performance.now()
      yield* Wait.execute({ key, millis: 300 })
      assert.isAtLeast(performance.now() - started, 295)
      assert.strictEqual((yield* Trace).of(key).at(-1), "after")
    })
  )
  test(
    "when it is interrupted while it waits, then its steps are undone",
    Effect.gen(function* () {
      const key = newKey("ask")
      const id = yield* Ask.execute({ key }, { discard: true })
      yield* eventually(Ask.poll(id), isSuspended)
      yield* Ask.interrupt(id)
      const exit = yield* Effect.exit(Ask.execute({ key }))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause))
      assert.strictEqual((yield* Trace).of(key).at(-1), "apologize")
    })
  )
  test(
    "when it is interrupted while it works, then it begins nothing new",
    Effect.gen(function* () {
      const key = newKey("gated")
      const trace = yield* Trace
      const id = yield* Gated.execute({ key }, { discard: true })
      yield* eventually(
        Effect.sync(() => trace.of(key)),
        (seen) => seen.includes("hold")
      )
      yield* Gated.interrupt(id)
      yield* Effect.sleep(hearsWithin)
      yield* Deferred.succeed((yield* Gate).of(key), undefined)
      const exit = yield* Effect.exit(Gated.execute({ key }))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause))
      assert.notInclude(trace.of(key), "beyond")
      assert.strictEqual(trace.of(key).at(-1), "leave")
    })
  )
  test(
    "when it is interrupted unsafely, then it does not finish what it is at",
    Effect.gen(function* () {
      const key = newKey("gated")
      const trace = yield* Trace
      const id = yield* Gated.execute({ key }, { discard: true })
      yield* eventually(
        Effect.sync(() => trace.of(key)),
        (seen) => seen.includes("hold")
      )
      const engine = yield* WorkflowEngine.WorkflowEngine
      yield* engine.interruptUnsafe(Gated, id)
      const exit = yield* Effect.exit(Gated.execute({ key }))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause))
      assert.notInclude(trace.of(key), "beyond")
    })
  )
  test(
    "when it has others do the work, then it goes on with their results",
    Effect.gen(function* () {
      const key = newKey("household")
      const id = yield* Household.execute({ key }, { discard: true })
      const asking = yield* Ask.executionId({ key: `${key}-ask` })
      yield* eventually(Ask.poll(asking), isSuspended)
      yield* eventually(Household.poll(id), isSuspended)
      const token = DurableDeferred.tokenFromExecutionId(Word, { workflow: Ask, executionId: asking })
      yield* DurableDeferred.succeed(Word, { token, value: 10n })
      assert.strictEqual(yield* Household.execute({ key }), 13n)
      assert.deepStrictEqual((yield* Trace).of(`${key}-brew`), ["boil", "warm"])
    })
  )
  test(
    "when it is to wait on failure, then it fails, waits, and goes on when told to",
    Effect.gen(function* () {
      const key = newKey("fragile")
      const id = yield* Fragile.execute({ key }, { discard: true })
      const result = yield* eventually(Fragile.poll(id), isSuspended)
      const cause = Option.isSome(result) && result.value._tag === "Suspended" ? result.value.cause : undefined
      assert.include(cause === undefined ? "" : Cause.pretty(cause), "dropped")
      yield* Fragile.resume(id)
      assert.strictEqual(yield* Fragile.execute({ key }), "whole")
    })
  )
  test(
    "when several waits race, then the first one counts",
    Effect.gen(function* () {
      const key = newKey("race")
      assert.strictEqual(yield* Race.execute({ key }), "quick")
    })
  )
  test(
    "when a step is to be remembered, then its first answer counts, however often the body runs",
    Effect.gen(function* () {
      const key = newKey("draw")
      const id = yield* Draw.execute({ key }, { discard: true })
      yield* eventually(Draw.poll(id), isSuspended)
      const token = DurableDeferred.tokenFromExecutionId(Word, { workflow: Draw, executionId: id })
      yield* DurableDeferred.succeed(Word, { token, value: 5n })
      assert.strictEqual(yield* Draw.execute({ key }), "1, 5")
      assert.deepStrictEqual((yield* Trace).of(key), ["draw", "again"])
    })
  )
  test(
    "when a step is tried again, then each try is one of its own",
    Effect.gen(function* () {
      const key = newKey("stubborn")
      assert.strictEqual(yield* Stubborn.execute({ key }), 3)
      assert.deepStrictEqual((yield* Trace).of(key), ["try 1", "try 2", "try 3"])
    })
  )
  test(
    "when the word refuses after it began to wait, then its steps are undone once",
    Effect.gen(function* () {
      const key = newKey("ask")
      const id = yield* Ask.execute({ key }, { discard: true })
      yield* eventually(Ask.poll(id), isSuspended)
      const token = DurableDeferred.tokenFromExecutionId(Word, { workflow: Ask, executionId: id })
      yield* DurableDeferred.fail(Word, { token, error: new OutOfTea({ left: 1 }) })
      assert.deepStrictEqual(yield* Effect.flip(Ask.execute({ key })), new OutOfTea({ left: 1 }))
      assert.deepStrictEqual(
        (yield* Trace).of(key).filter((entry) => entry === "apologize"),
        ["apologize"]
      )
    })
  )
  test(
    "when one that waits for another is interrupted, then so is the other",
    Effect.gen(function* () {
      const key = newKey("household")
      const id = yield* Household.execute({ key }, { discard: true })
      const asking = yield* Ask.executionId({ key: `${key}-ask` })
      yield* eventually(Ask.poll(asking), isSuspended)
      yield* eventually(Household.poll(id), isSuspended)
      yield* Household.interrupt(id)
      const exit = yield* Effect.exit(Household.execute({ key }))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause))
      const other = yield* Effect.exit(Ask.execute({ key: `${key}-ask` }))
      assert.isTrue(Exit.isFailure(other) && Cause.hasInterrupts(other.cause))
      assert.strictEqual((yield* Trace).of(`${key}-ask`).at(-1), "apologize")
    })
  )
  test(
    "when it lets another one begin, then it goes on without its end",
    Effect.gen(function* () {
      const key = newKey("delegate")
      const asking = yield* Delegate.execute({ key })
      assert.strictEqual(asking, yield* Ask.executionId({ key: `${key}-ask` }))
      yield* eventually(Ask.poll(asking), isSuspended)
      const token = DurableDeferred.tokenFromExecutionId(Word, { workflow: Ask, executionId: asking })
      yield* DurableDeferred.succeed(Word, { token, value: 3n })
      assert.strictEqual(yield* Ask.execute({ key: `${key}-ask` }), 3n)
    })
  )
  test(
    "when it is over, then nothing wakes, ends or changes it any more",
    Effect.gen(function* () {
      const key = newKey("brew")
      const id = yield* Brew.execute({ key, spoons: 2n }, { discard: true })
      yield* eventually(Brew.poll(id), Option.isSome)
      yield* Brew.interrupt(id)
      yield* Brew.resume(id)
      assert.strictEqual(yield* Brew.execute({ key, spoons: 2n }), 3n)
      assert.deepStrictEqual((yield* Trace).of(key), ["boil", "warm"])
    })
  )
}
