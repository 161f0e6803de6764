/** What callers of the journal rely on. Run on Postgres and in memory. */
import { assert } from "@effect/vitest"
import { Cause, Context, DateTime, Duration, Effect, Exit, Fiber, Layer, References, Schedule, Scope } from "effect"
import { IdempotencyConflict, Unavailable } from "../../src/domain/Refusals.ts"
import type { Cell } from "../../src/runtime/Actor.ts"
import { type Answer, Journal, type JournalOptions, layer } from "../../src/runtime/Journal.ts"
import { Conflict, Lost, Store } from "../../src/runtime/Store.ts"
import type { Transaction } from "../../src/runtime/Transaction.ts"
import { eventually } from "../fixtures/Eventually.ts"
import {
  account,
  type AccountDefinition,
  type AccountState,
  bins,
  type Command,
  NotOpen,
  type OpenAccount,
  Overdrawn,
  watcher
} from "./Account.ts"
import type { Backend } from "./Backends.ts"

type JournalService = Journal["Service"]

/** What goes wrong on purpose need not be told. */
export const quiet = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.provideService(effect, References.MinimumLogLevel, "None")

export const startJournal = Effect.fnUntraced(function* (
  store: Store["Service"],
  options: Partial<JournalOptions> = {}
) {
  const context = yield* Layer.build(
    layer({
      counters: bins,
      batchMax: 256,
      queueMax: 10_000,
      residentMax: 10_000,
      retryFor: Duration.seconds(5),
      ...options
    }).pipe(Layer.provide(Layer.succeed(Store, store)))
  )
  return Context.get(context, Journal)
})

export const deposit = (amount: bigint, more: Partial<Extract<Command, { _tag: "Deposit" }>> = {}): Command => ({
  _tag: "Deposit",
  amount,
  ...more
})
const withdraw = (amount: bigint): Command => ({ _tag: "Withdraw", amount })

export const cellOf = (journal: JournalService, id: string, definition: AccountDefinition = account) =>
  journal.cell(definition, id, 1)

/** One keyed command, as a hosted actor gets it. */
export const send = (
  journal: JournalService,
  id: string,
  key: string,
  command: Command,
  definition: AccountDefinition = account
): Effect.Effect<Answer<AccountState>, Overdrawn | NotOpen | IdempotencyConflict | Unavailable> =>
  Effect.flatMap(cellOf(journal, id, definition), (cell) =>
    journal.command({
      cell,
      key,
      command,
      cause: "test",
      counters: () => (command._tag === "Deposit" ? Object.keys(command.take ?? {}) : [])
    })
  )

export const balanceOf = ({ state }: { readonly state: AccountState }): bigint =>
  state._tag === "Open" ? state.balance : 0n

export const range = (length: number) => Array.from({ length }, (_, index) => index)

const openOf = (state: AccountState): OpenAccount => {
  if (state._tag !== "Open") throw new Error("not open")
  return state
}

/** Its cause is a defect with this in its message. */
const assertDies = (exit: Exit.Exit<unknown, unknown>, message: string) => {
  assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause), `${JSON.stringify(exit)} is not a defect`)
  assert.include(Cause.pretty((exit as Exit.Failure<unknown, unknown>).cause), message)
}

type Body = (backend: Backend) => Effect.Effect<void, unknown, Scope.Scope>

/** While the gate is closed all of these come to wait for it, so that they share a flush or two. */
const together = <A>(
  backend: Backend,
  effects: ReadonlyArray<Effect.Effect<A, unknown>>
): Effect.Effect<ReadonlyArray<Exit.Exit<A, unknown>>> =>
  Effect.gen(function* () {
    yield* backend.gate.close
    const fibers = yield* Effect.forEach(effects, (effect) => Effect.forkChild(Effect.exit(effect)))
    // Long enough for all to be queued: they have nothing to wait for but the gate.
    for (let turns = 0; turns < 50; turns++) yield* Effect.yieldNow
    yield* backend.gate.open
    return yield* Effect.forEach(fibers, (fiber) => Fiber.join(fiber))
  })

