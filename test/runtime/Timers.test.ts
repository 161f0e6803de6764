import { assert, describe, it } from "@effect/vitest"
import { DateTime, Deferred, Duration, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { Unavailable } from "../../src/domain/Refusals.ts"
import { type Store, type TimerRow } from "../../src/runtime/Store.ts"
import { clear as clearPart } from "../../src/runtime/Timers.ts"
import { type Row, setTimers } from "../../src/runtime/Table.ts"
import { makeSwitchboard } from "../fixtures/Runtime.ts"
import { Account } from "./Account.ts"
import { onMemory } from "./Backends.ts"
import { quiet, range, send } from "./JournalScenarios.ts"
import { buckets, type Node, startAlone, startNode } from "./Nodes.ts"

/** From the epoch, where the test clock begins. */
const second = (seconds: number): DateTime.Utc => DateTime.makeUnsafe(seconds * 1000)

/** Puts a timer in its row, as somebody else would have done before. */
const put = (store: Store["Service"], timers: ReadonlyArray<Row>) =>
  store.transact([], () => ({ guarded: 0, parts: [{ part: setTimers, rows: timers }] }))

const timerRow = (id: string, seconds: number, more: Row = {}): Row => ({
  actor_id: id,
  actor_type: "Bell",
  name: "ring",
  bucket: 1,
  due_at: DateTime.formatIso(second(seconds)),
  urgent: false,
  ...more
})

/** A handler which notes who rang when, and forgets the timer. */
const bell = (
  { journal, timers }: Node,
  more: (id: string, times: number) => Effect.Effect<void, unknown> = () => Effect.void
) => {
  const rung: Array<string> = []
  const times = new Map<string, number>()
  timers.onDue("Bell", (id, name, dueAt) =>
    Effect.gen(function* () {
      const now = yield* DateTime.now
      rung.push(`${id} at ${now.epochMilliseconds / 1000}`)
      const before = times.get(id) ?? 0
      times.set(id, before + 1)
      yield* more(id, before)
      yield* journal.unit({
        cells: [],
        cause: "test",
        body: ({ write }) => write(clearPart, { actor_id: id, actor_type: "Bell", name, due_at: dueAt })
      })
    })
  )
  return rung
}

const everything = { buckets: range(buckets), urgent: false, limit: 10 }

const account = (node: Node, id: string) => node.placement.client(Account)(id)

describe("given timers in their rows", () => {
  it.effect("when their instant comes, then they fire, not before, and once", () =>
    Effect.gen(function* () {
      const store = yield* (yield* onMemory).open
      yield* put(store, [timerRow("a", 10), timerRow("b", 10.5), timerRow("c", 100)])
      const node = yield* startAlone(store)
      const rung = bell(node)
      yield* TestClock.adjust("9999 millis")
      assert.deepStrictEqual(rung, [])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(rung, ["a at 10"])
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(rung, ["a at 10", "b at 10.5"])
      yield* TestClock.adjust("60 seconds")
      assert.deepStrictEqual(rung, ["a at 10", "b at 10.5", "c at 100"])
      yield* TestClock.adjust("60 seconds")
      assert.strictEqual(rung.length, 3)
      assert.strictEqual(yield* node.timers.scheduled, 0)
    })
  )

  it.effect(
    "when a node starts, then those whose instant has gone by fire at once, and urgent ones before their instant",
    () =>
      Effect.gen(function* () {
        const store = yield* (yield* onMemory).open
        yield* TestClock.adjust("50 seconds")
        yield* put(store, [timerRow("late", 10), timerRow("later", 500), timerRow("urgent", 5000, { urgent: true })])
        const rung = bell(yield* startAlone(store))
        yield* TestClock.adjust("1 seconds")
        assert.deepStrictEqual(rung.map((entry) => entry.replace(/ .*/, "")).toSorted(), ["late", "urgent"])
      })
  )

  it.effect(
    "when there are more than one page, and their handlers fail, then those behind them are not kept waiting",
    () =>
      Effect.gen(function* () {
        const store = yield* (yield* onMemory).open
        yield* put(store, [...range(450).map((index) => timerRow(`bad${index}`, 1)), timerRow("good", 2)])
        // Fewer than those that fail fit into memory.
        const node = yield* startAlone(store, { timers: { page: 10 } })
        const rung = bell(node, (id) => (id === "good" ? Effect.void : Effect.fail("no")))
        yield* TestClock.adjust("60 seconds")
        assert.strictEqual(rung.filter((entry) => entry.startsWith("good")).length, 1)
        // 2, 4, 8, 16 ... seconds between them.
        const one = rung.filter((entry) => entry.startsWith("bad7 ")).length
        assert.isTrue(one >= 4 && one <= 6, `${one} times`)
        assert.isAtMost(yield* node.timers.scheduled, 110)
      }).pipe(quiet)
  )

  it.effect("when there are more than fit into memory, then the rest waits in its rows and comes later", () =>
    Effect.gen(function* () {
      const store = yield* (yield* onMemory).open
      yield* put(
        store,
        range(300).map((index) => timerRow(`a${index}`, 1, { urgent: index % 2 === 0 }))
      )
      const node = yield* startAlone(store, { timers: { page: 10 } })
      let most = 0
      const rung = bell(node, () => Effect.map(node.timers.scheduled, (now) => void (most = Math.max(most, now))))
      yield* TestClock.adjust("60 seconds")
      assert.strictEqual(new Set(rung.map((entry) => entry.split(" ")[0])).size, 300)
      assert.isAtMost(most, 120)
    })
  )

  it.effect("when a handler fails, then it is repeated with growing pauses, and after a restart at once", () =>
    Effect.gen(function* () {
      const store = yield* (yield* onMemory).open
      yield* put(store, [timerRow("a", 1)])
      const node = yield* startAlone(store)
      const failing = bell(node, () => Effect.fail("no"))
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual(failing, ["a at 1", "a at 3", "a at 7", "a at 15"])
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(failing.slice(4), ["a at 31", "a at 63", "a at 127", "a at 255", "a at 511"])
      yield* node.stop
      const rung = bell(yield* startAlone(store))
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual(rung.length, 1)
    }).pipe(quiet)
  )

  it.effect("when a handler has a bug or takes for ever, then it is repeated as well, and holds up nobody", () =>
    Effect.gen(function* () {
      const store = yield* (yield* onMemory).open
      yield* put(store, [timerRow("bug", 1), timerRow("slow", 1), timerRow("good", 1)])
      const node = yield* startAlone(store, { timers: { concurrency: 1, handleWithin: Duration.seconds(5) } })
      const rung = bell(node, (id, times) => {
        if (times > 0) return Effect.void
        return id === "bug" ? Effect.die(new Error("bug")) : id === "slow" ? Effect.never : Effect.void
      })
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(rung, ["bug at 1", "good at 1", "slow at 1", "bug at 6", "slow at 8"])
    }).pipe(quiet)
  )

  it.effect("when many are due at once, then no more than the limit are handled at a time", () =>
    Effect.gen(function* () {
      const store = yield* (yield* onMemory).open
      yield* put(
        store,
        range(50).map((index) => timerRow(`a${index}`, 1))
      )
      const node = yield* startAlone(store, { timers: { concurrency: 7 } })
      let now = 0
      let most = 0
      const rung = bell(node, () =>
        Effect.suspend(() => {
          most = Math.max(most, ++now)
          return Effect.sleep("100 millis")
        }).pipe(Effect.ensuring(Effect.sync(() => now--)))
      )
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(rung.length, 50)
      assert.strictEqual(most, 7)
    })
  )

  it.effect("when its actors are made known only later, then they fire then", () =>
    Effect.gen(function* () {
      const store = yield* (yield* onMemory).open
      yield* put(store, [timerRow("a", 1), timerRow("b", 500, { urgent: true })])
      const node = yield* startAlone(store)
      yield* TestClock.adjust("5 seconds")
      const rung = bell(node)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(rung.length, 2)
    })
  )

  it.effect("when the rows cannot be read for a while, then nothing is lost, and it is said once", () =>
    Effect.gen(function* () {
      const backend = yield* onMemory
      const store = yield* backend.open
      yield* put(store, [timerRow("a", 10), timerRow("b", 5000, { urgent: true })])
      yield* backend.setAway(true)
      const rung = bell(yield* startAlone(store))
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual(rung, [])
      yield* backend.setAway(false)
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(rung.length, 2)
    }).pipe(quiet)
  )

  it.effect("when there is a handler for one name, then it goes before the one for all", () =>
    Effect.gen(function* () {
      const store = yield* (yield* onMemory).open
      yield* put(store, [timerRow("a", 1), timerRow("a", 1, { name: "other" })])
      const node = yield* startAlone(store)
      const rung = bell(node)
      const others: Array<string> = []
      node.timers.onDue("Bell", (id) => Effect.sync(() => void others.push(id)), "other")
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual([rung, others], [["a at 1"], ["a"]])
    })
  )
})

describe("given actors that set their timers", () => {
  it.effect("when the instant is near, then it is kept to the millisecond; moved or cleared, then it is not", () =>
    Effect.gen(function* () {
      const backend = yield* onMemory
      const node = yield* startAlone(yield* backend.open)
      yield* TestClock.adjust("100 millis")
      const set = (id: string, key: string, at?: number) =>
        account(node, id).SetWake({ key, ...(at === undefined ? {} : { wakeAt: second(at) }) })
      yield* set("kept", "k1", 2)
      yield* set("moved", "k1", 2)
      yield* set("later", "k1", 2)
      yield* set("cleared", "k1", 2)
      yield* TestClock.adjust("1 seconds")
      yield* set("moved", "k2", 2.5)
      yield* set("later", "k2", 100)
      yield* set("cleared", "k2")
      yield* TestClock.adjust("899 millis")
      const firings = Effect.map(backend.rows("runtime.history"), (rows) =>
        rows
          .filter((row) => String(row["key"]).startsWith("timer:"))
          .map(
            (row) => `${String(row["actor_id"])} at ${DateTime.makeUnsafe(String(row["at"])).epochMilliseconds / 1000}`
          )
      )
      assert.deepStrictEqual(yield* firings, [])
      yield* TestClock.adjust("50 seconds")
      assert.deepStrictEqual(yield* firings, ["kept at 2", "moved at 2.5"])
      yield* TestClock.adjust("60 seconds")
      assert.deepStrictEqual(yield* firings, ["kept at 2", "moved at 2.5", "later at 100"])
      assert.deepStrictEqual(yield* backend.rows("runtime.timers"), [])
    })
  )

  it.effect("when a handler sets its own timer anew, then it is not stopped, and the new one fires in its turn", () =>
    Effect.gen(function* () {
      const store = yield* (yield* onMemory).open
      yield* put(store, [timerRow("a", 1)])
      const node = yield* startAlone(store)
      const rung: Array<string> = []
      node.timers.onDue("Bell", (id, name, dueAt) =>
        Effect.gen(function* () {
          yield* node.journal.unit({
            cells: [],
            cause: "test",
            body: ({ write }) => {
              if (rung.length < 6) write(setTimers, timerRow(id, dueAt.epochMilliseconds / 1000 + 1, { name }))
              else write(clearPart, { actor_id: id, actor_type: "Bell", name })
            }
          })
          yield* Effect.sleep("300 millis")
          rung.push(`${name} due at ${dueAt.epochMilliseconds / 1000}`)
        })
      )
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(
        rung,
        range(7).map((index) => `ring due at ${index + 1}`)
      )
      assert.strictEqual(yield* node.timers.scheduled, 0)
    })
  )

  it.effect("when a timer is cleared while a read is under way, then the old row does not make it fire", () =>
    Effect.gen(function* () {
      const store = yield* (yield* onMemory).open
      const gate = yield* Deferred.make<void>()
      let held = false
      const slow: Store["Service"] = {
        ...store,
        timers: (options) =>
          Effect.tap(store.timers(options), (rows: ReadonlyArray<TimerRow>) => {
            if (rows.length === 0 || held) return Effect.void
            held = true
            return Deferred.await(gate)
          })
      }
      yield* put(store, [timerRow("a", 2)])
      const node = yield* startAlone(slow)
      const rung = bell(node)
      yield* TestClock.adjust("1 seconds")
      assert.isTrue(held)
      yield* node.journal.unit({
        cells: [],
        cause: "test",
        body: ({ write }) => write(clearPart, { actor_id: "a", actor_type: "Bell", name: "ring" })
      })
      yield* Deferred.succeed(gate, undefined)
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual(rung, [])
    })
  )

  it.effect("when an actor is overloaded for a while, then its timer is still answered", () =>
    Effect.gen(function* () {
      const store = yield* (yield* onMemory).open
      yield* put(store, [timerRow("a", 1)])
      const rung = bell(yield* startAlone(store), (_, times) =>
        times < 2 ? Effect.fail(new Unavailable({ retryAfterMs: 10 })) : Effect.void
      )
      yield* TestClock.adjust("60 seconds")
      assert.deepStrictEqual(rung, ["a at 1", "a at 3", "a at 7"])
    })
  )
})

describe("given two nodes", () => {
  it.effect("when a bucket moves, then its timers fire on the new node and on that alone, urgent ones at once", () =>
    Effect.gen(function* () {
      const store = yield* (yield* onMemory).open
      let owner = "one"
      const board = makeSwitchboard(() => owner)
      const one = yield* startNode(store, board.sharding("one"))
      const other = yield* startNode(store, board.sharding("other"))
      const [rungOnOne, rungOnOther] = [bell(one), bell(other)]
      yield* TestClock.adjust("6 seconds")
      yield* put(store, [timerRow("a", 16), timerRow("urgent", 1000, { urgent: true, bucket: buckets - 1 })])
      yield* TestClock.adjust("8 seconds")
      owner = "other"
      yield* TestClock.adjust("500 millis")
      assert.deepStrictEqual([rungOnOne, rungOnOther.map((entry) => entry.split(" ")[0])], [[], ["urgent"]])
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual([rungOnOne, rungOnOther.at(-1)], [[], "a at 16"])
      assert.strictEqual(yield* one.timers.scheduled, 0)
    })
  )

  it.effect("when a node that has lost the bucket still sets one, then it fires on the node that has it", () =>
    Effect.gen(function* () {
      const store = yield* (yield* onMemory).open
      const { assign, sharding } = makeSwitchboard(() => "old")
      const old = yield* startNode(store, sharding("old"))
      yield* account(old, "a").Deposit({ key: "open", amount: 5n })
      yield* assign(() => "new")
      const node = yield* startNode(store, sharding("new"))
      yield* TestClock.adjust("1 seconds")
      // It has the actor in memory before the other one, which had what it wrote from the row, is done with it.
      assert.strictEqual(yield* account(node, "a").GetBalance(), 5n)
      yield* send(old.journal, "a", "wake", { _tag: "SetWake", wakeAt: second(10) })
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(yield* store.timers({ ...everything, before: second(1000) }), [])
    })
  )

  it.effect(
    "when the last flush of a bucket's owner is committed after the next one has looked, then its urgent timers are found, once",
    () =>
      Effect.gen(function* () {
        const store = yield* (yield* onMemory).open
        const board = makeSwitchboard(() => "other")
        const other = yield* startNode(store, board.sharding("other"))
        // What it wakes stays as it is, as the timer of a process which somebody has to wait for.
        const rung = bell(other, () => Effect.never)
        yield* put(store, [timerRow("woken", 1000, { urgent: true })])
        yield* TestClock.adjust("500 millis")
        yield* put(store, [timerRow("late", 1000, { urgent: true })])
        yield* TestClock.adjust("1 seconds")
        yield* put(store, [timerRow("later", 1000, { urgent: true })])
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(
          rung.map((entry) => entry.split(" ")[0]),
          ["woken", "late", "later"]
        )
      })
  )

  it.effect(
    "when one knows an actor as it was before the other changed it, then its timer is handled on what it is",
    () =>
      Effect.gen(function* () {
        const store = yield* (yield* onMemory).open
        const [one, other] = [yield* startAlone(store), yield* startAlone(store)]
        yield* account(one, "a").Deposit({ key: "first", amount: 5n })
        yield* account(other, "a").Deposit({ key: "second", amount: 2n })
        const seen: Array<bigint> = []
        one.timers.onDue("Bell", (id, name, dueAt) =>
          Effect.gen(function* () {
            const balance = yield* account(one, id).GetBalance()
            seen.push(balance)
            // As far as this node knows there is nothing to do.
            if (balance === 5n) return
            yield* one.journal.unit({
              cells: [],
              cause: "test",
              body: ({ write }) => write(clearPart, { actor_id: id, actor_type: "Bell", name, due_at: dueAt })
            })
          })
        )
        yield* put(store, [timerRow("a", 10)])
        yield* TestClock.adjust("60 seconds")
        assert.deepStrictEqual(seen, [5n, 7n])
      })
  )

  it.effect("when a node stops in the middle of a firing, then the next one fires it again", () =>
    Effect.gen(function* () {
      const store = yield* (yield* onMemory).open
      yield* put(store, [timerRow("a", 1)])
      const one = yield* startAlone(store)
      const begun = bell(one, () => Effect.never)
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(begun.length, 1)
      const stopping = yield* Effect.forkChild(one.stop)
      yield* TestClock.adjust("1 seconds")
      yield* Fiber.join(stopping)
      const rung = bell(yield* startAlone(store))
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual(rung.length, 1)
    })
  )
})
