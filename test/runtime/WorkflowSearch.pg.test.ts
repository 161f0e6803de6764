import { assert, describe, it, layer } from "@effect/vitest"
import { DateTime, Deferred, Duration, Effect, Layer, Option } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { DurableDeferred } from "effect/workflow"
import type { ExecutionDescription, LoggedStep } from "../../src/domain/Executions.ts"
import * as WorkflowEngine from "../../src/runtime/WorkflowEngine.ts"
import { listStatement, type WorkflowQuery, WorkflowSearch } from "../../src/runtime/WorkflowSearch.ts"
import { eventually } from "../fixtures/Eventually.ts"
import { layerMigrated } from "../fixtures/Postgres.ts"
import { runtimeLayer } from "../fixtures/Runtime.ts"
import {
  Ask,
  Brew,
  definitions,
  Fragile,
  Gate,
  Gated,
  Household,
  isSuspended,
  newKey,
  Trace,
  Wait,
  Word
} from "./WorkflowConformance.ts"

const searched = WorkflowSearch.layer.pipe(
  Layer.provideMerge(definitions),
  Layer.provideMerge(Layer.mergeAll(WorkflowEngine.layer, Trace.layer, Gate.layer)),
  Layer.provideMerge(runtimeLayer)
)

const described = Effect.fnUntraced(function* (id: string) {
  const { get } = yield* WorkflowSearch
  return Option.getOrThrow(yield* get(id, { limit: 100 }))
})

/** As people read it: `activity boil succeeded`. */
const told = ({ steps }: Pick<ExecutionDescription, "steps">) =>
  steps.map(({ attempt, error, kind, name, outcome }: LoggedStep) =>
    [
      kind,
      name,
      ...(attempt === 1 ? [] : [`(${attempt})`]),
      outcome ?? "open",
      ...(error === undefined ? [] : [error])
    ].join(" ")
  )

const all = Effect.fnUntraced(function* (query: Omit<WorkflowQuery, "after" | "limit">, limit = 100) {
  const { list } = yield* WorkflowSearch
  const found: Array<string> = []
  let after: string | undefined
  do {
    const page = yield* list({ ...query, after, limit })
    assert.isAtMost(page.executions.length, limit)
    found.push(...page.executions.map(({ id }) => id))
    after = page.next
  } while (after !== undefined)
  return found
})

