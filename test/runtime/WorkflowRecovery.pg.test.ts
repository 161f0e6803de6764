import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Context,
  DateTime,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Option,
  type Redacted,
  Schema,
  Scope
} from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { Activity, DurableClock, DurableDeferred, Workflow, WorkflowEngine as Engine } from "effect/workflow"
import { PlacedBy } from "../../src/domain/PlacedBy.ts"
import { Journal } from "../../src/runtime/Journal.ts"
import { Placement } from "../../src/runtime/Placement.ts"
import { Lost, type Store } from "../../src/runtime/Store.ts"
import * as WorkflowEngine from "../../src/runtime/WorkflowEngine.ts"
import { eventually } from "../fixtures/Eventually.ts"
import { makeSwitchboard, migratedDatabase, type Runtime, runtimeOn, type RuntimeOptions } from "../fixtures/Runtime.ts"
import { newKey, Race, RaceLive, Trace } from "./WorkflowConformance.ts"

/** What a node is called, and a gate which holds the bodies on it. */
class Here extends Context.Service<Here, { readonly name: string; readonly gate: Deferred.Deferred<void> }>()(
  "cartwright/test/runtime/WorkflowRecovery.pg.test/Here"
) {}

const payload = { key: Schema.String }
const idempotencyKey = ({ key }: { readonly key: string }) => key
const onOrder = (key: string) => key.split("/")[0]!

const step = (key: string, name: string) =>
  Activity.make({
    name,
    execute: Effect.gen(function* () {
      const here = yield* Here
      yield* (yield* Trace).add(key, `${here.name} ${name}`)
    })
  })

class Broken extends Schema.TaggedError<Broken>()("Broken", {}) {}

const Answer = DurableDeferred.make("Answer", { success: Schema.String })

/** A number which is another one each time it is asked for. */
const draw = (key: string) =>
  Activity.make({
    name: "draw",
    success: Schema.Int,
    execute: Effect.flatMap(Trace, (trace) => Effect.as(trace.add(key, "draw"), trace.of(key).length))
  }).annotate(WorkflowEngine.Memo, true)

const Held = Workflow.make("Held", { payload, success: Schema.String, idempotencyKey })
const HeldLive = Held.toLayer(
  Effect.fnUntraced(function* ({ key }) {
    const { gate, name } = yield* Here
    // Not an activity, which would be refused to whoever is not at it any more.
    yield* step(key, "first").pipe(
      Held.withCompensation(() => Effect.flatMap(Trace, ({ add }) => add(key, `${name} undo`)))
    )
    const drawn = yield* draw(key)
    yield* Activity.make({ name: "hold", execute: Effect.andThen(step(key, "holding").execute, Deferred.await(gate)) })
    return `${drawn} by ${name}`
  })
)

const Pause = Workflow.make("Pause", { payload, success: Schema.DateTimeUtc, idempotencyKey })
const PauseLive = Pause.toLayer(
  Effect.fnUntraced(function* ({ key }) {
    yield* step(key, "before")
    yield* DurableClock.sleep({ name: "pause", duration: "1500 millis", inMemoryThreshold: 0 })
    return yield* Activity.make({ name: "after", success: Schema.DateTimeUtc, execute: DateTime.now }).annotate(
      WorkflowEngine.Memo,
      true
    )
  })
)

const Child = Workflow.make("Child", { payload, success: Schema.String, idempotencyKey }).annotate(
  PlacedBy,
  ({ key }: { readonly key: string }) => onOrder(key)
)
const ChildLive = Child.toLayer(
  Effect.fnUntraced(function* ({ key }) {
    yield* step(key, "child")
    return yield* DurableDeferred.await(Answer)
  })
)

