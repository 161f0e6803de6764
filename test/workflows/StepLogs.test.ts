/** What executions of a released version have done is followed by this one, wherever they are when it comes. REQ-GEN-12. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Activity, DurableClock, DurableDeferred, Workflow, type WorkflowEngine } from "effect/workflow"
import { Workflows } from "../../src/runtime/WorkflowEngine.ts"
import { currentVersion } from "../fixtures/Contracts.ts"
import * as Shop from "../fixtures/Shop.ts"
import { read, record, recordedOf, replay, versions } from "../fixtures/StepLogs.ts"
import { type Definition, workflows } from "../fixtures/Workflows.ts"

for (const version of versions()) {
  describe(`given executions which version ${version} has left at any of their steps`, () => {
    for (const tag of recordedOf(version)) {
      it.live(`when this version runs ${tag}, then it follows each of them`, () =>
        Effect.gen(function* () {
          const definition = workflows.find(({ workflow }) => workflow._tag === tag)
          assert(
            definition !== undefined,
            `${tag} is not known any more: its executions would wait for ever. Keep it until they have ended, then delete its recordings.`
          )
          const recordings = read(version, tag)
          assert.isNotEmpty(recordings)
          assert.deepStrictEqual(yield* replay(version, definition, recordings), [])
        })
      )
    }
  })
}

describe("given the workflows a node can run", () => {
  it.live(
    "when they are compared with the recorded ones, then none is missing: npm run step-logs records what is new",
    () =>
      Effect.gen(function* () {
        const { registered } = yield* Workflows
        const running = yield* registered
        assert.includeMembers(
          workflows.map(({ workflow }) => workflow._tag),
          [...running],
          "a workflow is not in test/fixtures/Workflows.ts"
        )
        assert.includeMembers([...recordedOf(currentVersion())], [...running])
      }).pipe(Effect.provide(Shop.layer()))
  )
})

// ---- the gate itself

const payload = { key: Schema.String, gift: Schema.Boolean }
class Broken extends Schema.TaggedError<Broken>()("Broken", { piece: Schema.Int }) {}
const Paid = DurableDeferred.make("Paid", { success: Schema.Literals(["yes", "no"]) })

type Body = (given: {
  readonly key: string
  readonly gift: boolean
}) => Effect.Effect<
  string,
  Broken,
  WorkflowEngine.WorkflowEngine | WorkflowEngine.WorkflowInstance | Workflow.Execution<"Parcel">
>

const Ribbon = Workflow.make("Ribbon", {
  payload: { key: Schema.String },
  success: Schema.Literals(["red", "blue"]),
  idempotencyKey: ({ key }) => key
})

const parcel = (
  body: Body,
  change: { readonly tag?: "Parcel"; readonly key?: (key: string) => string } = {}
): Definition => {
  const workflow = Workflow.make("Parcel", {
    payload,
    success: Schema.String,
    error: Broken,
    idempotencyKey: ({ key }) => (change.key ?? ((same: string) => same))(key)
  })
  return {
    workflow,
    registered: workflow.toLayer(body)
  }
}

const did = (name: string) => Activity.make({ name, execute: Effect.die(new Error("not in a replay")) })
const weigh = (name = "weigh") =>
  Activity.make({
    name,
    success: Schema.Literals(["light", "heavy"]),
    error: Broken,
    execute: Effect.die("not in a replay")
  })
const rest = (name = "rest") => DurableClock.sleep({ name, duration: "1 hour", inMemoryThreshold: 0 })

/** A bit of everything: each way of it is walked by the recorder. */
const before: Body = Effect.fnUntraced(function* ({ gift, key }) {
  yield* did("pack")
  const weight = yield* weigh().pipe(Activity.retry({ times: 1 }))
  if (gift) yield* Ribbon.execute({ key })
  yield* rest()
  if ((yield* DurableDeferred.await(Paid)) === "no") return "kept"
  if (weight === "heavy") yield* did("hire a van")
  yield* did("send")
  return "sent"
})

/** The body before, as somebody would change it. */
const changed = (
  steps: Partial<
    Record<
      "pack" | "weigh" | "ribbon" | "rest" | "paid" | "van" | "send" | "last",
      (key: string) => Effect.Effect<unknown, Broken, never>
    >
  >
): Body =>
  Effect.fnUntraced(function* ({ gift, key }) {
    const or = <A, E, R>(name: keyof typeof steps, otherwise: Effect.Effect<A, E, R>) =>
      (steps[name] === undefined ? otherwise : steps[name](key)) as Effect.Effect<A, E, R>
    yield* or("pack", did("pack"))
    const weight = yield* or("weigh", weigh().pipe(Activity.retry({ times: 1 })))
    if (gift) yield* or("ribbon", Ribbon.execute({ key }))
    yield* or("rest", rest())
    if ((yield* or("paid", DurableDeferred.await(Paid))) === "no") return "kept"
    if (weight === "heavy") yield* or("van", did("hire a van"))
    yield* or("send", did("send"))
    yield* or("last", Effect.void)
    return "sent"
  })