describe("given executions which an operator asks about", () => {
  layer(searched, { excludeTestServices: true })((it) => {
    it.effect("when one has ended, then its log has each step once, with times and outcomes", () =>
      Effect.gen(function* () {
        const key = newKey("brew")
        yield* Brew.execute({ key, spoons: 2n })
        const found = yield* described(yield* Brew.executionId({ key, spoons: 2n }))
        assert.deepInclude(found, { workflow: "Brew", businessKey: key, status: "completed", interrupted: false })
        assert.deepStrictEqual(JSON.parse(found.payload), { key, spoons: "2" })
        assert.deepStrictEqual(told(found), [
          "activity boil succeeded",
          "activity warm succeeded",
          "activity take succeeded"
        ])
        assert.deepStrictEqual(
          found.steps.map(({ ordinal }) => ordinal),
          [1, 2, 3]
        )
        for (const { endedAt, startedAt } of found.steps) {
          assert.isTrue(DateTime.isLessThanOrEqualTo(startedAt, endedAt!))
          assert.isTrue(DateTime.isLessThanOrEqualTo(endedAt!, found.updatedAt))
        }
        assert.notProperty(found, "error")
      })
    )

    it.effect("when one was refused, then its log tells by what, and what was undone", () =>
      Effect.gen(function* () {
        const key = newKey("brew")
        yield* Effect.exit(Brew.execute({ key, spoons: 7n }))
        const found = yield* described(yield* Brew.executionId({ key, spoons: 7n }))
        assert.deepInclude(found, { status: "failed", error: "OutOfTea" })
        assert.deepStrictEqual(told(found).slice(2), [
          "activity take failed OutOfTea",
          "activity undo warm succeeded",
          "activity undo boil succeeded"
        ])
      })
    )

    it.effect("when one waits, then its log tells for what and since when, and what came of it afterwards", () =>
      Effect.gen(function* () {
        const key = newKey("household")
        const id = yield* Household.execute({ key }, { discard: true })
        const asking = yield* Ask.executionId({ key: `${key}-ask` })
        yield* eventually(Household.poll(id), isSuspended)
        yield* eventually(Ask.poll(asking), isSuspended)
        const waiting = yield* described(id)
        assert.deepInclude(waiting, { status: "suspended", bodyUnderWay: false })
        assert.deepStrictEqual(told(waiting), ["child Brew succeeded", "child Ask open"])
        assert.strictEqual(waiting.steps[1]?.childId, asking)
        const asked = yield* described(asking)
        assert.deepStrictEqual(told(asked), ["activity ask succeeded", "deferred Word open"])
        const token = DurableDeferred.tokenFromExecutionId(Word, { workflow: Ask, executionId: asking })
        yield* DurableDeferred.succeed(Word, { token, value: 1n })
        yield* Household.execute({ key })
        const ended = yield* described(id)
        assert.deepStrictEqual(told(ended), ["child Brew succeeded", "child Ask succeeded"])
        // It ran from the top once more, and began to wait only once.
        assert.deepStrictEqual(ended.steps[1]!.startedAt, waiting.steps[1]!.startedAt)
        assert.deepStrictEqual(ended.steps[0], waiting.steps[0])
        assert.deepStrictEqual(told(yield* described(asking)), ["activity ask succeeded", "deferred Word succeeded"])
      })
    )

    it.effect("when one sleeps, then it is told when it wakes up", () =>
      Effect.gen(function* () {
        const key = newKey("wait")
        const before = yield* DateTime.now
        const id = yield* Wait.execute({ key, millis: 60_000 }, { discard: true })
        yield* eventually(Wait.poll(id), isSuspended)
        const found = yield* described(id)
        assert.deepStrictEqual(told(found), ["activity before succeeded", "clock pause open"])
        const sleeps = DateTime.distance(before, found.wakesAt!)
        assert.isTrue(Duration.between(sleeps, { minimum: Duration.seconds(60), maximum: Duration.seconds(70) }))
        const workflows = yield* WorkflowEngine.Workflows
        assert.isTrue(yield* workflows.interrupt(id))
        yield* Effect.exit(Wait.execute({ key, millis: 60_000 }))
        const ended = yield* described(id)
        assert.deepInclude(ended, { status: "failed", interrupted: true, error: "Interrupted" })
        assert.deepStrictEqual(told(ended), ["activity before succeeded", "clock pause interrupted"])
        assert.notProperty(ended, "wakesAt")
        assert.isFalse(yield* workflows.interrupt(id))
        assert.isFalse(yield* workflows.resume("nobody"))
      })
    )

    it.effect("when one is at a long step, then that is told before anything of it is durable", () =>
      Effect.gen(function* () {
        const key = newKey("gated")
        const trace = yield* Trace
        const id = yield* Gated.execute({ key }, { discard: true })
        yield* eventually(
          Effect.sync(() => trace.of(key)),
          (entries) => entries.includes("hold")
        )
        const sql = yield* SqlClient
        assert.deepStrictEqual(yield* sql`select 1 from runtime.workflow_log where execution_id = ${id}`, [])
        const found = yield* described(id)
        assert.deepInclude(found, { status: "running", bodyUnderWay: true })
        assert.deepStrictEqual(told(found), ["activity enter succeeded", "activity hold open"])
        yield* Deferred.succeed((yield* Gate).of(key), undefined)
        yield* Gated.execute({ key })
        assert.deepStrictEqual(told(yield* described(id)).at(-1), "activity beyond succeeded")
      })
    )

    it.effect("when one waits on a defect, then that is told, and it goes on when an operator says so", () =>
      Effect.gen(function* () {
        const key = newKey("fragile")
        const id = yield* Fragile.execute({ key }, { discard: true })
        yield* eventually(Fragile.poll(id), isSuspended)
        assert.deepInclude(yield* described(id), { status: "suspended", error: "Error" })
        assert.isTrue(yield* (yield* WorkflowEngine.Workflows).resume(id))
        assert.strictEqual(yield* Fragile.execute({ key }), "whole")
      })
    )

    it.effect("when a log is longer than a page, then it is read to its end", () =>
      Effect.gen(function* () {
        const key = newKey("brew")
        yield* Effect.exit(Brew.execute({ key, spoons: 7n }))
        const { get } = yield* WorkflowSearch
        const id = yield* Brew.executionId({ key, spoons: 7n })
        const first = Option.getOrThrow(yield* get(id, { limit: 3 }))
        const second = Option.getOrThrow(yield* get(id, { after: first.nextStep, limit: 3 }))
        assert.deepStrictEqual([...first.steps, ...second.steps], (yield* described(id)).steps)
        assert.notProperty(second, "nextStep")
        assert.isTrue(Option.isNone(yield* get("nobody", { limit: 3 })))
      })
    )

    it.effect("when they are searched, then each is found by its workflow, status and business key, once", () =>
      Effect.gen(function* () {
        const { list } = yield* WorkflowSearch
        const key = newKey("ask")
        const waiting = yield* Ask.execute({ key }, { discard: true })
        yield* eventually(Ask.poll(waiting), isSuspended)
        assert.deepStrictEqual(yield* all({ businessKey: key }), [waiting])
        assert.deepStrictEqual(yield* all({ businessKey: key, statuses: ["completed"] }), [])
        assert.deepStrictEqual(yield* all({ businessKey: key, workflow: "Brew" }), [])
        assert.include(yield* all({ workflow: "Ask", statuses: ["suspended", "running"] }), waiting)
        assert.notInclude(yield* all({ workflow: "Ask", statuses: ["completed", "failed"] }), waiting)
        for (const query of [{}, { workflow: "Brew" }, { statuses: ["completed", "failed"] }] satisfies Array<
          Partial<WorkflowQuery>
        >) {
          const whole = yield* all(query)
          assert.isAbove(whole.length, 2)
          assert.strictEqual(new Set(whole).size, whole.length)
          assert.deepStrictEqual(yield* all(query, 2), whole)
        }
        const { executions } = yield* list({ limit: 100 })
        const times = executions.map(({ createdAt }) => createdAt.epochMilliseconds)
        assert.deepStrictEqual(
          times,
          times.toSorted((left, right) => right - left)
        )
      })
    )

    it.effect("when they are searched by age, then the bounds are what they say", () =>
      Effect.gen(function* () {
        const key = newKey("ask")
        const id = yield* Ask.execute({ key }, { discard: true })
        yield* eventually(Ask.poll(id), isSuspended)
        const { createdAt } = yield* described(id)
        const later = DateTime.add(createdAt, { milliseconds: 1 })
        const find = (query: Partial<WorkflowQuery>) =>
          Effect.map(all({ businessKey: key, ...query }), (ids) => ids.length)
        assert.strictEqual(yield* find({ createdAfter: createdAt }), 1)
        assert.strictEqual(yield* find({ createdAfter: later }), 0)
        assert.strictEqual(yield* find({ createdBefore: later }), 1)
        assert.strictEqual(yield* find({ createdBefore: createdAt }), 0)
        assert.strictEqual(yield* find({ unfinishedFor: Duration.minutes(1) }), 0)
        const sql = yield* SqlClient
        yield* sql`update runtime.workflows set created_at = created_at - interval '2 minutes' where id = ${id}`
        assert.strictEqual(yield* find({ unfinishedFor: Duration.minutes(1) }), 1)
        assert.strictEqual(yield* find({ unfinishedFor: Duration.minutes(1), statuses: ["completed"] }), 0)
        const token = DurableDeferred.tokenFromExecutionId(Word, { workflow: Ask, executionId: id })
        yield* DurableDeferred.succeed(Word, { token, value: 1n })
        yield* Ask.execute({ key })
        assert.strictEqual(yield* find({ unfinishedFor: Duration.minutes(1) }), 0)
      })
    )

    it.effect("when a cursor is not one of ours, then it is refused", () =>
      Effect.gen(function* () {
        const { list } = yield* WorkflowSearch
        for (const text of ["x", "%%%", "2026-11-20T12:00:00.000000Z ';--", "2026-99-99T99:99:99.000000Z id"]) {
          const after = Buffer.from(text).toString("base64url")
          const refused = yield* Effect.flip(list({ after, limit: 10 }))
          assert.deepInclude(refused as object, { _tag: "InvalidRequest", field: "after" })
        }
      })
    )
  })
})

