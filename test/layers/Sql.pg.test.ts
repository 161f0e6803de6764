import * as PgConnection from "@effect/sql-pg/PgConnection"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Redacted } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import * as Sql from "../../src/layers/Sql.ts"
import { freshDatabase } from "../fixtures/Postgres.ts"

const settingsFor = (url: string): Sql.SqlSettings => ({
  DATABASE_URL: Redacted.make(url),
  DATABASE_POOL_SIZE: 4,
  DATABASE_CONNECT_TIMEOUT: Duration.seconds(2),
  DATABASE_STARTUP_WAIT: Duration.millis(600),
  DATABASE_STATEMENT_TIMEOUT: Duration.seconds(7),
  JOURNAL_IDLE_IN_TRANSACTION: Duration.seconds(3)
})

const refusal = (url: string) =>
  Effect.map(
    Effect.flip(Effect.void.pipe(Effect.provide(Sql.layer(settingsFor(url))))),
    ({ message, reason }) => `${reason}: ${message}`
  )

/** The test's database with one thing changed. */
const changed = (change: (url: URL) => void) =>
  Effect.map(freshDatabase, (redacted) => {
    const url = new URL(Redacted.value(redacted))
    change(url)
    return url
  })

describe("given a database", () => {
  it.live("when a node uses it, then frozen transactions and long statements are ended by Postgres", () =>
    Effect.gen(function* () {
      const url = yield* freshDatabase
      const rows = yield* Effect.gen(function* () {
        const sql = yield* SqlClient
        return yield* sql`select current_setting('statement_timeout') as statement, current_setting('idle_in_transaction_session_timeout') as idle`
      }).pipe(Effect.provide(Sql.layer(settingsFor(Redacted.value(url)))))
      assert.deepStrictEqual(rows, [{ statement: "7s", idle: "3s" }])
    }).pipe(Effect.scoped)
  )

  it.live("when it waits for migrations which nobody runs, then the node says which, after a while (REQ-OPS-01)", () =>
    Effect.gen(function* () {
      const settings = settingsFor(Redacted.value(yield* freshDatabase))
      const error = yield* Effect.flip(Sql.awaitMigrations(settings).pipe(Effect.provide(Sql.layer(settings))))
      assert.match(
        error.message,
        /^The database waits for 0001_create_catalog, .*cluster_runners. Run `cartwright migrate`/
      )
    }).pipe(Effect.scoped)
  )

  it.live("when somebody else migrates it meanwhile, then a waiting node goes on", () =>
    Effect.gen(function* () {
      const settings = {
        ...settingsFor(Redacted.value(yield* freshDatabase)),
        DATABASE_STARTUP_WAIT: Duration.seconds(10)
      }
      yield* Effect.all(
        [
          Sql.awaitMigrations(settings).pipe(Effect.provide(Sql.layer(settings))),
          Sql.migrate(settings),
          Sql.migrate(settings)
        ],
        { concurrency: "unbounded" }
      )
    }).pipe(Effect.scoped)
  )
})

describe("given an address which is wrong", () => {
  it.live("when nobody answers there, then it is waited for, and then told without the password", () =>
    Effect.gen(function* () {
      const url = yield* changed((one) => (one.port = "1"))
      const said = yield* refusal(url.href)
      assert.match(said, /^Unreachable: No database answers at 127.0.0.1:1\/test_\w+: connect ECONNREFUSED/)
      assert.notInclude(said, url.password)
    }).pipe(Effect.scoped)
  )

  it.live("when the password is wrong, then it is not tried again", () =>
    Effect.gen(function* () {
      const url = yield* changed((one) => (one.password = "hunter2"))
      const said = yield* refusal(url.href)
      assert.match(said, /^Refused: .* refuses DATABASE_URL: password authentication failed/)
      assert.notInclude(said, "hunter2")
    }).pipe(Effect.scoped)
  )

  it.live("when there is no such database, then it says so", () =>
    Effect.gen(function* () {
      const url = yield* changed((one) => (one.pathname = "/nowhere"))
      assert.match(yield* refusal(url.href), /^Refused: .* database "nowhere" does not exist/)
    }).pipe(Effect.scoped)
  )
})

describe("given a pooler in between", () => {
  type Client = Pick<PgConnection.PgConnection, "query">

  /** Clients of a pooler which gives each transaction one of `size` connections: the last one used, or each in turn. */
  const pooler = Effect.fnUntraced(function* (size: number, inTurn: boolean) {
    const url = yield* freshDatabase
    const idle = yield* Effect.all(Array.from({ length: size }, () => PgConnection.make({ url })))
    const client = (): Client => {
      let held: PgConnection.PgConnection | undefined
      return {
        query: (sql, parameters, prepare) =>
          Effect.gen(function* () {
            const connection = held ?? (inTurn ? idle.shift() : idle.pop())
            if (connection === undefined) return yield* Effect.never
            if (sql === "begin") held = connection
            const result = yield* connection.query(sql, parameters, prepare)
            if (sql === "rollback" || sql === "commit") held = undefined
            if (held === undefined) idle.push(connection)
            return result
          })
      }
    }
    return yield* Sql.isDealtOut(client(), client())
  })

  for (const [size, inTurn] of [
    [1, false],
    [2, false],
    [5, false],
    [2, true],
    [3, true]
  ] as const) {
    it.live(`when it deals ${size} connections out by transaction${inTurn ? ", in turn" : ""}, then that is seen`, () =>
      Effect.gen(function* () {
        assert.isTrue(yield* pooler(size, inTurn))
      }).pipe(Effect.scoped)
    )
  }

  it.live("when each client keeps its connection, then that is good", () =>
    Effect.gen(function* () {
      const url = yield* freshDatabase
      const connect = PgConnection.make({ url })
      assert.isFalse(yield* Sql.isDealtOut(yield* connect, yield* connect))
    }).pipe(Effect.scoped)
  )
})
