import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { loadsTogether, type LoadsTogetherOptions } from "../../src/runtime/LoadsTogether.ts"
import { Lost, Rejected } from "../../src/runtime/Store.ts"
import { account } from "./Account.ts"

const actor = (id: string) => ({ definition: account, id })
type Actors = Parameters<LoadsTogetherOptions["load"]>[0]

/** Reads which wait until they are let go, or fail; tells which were read together. */
const making = Effect.fnUntraced(function* (
  failing: (actors: Actors) => Lost | Rejected | undefined = () => undefined
) {
  const statements: Array<ReadonlyArray<string>> = []
  const gate = yield* Deferred.make<void>()
  const load = yield* loadsTogether({
    atOnce: 2,
    load: (actors) =>
      Effect.suspend(() => {
        statements.push(actors.map(({ id }) => id))
        const failure = failing(actors)
        const found = actors.map(({ id }) => ({ row: { id }, keys: [], keysComplete: true }))
        return Effect.andThen(
          Deferred.await(gate),
          failure === undefined ? Effect.succeed(found) : Effect.fail(failure)
        )
      })
  })
  const ask = (...ids: ReadonlyArray<string>) =>
    Effect.forkChild(
      Effect.map(load(ids.map(actor)), (found) => found.map(({ row }) => row?.["id"])),
      { startImmediately: true }
    )
  return { ask, open: Deferred.succeed(gate, undefined), statements }
})

describe("given actors that are read", () => {
  it.effect("while two reads are under way, then those which come go together, and each has its own", () =>
    Effect.gen(function* () {
      const { ask, open, statements } = yield* making()
      const asked = [yield* ask("a"), yield* ask("b"), yield* ask("c"), yield* ask("d", "e"), yield* ask("a")]
      yield* Effect.yieldNow
      assert.deepStrictEqual(statements, [["a"], ["b"]])
      yield* open
      assert.deepStrictEqual(yield* Fiber.joinAll(asked), [["a"], ["b"], ["c"], ["d", "e"], ["a"]])
      assert.deepStrictEqual(statements.slice(2), [["c", "d", "e", "a"]])
    }).pipe(Effect.scoped)
  )

  it.effect("when there are very many, then a statement has 200 at the most", () =>
    Effect.gen(function* () {
      const { ask, open, statements } = yield* making()
      const ids = Array.from({ length: 450 }, (_, index) => `a${index}`)
      const asked = yield* Effect.forEach(ids, (id) => ask(id))
      yield* open
      assert.deepStrictEqual((yield* Fiber.joinAll(asked)).flat(), ids)
      assert.deepStrictEqual(
        statements.map(({ length }) => length),
        [1, 1, 200, 200, 48]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("when one of them cannot be read, then only who asked for it hears of it", () =>
    Effect.gen(function* () {
      const { ask, open } = yield* making((actors) =>
        actors.some(({ id }) => id === "bad") ? new Rejected({ constraint: "22021", detail: "bad" }) : undefined
      )
      const asked = [yield* ask("a"), yield* ask("b"), yield* ask("c"), yield* ask("bad"), yield* ask("d")]
      yield* open
      const exits = yield* Effect.forEach(asked, (fiber) => Effect.result(Fiber.join(fiber)))
      assert.deepStrictEqual(
        exits.map(({ _tag }) => _tag),
        ["Success", "Success", "Success", "Failure", "Success"]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("when the database is away, then all who wait hear of it, after one statement", () =>
    Effect.gen(function* () {
      const { ask, open, statements } = yield* making(() => new Lost({ detail: "away" }))
      const asked = yield* Effect.forEach(["a", "b", "c", "d"], (id) => ask(id))
      yield* open
      const errors = yield* Effect.forEach(asked, (fiber) => Effect.flip(Fiber.join(fiber)))
      assert.deepStrictEqual(
        errors.map(({ detail }) => detail),
        ["away", "away", "away", "away"]
      )
      assert.strictEqual(statements.length, 3)
    }).pipe(Effect.scoped)
  )
})