/** A bit of everything. */
const Long = Workflow.make("Long", {
  payload: { ...payload, child: Schema.String, breaks: Schema.Boolean },
  success: Schema.Struct({ drawn: Schema.Int, answer: Schema.String }),
  error: Broken,
  idempotencyKey
})
const LongLive = Long.toLayer(
  Effect.fnUntraced(function* ({ breaks, child, key }) {
    yield* step(key, "one").pipe(Long.withCompensation(() => step(key, "undo one")))
    const drawn = yield* draw(key)
    yield* step(key, "two").pipe(Long.withCompensation(() => step(key, "undo two")))
    yield* DurableClock.sleep({ name: "nap", duration: "30 millis", inMemoryThreshold: 0 })
    const answer = yield* Child.execute({ key: child })
    if (breaks) return yield* new Broken()
    yield* step(key, "three")
    return { drawn, answer }
  })
)

type Services = Runtime | SqlClient | Engine.WorkflowEngine | WorkflowEngine.Workflows | Here | Trace

interface Node {
  readonly context: Context.Context<Services>
  readonly stop: Effect.Effect<void>
}

const definitions = Layer.mergeAll(HeldLive, PauseLive, ChildLive, LongLive, RaceLive)

const startNode = Effect.fnUntraced(function* (
  url: Redacted.Redacted,
  options: RuntimeOptions & {
    readonly name: string
    readonly trace: Trace["Service"]
    readonly definitions?: typeof definitions
    readonly watchdog?: Duration.Input
  }
) {
  const scope = yield* Scope.make()
  const context = yield* (options.definitions ?? definitions).pipe(
    Layer.provideMerge(
      WorkflowEngine.layerWith({
        watchdog: Duration.fromInputUnsafe(options.watchdog ?? "1 minute"),
        awaitWithin: Duration.seconds(1),
        stopWithin: Duration.seconds(1)
      })
    ),
    Layer.provideMerge(
      Layer.mergeAll(
        runtimeOn(url, options),
        Layer.succeed(Trace, options.trace),
        Layer.succeed(Here, { name: options.name, gate: Deferred.makeUnsafe<void>() })
      )
    ),
    Layer.buildWithScope(scope)
  )
  yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
  return { context, stop: Scope.close(scope, Exit.void) } satisfies Node
})

/** A store whose node dies at its nth write: nothing of it reaches the database any more, or it only never hears that it did. */
const mortal = (diesAt = Number.POSITIVE_INFINITY, when: "before" | "after" = "before") => {
  const died = Deferred.makeUnsafe<void>()
  let writes = 0
  let dead = false
  let last = diesAt
  let how = when
  const alive = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.flatMap(
      Effect.suspend(() => (dead ? Effect.never : effect)),
      (value) => Effect.suspend(() => (dead ? Effect.never : Effect.succeed(value)))
    )
  return {
    died: Deferred.await(died),
    writes: () => writes,
    dieAt: (write: number, then: "before" | "after") => {
      last = write
      how = then
    },
    kill: Effect.suspend(() => {
      dead = true
      return Deferred.succeed(died, undefined)
    }),
    aroundStore: (store: Store["Service"]): Store["Service"] => ({
      silentFor: store.silentFor,
      transact: (keys, body) =>
        Effect.suspend(() => {
          writes++
          if (writes !== last) return alive(store.transact(keys, body))
          dead = true
          return (how === "before" ? Effect.void : Effect.ignore(store.transact(keys, body))).pipe(
            Effect.andThen(Deferred.succeed(died, undefined)),
            Effect.andThen(Effect.never)
          )
        }),
      load: (actors) => alive(store.load(actors)),
      findKey: (definition, id, key) => alive(store.findKey(definition, id, key)),
      history: (type, id, after, limit) => alive(store.history(type, id, after, limit)),
      timers: (options) => alive(store.timers(options)),
      notices: (options) => alive(store.notices(options)),
      noticeFailed: (notice, outcome) => alive(store.noticeFailed(notice, outcome)),
      query: (sql, parameters) => alive(store.query(sql, parameters))
    })
  }
}

const on =
  (node: Node) =>
  <A, E>(effect: Effect.Effect<A, E, Services>) =>
    Effect.provideContext(effect, node.context)

