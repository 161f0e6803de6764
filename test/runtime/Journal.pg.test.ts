import { assert, describe, it } from "@effect/vitest"
import { Context, DateTime, Effect, Fiber, Layer, type Scope } from "effect"
import { Store } from "../../src/runtime/Store.ts"
import * as PgClient from "@effect/sql-pg/PgClient"
import { eventually } from "../fixtures/Eventually.ts"
import { onPostgres, type PostgresBackend, storeLayer } from "./Backends.ts"
import { balanceOf, cellOf, deposit, range, scenarios, send, startJournal } from "./JournalScenarios.ts"

describe("given a journal on Postgres", () => {
  scenarios((name, body) => it.live(name, () => Effect.flatMap(onPostgres, body)))
})

describe("given a journal whose connection is cut", () => {
  /** Lets somebody else hold rows while `inside` is at work. */
  const holding = <A, E, R>(backend: PostgresBackend, sql: string, inside: Effect.Effect<A, E, R>) =>
    backend.sql.withTransaction(Effect.andThen(backend.sql.unsafe(sql), inside))

  const waiting = (backend: PostgresBackend, event: string) =>
    eventually(
      backend.sql<{ pid: number }>`
        select pid from pg_stat_activity where datname = current_database() and application_name = 'cartwright-journal' and wait_event_type = ${event} and state <> 'idle'`,
      (rows) => rows.length > 0
    )

  const cut = ({ sql }: PostgresBackend) =>
    sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'cartwright-journal'`

  it.live("when that happens in the middle of a flush, then it is done once, and answered", () =>
    Effect.gen(function* () {
      const backend = yield* onPostgres
      const journal = yield* startJournal(yield* backend.open)
      yield* send(journal, "a", "k0", deposit(1n))
      const fiber = yield* holding(
        backend,
        "select 1 from toy.accounts where id = 'a' for update",
        Effect.gen(function* () {
          const sent = yield* Effect.forkChild(
            Effect.forEach(range(5), (index) => send(journal, "a", `k${index + 1}`, deposit(1n)), {
              concurrency: "unbounded"
            })
          )
          yield* waiting(backend, "Lock")
          yield* cut(backend)
          yield* Effect.sleep("50 millis")
          return sent
        })
      )
      const answers = yield* Fiber.join(fiber)
      assert.deepStrictEqual(
        answers.map(({ version }) => version),
        [2, 3, 4, 5, 6]
      )
      assert.strictEqual(Number((yield* backend.rows("toy.accounts"))[0]!["balance"]), 6)
      assert.strictEqual((yield* backend.rows("runtime.history")).length, 6)
    })
  )

  it.live("when that happens while it waits for counters, then they are taken once", () =>
    Effect.gen(function* () {
      const backend = yield* onPostgres
      const journal = yield* startJournal(yield* backend.open)
      const fiber = yield* holding(
        backend,
        "select 1 from toy.bins where item = 'apple' for update",
        Effect.gen(function* () {
          const sent = yield* Effect.forkChild(send(journal, "a", "k", deposit(1n, { take: { apple: 3 } })))
          yield* waiting(backend, "Lock")
          yield* cut(backend)
          yield* Effect.sleep("50 millis")
          return sent
        })
      )
      assert.strictEqual((yield* Fiber.join(fiber)).version, 1)
      assert.deepStrictEqual((yield* backend.units)["apple"], { free: 7, held: 3 })
    })
  )

  it.live("when that happens again and again under load, then every command is done once", () =>
    Effect.gen(function* () {
      const backend = yield* onPostgres
      const journal = yield* startJournal(yield* backend.open)
      const cutting = yield* Effect.forkChild(Effect.forever(Effect.andThen(Effect.sleep("30 millis"), cut(backend))))
      yield* Effect.forEach(
        range(400),
        (index) =>
          send(journal, `a${index % 7}`, `k${index}`, deposit(1n)).pipe(
            Effect.retry({ while: ({ _tag }) => _tag === "Unavailable" })
          ),
        { concurrency: 4, discard: true }
      )
      yield* Fiber.interrupt(cutting)
      const rows = yield* backend.rows("toy.accounts")
      assert.strictEqual(
        rows.reduce((sum, row) => sum + Number(row["balance"]), 0),
        400
      )
      assert.strictEqual((yield* backend.rows("runtime.history")).length, 400)
    })
  )

  it.live("when rows are held for longer than a flush may take, then it is done once, later", () =>
    Effect.gen(function* () {
      const backend = yield* onPostgres
      const store = yield* impatient(backend)
      const journal = yield* startJournal(store)
      yield* send(journal, "a", "k0", deposit(1n))
      const fiber = yield* holding(
        backend,
        "select 1 from toy.accounts where id = 'a' for update",
        Effect.gen(function* () {
          const sent = yield* Effect.forkChild(send(journal, "a", "k", deposit(1n)))
          // Somebody else is served meanwhile, as soon as the flush is given up.
          yield* Effect.sleep("500 millis")
          assert.isUndefined(sent.pollUnsafe())
          return sent
        })
      )
      assert.deepStrictEqual([balanceOf(yield* Fiber.join(fiber))], [2n])
      assert.strictEqual((yield* backend.rows("runtime.history")).length, 2)
    })
  )

  it.live("when rows are held for longer than it is tried, then it is refused, and done once when asked again", () =>
    Effect.gen(function* () {
      const backend = yield* onPostgres
      const journal = yield* startJournal(yield* impatient(backend), { retryFor: DateTime.distance(epoch, later) })
      yield* send(journal, "a", "k0", deposit(1n))
      yield* holding(
        backend,
        "select 1 from toy.accounts where id = 'a' for update",
        Effect.gen(function* () {
          const error = yield* Effect.flip(send(journal, "a", "k", deposit(1n)))
          assert.strictEqual(error._tag, "Unavailable")
        })
      )
      const cell = yield* cellOf(journal, "a")
      const answer = yield* send(journal, "a", "k", deposit(1n))
      assert.deepStrictEqual([balanceOf(answer), answer.version, balanceOf(cell)], [2n, 2, 2n])
      assert.strictEqual((yield* backend.rows("runtime.history")).length, 2)
    })
  )
})

const epoch = DateTime.makeUnsafe(0)
const later = DateTime.makeUnsafe(300)

/** A flush may take 200 ms. */
const impatient = (backend: PostgresBackend): Effect.Effect<Store["Service"], never, Scope.Scope> =>
  Effect.map(
    Effect.orDie(
      Layer.build(storeLayer(backend.url, "200 millis").pipe(Layer.provide(PgClient.layer({ url: backend.url }))))
    ),
    (context) => Context.get(context, Store)
  )
