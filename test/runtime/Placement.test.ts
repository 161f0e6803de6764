import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Duration, Effect, Exit, Fiber, Layer, Schema } from "effect"
import { TestClock } from "effect/testing"
import { CheckoutId } from "../../src/domain/Ids.ts"
import { besideId } from "../../src/domain/Placed.ts"
import { IdempotencyConflict, Unavailable } from "../../src/domain/Refusals.ts"
import { bucketOf, type HandlersOf, layer, Placement } from "../../src/runtime/Placement.ts"
import { makeSwitchboard } from "../fixtures/Runtime.ts"
import { Account, NotOpen, Overdrawn } from "./Account.ts"
import { onMemory } from "./Backends.ts"
import { quiet, range } from "./JournalScenarios.ts"
import { buckets, startNode } from "./Nodes.ts"

const answers: HandlersOf<typeof Account> = {
  Deposit: (id, { amount, at, key }) =>
    id === "stuck"
      ? Effect.never
      : id === "conflict"
        ? Effect.fail(new IdempotencyConflict({ key }))
        : Effect.succeed({ balance: amount + (at === undefined ? 0n : BigInt(at.epochMilliseconds)), version: 1 }),
  Withdraw: (_, { amount }) => Effect.fail(new Overdrawn({ balance: amount })),
  SetWake: () => Effect.die(new Error("a secret of the node")),
  Explode: () => {
    throw new Error("thrown, not failed")
  },
  GetBalance: (id) => (id.startsWith("closed") ? Effect.fail(new NotOpen()) : Effect.succeed(10n ** 20n))
}

const start = Effect.fnUntraced(function* (sharding: Parameters<typeof startNode>[1]) {
  const context = yield* Layer.build(
    Layer.fresh(
      layer({ buckets, pollInterval: Duration.millis(20), callTimeout: Duration.seconds(2) }).pipe(
        Layer.provide(sharding)
      )
    )
  )
  return Context.get(context, Placement)
})

/** One node has everything, and answers; the other one asks. */
const two = Effect.gen(function* () {
  const board = makeSwitchboard(() => "there")
  const there = yield* start(board.sharding("there"))
  const here = yield* start(board.sharding("here"))
  there.serve(Account, answers)
  return { there, here, board }
})

const fnv = (text: string) => {
  let hash = 0x811c9dc5
  for (const character of text) hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193)
  return hash >>> 0
}

describe("given ids", () => {
  it("their buckets are what they always were: rows are found by them", () => {
    const known: Readonly<Record<string, readonly [number, number]>> = {
      "": [69, 129_763],
      a: [44, 990_745],
      b: [101, 323_449],
      "order-1": [109, 793_762],
      "order-2": [52, 461_055],
      "018f4e2c-7d1a-7b3c-9e55-1f2a3b4c5d6e": [6, 551_446],
      "Zürich-é": [27, 941_499]
    }
    for (const [id, expected] of Object.entries(known)) {
      assert.deepStrictEqual([bucketOf(id, 128), bucketOf(id, 1_000_003)], [...expected], id)
    }
  })

  it("is that of the process which an id names before its mark, so that all of a process live together", () => {
    assert.strictEqual(bucketOf("checkout-1~void_authorization:1", 128), bucketOf("checkout-1", 128))
    assert.notStrictEqual(bucketOf("checkout-1:void_authorization:1", 128), bucketOf("checkout-1", 128))
  })

  it("is that of the one it was made beside, also over several, whatever the number of buckets", () => {
    const cart = "018f4e2c-7d1a-7b3c-9e55-1f2a3b4c5d6e"
    const checkout = besideId("checkout-1", cart)
    for (const many of [1, 7, 128, 1_000_003]) {
      for (const id of [checkout, besideId("again", checkout), `${checkout}~refund:1`]) {
        assert.strictEqual(bucketOf(id, many), bucketOf(cart, many), id)
      }
    }
    assert.isTrue(Schema.is(CheckoutId)(besideId(cart, cart)), "a client may use it")
  })

  it("is their own where they only look like that", () => {
    for (const id of [
      "-at-0123456",
      "order-at-0123456g",
      "order-at-0123456G",
      "order_at_01234567",
      "order-at-01234567-1"
    ]) {
      assert.strictEqual(bucketOf(id, 1_000_003), fnv(id) % 1_000_003, id)
    }
  })

  it("they are spread evenly", () => {
    const counts = new Map<number, number>()
    for (const index of range(64_000)) {
      const bucket = bucketOf(`order-${index}`, 64)
      counts.set(bucket, (counts.get(bucket) ?? 0) + 1)
    }
    assert.strictEqual(counts.size, 64)
    assert.isAbove(Math.min(...counts.values()), 700)
    assert.isBelow(Math.max(...counts.values()), 1300)
  })
})