const seen = (trace: Trace["Service"], key: string, what: string) =>
  eventually(
    Effect.sync(() => trace.of(key)),
    (entries) => entries.includes(what)
  )

const row = Effect.fnUntraced(function* (id: string) {
  const sql = yield* SqlClient
  const [found] = yield* sql<{ status: string; bucket: number; business_key: string; version: number }>`
    select status, bucket, business_key, version from runtime.workflows where id = ${id}`
  return found
})

/** Executions of this test run which are not over, and timers they have left behind. */
const leftovers = Effect.gen(function* () {
  const sql = yield* SqlClient
  return yield* sql<{ what: string }>`
    select name || ' is ' || status as what from runtime.workflows where status in ('running', 'suspended')
    union all select 'timer ' || name from runtime.timers`
})

describe("given an execution under way", () => {
  it.live("when its node dies, then the next one runs it from the top at once, and keeps what it was told to", () =>
    Effect.gen(function* () {
      const url = yield* migratedDatabase
      const trace = Trace.make()
      const key = newKey("held")
      const store = mortal()
      const a = yield* startNode(url, { name: "a", trace, aroundStore: store.aroundStore })
      yield* on(a)(Held.execute({ key }, { discard: true }))
      yield* seen(trace, key, "a holding")
      yield* store.kill
      const b = yield* startNode(url, { name: "b", trace })
      yield* seen(trace, key, "b holding")
      yield* Deferred.succeed(Context.get(b.context, Here).gate, undefined)
      assert.strictEqual(yield* on(b)(Held.execute({ key })), "1 by b")
      assert.deepStrictEqual(trace.of(key), ["a first", "draw", "a holding", "b first", "b holding"])
      assert.deepStrictEqual(yield* on(b)(leftovers), [])
    }).pipe(Effect.scoped)
  )

  it.live("when its node stops, then nothing is undone, and the next one goes on", () =>
    Effect.gen(function* () {
      const url = yield* migratedDatabase
      const trace = Trace.make()
      const key = newKey("held")
      const a = yield* startNode(url, { name: "a", trace })
      yield* on(a)(Held.execute({ key }, { discard: true }))
      yield* seen(trace, key, "a holding")
      yield* a.stop
      const b = yield* startNode(url, { name: "b", trace })
      yield* seen(trace, key, "b holding")
      yield* Deferred.succeed(Context.get(b.context, Here).gate, undefined)
      assert.strictEqual(yield* on(b)(Held.execute({ key })), "1 by b")
      assert.notInclude(trace.of(key), "a undo")
    }).pipe(Effect.scoped)
  )

  it.live("when two nodes are at it, then the first one's result is both's", () =>
    Effect.gen(function* () {
      const url = yield* migratedDatabase
      const trace = Trace.make()
      const key = newKey("held")
      const a = yield* startNode(url, { name: "a", trace })
      const first = yield* Effect.forkChild(on(a)(Held.execute({ key })))
      yield* seen(trace, key, "a holding")
      const b = yield* startNode(url, { name: "b", trace })
      yield* seen(trace, key, "b holding")
      yield* Deferred.succeed(Context.get(b.context, Here).gate, undefined)
      assert.strictEqual(yield* on(b)(Held.execute({ key })), "1 by b")
      yield* Deferred.succeed(Context.get(a.context, Here).gate, undefined)
      assert.strictEqual(yield* Fiber.join(first), "1 by b")
      assert.deepStrictEqual(yield* on(b)(leftovers), [])
    }).pipe(Effect.scoped)
  )

  it.live("when nobody has been at it for a while, then its node notices", () =>
    Effect.gen(function* () {
      const url = yield* migratedDatabase
      const trace = Trace.make()
      const key = newKey("held")
      const node = yield* startNode(url, { name: "a", trace, watchdog: "300 millis" })
      yield* Deferred.succeed(Context.get(node.context, Here).gate, undefined)
      const id = yield* Held.executionId({ key })
      // Written by a node which was gone before anybody could hear of it.
      yield* on(node)(
        Effect.gen(function* () {
          const sql = yield* SqlClient
          const bucket = (yield* Placement).bucketOf(key)
          yield* sql`insert into runtime.workflows (id, version, name, business_key, status, payload, interrupted, bucket, created_at, updated_at)
            values (${id}, 1, 'Held', ${key}, 'running', ${JSON.stringify({ key })}::jsonb, false, ${bucket}, now(), now())`
          yield* sql`insert into runtime.timers (actor_id, actor_type, name, bucket, due_at, urgent)
            values (${id}, 'Workflow', 'watchdog', ${bucket}, now() + interval '300 milliseconds', true)`
        })
      )
      assert.strictEqual(yield* on(node)(Held.execute({ key })), "1 by a")
      assert.deepStrictEqual(yield* on(node)(leftovers), [])
    }).pipe(Effect.scoped)
  )

  it.live("when its watchdog is due while its node is at it, then it is left alone", () =>
    Effect.gen(function* () {
      const url = yield* migratedDatabase
      const trace = Trace.make()
      const key = newKey("held")
      const node = yield* startNode(url, { name: "a", trace, watchdog: "100 millis" })
      const result = yield* Effect.forkChild(on(node)(Held.execute({ key })))
      yield* seen(trace, key, "a holding")
      const id = yield* Held.executionId({ key })
      // Its instant was moved at least twice.
      yield* on(node)(eventually(row(id), (found) => found !== undefined && found.version > 2))
      yield* Deferred.succeed(Context.get(node.context, Here).gate, undefined)
      assert.strictEqual(yield* Fiber.join(result), "1 by a")
      assert.deepStrictEqual(trace.of(key), ["a first", "draw", "a holding"])
    }).pipe(Effect.scoped)
  )

  it.live("when its node restarts while it sleeps, then it still wakes up at the instant it was to", () =>
    Effect.gen(function* () {
      const url = yield* migratedDatabase
      const trace = Trace.make()
      const key = newKey("pause")
      const store = mortal()
      const a = yield* startNode(url, { name: "a", trace, aroundStore: store.aroundStore })
      const id = yield* on(a)(Pause.execute({ key }, { discard: true }))
      const due = Effect.gen(function* () {
        const sql = yield* SqlClient
        const rows = yield* sql<{
          due_at: Date
        }>`select due_at from runtime.timers where actor_id = ${id} and name = 'clock/pause'`
        return rows[0]?.due_at.getTime()
      })
      const before = yield* on(a)(eventually(due, (found) => found !== undefined))
      yield* on(a)(eventually(row(id), (found) => found?.status === "suspended"))
      yield* store.kill
      yield* Effect.sleep("400 millis")
      const b = yield* startNode(url, { name: "b", trace })
      yield* on(b)(Pause.resume(id))
      yield* seen(trace, key, "b before")
      yield* on(b)(eventually(row(id), (found) => found?.status === "suspended"))
      assert.strictEqual(yield* on(b)(due), before)
      const woken = (yield* on(b)(Pause.execute({ key }))).epochMilliseconds
      assert.isAtLeast(woken, before!)
      assert.isBelow(woken, before! + 400)
      assert.deepStrictEqual(yield* on(b)(leftovers), [])
    }).pipe(Effect.scoped)
  )

  it.live("when its node dies as soon as it is told to end, then the next one ends it", () =>
    Effect.gen(function* () {
      const url = yield* migratedDatabase
      const trace = Trace.make()
      const key = newKey("child")
      const store = mortal()
      const a = yield* startNode(url, { name: "a", trace, aroundStore: store.aroundStore })
      const id = yield* on(a)(Child.execute({ key }, { discard: true }))
      yield* on(a)(eventually(row(id), (found) => found?.status === "suspended"))
      store.dieAt(store.writes() + 1, "after")
      yield* Effect.forkChild(on(a)(Child.interrupt(id)))
      yield* store.died
      const b = yield* startNode(url, { name: "b", trace })
      const exit = yield* Effect.exit(on(b)(Child.execute({ key })))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause))
      assert.deepStrictEqual(yield* on(b)(leftovers), [])
    }).pipe(Effect.scoped)
  )

  it.live("when one of several waits is over, then nothing is left of the others", () =>
    Effect.gen(function* () {
      const url = yield* migratedDatabase
      const node = yield* startNode(url, { name: "a", trace: Trace.make() })
      assert.strictEqual(yield* on(node)(Race.execute({ key: newKey("race") })), "quick")
      assert.deepStrictEqual(yield* on(node)(leftovers), [])
    }).pipe(Effect.scoped)
  )

  it.live("when workflows are made known only after their node has its buckets, then they are run then", () =>
    Effect.gen(function* () {
      const url = yield* migratedDatabase
      const trace = Trace.make()
      const key = newKey("held")
      const a = yield* startNode(url, { name: "a", trace })
      yield* on(a)(Held.execute({ key }, { discard: true }))
      yield* seen(trace, key, "a holding")
      yield* a.stop
      const late = Layer.effectDiscard(Effect.sleep("300 millis")).pipe(Layer.provideMerge(Layer.empty))
      const b = yield* startNode(url, { name: "b", trace, definitions: definitions.pipe(Layer.provide(late)) })
      yield* seen(trace, key, "b holding")
      yield* b.stop
    }).pipe(Effect.scoped)
  )

  it.live("when the database is away for a moment, then it goes on afterwards", () =>
    Effect.gen(function* () {
      const url = yield* migratedDatabase
      const trace = Trace.make()
      const key = newKey("long")
      let calls = 0
      const flaky = <A, E>(effect: Effect.Effect<A, E>) =>
        Effect.suspend((): Effect.Effect<A, E | Lost> =>
          ++calls % 3 === 0 ? Effect.fail(new Lost({ detail: "away" })) : effect
        )
      const node = yield* startNode(url, {
        name: "a",
        trace,
        aroundStore: (store) => ({
          ...store,
          transact: (keys, body) => flaky(store.transact(keys, body)),
          query: (sql, parameters) => flaky(store.query(sql, parameters)),
          load: (actors) => flaky(store.load(actors))
        })
      })
      const result = yield* Effect.forkChild(on(node)(Long.execute({ key, child: `${key}/child`, breaks: false })))
      yield* seen(trace, `${key}/child`, "a child")
      yield* on(node)(answer(`${key}/child`, "yes"))
      assert.deepStrictEqual(yield* Fiber.join(result), { drawn: 1, answer: "yes" })
    }).pipe(Effect.scoped)
  )
})

