import { assert, describe, it } from "@effect/vitest"
import { DateTime, Deferred, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { Unavailable } from "../../src/domain/Refusals.ts"
import type { HandlersOf } from "../../src/runtime/Placement.ts"
import { Lost, Rejected, type Store } from "../../src/runtime/Store.ts"
import { acknowledgeNotices, type Row } from "../../src/runtime/Table.ts"
import { makeSwitchboard } from "../fixtures/Runtime.ts"
import { Account, accountHosting, Watcher } from "./Account.ts"
import { type Backend, onMemory } from "./Backends.ts"
import { deposit, quiet, range, send } from "./JournalScenarios.ts"
import { hostToys, type Node, startAlone, startNode } from "./Nodes.ts"

/** A deposit on a node, which watchers are to hear of. */
const tell = (node: Node, id: string, amount: bigint, ...watchers: ReadonlyArray<string>) =>
  send(node.journal, id, `k${amount}`, deposit(amount, { tell: watchers }))

/** What a watcher has heard, as `from amount`. */
const heard = ({ rows }: Backend, watcher: string): Effect.Effect<ReadonlyArray<string>> =>
  Effect.map(rows("toy.watchers"), (all) => {
    const row = all.find(({ id }) => id === watcher)
    const entries = (row?.["heard"] ?? []) as ReadonlyArray<Row>
    return entries.map(({ amount, from }) => `${String(from)} ${String(amount)}`)
  })

const pending = ({ rows }: Backend) =>
  Effect.map(rows("runtime.notices"), (all) =>
    all.map((row) => `${String(row["source_id"])} ${String(row["seq"])}${row["parked_at"] === null ? "" : " parked"}`)
  )

/** A watcher who hears only when `listen` lets it; counts what comes. */
const hostDeaf = (node: Node, listen: (from: string, amount: bigint) => Effect.Effect<void, never>) => {
  const calls: Array<string> = []
  node.actors.host(accountHosting)
  const handlers: HandlersOf<typeof Watcher> = {
    Hear: (id, { amount, from }) =>
      Effect.suspend(() => {
        calls.push(`${from} ${amount} to ${id}`)
        return listen(from, amount)
      })
  }
  node.placement.serve(Watcher, handlers)
  return calls
}

describe("given facts for others", () => {
  it.effect("when they are committed, then they are delivered at once, in order, and forgotten when acknowledged", () =>
    Effect.gen(function* () {
      const backend = yield* onMemory
      const node = yield* startAlone(yield* backend.open)
      yield* TestClock.adjust("100 millis")
      for (const amount of [1n, 2n, 3n]) yield* tell(node, "a", amount, "w", "v")
      yield* tell(node, "b", 9n, "v")
      for (let turns = 0; turns < 100; turns++) yield* Effect.yieldNow
      assert.deepStrictEqual(yield* heard(backend, "w"), ["a 1", "a 2", "a 3"])
      const v = yield* heard(backend, "v")
      assert.deepStrictEqual(
        v.filter((entry) => entry.startsWith("a")),
        ["a 1", "a 2", "a 3"]
      )
      assert.include(v, "b 9")
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(yield* pending(backend), [])
      assert.strictEqual(yield* node.notices.pending, 0)
    })
  )

  it.effect("when the node dies right after the commit, then the next one delivers them, in order (T-MSG-01)", () =>
    Effect.gen(function* () {
      const backend = yield* onMemory
      const store = yield* backend.open
      const one = yield* startAlone(store, { hosting: false })
      hostDeaf(one, () => Effect.never)
      yield* TestClock.adjust("100 millis")
      for (const amount of range(30)) yield* tell(one, "a", BigInt(amount), "w")
      yield* one.stop
      assert.strictEqual((yield* pending(backend)).length, 30)
      const other = yield* startAlone(store)
      // Committed before anything that is pending was read.
      yield* tell(other, "a", 30n, "w")
      yield* TestClock.adjust("1 seconds")
      assert.deepStrictEqual(
        yield* heard(backend, "w"),
        range(31).map((amount) => `a ${amount}`)
      )
      yield* TestClock.adjust("1 seconds")
      assert.deepStrictEqual(yield* pending(backend), [])
    })
  )

  it.effect("when the last owner finished a write after the next one had begun, then they stay in order", () =>
    Effect.gen(function* () {
      const backend = yield* onMemory
      const store = yield* backend.open
      const { assign, sharding } = makeSwitchboard(() => "old")
      const old = yield* startNode(store, sharding("old"))
      yield* TestClock.adjust("100 millis")
      yield* tell(old, "a", 1n, "w")
      yield* TestClock.adjust("1 seconds")
      yield* assign(() => "new")
      const node = yield* startNode(store, sharding("new"))
      yield* TestClock.adjust("10 seconds")
      yield* tell(old, "a", 2n, "w")
      // What is pending was read before that, what the account is was read after it.
      yield* tell(node, "a", 3n, "w")
      yield* tell(node, "a", 4n, "w")
      yield* TestClock.adjust("1 seconds")
      assert.deepStrictEqual(yield* heard(backend, "w"), ["a 1", "a 2", "a 3", "a 4"])
    })
  )

  it.effect("when the answer to a write is lost, then those of the next one do not overtake its own", () =>
    Effect.gen(function* () {
      const backend = yield* onMemory
      const node = yield* startAlone(yield* backend.open)
      yield* TestClock.adjust("100 millis")
      yield* tell(node, "a", 1n, "w")
      yield* TestClock.adjust("1 seconds")
      yield* backend.inject({ when: "after", error: new Lost({ detail: "test" }) })
      const waiting = yield* Effect.forkChild(tell(node, "a", 2n, "w"))
      yield* TestClock.adjust("1 seconds")
      yield* Fiber.join(waiting)
      yield* tell(node, "a", 3n, "w")
      yield* TestClock.adjust("1 seconds")
      assert.deepStrictEqual(yield* heard(backend, "w"), ["a 1", "a 2", "a 3"])
    }).pipe(quiet)
  )

  it.effect("when an acknowledgement is lost, then they come again, and have their effect once (T-MSG-02)", () =>
    Effect.gen(function* () {
      const backend = yield* onMemory
      const store = yield* backend.open
      let calls = 0
      const forgetful: Store["Service"] = {
        ...store,
        transact: (keys, body) =>
          store.transact(keys, (counters) => {
            const batch = body(counters)
            if (!batch.parts.some(({ part }) => part.name === "acknowledge notices") || ++calls > 4) return batch
            return { guarded: 1, parts: [] }
          })
      }
      const node = yield* startAlone(forgetful)
      yield* TestClock.adjust("100 millis")
      yield* tell(node, "a", 1n, "w")
      yield* TestClock.adjust("5 minutes")
      assert.isAbove(calls, 4)
      assert.deepStrictEqual(yield* heard(backend, "w"), ["a 1"])
      assert.deepStrictEqual(yield* pending(backend), [])
    }).pipe(quiet)
  )

  it.effect("when the receiver is away for a while, then they wait for it with growing pauses, and stay in order", () =>
    Effect.gen(function* () {
      const backend = yield* onMemory
      const node = yield* startAlone(yield* backend.open, { hosting: false, notices: { attemptsMax: 10 } })
      let away = true
      const at: Array<number> = []
      const calls = hostDeaf(node, () =>
        Effect.flatMap(DateTime.now, (now) => {
          at.push(now.epochMilliseconds)
          return away ? Effect.die("away") : Effect.void
        })
      )
      yield* TestClock.adjust("100 millis")
      for (const amount of [1n, 2n, 3n]) yield* tell(node, "a", amount, "w")
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual(
        at.map((instant) => instant - 100),
        [0, 1000, 3000, 7000, 15_000]
      )
      assert.deepStrictEqual([...new Set(calls)], ["a 1 to w"])
      const [first] = yield* backend.rows("runtime.notices")
      assert.deepStrictEqual([first!["attempts"], String(first!["error"]).includes("away")], [5, true])
      away = false
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual(calls.slice(-3), ["a 1 to w", "a 2 to w", "a 3 to w"])
      assert.deepStrictEqual(yield* pending(backend), [])
    }).pipe(quiet)
  )

  it.effect(
    "when one fails again and again, then it is parked with its error, and holds up only its own way (T-MSG-03)",
    () =>
      Effect.gen(function* () {
        const backend = yield* onMemory
        const store = yield* backend.open
        const node = yield* startAlone(store)
        yield* TestClock.adjust("100 millis")
        yield* tell(node, "a", 1n, "w")
        yield* tell(node, "a", 5_000_000n, "w", "v")
        yield* tell(node, "a", 2n, "w", "v")
        yield* tell(node, "b", 3n, "w")
        yield* TestClock.adjust("10 seconds")
        yield* tell(node, "a", 4n, "w")
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(yield* heard(backend, "w"), ["a 1", "b 3"])
        // Nobody was left out silently.
        assert.deepStrictEqual(yield* heard(backend, "v"), [])
        assert.deepStrictEqual(yield* pending(backend), ["a 2 parked", "a 2 parked", "a 3", "a 3", "a 4"])
        const [parked] = yield* backend.rows("runtime.notices")
        assert.strictEqual(parked!["attempts"], 3)
        assert.include(String(parked!["error"]), "TooMuch")
        assert.deepInclude(parked!["message"] as object, { _tag: "Hear", from: "a", amount: "5000000" })

        // Another node knows of it as well.
        yield* node.stop
        const other = yield* startAlone(store)
        yield* TestClock.adjust("1 seconds")
        yield* tell(other, "a", 6n, "w")
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(yield* heard(backend, "w"), ["a 1", "b 3"])

        // Given up for one of them, what is behind it goes on.
        yield* store.transact([], () => ({
          guarded: 0,
          parts: [
            {
              part: acknowledgeNotices,
              rows: [{ source_type: "Account", source_id: "a", seq: 2, ordinal: 0 }]
            }
          ]
        }))
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(yield* heard(backend, "w"), ["a 1", "b 3", "a 2", "a 4", "a 6"])
        assert.deepStrictEqual(yield* pending(backend), ["a 2 parked", "a 3"])
      }).pipe(quiet)
  )

  it.effect("when a parked one is pending again, then it is delivered, and those behind it after it", () =>
    Effect.gen(function* () {
      const backend = yield* onMemory
      const store = yield* backend.open
      const node = yield* startAlone(store, { hosting: false })
      let away = true
      const calls = hostDeaf(node, () => (away ? Effect.die("away") : Effect.void))
      yield* TestClock.adjust("100 millis")
      for (const amount of [1n, 2n]) yield* tell(node, "a", amount, "w")
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual(yield* pending(backend), ["a 1 parked", "a 2"])
      assert.strictEqual(yield* node.notices.pending, 0)
      const tried = calls.length
      away = false
      const [setAside] = yield* store.notices({ buckets: range(100), parked: true, limit: 1 })
      yield* store.noticeFailed(setAside!, { error: "", dueAt: yield* DateTime.now, parked: false })
      yield* tell(node, "a", 3n, "w")
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(calls.slice(tried), ["a 1 to w", "a 2 to w", "a 3 to w"])
      assert.deepStrictEqual(yield* pending(backend), [])
    }).pipe(quiet)
  )

  it.effect(
    "when the failure cannot be stored, then it does not count: nothing is parked for a database that is away",
    () =>
      Effect.gen(function* () {
        const backend = yield* onMemory
        const store = yield* backend.open
        const node = yield* startAlone(
          { ...store, noticeFailed: () => Effect.fail(new Lost({ detail: "away" })) },
          { hosting: false }
        )
        let away = true
        const calls = hostDeaf(node, () => (away ? Effect.die("away") : Effect.void))
        yield* TestClock.adjust("100 millis")
        yield* tell(node, "a", 1n, "w")
        yield* TestClock.adjust("1 minutes")
        assert.strictEqual(calls.length, 6)
        away = false
        yield* TestClock.adjust("1 minutes")
        assert.deepStrictEqual(yield* pending(backend), [])
      }).pipe(quiet)
  )

  it.effect("when receivers are made known only after their node has its buckets, then that is no failed attempt", () =>
    Effect.gen(function* () {
      const backend = yield* onMemory
      const store = yield* backend.open
      const node = yield* startAlone(store, { hosting: false })
      yield* TestClock.adjust("100 millis")
      yield* tell(node, "a", 1n, "w")
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(
        (yield* backend.rows("runtime.notices")).map((row) => row["attempts"]),
        [0]
      )
      hostToys(node.actors)
      yield* TestClock.adjust("1 seconds")
      assert.deepStrictEqual(yield* heard(backend, "w"), ["a 1"])
    })
  )

  it.effect("when pending ones cannot be read, then it is tried again soon, and nothing overtakes them", () =>
    Effect.gen(function* () {
      const backend = yield* onMemory
      const store = yield* backend.open
      const before = yield* startAlone(store, { hosting: false })
      hostDeaf(before, () => Effect.never)
      yield* TestClock.adjust("100 millis")
      yield* tell(before, "a", 1n, "w")
      yield* before.stop
      let unreadable = true
      const node = yield* startAlone({
        ...store,
        notices: (options) => (unreadable ? Effect.fail(new Lost({ detail: "away" })) : store.notices(options))
      })
      yield* TestClock.adjust("3 seconds")
      yield* tell(node, "a", 2n, "w")
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(yield* heard(backend, "w"), [])
      unreadable = false
      yield* TestClock.adjust("500 millis")
      assert.deepStrictEqual(yield* heard(backend, "w"), ["a 1", "a 2"])
    }).pipe(quiet)
  )

  it.effect(
    "when more are pending than fit into memory, then all are delivered, in order, and memory stays bounded",
    () =>
      Effect.gen(function* () {
        const backend = yield* onMemory
        const store = yield* backend.open
        const node = yield* startAlone(store, { hosting: false, notices: { residentMax: 20, attemptsMax: 100 } })
        let away = true
        let most = 0
        const got = new Map<string, Array<bigint>>()
        hostDeaf(node, (from, amount) =>
          Effect.flatMap(node.notices.pending, (now) => {
            most = Math.max(most, now)
            if (away) return Effect.die("away")
            got.set(from, [...(got.get(from) ?? []), amount])
            return Effect.void
          })
        )
        yield* TestClock.adjust("100 millis")
        yield* Effect.forEach(
          range(40).flatMap((amount) => ["a", "b", "c"].map((id) => [id, BigInt(amount)] as const)),
          ([id, amount]) => tell(node, id, amount, "w")
        )
        yield* TestClock.adjust("10 seconds")
        away = false
        yield* TestClock.adjust("2 minutes")
        for (const id of ["a", "b", "c"]) {
          // Each at least once, and never an older one for the first time after a newer one.
          assert.deepStrictEqual([...new Set(got.get(id))], range(40).map(BigInt))
        }
        assert.deepStrictEqual(yield* pending(backend), [])
        // A page may go beyond it.
        assert.isAtMost(most, 1020)
      }).pipe(quiet)
  )

  it.effect("when something is committed while pending ones are being read, then it does not overtake them", () =>
    Effect.gen(function* () {
      const backend = yield* onMemory
      const store = yield* backend.open
      const before = yield* startAlone(store, { hosting: false })
      hostDeaf(before, () => Effect.never)
      yield* TestClock.adjust("100 millis")
      for (const amount of [1n, 2n]) yield* tell(before, "a", amount, "w")
      yield* before.stop
      const gate = yield* Deferred.make<void>()
      const reading = yield* Deferred.make<void>()
      const node = yield* startAlone({
        ...store,
        notices: (options) =>
          Effect.tap(store.notices(options), () =>
            Effect.andThen(Deferred.succeed(reading, undefined), Deferred.await(gate))
          )
      })
      yield* TestClock.adjust("100 millis")
      yield* Deferred.await(reading)
      yield* tell(node, "a", 3n, "w")
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(yield* heard(backend, "w"), [])
      yield* Deferred.succeed(gate, undefined)
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(yield* heard(backend, "w"), ["a 1", "a 2", "a 3"])
    })
  )
})

describe("given many ways which end at a parked notice", () => {
  it.effect(
    "when there are more than fit into memory, then the others are still served, in order, within a second",
    () =>
      Effect.gen(function* () {
        const backend = yield* onMemory
        const store = yield* backend.open
        // Five of them fit.
        const one = yield* startAlone(store, { notices: { residentMax: 20 } })
        yield* TestClock.adjust("100 millis")
        for (const index of range(12)) yield* tell(one, `a${index}`, 5_000_000n, "w")
        yield* TestClock.adjust("20 seconds")
        for (const node of [one, yield* startAlone(store, { notices: { residentMax: 20 } })]) {
          yield* TestClock.adjust("1 seconds")
          for (const index of range(12)) yield* tell(node, `a${index}`, node === one ? 1n : 2n, "w", "v")
          yield* tell(node, "good", node === one ? 1n : 2n, "w")
          yield* TestClock.adjust("1500 millis")
          if (node === one) yield* node.stop
        }
        assert.deepStrictEqual(yield* heard(backend, "w"), ["good 1", "good 2"])
        const v = yield* heard(backend, "v")
        assert.strictEqual(v.length, 24)
        assert.deepStrictEqual(
          v.filter((entry) => entry.startsWith("a7 ")),
          ["a7 1", "a7 2"]
        )
      }).pipe(quiet)
  )
})

describe("given two nodes with half of the buckets each", () => {
  it.effect("when the receiver lives on the other one, then it hears all in order, also while buckets move", () =>
    Effect.gen(function* () {
      const backend = yield* onMemory
      const store = yield* backend.open
      const assigned = new Map<number, string>()
      const board = makeSwitchboard((bucket) => assigned.get(bucket) ?? (bucket % 2 === 0 ? "even" : "odd"))
      const even = yield* startNode(store, board.sharding("even"))
      const odd = yield* startNode(store, board.sharding("odd"))
      const nodeOf = (id: string) => (even.placement.isLocal(even.placement.bucketOf(id)) ? even : odd)
      yield* TestClock.adjust("100 millis")
      const telling = yield* Effect.forkChild(
        Effect.forEach(
          range(60).flatMap((amount) => ["a", "b", "c", "d"].map((id) => [id, BigInt(amount)] as const)),
          ([id, amount]) =>
            Effect.suspend(() =>
              nodeOf(id)
                .placement.client(Account)(id)
                .Deposit({ key: `k${amount}`, amount, tell: ["w", "v"] })
            ).pipe(
              Effect.retry({ while: (error) => error instanceof Unavailable }),
              Effect.andThen(Effect.sleep("5 millis"))
            )
        )
      )
      for (const round of range(10)) {
        for (const bucket of range(8)) assigned.set(bucket, (bucket + round) % 3 === 0 ? "even" : "odd")
        yield* TestClock.adjust("150 millis")
      }
      yield* TestClock.adjust("30 seconds")
      yield* Fiber.join(telling)
      yield* TestClock.adjust("30 seconds")
      for (const watcher of ["w", "v"]) {
        const all = yield* heard(backend, watcher)
        assert.strictEqual(all.length, 240)
        for (const id of ["a", "b", "c", "d"]) {
          const one = all.filter((entry) => entry.startsWith(`${id} `))
          assert.deepStrictEqual(
            one,
            range(60).map((amount) => `${id} ${amount}`)
          )
        }
      }
      assert.deepStrictEqual(yield* pending(backend), [])
    }).pipe(quiet)
  )
})

describe("given a receiver in memory on the node of the source", () => {
  /** The watcher has heard of one deposit of 1, so it is there. */
  const acquainted = Effect.fnUntraced(function* (store: Store["Service"]) {
    const node = yield* startAlone(store)
    yield* TestClock.adjust("100 millis")
    yield* tell(node, "a", 1n, "w")
    yield* TestClock.adjust("100 millis")
    return node
  })

  it.effect("when a fact is committed, then it has reached the receiver in the same flush, without a row", () =>
    Effect.gen(function* () {
      const backend = yield* onMemory
      const node = yield* acquainted(yield* backend.open)
      const before = yield* backend.flushes
      yield* tell(node, "a", 2n, "w")
      assert.deepStrictEqual(yield* heard(backend, "w"), ["a 1", "a 2"])
      assert.deepStrictEqual(yield* pending(backend), [])
      assert.strictEqual(yield* backend.flushes, before + 1)
      // As if it had been delivered: should it come again, it finds its first answer.
      const history = yield* backend.rows("runtime.history")
      assert.includeMembers(
        history.map(({ actor_id: id, key }) => `${String(id)} ${String(key)}`),
        ["w notice:Account:a:1:0", "w notice:Account:a:2:0"]
      )
    })
  )

  it.effect("when several facts meet in one flush, then they arrive in order, and none twice", () =>
    Effect.gen(function* () {
      const backend = yield* onMemory
      const node = yield* acquainted(yield* backend.open)
      yield* backend.gate.close
      const told = yield* Effect.forkChild(
        Effect.forEach(range(20), (index) => tell(node, "a", BigInt(index + 2), "w", "v"), {
          concurrency: "unbounded",
          discard: true
        }),
        { startImmediately: true }
      )
      yield* TestClock.adjust("10 millis")
      yield* backend.gate.open
      yield* Fiber.join(told)
      yield* TestClock.adjust("1 second")
      const all = range(20).map((index) => `a ${index + 2}`)
      assert.deepStrictEqual(yield* heard(backend, "w"), ["a 1", ...all])
      // This one was not in memory: its first facts went as rows, and the others had to wait behind them.
      assert.deepStrictEqual(yield* heard(backend, "v"), all)
      assert.deepStrictEqual(yield* pending(backend), [])
    })
  )

  it.effect("when the answer of the database is lost after all, then the fact has its effect once", () =>
    Effect.gen(function* () {
      const backend = yield* onMemory
      const node = yield* acquainted(yield* backend.open)
      yield* backend.inject({ when: "after", error: new Lost({ detail: "cut" }) })
      const told = yield* Effect.forkChild(tell(node, "a", 2n, "w"), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(told)
      assert.deepStrictEqual(yield* heard(backend, "w"), ["a 1", "a 2"])
      yield* tell(node, "a", 3n, "w")
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* heard(backend, "w"), ["a 1", "a 2", "a 3"])
      assert.deepStrictEqual(yield* pending(backend), [])
    }).pipe(quiet)
  )

  it.effect("when the receiver refuses it, then its source goes on, and the fact is parked in the end", () =>
    Effect.gen(function* () {
      const backend = yield* onMemory
      const node = yield* acquainted(yield* backend.open)
      yield* tell(node, "a", 2_000_000n, "w")
      yield* tell(node, "a", 3n, "w")
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* pending(backend), ["a 2 parked", "a 3"])
      assert.deepStrictEqual(yield* heard(backend, "w"), ["a 1"])
      const [account] = yield* backend.rows("toy.accounts")
      assert.strictEqual(String(account!["balance"]), "2000004")
    }).pipe(quiet)
  )

  it.effect("when the database refuses the receiver's row, then its source goes on all the same", () =>
    Effect.gen(function* () {
      const backend = yield* onMemory
      const store = yield* backend.open
      let poisoned = false
      const node = yield* acquainted({
        ...store,
        transact: (keys, body) =>
          Effect.suspend(() => {
            let refused = false
            return store
              .transact(keys, (counters) => {
                const batch = body(counters)
                refused = poisoned && batch.parts.some(({ part }) => part.table === "toy.watchers")
                return refused ? { guarded: 0, parts: [] } : batch
              })
              .pipe(
                Effect.flatMap(() =>
                  refused ? Effect.fail(new Rejected({ constraint: "heard_check", detail: "too long" })) : Effect.void
                )
              )
          })
      })
      poisoned = true
      yield* tell(node, "a", 2n, "w")
      const [account] = yield* backend.rows("toy.accounts")
      assert.strictEqual(String(account!["balance"]), "3")
      assert.deepStrictEqual(yield* heard(backend, "w"), ["a 1"])
      assert.deepStrictEqual(yield* pending(backend), ["a 2"])
      poisoned = false
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* heard(backend, "w"), ["a 1", "a 2"])
    }).pipe(quiet)
  )

  it.effect("when another node has taken the receiver over meanwhile, then the fact reaches it there, once", () =>
    Effect.gen(function* () {
      const backend = yield* onMemory
      const store = yield* backend.open
      const node = yield* acquainted(store)
      // Another one writes the receiver's row, and this node does not know yet.
      const other = yield* startAlone(store)
      yield* TestClock.adjust("100 millis")
      yield* tell(other, "b", 7n, "w")
      yield* TestClock.adjust("100 millis")
      yield* tell(node, "a", 2n, "w")
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* heard(backend, "w"), ["a 1", "b 7", "a 2"])
      assert.deepStrictEqual(yield* pending(backend), [])
    }).pipe(quiet)
  )
})
