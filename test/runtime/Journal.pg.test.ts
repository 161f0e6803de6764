import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Fiber, Layer, type Scope } from "effect"
import { Store } from "../../src/runtime/Store.ts"
import { eventually } from "../fixtures/Eventually.ts"
import { onPostgres, type PostgresBackend, storeLayer } from "./Backends.ts"
import { balanceOf, cellOf, deposit, quiet, range, scenarios, send, startJournal } from "./JournalScenarios.ts"

describe("given a journal on Postgres", () => {
  scenarios((name, body) => it.live(name, () => quiet(Effect.flatMap(onPostgres, body))))
})

describe("given a journal whose connection is cut", () => {
  const scenario = (name: string, body: () => Effect.Effect<void, unknown, Scope.Scope>) =>
    it.live(name, () => quiet(body()))

  /** Somebody else holds rows, until they are released. */
  const hold = Effect.fnUntraced(function* ({ sql }: PostgresBackend, statement: string) {
    const held = yield* Deferred.make<void>()
    const release = yield* Deferred.make<void>()
    const fiber = yield* sql
      .unsafe(statement)
      .pipe(
        Effect.andThen(Deferred.succeed(held, undefined)),
        Effect.andThen(Deferred.await(release)),
        sql.withTransaction,
        Effect.forkChild
      )
    yield* Deferred.await(held)
    return { release: Effect.andThen(Deferred.succeed(release, undefined), Fiber.join(fiber)) }
  })

  const waiting = (backend: PostgresBackend, event: string) =>
    eventually(
      backend.sql<{ pid: number }>`
        select pid from pg_stat_activity where datname = current_database() and application_name = 'cartwright-journal' and wait_event_type = ${event} and state <> 'idle'`,
      (rows) => rows.length > 0
    )

  const cut = ({ sql }: PostgresBackend) =>
    sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'cartwright-journal'`

  scenario("when that happens in the middle of a flush, then it is done once, and answered", () =>
    Effect.gen(function* () {
      const backend = yield* onPostgres
      const journal = yield* startJournal(yield* backend.open)
      yield* send(journal, "a", "k0", deposit(1n))
      const { release } = yield* hold(backend, "select 1 from toy.accounts where id = 'a' for update")
      const fiber = yield* Effect.forkChild(
        Effect.forEach(range(5), (index) => send(journal, "a", `k${index + 1}`, deposit(1n)), {
          concurrency: "unbounded"
        })
      )
      yield* waiting(backend, "Lock")
      yield* cut(backend)
      yield* waiting(backend, "Lock")
      yield* release
      const answers = yield* Fiber.join(fiber)
      assert.deepStrictEqual(
        answers.map(({ version }) => version),
        [2, 3, 4, 5, 6]
      )
      assert.strictEqual(Number((yield* backend.rows("toy.accounts"))[0]!["balance"]), 6)
      assert.strictEqual((yield* backend.rows("runtime.history")).length, 6)
    })
  )

  scenario("when that happens while it waits for counters, then they are taken once", () =>
    Effect.gen(function* () {
      const backend = yield* onPostgres
      const journal = yield* startJournal(yield* backend.open)
      const { release } = yield* hold(backend, "select 1 from toy.bins where item = 'apple' for update")
      const fiber = yield* Effect.forkChild(send(journal, "a", "k", deposit(1n, { take: { apple: 3 } })))
      yield* waiting(backend, "Lock")
      yield* cut(backend)
      yield* waiting(backend, "Lock")
      yield* release
      assert.strictEqual((yield* Fiber.join(fiber)).version, 1)
      assert.deepStrictEqual((yield* backend.units)["apple"], { free: 7, held: 3 })
    })
  )

  scenario("when that happens again and again under load, then every command is done once", () =>
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

  scenario("when rows are held for longer than a flush may take, then it is done once, later", () =>
    Effect.gen(function* () {
      const backend = yield* onPostgres
      const store = yield* impatient(backend)
      const journal = yield* startJournal(store)
      yield* send(journal, "a", "k0", deposit(1n))
      const { release } = yield* hold(backend, "select 1 from toy.accounts where id = 'a' for update")
      const fiber = yield* Effect.forkChild(send(journal, "a", "k", deposit(1n)))
      const [first] = yield* waiting(backend, "Lock")
      // Given up, and tried again on another connection.
      yield* eventually(waiting(backend, "Lock"), (rows) => rows.some(({ pid }) => pid !== first!.pid))
      assert.isUndefined(fiber.pollUnsafe())
      yield* release
      assert.deepStrictEqual([balanceOf(yield* Fiber.join(fiber))], [2n])
      assert.strictEqual((yield* backend.rows("runtime.history")).length, 2)
    })
  )

  scenario("when rows are held for longer than it is tried, then it is refused, and done once when asked again", () =>
    Effect.gen(function* () {
      const backend = yield* onPostgres
      const journal = yield* startJournal(yield* impatient(backend), { retryFor: Duration.millis(300) })
      yield* send(journal, "a", "k0", deposit(1n))
      const { release } = yield* hold(backend, "select 1 from toy.accounts where id = 'a' for update")
      const error = yield* Effect.flip(send(journal, "a", "k", deposit(1n)))
      assert.strictEqual(error._tag, "Unavailable")
      yield* release
      const cell = yield* cellOf(journal, "a")
      const answer = yield* send(journal, "a", "k", deposit(1n))
      assert.deepStrictEqual([balanceOf(answer), answer.version, balanceOf(cell)], [2n, 2, 2n])
      assert.strictEqual((yield* backend.rows("runtime.history")).length, 2)
    })
  )
})

/** A flush may take 200 ms. */
const impatient = (backend: PostgresBackend): Effect.Effect<Store["Service"], never, Scope.Scope> =>
  Effect.map(
    Effect.orDie(
      Layer.build(storeLayer(backend.url, "200 millis").pipe(Layer.provide(PgClient.layer({ url: backend.url }))))
    ),
    (context) => Context.get(context, Store)
  )