/** Completes what a child waits for. */
const answer = Effect.fnUntraced(function* (key: string, value: string) {
  const executionId = yield* Child.executionId({ key })
  const token = DurableDeferred.tokenFromExecutionId(Answer, { workflow: Child, executionId })
  yield* DurableDeferred.succeed(Answer, { token, value })
})

describe("given an execution whose node dies at any of its writes", () => {
  for (const breaks of [false, true]) {
    it.live(
      breaks ? "when it is refused, then all is undone in reverse order" : "when it goes well, then it has one result",
      () =>
        Effect.gen(function* () {
          const url = yield* migratedDatabase
          const once = Effect.fnUntraced(function* (diesAt: number, when: "before" | "after") {
            const trace = Trace.make()
            const key = newKey("long")
            const store = mortal(diesAt, when)
            const a = yield* startNode(url, { name: "a", trace, aroundStore: store.aroundStore })
            const alone = yield* Effect.forkChild(
              on(a)(
                Effect.gen(function* () {
                  yield* Long.execute({ key, child: `${key}/child`, breaks }, { discard: true })
                  yield* answer(`${key}/child`, "yes")
                  return yield* Effect.exit(Long.execute({ key, child: `${key}/child`, breaks }))
                })
              )
            )
            const survived = yield* Effect.raceFirst(Effect.as(Fiber.await(alone), true), Effect.as(store.died, false))
            const b = yield* startNode(url, { name: "b", trace })
            yield* on(b)(answer(`${key}/child`, "yes"))
            const exit = yield* Effect.exit(on(b)(Long.execute({ key, child: `${key}/child`, breaks })))
            const entries = trace.of(key)
            const where = `${when} write ${diesAt}: ${entries.join(", ")}`
            const sql = Context.get(b.context, SqlClient)
            const [drawn] = yield* sql<{ value: number }>`
              select (s.result->>'value')::int as value from runtime.workflow_steps s join runtime.workflows w on w.id = s.execution_id
              where w.name = 'Long' and w.business_key = ${key} and s.name = 'activity/draw/1'`
            if (breaks) {
              assert.isTrue(Exit.isFailure(exit) && Cause.hasFails(exit.cause), where)
              const undone = entries.filter((entry) => entry.includes("undo")).map((entry) => entry.slice(2))
              assert.deepStrictEqual(undone.slice(-2), ["undo two", "undo one"], where)
            } else {
              assert.deepStrictEqual(exit, Exit.succeed({ drawn: drawn!.value, answer: "yes" }), where)
              assert.isEmpty(
                entries.filter((entry) => entry.includes("undo")),
                where
              )
            }
            const logged = yield* sql<{ step: string }>`
              select distinct l.kind || ' ' || l.name || ' ' || coalesce(l.outcome, 'open') as step
              from runtime.workflow_log l join runtime.workflows w on w.id = l.execution_id where w.name = 'Long' and w.business_key = ${key}`
            const last = breaks ? ["activity undo one", "activity undo two"] : ["activity three"]
            const done = ["activity draw", "activity one", "activity two", "child Child", "clock nap", ...last]
            assert.sameMembers(
              logged.map(({ step: entry }) => entry),
              done.map((entry) => `${entry} succeeded`),
              where
            )
            yield* on(b)(eventually(leftovers, (rows) => rows.length === 0))
            yield* a.stop
            yield* b.stop
            return { survived, writes: store.writes() }
          }, Effect.scoped)
          const { writes } = yield* once(Number.POSITIVE_INFINITY, "before")
          for (let write = 1; write <= writes; write++) {
            yield* once(write, "before")
            yield* once(write, "after")
          }
        }).pipe(Effect.scoped),
      120_000
    )
  }
})