describe("given an actor on this node or on another one", () => {
  for (const where of ["there", "here"] as const) {
    const asked = Effect.map(two, (nodes) => nodes[where])
    const from = where === "there" ? "its own node" : "another node"

    it.effect(`when it is asked from ${from}, then it answers, with amounts and instants as they are`, () =>
      Effect.gen(function* () {
        const account = (yield* asked).client(Account)("a")
        assert.strictEqual(yield* account.GetBalance(undefined as never), 10n ** 20n)
        assert.deepStrictEqual(yield* account.Deposit({ key: "k", amount: 7n }), { balance: 7n, version: 1 })
      })
    )

    it.effect(`when it refuses somebody on ${from}, then the refusal arrives as what it is`, () =>
      Effect.gen(function* () {
        const placement = yield* asked
        const account = placement.client(Account)("a")
        assert.deepStrictEqual(
          yield* Effect.flip(account.Withdraw({ key: "k", amount: 3n })),
          new Overdrawn({ balance: 3n })
        )
        assert.deepStrictEqual(
          yield* Effect.flip(
            placement
              .client(Account)("closed")
              .GetBalance(undefined as never)
          ),
          new NotOpen()
        )
        assert.deepStrictEqual(
          yield* Effect.flip(placement.client(Account)("conflict").Deposit({ key: "k", amount: 3n })),
          new IdempotencyConflict({ key: "k" })
        )
      })
    )

    it.effect(`when it takes too long for somebody on ${from}, then that one hears so in time`, () =>
      Effect.gen(function* () {
        const placement = yield* asked
        const usual = yield* Effect.forkChild(
          Effect.flip(placement.client(Account)("stuck").Deposit({ key: "k", amount: 3n }))
        )
        const hasty = yield* Effect.forkChild(
          Effect.flip(
            placement
              .client(Account, { timeout: Duration.millis(500) })("stuck")
              .Deposit({ key: "k", amount: 3n })
          )
        )
        yield* TestClock.adjust("499 millis")
        assert.isUndefined(hasty.pollUnsafe())
        yield* TestClock.adjust("1 millis")
        assert.instanceOf(yield* Fiber.join(hasty), Unavailable)
        assert.isUndefined(usual.pollUnsafe())
        yield* TestClock.adjust("1500 millis")
        assert.instanceOf(yield* Fiber.join(usual), Unavailable)
      })
    )

    it.effect(`when a message is known only at run time on ${from}, then it is sent as its JSON`, () =>
      Effect.gen(function* () {
        const placement = yield* asked
        placement.client(Account)
        const message = { _tag: "Deposit", key: "k", amount: "5", at: "1970-01-01T00:00:00.007Z" }
        assert.deepStrictEqual(yield* placement.send("Account", "a", message), { balance: 12n, version: 1 })
        const wrong = yield* Effect.exit(placement.send("Account", "a", { _tag: "Deposit", key: "k" }))
        assert.isTrue(Exit.isFailure(wrong) && Cause.hasDies(wrong.cause))
        const unknown = yield* Effect.exit(placement.send("Nobody", "a", message))
        assert.isTrue(Exit.isFailure(unknown) && Cause.hasDies(unknown.cause))
      })
    )
  }

  it.effect("when it fails in a way nobody planned for, then another node hears that, but not how", () =>
    Effect.gen(function* () {
      const { here } = yield* two
      const account = here.client(Account)("a")
      for (const call of [account.SetWake({ key: "k" }), account.Explode({ key: "k" })]) {
        const exit = yield* Effect.exit(call)
        assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
        const told = Cause.pretty((exit as Exit.Failure<unknown, unknown>).cause)
        assert.notInclude(told, "secret")
        assert.notInclude(told, "thrown")
        assert.match(told, /Account\.(SetWake|Explode) failed on its node/)
      }
    }).pipe(quiet)
  )

  it.effect("when its node is starting and does not answer for it yet, then it is unavailable for the moment", () =>
    Effect.gen(function* () {
      const board = makeSwitchboard(() => "there")
      const there = yield* start(board.sharding("there"))
      const here = yield* start(board.sharding("here"))
      for (const placement of [here, there]) {
        assert.isFalse(placement.serves("Account"))
        const account = placement.client(Account)("a")
        const asking = yield* Effect.forkChild(Effect.flip(account.GetBalance(undefined as never)))
        yield* TestClock.adjust("250 millis")
        assert.instanceOf(yield* Fiber.join(asking), Unavailable)
      }
      there.serve(Account, answers)
      assert.isTrue(there.serves("Account"))
      assert.strictEqual(
        yield* here
          .client(Account)("a")
          .GetBalance(undefined as never),
        10n ** 20n
      )
    })
  )

  it.effect("when nobody has it, then it is unavailable", () =>
    Effect.gen(function* () {
      const { board, here } = yield* two
      yield* board.assign(() => "nobody")
      assert.instanceOf(
        yield* Effect.flip(
          here
            .client(Account)("a")
            .GetBalance(undefined as never)
        ),
        Unavailable
      )
    })
  )
})