/** Each scenario has a database of its own. */
export const scenarios = (scenario: (name: string, body: Body) => void): void => {
  scenario("when many commands come at once, then they share few flushes", (backend) =>
    Effect.gen(function* () {
      const journal = yield* startJournal(yield* backend.open)
      const ids = range(200).map((index) => `a${index}`)
      yield* Effect.forEach(ids, (id) => cellOf(journal, id), { concurrency: 10 })
      const before = yield* backend.flushes
      const exits = yield* together(
        backend,
        ids.map((id) => send(journal, id, "k", deposit(5n)))
      )
      assert.isTrue(exits.every(Exit.isSuccess))
      assert.isAtMost((yield* backend.flushes) - before, 3)
      assert.strictEqual((yield* backend.rows("toy.accounts")).length, 200)
    })
  )

  scenario("when a command is carried out, then memory knows of it only after it is durable", (backend) =>
    Effect.gen(function* () {
      const journal = yield* startJournal(yield* backend.open)
      const cell = yield* cellOf(journal, "a")
      yield* backend.gate.close
      const fiber = yield* Effect.forkChild(send(journal, "a", "k", deposit(5n)))
      for (let turns = 0; turns < 20; turns++) yield* Effect.yieldNow
      assert.deepStrictEqual([cell.state, cell.version], [{ _tag: "Absent" }, 0])
      yield* backend.gate.open
      const { state, version } = yield* Fiber.join(fiber)
      assert.deepStrictEqual([state, version], [{ _tag: "Open", balance: 5n, moves: 1 }, 1])
      assert.strictEqual(cell.state, state)
      const refused = yield* Effect.exit(send(journal, "a", "bad", { _tag: "Spoil", how: "check" }))
      assertDies(refused, "balance_check")
      assert.deepStrictEqual([cell.state, cell.version], [state, 1])
    })
  )

  scenario("when a key comes again, then its answer is the first one, also after a restart (REQ-GEN-03)", (backend) =>
    Effect.gen(function* () {
      const store = yield* backend.open
      const first = yield* Effect.scoped(
        Effect.gen(function* () {
          const journal = yield* startJournal(store)
          const answer = yield* send(journal, "a", "k1", deposit(5n))
          yield* send(journal, "a", "k2", deposit(7n))
          yield* send(journal, "a", "k3", withdraw(2n))
          assert.deepStrictEqual(yield* send(journal, "a", "k1", deposit(5n)), answer)
          return answer
        })
      )
      const journal = yield* startJournal(yield* backend.open)
      assert.deepStrictEqual(yield* send(journal, "a", "k1", deposit(5n)), first)
      assert.deepStrictEqual([balanceOf(first), first.version], [5n, 1])
      assert.strictEqual(balanceOf(yield* cellOf(journal, "a")), 10n)
    })
  )

  scenario("when a key comes twice at once with others between, then both get the first answer", (backend) =>
    Effect.gen(function* () {
      const journal = yield* startJournal(yield* backend.open)
      yield* cellOf(journal, "a")
      const exits = yield* together(backend, [
        send(journal, "a", "k1", deposit(5n)),
        send(journal, "a", "k2", deposit(7n)),
        send(journal, "a", "k1", deposit(5n)),
        send(journal, "a", "k1", deposit(6n))
      ])
      const answers = exits.map((exit): unknown =>
        Exit.isSuccess(exit) ? [balanceOf(exit.value), exit.value.version] : exit
      )
      assert.deepStrictEqual(answers, [[5n, 1], [12n, 2], [5n, 1], Exit.fail(new IdempotencyConflict({ key: "k1" }))])
    })
  )

  scenario(
    "when its history is longer than what is remembered of it, then an old key still gets its first answer",
    (backend) =>
      Effect.gen(function* () {
        const store = yield* backend.open
        const journal = yield* startJournal(store)
        yield* cellOf(journal, "a")
        yield* Effect.forEach(range(1100), (index) => send(journal, "a", `k${index}`, deposit(BigInt(index))), {
          concurrency: "unbounded",
          discard: true
        })
        const cell = yield* cellOf(journal, "a")
        assert.strictEqual(cell.version, 1100)
        assert.isAtMost(cell.keys.size, 1000)
        for (const node of [journal, yield* startJournal(store)]) {
          const { state, version } = yield* send(node, "a", "k3", deposit(3n))
          assert.deepStrictEqual([openOf(state).balance, openOf(state).moves, version], [6n, 4, 4])
          assert.deepStrictEqual(
            yield* Effect.flip(send(node, "a", "k3", deposit(4n))),
            new IdempotencyConflict({ key: "k3" })
          )
          // In a unit of several commands as well, old keys and new ones.
          const old = yield* cellOf(node, "a")
          const seen = yield* node.unit({
            cells: [old],
            cause: "test",
            body: (transaction) => {
              for (const index of [1, 4, 5]) transaction.execute(old, `k${index}`, deposit(BigInt(index)))
              return [transaction.seqOf(old, "k4"), transaction.seqOf(old, "new"), openOf(transaction.state(old)).moves]
            }
          })
          assert.deepStrictEqual(seen, [5, undefined, 1100])
        }
        assert.strictEqual((yield* send(journal, "a", "new", deposit(1n))).version, 1101)
      })
  )

  scenario(
    "when a key comes again with another content, then it is refused, and nothing else of its unit is done",
    (backend) =>
      Effect.gen(function* () {
        const journal = yield* startJournal(yield* backend.open)
        yield* send(journal, "a", "k", deposit(5n))
        assert.deepStrictEqual(
          yield* Effect.flip(send(journal, "a", "k", deposit(6n))),
          new IdempotencyConflict({ key: "k" })
        )
        const [a, b] = [yield* cellOf(journal, "a"), yield* cellOf(journal, "b")]
        const error = yield* Effect.flip(
          journal.unit({
            cells: [a, b],
            cause: "test",
            body: (transaction) => {
              transaction.execute(b, "k", deposit(1n))
              transaction.execute(a, "k", deposit(6n))
            }
          })
        )
        assert.deepStrictEqual(error, new IdempotencyConflict({ key: "k" }))
        assert.deepStrictEqual([balanceOf(a), b.version], [5n, 0])
      })
  )

  scenario(
    "when a command is refused, then the refusal is remembered, unless there is nobody to remember it",
    (backend) =>
      Effect.gen(function* () {
        const store = yield* backend.open
        const journal = yield* startJournal(store)
        assert.deepStrictEqual(yield* Effect.flip(send(journal, "a", "k", withdraw(9n))), new NotOpen())
        assert.deepStrictEqual(yield* backend.rows("runtime.history"), [])
        yield* send(journal, "a", "k0", deposit(5n))
        const refusal = new Overdrawn({ balance: 5n })
        assert.deepStrictEqual(yield* Effect.flip(send(journal, "a", "k", withdraw(9n))), refusal)
        yield* send(journal, "a", "k1", deposit(100n))
        for (const node of [journal, yield* startJournal(store)]) {
          assert.deepStrictEqual(yield* Effect.flip(send(node, "a", "k", withdraw(9n))), refusal)
        }
        assert.strictEqual(balanceOf(yield* cellOf(journal, "a")), 105n)
      })
  )

  scenario("when a unit is about several actors, then all of it happens, or nothing (REQ-GEN-02)", (backend) =>
    Effect.gen(function* () {
      const journal = yield* startJournal(yield* backend.open)
      const [a, b] = [yield* cellOf(journal, "a"), yield* cellOf(journal, "b")]
      const wakeAt = DateTime.makeUnsafe("2030-01-01T00:00:00Z")
      const move = (end: (transaction: Transaction) => void) =>
        journal.unit<bigint, string>({
          cells: [a, b],
          counters: () => ["apple"],
          cause: "test",
          body: (transaction) => {
            transaction.execute(a, "in", deposit(5n, { tell: ["w"], take: { apple: 3 }, note: "x" }))
            transaction.execute(b, "wake", { _tag: "SetWake", wakeAt })
            end(transaction)
            return openOf(transaction.state(a)).balance
          }
        })
      const tables = [
        "toy.accounts",
        "toy.moves",
        "toy.bins_ledger",
        "runtime.history",
        "runtime.timers",
        "runtime.notices"
      ]
      const sizes = Effect.forEach(tables, (table) => Effect.map(backend.rows(table), ({ length }) => length))
      const aborted = yield* Effect.flip(move(({ abort }) => abort("no")))
      assert.strictEqual(aborted, "no")
      const broken = yield* Effect.exit(
        move(() => {
          throw new Error("the body has a bug")
        })
      )
      assertDies(broken, "the body has a bug")
      const spoilt = yield* Effect.exit(move(({ execute }) => void execute(b, "bad", { _tag: "Spoil", how: "check" })))
      assertDies(spoilt, "balance_check")
      assert.deepStrictEqual(yield* sizes, [0, 0, 0, 0, 0, 0])
      assert.deepStrictEqual((yield* backend.units)["apple"], { free: 10, held: 0 })
      assert.deepStrictEqual([a.version, b.version], [0, 0])
      assert.strictEqual(yield* move(() => {}), 5n)
      assert.deepStrictEqual(yield* sizes, [2, 1, 1, 2, 1, 1])
      assert.deepStrictEqual((yield* backend.units)["apple"], { free: 7, held: 3 })
    })
  )

  scenario(
    "when several units of one flush are about one actor, then each sees what the ones before have done",
    (backend) =>
      Effect.gen(function* () {
        const journal = yield* startJournal(yield* backend.open)
        yield* send(journal, "a", "open", deposit(10n))
        const exits = yield* together(backend, [
          ...range(20).map((index) => send(journal, "a", `d${index}`, deposit(1n))),
          send(journal, "a", "w1", withdraw(25n)),
          send(journal, "a", "w2", withdraw(25n))
        ])
        const versions = exits.map((exit): unknown => (Exit.isSuccess(exit) ? exit.value.version : exit))
        assert.deepStrictEqual(versions, [
          ...range(21).map((index) => index + 2),
          Exit.fail(new Overdrawn({ balance: 5n }))
        ])
        const [row] = yield* backend.rows("toy.accounts")
        assert.deepStrictEqual([Number(row!["balance"]), row!["version"]], [5, 23])
      })
  )

  scenario("when one of many is poison, then it alone fails, and the others are not slowed down by much", (backend) =>
    Effect.gen(function* () {
      const journal = yield* startJournal(yield* backend.open)
      const poisons: ReadonlyArray<readonly [Command, string]> = [
        [{ _tag: "Spoil", how: "check" }, "balance_check"],
        [{ _tag: "Spoil", how: "row" }, "has no row"],
        [{ _tag: "Explode" }, "the decider has a bug"]
      ]
      yield* Effect.forEach(range(64), (index) => cellOf(journal, `a${index}`))
      for (const [round, [poison, message]] of poisons.entries()) {
        const before = yield* backend.flushes
        const exits = yield* together(
          backend,
          range(64).map((index) =>
            index === 21 + round
              ? send(journal, `bad${round}`, "k", poison)
              : send(journal, `a${index}`, `r${round}`, deposit(1n))
          )
        )
        for (const [index, exit] of exits.entries()) {
          if (index === 21 + round) assertDies(exit, message)
          else assert.isTrue(Exit.isSuccess(exit), `${message}: neighbour ${index}`)
        }
        // Searched for by halves; one after the other would be 64.
        assert.isAtMost((yield* backend.flushes) - before, 20)
      }
    })
  )

  scenario("when an actor's row cannot be read, then only those who need it fail", (backend) =>
    Effect.gen(function* () {
      const store = yield* backend.open
      const journal = yield* startJournal(store)
      yield* send(journal, "bad", "k", deposit(1n, { note: "unreadable" }))
      const other = yield* startJournal(store)
      const bad = yield* Effect.exit(cellOf(other, "bad"))
      assertDies(bad, "bad is unreadable")
      // Needed in a flush, after a conflict has sent it back to its rows.
      const cell = yield* cellOf(journal, "bad")
      yield* backend.inject({ when: "before", error: new Conflict({}) })
      const exits = yield* together<unknown>(backend, [
        send(journal, "a", "k", deposit(1n)),
        journal.unit({ cells: [cell], cause: "test", body: ({ execute }) => execute(cell, "k2", deposit(1n)) }),
        send(journal, "b", "k", deposit(1n))
      ])
      assert.deepStrictEqual(exits.map(Exit.isSuccess), [true, false, true])
      assertDies(exits[1]!, "bad is unreadable")
    })
  )

  scenario("when a unit cannot say which counters it needs, then it alone fails", (backend) =>
    Effect.gen(function* () {
      const journal = yield* startJournal(yield* backend.open)
      const cell = yield* cellOf(journal, "a")
      const exits = yield* together<unknown>(backend, [
        send(journal, "b", "k", deposit(1n)),
        journal.unit({
          cells: [cell],
          counters: () => {
            throw new Error("nobody knows")
          },
          cause: "test",
          body: () => undefined
        }),
        send(journal, "c", "k", deposit(1n))
      ])
      assert.deepStrictEqual(exits.map(Exit.isSuccess), [true, false, true])
      assertDies(exits[1]!, "nobody knows")
    })
  )

  scenario("when somebody else has what must be unique, then the unit is refused by the constraint's name", (backend) =>
    Effect.gen(function* () {
      const journal = yield* startJournal(yield* backend.open)
      yield* send(journal, "first", "k", { _tag: "Spoil", how: "number" })
      const exits = yield* together(backend, [
        send(journal, "a", "k", deposit(1n)),
        send(journal, "second", "k", { _tag: "Spoil", how: "number" }),
        send(journal, "b", "k", deposit(1n))
      ])
      assert.deepStrictEqual(exits.map(Exit.isSuccess), [true, false, true])
      assertDies(exits[1]!, "number_key")
    })
  )

  scenario("when two nodes write to the same actors, then no update is lost", (backend) =>
    Effect.gen(function* () {
      const nodes = [yield* startJournal(yield* backend.open), yield* startJournal(yield* backend.open)]
      const patient = Schedule.max([Schedule.spaced("5 millis"), Schedule.recurs(200)])
      yield* Effect.forEach(
        range(100),
        (index) =>
          send(nodes[index % 2]!, `a${index % 3}`, `k${index}`, deposit(1n)).pipe(
            Effect.retry({ schedule: patient, while: ({ _tag }) => _tag === "Unavailable" })
          ),
        { concurrency: 20, discard: true }
      )
      const rows = yield* backend.rows("toy.accounts")
      assert.strictEqual(
        rows.reduce((sum, row) => sum + Number(row["balance"]), 0),
        100
      )
      assert.strictEqual((yield* backend.rows("runtime.history")).length, 100)
    })
  )

  scenario("when both nodes get the same key, then it is done once, and both give the same answer", (backend) =>
    Effect.gen(function* () {
      const nodes = [yield* startJournal(yield* backend.open), yield* startJournal(yield* backend.open)]
      for (const node of nodes) yield* cellOf(node, "a")
      const answers = yield* Effect.forEach(nodes, (node) => send(node, "a", "k", deposit(5n)), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(answers[0], answers[1])
      assert.strictEqual((yield* backend.rows("runtime.history")).length, 1)
    })
  )

  scenario(
    "when the answer of the database is lost, before the commit or after it, then each is done once",
    (backend) =>
      Effect.gen(function* () {
        const journal = yield* startJournal(yield* backend.open)
        const lost = new Lost({ detail: "test" })
        yield* send(journal, "a0", "k0", deposit(1n))
        for (const when of ["before", "after"] as const) {
          yield* backend.inject({ when, error: lost }, { when, error: lost })
          const exits = yield* together(
            backend,
            range(10).map((index) =>
              send(
                journal,
                `a${index % 4}`,
                `${when}${index}`,
                deposit(1n, { take: { apple: 1 }, note: `${when}${index}` })
              )
            )
          )
          const granted = exits.filter(Exit.isSuccess).length
          assert.strictEqual(granted, when === "before" ? 10 : 0)
          yield* backend.rows("toy.bins_ledger").pipe(Effect.map(({ length }) => assert.strictEqual(length, 10)))
        }
        assert.deepStrictEqual((yield* backend.units)["apple"], { free: 0, held: 10 })
        assert.strictEqual(
          (yield* backend.rows("toy.accounts")).reduce((sum, row) => sum + Number(row["balance"]), 0),
          11
        )
      })
  )

  scenario("when the answer to a lost commit is asked for, then it is the one that was lost", (backend) =>
    Effect.gen(function* () {
      const journal = yield* startJournal(yield* backend.open)
      yield* backend.inject({ when: "after", error: new Lost({ detail: "test" }) })
      const answer = yield* send(journal, "a", "k", deposit(5n, { take: { brick: 2 } }))
      assert.deepStrictEqual([balanceOf(answer), answer.version], [5n, 1])
      assert.deepStrictEqual((yield* backend.units)["brick"], { free: 8, held: 2 })
      assert.strictEqual((yield* backend.rows("runtime.history")).length, 1)
    })
  )

  scenario("when the database refuses what was not to blame, then it is not tried for ever", (backend) =>
    Effect.gen(function* () {
      const journal = yield* startJournal(yield* backend.open)
      yield* backend.inject(...range(20).map(() => ({ when: "before" as const, error: new Conflict({}) })))
      const error = yield* Effect.flip(send(journal, "a", "k", deposit(5n)))
      assert.instanceOf(error, Unavailable)
    })
  )

  scenario("when more wait than may, then one more is refused at once, and those who wait are served", (backend) =>
    Effect.gen(function* () {
      const journal = yield* startJournal(yield* backend.open, { queueMax: 5 })
      const ids = range(8).map((index) => `a${index}`)
      yield* Effect.forEach(ids, (id) => cellOf(journal, id))
      yield* backend.gate.close
      const waiting = yield* Effect.forEach(ids.slice(0, 5), (id) =>
        Effect.forkChild(send(journal, id, "k", deposit(1n)))
      )
      for (let turns = 0; turns < 20; turns++) yield* Effect.yieldNow
      const refused = yield* Effect.flip(send(journal, "a6", "k", deposit(1n)))
      assert.instanceOf(refused, Unavailable)
      yield* backend.gate.open
      yield* Effect.forEach(waiting, (fiber) => Fiber.join(fiber))
      yield* send(journal, "a6", "k", deposit(1n))
    })
  )

  scenario(
    "when more actors are used than may stay in memory, then the oldest go, but none that is needed",
    (backend) =>
      Effect.gen(function* () {
        const journal = yield* startJournal(yield* backend.open, { residentMax: 20 })
        yield* Effect.forEach(range(100), (index) => cellOf(journal, `read${index}`), { concurrency: 10 })
        assert.isAtMost(yield* journal.resident, 21)
        const needed = range(30).map((index) => `needed${index}`)
        const cells: Array<Cell<AccountDefinition>> = []
        yield* backend.gate.close
        const fibers = yield* Effect.forEach(needed, (id) =>
          Effect.gen(function* () {
            const fiber = yield* Effect.forkChild(
              journal.command({ cell: yield* cellOf(journal, id), key: "k", command: deposit(1n), cause: "test" })
            )
            for (let turns = 0; turns < 20; turns++) yield* Effect.yieldNow
            cells.push(yield* cellOf(journal, id))
            return fiber
          })
        )
        yield* Effect.forEach(range(50), (index) => cellOf(journal, `more${index}`), { concurrency: 10 })
        assert.isAtMost(yield* journal.resident, 80)
        for (const [index, id] of needed.entries()) assert.strictEqual(yield* cellOf(journal, id), cells[index])
        yield* backend.gate.open
        yield* Effect.forEach(fibers, (fiber) => Fiber.join(fiber))
        yield* Effect.forEach(range(50), (index) => cellOf(journal, `again${index}`), { concurrency: 10 })
        assert.isAtMost(yield* journal.resident, 23)
        // Forgetting loses nothing.
        assert.strictEqual(balanceOf(yield* cellOf(journal, "needed0")), 1n)
      })
  )

  scenario("when an actor was forgotten between being asked for and being used, then it is still one", (backend) =>
    Effect.gen(function* () {
      const journal = yield* startJournal(yield* backend.open, { residentMax: 5 })
      const held = yield* cellOf(journal, "a")
      yield* Effect.forEach(range(20), (index) => cellOf(journal, `b${index}`))
      const exits = yield* together(backend, [
        journal.command({ cell: held, key: "k1", command: deposit(1n), cause: "test" }),
        send(journal, "a", "k2", deposit(1n))
      ])
      assert.isTrue(exits.every(Exit.isSuccess))
      assert.strictEqual(yield* cellOf(journal, "a"), held)
      assert.strictEqual(balanceOf(held), 2n)
    })
  )

  scenario(
    "when two nodes want the same counters in different orders, then all is granted that there is, and no more",
    (backend) =>
      Effect.gen(function* () {
        const nodes = [yield* startJournal(yield* backend.open), yield* startJournal(yield* backend.open)]
        const orders = [
          ["apple", "brick", "cable"],
          ["cable", "brick", "apple"]
        ] as const
        const patient = Schedule.max([Schedule.spaced("5 millis"), Schedule.recurs(200)])
        const exits = yield* Effect.forEach(
          range(60),
          (index) =>
            send(
              nodes[index % 2]!,
              `a${index}`,
              "k",
              deposit(1n, { take: Object.fromEntries(orders[index % 2]!.map((item) => [item, 1])) })
            ).pipe(Effect.retry({ schedule: patient, while: ({ _tag }) => _tag === "Unavailable" }), Effect.exit),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(exits.filter(Exit.isSuccess).length, 10)
        assert.deepStrictEqual(
          Object.values(yield* backend.units),
          range(3).map(() => ({ free: 0, held: 10 }))
        )
        assert.strictEqual((yield* backend.rows("toy.bins_ledger")).length, 30)
      })
  )

  scenario(
    "when a decider takes more than there is, then the database refuses it, and its neighbours get theirs",
    (backend) =>
      Effect.gen(function* () {
        const journal = yield* startJournal(yield* backend.open)
        const reckless: AccountDefinition = {
          ...account,
          decide: (state, command, context) =>
            account.decide(state, command, {
              ...context,
              counters: () => [{ key: "", part: "", rank: 0, values: { free: 99 } }]
            })
        }
        const exits = yield* together(backend, [
          send(journal, "a", "k", deposit(1n, { take: { apple: 4 } })),
          send(journal, "b", "k", deposit(1n, { take: { apple: 11 } }), reckless),
          send(journal, "c", "k", deposit(1n, { take: { apple: 4 } }))
        ])
        assert.deepStrictEqual(exits.map(Exit.isSuccess), [true, false, true])
        assertDies(exits[1]!, "free_check")
        assert.deepStrictEqual((yield* backend.units)["apple"], { free: 2, held: 8 })
        const nowhere = yield* Effect.exit(send(journal, "d", "k", deposit(1n, { take: { zebra: 1 } }), reckless))
        assertDies(nowhere, "zebra")
      })
  )

  scenario("when a unit finds out in its flush which counters it needs, then it gets them in the next one", (backend) =>
    Effect.gen(function* () {
      const journal = yield* startJournal(yield* backend.open)
      const cell = yield* cellOf(journal, "a")
      const noted = () => (cell.state._tag === "Open" && cell.state.note !== undefined ? [cell.state.note] : [])
      const exits = yield* together<unknown>(backend, [
        send(journal, "a", "k1", deposit(1n, { note: "brick" })),
        journal.unit({
          cells: [cell],
          counters: noted,
          cause: "test",
          body: (transaction) => {
            const state = openOf(transaction.state(cell))
            return transaction.execute(cell, "k2", { _tag: "Deposit", amount: 1n, take: { [state.note!]: 0 } })
          }
        })
      ])
      assert.isTrue(
        exits.every(Exit.isSuccess),
        JSON.stringify(exits, (_, value: unknown) => String(value))
      )
      assert.strictEqual(balanceOf(cell), 2n)
    })
  )

  scenario("when a node stops, then whoever waits is told so, and nobody can begin anything", (backend) =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const journal = yield* startJournal(yield* backend.open).pipe(Scope.provide(scope))
      yield* Effect.forEach(["a", "b"], (id) => cellOf(journal, id))
      yield* backend.gate.close
      const waiting = yield* Effect.forEach(["a", "b"], (id) =>
        Effect.gen(function* () {
          const fiber = yield* Effect.forkChild(Effect.flip(send(journal, id, "k", deposit(1n))))
          for (let turns = 0; turns < 20; turns++) yield* Effect.yieldNow
          return fiber
        })
      )
      yield* Scope.close(scope, Exit.void)
      for (const fiber of waiting) assert.instanceOf(yield* Fiber.join(fiber), Unavailable)
      assert.instanceOf(yield* Effect.flip(send(journal, "a", "k", deposit(1n))), Unavailable)
    })
  )

  scenario("when a listener fails, then what is durable is answered, and the next flush goes on", (backend) =>
    Effect.gen(function* () {
      const journal = yield* startJournal(yield* backend.open)
      const heard: Array<number> = []
      journal.onCommit(() => {
        throw new Error("the listener has a bug")
      })
      journal.onCommit(({ notices }) => heard.push(notices.length))
      yield* send(journal, "a", "k1", deposit(1n, { tell: ["v", "w"] }))
      yield* send(journal, "a", "k2", deposit(1n))
      assert.deepStrictEqual(heard, [2, 0])
    })
  )

  scenario("when a change is awaited, then it is heard of, or that the actor has gone", (backend) =>
    Effect.gen(function* () {
      const journal = yield* startJournal(yield* backend.open)
      yield* send(journal, "a", "k1", deposit(1n))
      yield* journal.changed("Account", "a", 0)
      const first = yield* Effect.forkChild(journal.changed("Account", "a", 1))
      const second = yield* Effect.forkChild(journal.changed("Account", "a", 2))
      yield* send(journal, "a", "k2", deposit(1n))
      yield* Fiber.join(first)
      assert.isUndefined(second.pollUnsafe())
      yield* journal.release(new Set([1]))
      yield* Fiber.join(second)
    })
  )

  scenario(
    "when a bucket was elsewhere meanwhile, then its actors are read again, also those which are in use",
    (backend) =>
      Effect.gen(function* () {
        const [one, other] = [yield* startJournal(yield* backend.open), yield* startJournal(yield* backend.open)]
        const cell = yield* cellOf(one, "a")
        yield* send(one, "a", "k1", deposit(1n))
        yield* send(other, "a", "k2", deposit(1n))
        assert.strictEqual(balanceOf(yield* cellOf(one, "a")), 1n)
        yield* one.release(new Set([2]))
        assert.strictEqual(balanceOf(yield* cellOf(one, "a")), 1n)
        cell.pending++
        yield* one.release(new Set([1]))
        const again = yield* cellOf(one, "a")
        cell.pending--
        assert.strictEqual(again, cell)
        assert.strictEqual(balanceOf(again), 2n)
        yield* send(other, "a", "k3", deposit(1n))
        yield* one.release(new Set([1]))
        assert.strictEqual(balanceOf(yield* cellOf(one, "a")), 3n)
      })
  )

  scenario("when a timer is set and cleared by units of one flush, then the last one counts", (backend) =>
    Effect.gen(function* () {
      const journal = yield* startJournal(yield* backend.open)
      const wakeAt = (second: number) => DateTime.makeUnsafe(`2030-01-01T00:00:0${second}Z`)
      const seen: Array<string> = []
      journal.onCommit(({ cleared, timers }) => {
        seen.push(
          ...timers.map((row) => `set ${String(row["actor_id"])}`),
          ...cleared.map((row) => `clear ${String(row["actor_id"])}`)
        )
      })
      yield* cellOf(journal, "a")
      yield* together(backend, [
        send(journal, "a", "k1", { _tag: "SetWake", wakeAt: wakeAt(1) }),
        send(journal, "a", "k2", { _tag: "SetWake" }),
        send(journal, "b", "k1", { _tag: "SetWake", wakeAt: wakeAt(1) }),
        send(journal, "b", "k2", { _tag: "SetWake", wakeAt: wakeAt(2) })
      ])
      const rows = yield* backend.rows("runtime.timers")
      assert.deepStrictEqual(
        rows.map((row) => row["actor_id"]),
        ["b"]
      )
      assert.strictEqual(new Date(String(rows[0]!["due_at"])).getTime(), wakeAt(2).epochMilliseconds)
      yield* send(journal, "b", "k3", { _tag: "SetWake" })
      assert.deepStrictEqual(yield* backend.rows("runtime.timers"), [])
      assert.strictEqual(seen.at(-1), "clear b")
    })
  )

  scenario("when actors of two kinds share an id, then they are loaded together and kept apart", (backend) =>
    Effect.gen(function* () {
      const store = yield* backend.open
      const journal = yield* startJournal(store)
      const [a, w] = yield* journal.cells([account, watcher], "same", 1)
      yield* journal.unit({
        cells: [a, w],
        cause: "test",
        body: ({ execute }) => {
          execute(a, "k", deposit(5n))
          execute(w, "k", { _tag: "Hear", from: "x", amount: 7n })
        }
      })
      const [b, v] = yield* (yield* startJournal(store)).cells([account, watcher], "same", 1)
      assert.strictEqual(balanceOf(b), 5n)
      assert.deepStrictEqual(v.state, { _tag: "Watching", heard: [{ from: "x", amount: 7n }] })
    })
  )

  scenario("when the database comes back after a while, then what waited is done", (backend) =>
    Effect.gen(function* () {
      const journal = yield* startJournal(yield* backend.open)
      yield* cellOf(journal, "a")
      yield* backend.setAway(true)
      const fiber = yield* Effect.forkChild(send(journal, "a", "k", deposit(5n)))
      const before = yield* backend.flushes
      yield* eventually(backend.flushes, (flushes) => flushes > before || flushes > 0).pipe(Effect.timeout("5 seconds"))
      yield* Effect.sleep("60 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* backend.setAway(false)
      assert.strictEqual(balanceOf(yield* Fiber.join(fiber)), 5n)
    })
  )
}