describe("given a start which is part of somebody's unit", () => {
  it.live("when the unit is durable, then it runs; when it is not, then it does not", () =>
    Effect.gen(function* () {
      const url = yield* migratedDatabase
      const trace = Trace.make()
      const node = yield* startNode(url, { name: "a", trace })
      yield* Deferred.succeed(Context.get(node.context, Here).gate, undefined)
      yield* on(node)(
        Effect.gen(function* () {
          const journal = yield* Journal
          const { prepare } = yield* WorkflowEngine.Workflows
          const given = yield* prepare(Held, { key: newKey("held") })
          const refused = yield* prepare(Held, { key: newKey("held") })
          assert.isUndefined(yield* row(given.executionId))
          yield* journal.unit({
            cells: [given.cell],
            cause: "test",
            body: (transaction) => {
              given.start(transaction)
              given.start(transaction)
            }
          })
          const exit = yield* Effect.exit(
            journal.unit<never, string>({
              cells: [refused.cell],
              cause: "test",
              body: (transaction) => {
                refused.start(transaction)
                return transaction.abort("no")
              }
            })
          )
          assert.deepStrictEqual(exit, Exit.fail("no"))
          yield* eventually(Held.poll(given.executionId), Option.isSome)
          assert.isUndefined(yield* row(refused.executionId))
          // Again, later: it is over, and stays so.
          const again = yield* journal.unit({
            cells: [given.cell],
            cause: "test",
            body: (transaction) => {
              given.start(transaction)
            }
          })
          assert.isUndefined(again)
          assert.strictEqual((yield* row(given.executionId))?.status, "completed")
        })
      )
    }).pipe(Effect.scoped)
  )
})

