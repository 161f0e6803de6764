import { assert, describe, it } from "@effect/vitest"
import { DateTime, Duration, Effect, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Unavailable } from "../../src/domain/Refusals.ts"
import { fingerprintOf } from "../../src/runtime/Fingerprint.ts"
import { Lost } from "../../src/runtime/Store.ts"
import { onMemory } from "./Backends.ts"
import { balanceOf, cellOf, deposit, quiet, range, scenarios, send, startJournal } from "./JournalScenarios.ts"

describe("given a journal in memory", () => {
  scenarios((name, body) => it.live(name, () => quiet(Effect.flatMap(onMemory, body))))
})

describe("given a database that is away", () => {
  it.effect("when it stays away, then whoever waits is told so in time, and the journal goes on afterwards", () =>
    Effect.gen(function* () {
      const backend = yield* onMemory
      const journal = yield* startJournal(yield* backend.open, { retryFor: Duration.seconds(10) })
      yield* cellOf(journal, "a")
      yield* backend.setAway(true)
      const fiber = yield* Effect.forkChild(Effect.flip(send(journal, "a", "k", deposit(5n))))
      yield* TestClock.adjust("9 seconds")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("2 seconds")
      assert.instanceOf(yield* Fiber.join(fiber), Unavailable)
      assert.instanceOf(yield* Effect.flip(cellOf(journal, "other")), Unavailable)
      yield* backend.setAway(false)
      assert.strictEqual(balanceOf(yield* send(journal, "a", "k", deposit(5n))), 5n)
    }).pipe(quiet)
  )
})

describe("given a database that takes its time to fail", () => {
  it.effect("when many wait, then none waits for much longer than it is tried", () =>
    Effect.gen(function* () {
      const store = yield* (yield* onMemory).open
      const journal = yield* startJournal(
        { ...store, transact: () => Effect.andThen(Effect.sleep("5 seconds"), new Lost({ detail: "no answer" })) },
        { retryFor: Duration.seconds(10), batchMax: 10 }
      )
      const waiting = yield* Effect.forEach(range(300), (index) =>
        Effect.forkChild(Effect.flip(send(journal, `a${index}`, "k", deposit(1n))))
      )
      for (let turns = 0; turns < 100; turns++) yield* Effect.yieldNow
      yield* TestClock.adjust("16 seconds")
      for (const fiber of waiting) {
        assert.isDefined(fiber.pollUnsafe())
        assert.instanceOf(yield* Fiber.join(fiber), Unavailable)
      }
    }).pipe(quiet)
  )
})

describe("given commands with keys, on two nodes", () => {
  const Sent = Schema.Array(
    Schema.Struct({
      node: Schema.Literals([0, 1]),
      key: Schema.Literals(["a", "b", "c", "d", "e"]),
      actor: Schema.Literals(["x", "y"])
    })
  )
  it.live.prop(
    "each is done once, whatever comes again, wherever, and whatever is lost",
    [Sent, Schema.Array(Schema.Literals(["before", "after", "none"]))],
    ([sent, faults]) =>
      Effect.gen(function* () {
        const backend = yield* onMemory
        const nodes = [yield* startJournal(yield* backend.open), yield* startJournal(yield* backend.open)]
        yield* backend.inject(
          ...faults.flatMap((when) => (when === "none" ? [] : [{ when, error: new Lost({ detail: "test" }) }]))
        )
        const amounts = { a: 1n, b: 10n, c: 100n, d: 1000n, e: 10_000n }
        yield* Effect.forEach(
          sent,
          ({ actor, key, node }) =>
            send(nodes[node]!, actor, key, deposit(amounts[key])).pipe(
              Effect.retry({ while: ({ _tag }) => _tag === "Unavailable" })
            ),
          { concurrency: "unbounded", discard: true }
        )
        const wanted = (actor: string) =>
          [...new Set(sent.flatMap((one) => (one.actor === actor ? [one.key] : [])))].reduce(
            (sum, key) => sum + amounts[key],
            0n
          )
        for (const actor of ["x", "y"]) {
          for (const node of nodes) yield* node.release(new Set([1]))
          assert.strictEqual(balanceOf(yield* cellOf(nodes[0]!, actor)), wanted(actor))
        }
      }).pipe(quiet, Effect.scoped)
  )
})

describe("given the content of a command", () => {
  const at = DateTime.makeUnsafe("2026-11-20T10:00:00Z")
  const command = { _tag: "Pay", amount: 5n, lines: [{ sku: "a", quantity: 1 }], at, note: undefined }

  it("its fingerprint does not depend on the order of its fields, nor on what is absent", () => {
    const same = { note: undefined, at, lines: [{ quantity: 1, sku: "a" }], amount: 5n, _tag: "Pay" }
    assert.strictEqual(fingerprintOf(same), fingerprintOf(command))
    const { note: _, ...without } = command
    assert.strictEqual(fingerprintOf(without), fingerprintOf(command))
  })

  it("its fingerprint is the same for instants and amounts as they are and as JSON", () => {
    const json = { ...command, amount: "5", at: "2026-11-20T10:00:00.000Z" }
    assert.strictEqual(fingerprintOf(json), fingerprintOf(command))
    assert.strictEqual(fingerprintOf({ ...command, at: DateTime.toDateUtc(at) } as never), fingerprintOf(command))
  })

  it("its fingerprint differs when anything in it does", () => {
    const others = [
      { ...command, _tag: "Refund" },
      { ...command, amount: 6n },
      { ...command, lines: [...command.lines, ...command.lines] },
      { ...command, lines: [{ sku: "a", quantity: 2 }] },
      { ...command, at: DateTime.add(at, { milliseconds: 1 }) },
      { ...command, note: "" },
      { ...command, tags: new Set(["a"]) },
      { ...command, tags: new Set(["b"]) }
    ]
    const prints = new Set([command, ...others].map(fingerprintOf))
    assert.strictEqual(prints.size, others.length + 1)
  })

  it("its fingerprint stays what it was, since it is stored", () => {
    assert.strictEqual(fingerprintOf(command), fixedPrint)
  })
})

const fixedPrint = "tdFg2JvncBivasPbMoV5cP"
