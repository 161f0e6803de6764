/** What the journal relies on, whichever store is under it. Run against Postgres and against memory. */
import { assert } from "@effect/vitest"
import { DateTime, Effect, Exit, type Scope } from "effect"
import { Conflict, type NoticeRow, Rejected, type Store } from "../../src/runtime/Store.ts"
import {
  acknowledgeNotices,
  appendRows,
  changeCounters,
  clearTimers,
  counterLedger,
  history,
  insertState,
  keepFirst,
  notices,
  type Part,
  type Row,
  setTimers,
  updateState
} from "../../src/runtime/Table.ts"
import { account, bins, watcher } from "./Account.ts"
import type { Backend } from "./Backends.ts"

type Body = (store: Store["Service"], backend: Backend) => Effect.Effect<void, unknown, Scope.Scope>

const now = "2026-11-20T10:00:00.000Z"
const at = (seconds: number) => DateTime.formatIso(DateTime.addDuration(DateTime.makeUnsafe(now), seconds * 1000))
const instant = (seconds: number): DateTime.Utc => DateTime.makeUnsafe(at(seconds))

const insert = insertState(account.table)
const update = updateState(account.table)
const append = appendRows(history)
const change = changeCounters(bins)
const book = appendRows(counterLedger(bins))
const steps = keepFirst({
  name: "runtime.workflow_steps",
  columns: { execution_id: "text", name: "text", result: "jsonb", at: "timestamptz" }
})
const tell = appendRows(notices)

const accountRow = (id: string, version: number, balance: bigint, more: Row = {}): Row => ({
  id,
  version,
  balance,
  moves: version,
  at: now,
  ...more
})
const historyRow = (id: string, seq: number, more: Row = {}): Row => ({
  actor_id: id,
  actor_type: "Account",
  seq,
  key: `key-${seq}`,
  fingerprint: `print-${seq}`,
  command: "Deposit",
  events: [{ _tag: "Deposited", amount: 1n }],
  cause: "test",
  at: at(seq),
  ...more
})
const timerRow = (id: string, name: string, due: number, more: Row = {}): Row => ({
  actor_id: id,
  actor_type: "Account",
  name,
  bucket: 1,
  due_at: at(due),
  urgent: false,
  ...more
})
const noticeRow = (id: string, seq: number, more: Row = {}): Row => ({
  source_id: id,
  source_type: "Account",
  seq,
  ordinal: 0,
  bucket: 1,
  receiver_type: "Watcher",
  receiver_id: "w",
  message: { _tag: "Hear", from: id, amount: 10n },
  due_at: now,
  ...more
})
const ledgerRow = (reference: string, item: string, taken: number): Row => ({
  op: "take",
  reference,
  item,
  place: "here",
  held: taken,
  free: -taken,
  actor: "test",
  at: now
})

/** Writes rows by part; every row of a guarded part has to be written. */
const write = (
  store: Store["Service"],
  ...parts: ReadonlyArray<readonly [Part, ReadonlyArray<Row>]>
): ReturnType<Store["Service"]["transact"]> =>
  store.transact([], () => ({
    guarded: parts.reduce((sum, [part, rows]) => sum + (part.guarded ? rows.length : 0), 0),
    parts: parts.map(([part, rows]) => ({ part, rows }))
  }))

const take = (store: Store["Service"], item: string, units: number, reference: string) =>
  store.transact([item], () => ({
    guarded: 2,
    parts: [
      { part: change, rows: [{ key: item, part: "here", held: units, free: -units }] },
      { part: book, rows: [ledgerRow(reference, item, units)] }
    ]
  }))

const load = (store: Store["Service"], id: string) =>
  Effect.map(store.load([{ definition: account, id }]), ([loaded]) => loaded!)

const noticesOf = (store: Store["Service"], buckets = [1], after?: NoticeRow, limit = 100) =>
  store.notices({ buckets, parked: false, after, limit })
const parkedOf = (store: Store["Service"]) => store.notices({ buckets: [1], parked: true, limit: 100 })

const names = (rows: ReadonlyArray<NoticeRow>) =>
  rows.map(({ ordinal, seq, sourceId }) => `${sourceId}/${seq}/${ordinal}`)