describe("given an actor which moves to another node while it is asked", () => {
  /** Whoever has the actor refuses, and has lost it by then, until it has moved often enough; and how often it was asked. */
  const moving = Effect.fnUntraced(function* (moves: number) {
    const nodes = ["one", "other"]
    let asked = 0
    const board = makeSwitchboard(() => nodes[Math.min(asked, moves) % 2]!)
    const placements = yield* Effect.forEach(nodes, (node) => start(board.sharding(node)))
    for (const placement of placements) {
      placement.serve(Account, {
        ...answers,
        GetBalance: () =>
          Effect.suspend(() =>
            asked++ < moves ? Effect.fail(new Unavailable({ retryAfterMs: 500 })) : Effect.succeed(7n)
          )
      })
    }
    return { placements, asked: () => asked }
  })

  for (const where of [0, 1]) {
    const from = ["its first node", "the node it moves to"][where]

    it.effect(`when it is asked from ${from}, then it answers from where it is by then`, () =>
      Effect.gen(function* () {
        const { asked, placements } = yield* moving(1)
        const account = placements[where]!.client(Account)("a")
        const asking = yield* Effect.forkChild(account.GetBalance(undefined as never))
        yield* TestClock.adjust("50 millis")
        assert.strictEqual(yield* Fiber.join(asking), 7n)
        assert.strictEqual(asked(), 2)
      })
    )
  }

  it.effect("when it moves on and on, then it is unavailable for the moment", () =>
    Effect.gen(function* () {
      const { asked, placements } = yield* moving(Number.MAX_SAFE_INTEGER)
      const account = placements[0]!.client(Account)("a")
      const asking = yield* Effect.forkChild(Effect.flip(account.GetBalance(undefined as never)))
      yield* TestClock.adjust("1 second")
      assert.instanceOf(yield* Fiber.join(asking), Unavailable)
      assert.strictEqual(asked(), 6)
    })
  )

  it.effect("when one that stays is unavailable, then that is its answer, and it is asked once", () =>
    Effect.gen(function* () {
      const { here, there } = yield* two
      let asked = 0
      const busy = new Unavailable({ retryAfterMs: 70 })
      there.serve(Account, {
        ...answers,
        GetBalance: () =>
          Effect.suspend(() => {
            asked++
            return Effect.fail(busy)
          })
      })
      for (const placement of [here, there]) {
        const account = placement.client(Account)("a")
        assert.deepStrictEqual(yield* Effect.flip(account.GetBalance(undefined as never)), busy)
      }
      assert.strictEqual(asked, 2)
    })
  )
})

describe("given somebody who waits for an actor to change", () => {
  it.effect("when it changes, then that is heard on any node; when it does not, then the wait ends", () =>
    Effect.gen(function* () {
      const store = yield* (yield* onMemory).open
      const board = makeSwitchboard(() => "there")
      const there = yield* startNode(store, board.sharding("there"))
      const here = yield* startNode(store, board.sharding("here"))
      yield* TestClock.adjust("100 millis")
      const account = here.placement.client(Account)("a")
      yield* account.Deposit({ key: "k1", amount: 1n })
      let version = 1
      for (const { placement } of [there, here]) {
        yield* placement.awaitChange("Account", "a", version - 1, Duration.seconds(5))
        const waiting = yield* Effect.forkChild(placement.awaitChange("Account", "a", version, Duration.seconds(5)))
        const inVain = yield* Effect.forkChild(
          placement.awaitChange("Account", "a", version + 1, Duration.millis(4999.5))
        )
        yield* TestClock.adjust("1 seconds")
        assert.isUndefined(waiting.pollUnsafe())
        yield* account.Deposit({ key: `k${++version}`, amount: 1n })
        yield* TestClock.adjust("1 seconds")
        yield* Fiber.join(waiting)
        assert.isUndefined(inVain.pollUnsafe())
        yield* TestClock.adjust("4 seconds")
        yield* Fiber.join(inVain)
      }
    })
  )
})

describe("given somebody who wants to know which buckets this node has", () => {
  it.effect(
    "when they come and go, then each is told once, a late listener too, and one listener's bug is not the others'",
    () =>
      Effect.gen(function* () {
        let owner: (bucket: number) => string = () => "other"
        const board = makeSwitchboard((bucket) => owner(bucket))
        const placement = yield* start(board.sharding("one"))
        const told: Array<string> = []
        placement.onAcquired(() => {
          throw new Error("a bug")
        })
        placement.onLost(() => Effect.die("a bug"))
        placement.onAcquired((acquired) => Effect.sync(() => void told.push(`+${[...acquired].join("")}`)))
        placement.onLost((lost) => Effect.sync(() => void told.push(`-${[...lost].join("")}`)))
        yield* TestClock.adjust("100 millis")
        assert.deepStrictEqual(told, [])
        owner = (bucket) => (bucket < 3 ? "one" : "other")
        yield* TestClock.adjust("100 millis")
        assert.deepStrictEqual([told, yield* placement.owned], [["+012"], [0, 1, 2]])
        placement.onAcquired((acquired) => Effect.sync(() => void told.push(`late +${[...acquired].join("")}`)))
        yield* TestClock.adjust("100 millis")
        owner = (bucket) => (bucket > 0 && bucket < 4 ? "one" : "other")
        yield* TestClock.adjust("100 millis")
        assert.deepStrictEqual(told, ["+012", "late +012", "-0", "+3", "late +3"])
        assert.deepStrictEqual([placement.isLocal(0), placement.isLocal(3)], [false, true])
      }).pipe(quiet)
  )
})