describe("given two nodes with half of the buckets each", () => {
  const nodes = Effect.gen(function* () {
    const url = yield* migratedDatabase
    const trace = Trace.make()
    const board = makeSwitchboard((bucket) => (bucket % 2 === 0 ? "a" : "b"))
    const a = yield* startNode(url, { name: "a", trace, sharding: board.sharding("a") })
    const b = yield* startNode(url, { name: "b", trace, sharding: board.sharding("b") })
    const placement = Context.get(a.context, Placement)
    const keyOn = (node: "a" | "b"): string => {
      const key = newKey("order")
      return (placement.bucketOf(key) % 2 === 0 ? "a" : "b") === node ? key : keyOn(node)
    }
    return { a, b, board, keyOn, trace }
  })

  it.live("when an execution is about something on the other node, then it lives there, and is reached from here", () =>
    Effect.gen(function* () {
      const { a, b, keyOn, trace } = yield* nodes
      const key = `${keyOn("b")}/1`
      const id = yield* on(a)(Child.execute({ key }, { discard: true }))
      yield* seen(trace, key, "b child")
      const found = yield* on(a)(row(id))
      assert.strictEqual(found?.business_key, onOrder(key))
      assert.strictEqual(found?.bucket, Context.get(a.context, Placement).bucketOf(onOrder(key)))
      yield* on(a)(eventually(Child.poll(id), Option.isSome))
      yield* on(a)(answer(key, "from afar"))
      assert.strictEqual(yield* on(a)(Child.execute({ key })), "from afar")
      assert.strictEqual(yield* on(b)(Child.execute({ key })), "from afar")

      const other = `${keyOn("b")}/2`
      const interrupted = yield* on(a)(Child.execute({ key: other }, { discard: true }))
      yield* on(a)(eventually(Child.poll(interrupted), Option.isSome))
      yield* on(a)(Child.interrupt(interrupted))
      const exit = yield* Effect.exit(on(a)(Child.execute({ key: other })))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause))
    }).pipe(Effect.scoped)
  )

  it.live("when one waits for another on the other node, then it is woken up by its result", () =>
    Effect.gen(function* () {
      const { a, b, keyOn, trace } = yield* nodes
      const key = keyOn("a")
      const child = `${keyOn("b")}/child`
      const id = yield* on(a)(Long.execute({ key, child, breaks: false }, { discard: true }))
      yield* seen(trace, key, "a two")
      yield* seen(trace, child, "b child")
      yield* on(a)(eventually(Long.poll(id), Option.isSome))
      yield* on(a)(answer(child, "done"))
      assert.strictEqual((yield* on(b)(Long.execute({ key, child, breaks: false }))).answer, "done")
      yield* on(b)(eventually(leftovers, (rows) => rows.length === 0))
    }).pipe(Effect.scoped)
  )

  it.live("when its bucket moves, then the node which had it stops, undoes nothing, and the other one goes on", () =>
    Effect.gen(function* () {
      const { a, b, board, keyOn, trace } = yield* nodes
      const key = keyOn("a")
      const caller = yield* Effect.forkChild(on(b)(Held.execute({ key })))
      yield* seen(trace, key, "a holding")
      yield* board.assign(() => "b")
      yield* seen(trace, key, "b holding")
      yield* Deferred.succeed(Context.get(a.context, Here).gate, undefined)
      yield* Deferred.succeed(Context.get(b.context, Here).gate, undefined)
      assert.strictEqual(yield* Fiber.join(caller), "1 by b")
      assert.strictEqual(yield* on(a)(Held.execute({ key })), "1 by b")
      assert.notInclude(trace.of(key), "a undo")
      assert.strictEqual(yield* on(a)(Effect.flatMap(WorkflowEngine.Workflows, ({ running }) => running)), 0)
    }).pipe(Effect.scoped)
  )
})