describe("given many executions", () => {
  it.live(
    "when they are searched in any way, then a page comes from an index, and little more is read than it shows",
    () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        yield* sql`
          insert into runtime.workflows (id, version, name, business_key, status, payload, interrupted, bucket, created_at, updated_at)
          select 'execution-' || n, 3, case n when 100000 then 'Rare' else (array['Capture', 'Compensate', 'Refund'])[1 + n % 3] end, 'order-' || n / 2,
            case when n % 1000 = 0 then 'failed' when n % 100 = 0 then 'suspended' else 'completed' end, '{}', false, n % 128,
            now() - n * interval '1 second', now() - n * interval '1 second'
          from generate_series(1, 200000) n`
        yield* sql`analyze runtime.workflows`
        const at = DateTime.makeUnsafe("2026-01-01T00:00:00Z")
        const queries: Readonly<Record<string, Parameters<typeof listStatement>>> = {
          all: [{ limit: 50 }],
          "of one status": [{ statuses: ["suspended"], limit: 50 }],
          "of one workflow": [{ workflow: "Refund", limit: 50 }],
          "of a rare workflow": [{ workflow: "Rare", limit: 50 }],
          "of one workflow and status": [{ workflow: "Refund", statuses: ["failed"], limit: 50 }],
          "about one order": [{ businessKey: "order-77", limit: 50 }],
          "unfinished for long": [{ statuses: ["running", "suspended"], createdBefore: at, limit: 50 }],
          "behind a cursor": [{ limit: 50 }, { createdAt: "2026-01-01T00:00:00.000000Z", id: "execution-7" }],
          "of a time": [{ createdAfter: at, createdBefore: DateTime.add(at, { hours: 1 }), limit: 50 }]
        }
        for (const [name, query] of Object.entries(queries)) {
          const [text, parameters] = listStatement(...query)
          const rows = yield* sql.unsafe<{ "QUERY PLAN": string }>(`explain (analyze, timing off) ${text}`, parameters)
          const plan = rows.map((row) => row["QUERY PLAN"]).join("\n")
          assert.notInclude(plan, "Seq Scan", `${name}\n${plan}`)
          assert.include(plan, "Index Scan", `${name}\n${plan}`)
          // The planner may take another index and leave out some where most fit anyway.
          const removed = [...plan.matchAll(/Rows Removed by Filter: (\d+)/g)].map(([, count]) => Number(count))
          const read = [...plan.matchAll(/Index Scan.*actual rows=([\d.]+)/g)].map(([, count]) => Number(count))
          for (const count of [...removed, ...read]) assert.isAtMost(count, 200, `${name}\n${plan}`)
        }
      }).pipe(Effect.provide(layerMigrated)),
    120_000
  )
})