const of = (effect: Effect.Effect<unknown, unknown, never>) => () => effect as Effect.Effect<unknown, Broken>
const both = (...effects: ReadonlyArray<Effect.Effect<unknown, unknown, never>>) =>
  of(Effect.all(effects, { discard: true }))
// oxlint-disable-next-line typescript/no-explicit-any -- what a step needs is there when its body runs
const any = (effect: Effect.Effect<any, any, any>) => effect as Effect.Effect<unknown, unknown, never>

const earlier = Effect.runSync(Effect.cached(record(parcel(before))))

const verdicts = Effect.fnUntraced(function* (definition: Definition) {
  const recordings = yield* earlier
  return yield* replay("0.0.9", definition, recordings)
})

const assertCaught = (found: ReadonlyArray<string>, ...says: ReadonlyArray<RegExp>) => {
  assert.isNotEmpty(found)
  const all = found.join("\n")
  for (const pattern of [/^Parcel, as 0\.0\.9 has left its executions: /m, /new tag \(such as ParcelV2\)/, ...says]) {
    assert.match(all, pattern)
  }
}

describe("given logs of a body", () => {
  it.live("when they are recorded, then every way through it is among them", () =>
    Effect.gen(function* () {
      const shapes = (yield* earlier).map(({ steps }) =>
        steps
          .map(
            ({ attempt, answer, name }) => `${name}${attempt === 1 ? "" : attempt}${answer === undefined ? "?" : ""}`
          )
          .join(" ")
      )
      assert.includeMembers(shapes, [
        "pack weigh rest Paid send",
        "pack weigh rest Paid hire a van send",
        "pack weigh rest Paid",
        "pack weigh rest Paid?",
        "pack weigh Ribbon rest Paid send",
        "pack weigh weigh2 rest Paid send",
        "pack weigh weigh2"
      ])
    })
  )

  it.live("when the body is as it was, written otherwise, or has a step more at its end, then it follows them", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* verdicts(parcel(before)), [])
      assert.deepStrictEqual(yield* verdicts(parcel(changed({}))), [])
      assert.deepStrictEqual(yield* verdicts(parcel(changed({ last: of(any(did("thank"))) }))), [])
    })
  )

  it.live("when a step was renamed, then it is told which, and what to do", () =>
    Effect.gen(function* () {
      const renamed = yield* verdicts(parcel(changed({ van: of(any(did("rent a van"))) })))
      assertCaught(renamed, /where they have done activity "hire a van": it was renamed to activity "rent a van"/)
      assertCaught(
        yield* verdicts(parcel(changed({ rest: of(any(rest("nap"))) }))),
        /clock "rest": it was renamed to clock "nap"/
      )
      const word = DurableDeferred.await(DurableDeferred.make("Settled", { success: Schema.Literals(["yes", "no"]) }))
      assertCaught(
        yield* verdicts(parcel(changed({ paid: of(any(word)) }))),
        /deferred "Paid": it was renamed to deferred "Settled"/
      )
    })
  )

  it.live("when a step was removed, in the middle or at the end, then that is told", () =>
    Effect.gen(function* () {
      assertCaught(yield* verdicts(parcel(changed({ pack: of(Effect.void) }))), /activity "pack": it was removed/)
      assertCaught(yield* verdicts(parcel(changed({ ribbon: of(Effect.void) }))), /child "Ribbon": it was removed/)
      assertCaught(
        yield* verdicts(parcel(changed({ send: of(Effect.void) }))),
        /ends without activity "send": it was removed/
      )
    })
  )

  it.live("when steps were reordered, or one was put in between, then that is told", () =>
    Effect.gen(function* () {
      const reordered = changed({ pack: of(Effect.void), rest: both(any(did("pack")), any(rest())) })
      assertCaught(yield* verdicts(parcel(reordered)), /where they have done activity "pack": they were reordered/)
      const inserted = changed({ send: both(any(did("insure")), any(did("send"))) })
      assertCaught(yield* verdicts(parcel(inserted)), /activity "send": activity "insure" was put before it/)
    })
  )

  it.live("when what a step answered cannot be read any more, then that is told", () =>
    Effect.gen(function* () {
      const grams = Activity.make({
        name: "weigh",
        success: Schema.Int,
        error: Broken,
        execute: Effect.die("not in a replay")
      })
      assertCaught(
        yield* verdicts(parcel(changed({ weigh: of(any(grams)) }))),
        /what activity "weigh" answered cannot be read any more/
      )
    })
  )

  it.live("when an execution or a child would be another one, then that is told", () =>
    Effect.gen(function* () {
      assertCaught(
        yield* verdicts(parcel(before, { key: (key) => `${key}!` })),
        /its idempotency key is made otherwise/
      )
      const other = changed({
        ribbon: (key) => any(Ribbon.execute({ key: `${key}!` })) as Effect.Effect<unknown, Broken>
      })
      assertCaught(yield* verdicts(parcel(other)), /child "Ribbon" is another execution than the one they have started/)
    })
  )

  it.live("when a body does outside of its steps what only they may, then it cannot be recorded", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(record(parcel(() => Effect.die(new Error("reads the database")))))
      assert.include(String(exit), "reads the database")
    })
  )
})