/** Each scenario has a database of its own. */
export const conformance = (scenario: (name: string, body: Body) => void): void => {
  scenario("when a row was written, then it is read back as JSON, with its keys oldest first", (store) =>
    Effect.gen(function* () {
      yield* write(
        store,
        [insert, [accountRow("a", 1, 5n, { note: "tea", wake_at: at(3) }), accountRow("b", 1, 7n)]],
        [append, [historyRow("a", 2, { refusal: { _tag: "Overdrawn" } }), historyRow("a", 1), historyRow("b", 1)]]
      )
      const [a, nobody, b] = yield* store.load([
        { definition: account, id: "a" },
        { definition: watcher, id: "a" },
        { definition: account, id: "b" }
      ])
      const state = account.table.fromRow(a!.row!)
      assert.deepStrictEqual(state, { _tag: "Open", balance: 5n, moves: 1, note: "tea", wakeAt: instant(3) })
      assert.strictEqual(a!.row!["version"], 1)
      assert.strictEqual(a!.row!["number"], null)
      assert.strictEqual(instant(0).epochMilliseconds, Date.parse(String(a!.row!["updated_at"])))
      assert.deepStrictEqual(a!.keys, [
        { key: "key-1", fingerprint: "print-1", seq: 1, refusal: undefined },
        { key: "key-2", fingerprint: "print-2", seq: 2, refusal: { _tag: "Overdrawn" } }
      ])
      assert.isTrue(a!.keysComplete)
      assert.deepStrictEqual(nobody, { row: undefined, keys: [], keysComplete: true })
      assert.strictEqual(b!.row!["balance"], 7)
      assert.strictEqual(b!.keys.length, 1)
    })
  )

  scenario("when an actor is created twice, then the second one is a conflict and writes nothing", (store) =>
    Effect.gen(function* () {
      yield* write(store, [insert, [accountRow("a", 1, 5n)]])
      const again = yield* Effect.flip(
        write(store, [insert, [accountRow("a", 1, 9n), accountRow("b", 1, 9n)]], [append, [historyRow("b", 1)]])
      )
      assert.deepStrictEqual(again, new Conflict({}))
      assert.strictEqual((yield* load(store, "a")).row!["balance"], 5)
      assert.deepStrictEqual(yield* load(store, "b"), { row: undefined, keys: [], keysComplete: true })
    })
  )

  scenario("when it is written over another version than expected, then it is a conflict and writes nothing", (store) =>
    Effect.gen(function* () {
      yield* write(store, [insert, [accountRow("a", 1, 5n), accountRow("b", 1, 5n)]])
      yield* write(store, [update, [accountRow("a", 2, 6n, { expected: 1 })]])
      const late = yield* Effect.flip(
        write(
          store,
          [update, [accountRow("a", 2, 7n, { expected: 1 }), accountRow("b", 2, 7n, { expected: 1 })]],
          [setTimers, [timerRow("a", "alarm", 1)]]
        )
      )
      assert.deepStrictEqual(late, new Conflict({}))
      assert.strictEqual((yield* load(store, "a")).row!["balance"], 6)
      assert.strictEqual((yield* load(store, "b")).row!["version"], 1)
      assert.deepStrictEqual(yield* store.timers({ buckets: [1], before: instant(9), urgent: false, limit: 9 }), [])
      const nobody = yield* Effect.flip(write(store, [update, [accountRow("c", 2, 7n, { expected: 1 })]]))
      assert.deepStrictEqual(nobody, new Conflict({}))
    })
  )

  scenario("when the same step of an actor is written twice, then it is a conflict like that of its version", (store) =>
    Effect.gen(function* () {
      yield* write(store, [append, [historyRow("a", 1)]])
      const again = yield* Effect.flip(write(store, [append, [historyRow("a", 1, { key: "other" })]]))
      assert.deepStrictEqual(again, new Conflict({}))
      // Of another kind of actor with the same id it is another step.
      yield* write(store, [append, [historyRow("a", 1, { actor_type: "Watcher" })]])
    })
  )

  scenario("when the content violates a constraint, then that one is named and nothing is written", (store) =>
    Effect.gen(function* () {
      const negative = yield* Effect.flip(
        write(store, [insert, [accountRow("a", 1, -1n), accountRow("b", 1, 1n)]], [append, [historyRow("b", 1)]])
      )
      assert.instanceOf(negative, Rejected)
      assert.strictEqual(negative.constraint, "balance_check")
      yield* write(store, [
        insert,
        [accountRow("c", 1, 1n, { number: "one" }), accountRow("d", 1, 1n), accountRow("e", 1, 1n)]
      ])
      const taken = yield* Effect.flip(write(store, [insert, [accountRow("b", 1, 1n, { number: "one" })]]))
      assert.deepStrictEqual(taken, new Conflict({ constraint: "number_key" }))
      const changed = yield* Effect.flip(
        write(store, [update, [accountRow("d", 2, 1n, { number: "one", expected: 1 })]])
      )
      assert.deepStrictEqual(changed, new Conflict({ constraint: "number_key" }))
      assert.strictEqual((yield* load(store, "b")).row, undefined)
      assert.deepStrictEqual((yield* load(store, "b")).keys, [])
    })
  )

  scenario(
    "when what decides throws, then that is the defect, nothing is written, and others go on",
    (store, { units }) =>
      Effect.gen(function* () {
        const bug = new Error("bug")
        for (const keys of [[], ["apple"]]) {
          const exit = yield* Effect.exit(
            store.transact(keys, () => {
              throw bug
            })
          )
          assert.deepStrictEqual(exit, Exit.die(bug))
        }
        yield* take(store, "apple", 1, "after")
        assert.deepStrictEqual((yield* units)["apple"], { free: 9, held: 1 })
      })
  )

  scenario("when counters are asked for, then they come as they are, and nothing for what does not exist", (store) =>
    Effect.gen(function* () {
      let seen: unknown
      yield* store.transact(["apple", "brick", "zebra"], (counters) => {
        seen = counters
        return { guarded: 0, parts: [] }
      })
      assert.deepStrictEqual(seen, [
        { key: "apple", part: "here", rank: 0, values: { held: 0, free: 10 } },
        { key: "brick", part: "here", rank: 0, values: { held: 0, free: 10 } }
      ])
    })
  )

  scenario("when counters change, then by as much, and never below zero", (store, { rows, units }) =>
    Effect.gen(function* () {
      yield* take(store, "apple", 4, "one")
      const refused = yield* Effect.flip(take(store, "apple", 7, "two"))
      assert.instanceOf(refused, Rejected)
      assert.strictEqual(refused.constraint, "free_check")
      assert.deepStrictEqual((yield* units)["apple"], { free: 6, held: 4 })
      assert.strictEqual((yield* rows("toy.bins_ledger")).length, 1)
      const nowhere = yield* Effect.flip(
        store.transact(["zebra"], () => ({
          guarded: 1,
          parts: [{ part: change, rows: [{ key: "zebra", part: "here", held: 1, free: -1 }] }]
        }))
      )
      assert.deepStrictEqual(nowhere, new Conflict({}))
    })
  )

  scenario("when a change of counters comes a second time, then it is refused by its name", (store, { units }) =>
    Effect.gen(function* () {
      yield* take(store, "apple", 4, "one")
      const again = yield* Effect.flip(take(store, "apple", 4, "one"))
      assert.deepStrictEqual(again, new Conflict({ constraint: "ledger_pkey" }))
      assert.deepStrictEqual((yield* units)["apple"], { free: 6, held: 4 })
    })
  )

  scenario(
    "when many take counters at once, in any order, then none waits for ever and all add up",
    (store, { open, units }) =>
      Effect.gen(function* () {
        const other = yield* open
        const taking = (node: Store["Service"], name: string, keys: ReadonlyArray<string>) =>
          Effect.forEach(
            Array.from({ length: 20 }, (_, index) => index),
            (index) =>
              node.transact(keys, (counters) => {
                const item = keys[index % keys.length]!
                const left = counters.find(({ key }) => key === item)!.values["free"]!
                if (left === 0) return { guarded: 0, parts: [] }
                return {
                  guarded: 2,
                  parts: [
                    { part: change, rows: [{ key: item, part: "here", held: 1, free: -1 }] },
                    { part: book, rows: [ledgerRow(`${name}/${index}`, item, 1)] }
                  ]
                }
              }),
            { discard: true }
          )
        yield* Effect.all(
          [taking(store, "one", ["apple", "brick", "cable"]), taking(other, "two", ["cable", "brick", "apple"])],
          { concurrency: "unbounded" }
        )
        for (const { free, held } of Object.values(yield* units)) assert.strictEqual(free + held, 10)
        const taken = Object.values(yield* units).reduce((sum, { held }) => sum + held, 0)
        assert.strictEqual(taken, 30)
      })
  )

  scenario("when one store is given several transactions at once, then they are not mixed", (store, { units }) =>
    Effect.gen(function* () {
      yield* Effect.forEach(
        Array.from({ length: 20 }, (_, index) => index),
        (index) => Effect.exit(take(store, index % 2 === 0 ? "apple" : "brick", index === 4 ? 11 : 1, `n${index}`)),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(yield* units, {
        apple: { free: 1, held: 9 },
        brick: { free: 0, held: 10 },
        cable: { free: 10, held: 0 }
      })
    })
  )

  scenario("when it is read while it changes, then a row never comes without its last key", (store, { open }) =>
    Effect.gen(function* () {
      const writer = yield* open
      yield* write(writer, [insert, [accountRow("a", 1, 1n)]], [append, [historyRow("a", 1)]])
      let done = false
      const writing = Effect.forEach(
        Array.from({ length: 60 }, (_, index) => index + 2),
        (version) =>
          write(
            writer,
            [update, [accountRow("a", version, 1n, { expected: version - 1 })]],
            [append, [historyRow("a", version)]]
          ),
        { discard: true }
      ).pipe(Effect.ensuring(Effect.sync(() => (done = true))))
      const reading = Effect.gen(function* () {
        while (!done) {
          const { keys, row } = yield* load(store, "a")
          assert.strictEqual(keys.at(-1)!.seq, row!["version"])
        }
      })
      yield* Effect.all([writing, reading, reading], { concurrency: "unbounded" })
    })
  )

  scenario(
    "when an actor has more keys than are loaded, then the newest come, and the others are found by name",
    (store) =>
      Effect.gen(function* () {
        const rows = Array.from({ length: 520 }, (_, index) => historyRow("a", index + 1))
        yield* write(store, [insert, [accountRow("a", 520, 1n)]], [append, rows])
        const { keys, keysComplete } = yield* load(store, "a")
        assert.isFalse(keysComplete)
        assert.strictEqual(keys.length, 500)
        assert.strictEqual(keys[0]!.seq, 21)
        assert.strictEqual(keys.at(-1)!.seq, 520)
        assert.deepStrictEqual(yield* store.findKey(account, "a", "key-3"), {
          key: "key-3",
          fingerprint: "print-3",
          seq: 3,
          refusal: undefined
        })
        assert.strictEqual(yield* store.findKey(account, "a", "key-521"), undefined)
        assert.strictEqual(yield* store.findKey(watcher, "a", "key-3"), undefined)
      })
  )

  scenario("when the history is read, then it comes in order and in pages", (store) =>
    Effect.gen(function* () {
      yield* write(store, [
        append,
        [historyRow("a", 3), historyRow("a", 1), historyRow("a", 2, { refusal: { _tag: "No" } })]
      ])
      const page = yield* store.history("Account", "a", 1, 1)
      assert.deepStrictEqual(page, [
        {
          seq: 2,
          command: "Deposit",
          events: [{ _tag: "Deposited", amount: "1" }],
          refused: true,
          cause: "test",
          at: instant(2)
        }
      ])
      assert.deepStrictEqual(
        (yield* store.history("Account", "a", 0, 10)).map(({ seq }) => seq),
        [1, 2, 3]
      )
      assert.deepStrictEqual(yield* store.history("Account", "b", 0, 10), [])
    })
  )

  scenario("when timers are set, moved and cleared, then those which are left come by their instant", (store) =>
    Effect.gen(function* () {
      yield* write(store, [
        setTimers,
        [
          timerRow("a", "late", 30),
          timerRow("a", "soon", 10),
          timerRow("b", "soon", 20, { urgent: true }),
          timerRow("c", "soon", 5, { bucket: 2 }),
          timerRow("d", "never", 5)
        ]
      ])
      yield* write(store, [setTimers, [timerRow("a", "late", 15)]], [clearTimers, [timerRow("d", "never", 0)]])
      const read = (buckets: ReadonlyArray<number>, before: number, urgent = false) =>
        Effect.map(store.timers({ buckets, before: instant(before), urgent, limit: 10 }), (found) =>
          found.map(({ actorId, name }) => `${actorId}/${name}`)
        )
      assert.deepStrictEqual(yield* read([1], 100), ["a/soon", "a/late", "b/soon"])
      // The instant itself is not before it.
      assert.deepStrictEqual(yield* read([1], 15), ["a/soon"])
      assert.deepStrictEqual(yield* read([1, 2], 11), ["c/soon", "a/soon"])
      assert.deepStrictEqual(yield* read([1, 2], 100, true), ["b/soon"])
      const options = { buckets: [1, 2], before: instant(100), urgent: false, limit: 2 }
      const first = yield* store.timers(options)
      const second = yield* store.timers({ ...options, after: first.at(-1) })
      assert.deepStrictEqual(
        [...first, ...second].map(({ actorId, name }) => `${actorId}/${name}`),
        ["c/soon", "a/soon", "a/late", "b/soon"]
      )
      assert.deepStrictEqual(first[0], {
        actorType: "Account",
        actorId: "c",
        name: "soon",
        bucket: 2,
        dueAt: instant(5)
      })
    })
  )

  scenario("when notices are pending, then they come by source, in its order, in pages, until acknowledged", (store) =>
    Effect.gen(function* () {
      yield* write(store, [
        tell,
        [
          noticeRow("b", 1),
          noticeRow("a", 2),
          noticeRow("a", 1, { ordinal: 1 }),
          noticeRow("a", 1),
          noticeRow("c", 1, { bucket: 2 })
        ]
      ])
      const all = yield* noticesOf(store)
      assert.deepStrictEqual(names(all), ["a/1/0", "a/1/1", "a/2/0", "b/1/0"])
      assert.deepStrictEqual(all[0], {
        bucket: 1,
        sourceType: "Account",
        sourceId: "a",
        seq: 1,
        ordinal: 0,
        receiverType: "Watcher",
        receiverId: "w",
        message: { _tag: "Hear", from: "a", amount: "10" },
        attempts: 0,
        dueAt: instant(0)
      })
      const first = yield* noticesOf(store, [1, 2], undefined, 3)
      const second = yield* noticesOf(store, [1, 2], first.at(-1), 3)
      assert.deepStrictEqual(names([...first, ...second]), ["a/1/0", "a/1/1", "a/2/0", "b/1/0", "c/1/0"])
      yield* write(store, [acknowledgeNotices, [noticeRow("a", 1, { ordinal: 1 }), noticeRow("x", 1)]])
      assert.deepStrictEqual(names(yield* noticesOf(store)), ["a/1/0", "a/2/0", "b/1/0"])
    })
  )

  scenario(
    "when a delivery failed, then the attempt is counted; when it is parked, then only its own way ends there",
    (store) =>
      Effect.gen(function* () {
        yield* write(store, [
          tell,
          [
            noticeRow("a", 1),
            noticeRow("a", 2),
            noticeRow("a", 3),
            noticeRow("a", 3, { ordinal: 1, receiver_id: "other" }),
            noticeRow("b", 1)
          ]
        ])
        const [, second] = yield* noticesOf(store)
        yield* store.noticeFailed(second!, { error: "no", dueAt: instant(7), parked: false })
        const [, failed] = yield* noticesOf(store)
        assert.strictEqual(failed!.attempts, 1)
        assert.deepStrictEqual(failed!.dueAt, instant(7))
        yield* store.noticeFailed(second!, { error: "still no", dueAt: instant(9), parked: true })
        assert.deepStrictEqual(names(yield* noticesOf(store)), ["a/1/0", "a/3/1", "b/1/0"])
        assert.deepStrictEqual(names(yield* parkedOf(store)), ["a/2/0"])
        yield* store.noticeFailed(second!, { error: "no more", dueAt: instant(20), parked: false })
        const pending = yield* noticesOf(store)
        assert.deepStrictEqual(names(pending), ["a/1/0", "a/2/0", "a/3/0", "a/3/1", "b/1/0"])
        assert.deepStrictEqual(pending[1]!.dueAt, instant(20))
        assert.deepStrictEqual(yield* parkedOf(store), [])
        // What is gone meanwhile cannot fail any more.
        yield* write(store, [acknowledgeNotices, [noticeRow("b", 1)]])
        yield* store.noticeFailed(pending[4]!, { error: "no", dueAt: instant(7), parked: false })
        assert.strictEqual((yield* noticesOf(store)).length, 4)
      })
  )

  scenario(
    "when the first answer of a step is to be kept, then a later one changes nothing and fails nothing",
    (store) =>
      Effect.gen(function* () {
        const step = (name: string, result: string): Row => ({ execution_id: "x", name, result: { result }, at: now })
        yield* write(store, [steps, [step("one", "first")]])
        yield* write(store, [steps, [step("one", "second"), step("two", "first")]])
        const found = yield* store.query("select name, result from runtime.workflow_steps where execution_id = $1", [
          "x"
        ])
        assert.deepStrictEqual(
          [...found].sort((left, right) => (String(left["name"]) < String(right["name"]) ? -1 : 1)),
          [
            { name: "one", result: { result: "first" } },
            { name: "two", result: { result: "first" } }
          ]
        )
      })
  )
}
