import { spawn } from "node:child_process"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as PgConnection from "@effect/sql-pg/PgConnection"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, type Redacted, Scope } from "effect"
import { EmbeddedPostgres } from "../../src/postgres/EmbeddedPostgres.ts"
import { serverAccount } from "../../src/postgres/PostgresPrograms.ts"

/** Ends the server which a test has left running in it. */
const temporaryDirectory = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), `cartwright-test-${process.pid}-`))),
  (directory) =>
    Effect.flatMap(postmaster(directory), (pid) =>
      Effect.promise(async () => {
        if (alive(pid)) process.kill(pid, "SIGQUIT")
        await rm(directory, { recursive: true, force: true, maxRetries: 20 })
      })
    )
)

/** A server with little memory, since several of them run beside that of the test run. */
const serverIn = (directory: string, port = 0) =>
  EmbeddedPostgres.make({ directory, port, settings: { shared_buffers: "8MB" } })

const connect = (url: Redacted.Redacted) => PgConnection.make({ url })

const query = (url: Redacted.Redacted, statement: string) =>
  Effect.flatMap(connect(url), (connection) => connection.query(statement)).pipe(
    Effect.map(({ rows }) => rows),
    Effect.scoped
  )

const postmaster = (directory: string) =>
  Effect.promise(async () => {
    const text = await readFile(join(directory, "data", "postmaster.pid"), "utf8").catch(() => "")
    return Number.parseInt(text, 10)
  })

const alive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

describe("given an empty directory", () => {
  it.live("when a server is started, then it runs with its defaults, and stops with its scope", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const url = yield* Effect.gen(function* () {
        const server = yield* EmbeddedPostgres.make({ directory, settings: { work_mem: "5MB" } })
        assert.isFalse(server.adopted)
        const settings = yield* query(
          server.url,
          `select name, current_setting(name) as value from pg_settings where name in
            ('fsync', 'shared_buffers', 'max_connections', 'shared_preload_libraries', 'work_mem', 'listen_addresses')`
        )
        assert.deepStrictEqual(Object.fromEntries(settings.map(({ name, value }) => [name, value])), {
          fsync: "on",
          listen_addresses: "127.0.0.1",
          max_connections: "200",
          shared_buffers: "128MB",
          shared_preload_libraries: "pg_stat_statements",
          work_mem: "5MB"
        })
        const [{ version } = {}] = yield* query(server.url, "select current_setting('server_version_num') as version")
        assert.match(String(version), /^18/)
        const path = `${server.socketDirectory}/.s.PGSQL.${server.port}`
        yield* PgConnection.make({ url: server.url, path }).pipe(Effect.scoped)
        return server.url
      }).pipe(Effect.scoped)
      yield* Effect.flip(query(url, "select 1"))
    })
  )

  it.live("when the port asked for is taken, then the refusal names it", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const blocker = yield* Effect.acquireRelease(
        Effect.callback<ReturnType<typeof createServer>>((resume) => {
          const server = createServer().listen(0, "127.0.0.1", () => {
            resume(Effect.succeed(server))
          })
        }),
        (server) => Effect.sync(() => server.close())
      )
      const address = blocker.address()
      const port = typeof address === "object" && address !== null ? address.port : 0
      const error = yield* Effect.flip(serverIn(directory, port))
      assert.strictEqual(error.reason, "PortInUse")
      assert.include(error.message, String(port))
    })
  )

  it.live("when two programs start at once, then they share one server", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const servers = yield* Effect.all([serverIn(directory), serverIn(directory)], { concurrency: 2 })
      assert.strictEqual(servers[0].port, servers[1].port)
      assert.strictEqual(servers.filter(({ adopted }) => adopted).length, 1)
    })
  )
})

describe("given a running server", () => {
  it.live("when it is started again, then the running one is taken over and goes on after that", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const first = yield* serverIn(directory)
      const second = yield* serverIn(directory).pipe(Effect.scoped)
      assert.isTrue(second.adopted)
      assert.strictEqual(second.port, first.port)
      assert.deepStrictEqual(yield* query(first.url, "select 1 as one"), [{ one: 1 }])
    })
  )

  it.live("when the last one to use it is asked to stop it, then it stops, although it was taken over", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const first = yield* serverIn(directory)
      const settings = { directory, settings: { shared_buffers: "8MB" }, stopOnClose: "ifLast" } as const
      const guest = yield* Scope.make()
      yield* connect(first.url).pipe(Scope.provide(guest))
      yield* EmbeddedPostgres.make(settings).pipe(Effect.scoped)
      assert.deepStrictEqual(yield* query(first.url, "select 1 as one"), [{ one: 1 }])
      yield* Scope.close(guest, Exit.void)
      yield* EmbeddedPostgres.make(settings).pipe(Effect.scoped)
      yield* Effect.flip(query(first.url, "select 1"))
    })
  )

  it.live("when somebody else is connected as its starter leaves, then it goes on", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const starter = yield* Scope.make()
      const server = yield* serverIn(directory).pipe(Scope.provide(starter))
      const guest = yield* connect(server.url)
      yield* Scope.close(starter, Exit.void)
      assert.deepStrictEqual((yield* guest.query("select 1 as one")).rows, [{ one: 1 }])
    })
  )

  it.live("when it is restarted, then connections break and committed rows are there, on the same port", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const server = yield* serverIn(directory)
      const connection = yield* connect(server.url)
      yield* connection.query("create table kept as select 7 as n")
      yield* server.restart
      yield* Effect.flip(connection.query("select 1"))
      assert.deepStrictEqual(yield* query(server.url, "select n from kept"), [{ n: 7 }])
    })
  )

  it.live("when it is killed, then the next start recovers", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const killed = yield* EmbeddedPostgres.make({
        directory,
        settings: { shared_buffers: "8MB" },
        stopOnClose: false
      })
      yield* query(killed.url, "create table kept as select 7 as n")
      process.kill(yield* postmaster(directory), "SIGKILL")
      const server = yield* serverIn(directory)
      assert.isFalse(server.adopted)
      assert.deepStrictEqual(yield* query(server.url, "select n from kept"), [{ n: 7 }])
    })
  )

  it.live(
    "when its pid file names some other process of its user, as after a reboot, then it starts all the same",
    () =>
      Effect.gen(function* () {
        const directory = yield* temporaryDirectory
        yield* serverIn(directory).pipe(Effect.scoped)
        const account = yield* serverAccount
        const stranger = yield* Effect.acquireRelease(
          Effect.sync(() => spawn("/bin/sleep", ["60"], { stdio: "ignore", cwd: tmpdir(), ...account })),
          (child) => Effect.sync(() => child.kill())
        )
        const pidFile = join(directory, "data", "postmaster.pid")
        yield* Effect.promise(() => writeFile(pidFile, `${stranger.pid}\n${directory}/data\n1\n1\n\n\n\nready\n`))
        const server = yield* serverIn(directory)
        assert.isFalse(server.adopted)
      })
  )

  it.live("when a database is made and dropped, then it is empty, and gone, whoever is connected", () =>
    Effect.gen(function* () {
      const server = yield* serverIn(yield* temporaryDirectory)
      const url = yield* server.createDatabase("fresh")
      const guest = yield* connect(url)
      assert.deepStrictEqual((yield* guest.query("select current_database() as name")).rows, [{ name: "fresh" }])
      yield* server.dropDatabase("fresh")
      yield* Effect.flip(guest.query("select 1"))
      yield* Effect.flip(query(url, "select 1"))
    })
  )
})
