import { randomBytes } from "node:crypto"
import { chown, mkdir, readFile, realpath, rename, rm, stat, writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import { join } from "node:path"
import * as PgConnection from "@effect/sql-pg/PgConnection"
import { Context, Effect, Layer, Redacted, Schedule, type Scope } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import { EmbeddedPostgresError } from "./EmbeddedPostgresError.ts"
import { type Account, locate, type Programs, run, serverAccount } from "./PostgresPrograms.ts"

export interface Options {
  /** Holds the data, the log and the socket. Made when it is missing; nothing outside of it is written. */
  readonly directory: string
  /** 0 or absent takes any free port. A server which runs already keeps the port it has. */
  readonly port?: number
  /** Server settings, added to the defaults below or in place of them. */
  readonly settings?: Readonly<Record<string, string>>
  /**
   * Whether the server stops when the scope closes: it does when it was started here and nobody else is connected. With `ifLast`, also
   * one that was taken over.
   */
  readonly stopOnClose?: boolean | "ifLast"
}

/**
 * A real Postgres 18 out of npm packages, as a child of nobody: it outlives a crash of the program, and the next start
 * takes it over. Its own Ctrl-C never reaches it, so a draining node still has its database.
 */
export class EmbeddedPostgres extends Context.Service<
  EmbeddedPostgres,
  {
    /** The connection string of the database `cartwright`. Holds the password, hence redacted. */
    readonly url: Redacted.Redacted
    readonly port: number
    /** Whether the server was running already. */
    readonly adopted: boolean
    /** The folder of its Unix socket; absent where the path would be too long for one. */
    readonly socketDirectory: string | undefined
    /** The same server, another database. */
    readonly urlOf: (database: string) => Redacted.Redacted
    /** Makes an empty database and gives its connection string. */
    readonly createDatabase: (name: string) => Effect.Effect<Redacted.Redacted, EmbeddedPostgresError>
    /** Drops a database and throws out whoever is connected to it. */
    readonly dropDatabase: (name: string) => Effect.Effect<void, EmbeddedPostgresError>
    /** Stops it without a goodbye (connections break, as in a crash) and starts it on the same port. */
    readonly restart: Effect.Effect<void, EmbeddedPostgresError>
  }
>()("cartwright/postgres/EmbeddedPostgres") {
  /** Starts the server, or takes over the one which runs in `directory`. */
  static readonly make = Effect.fn("EmbeddedPostgres.make")(function* (
    options: Options
  ): Effect.fn.Return<EmbeddedPostgres["Service"], EmbeddedPostgresError, Scope.Scope> {
    const instance = yield* prepare(options)
    const running = yield* Effect.acquireRelease(obtain(instance, options.port ?? 0), (server) =>
      options.stopOnClose === false || (server.adopted && options.stopOnClose !== "ifLast")
        ? Effect.void
        : stopUnlessUsed(instance, server)
    )
    const urlOf = (database: string) => instance.urlOf(running.port, database)
    const createDatabase = Effect.fn("EmbeddedPostgres.createDatabase")(function* (name: string) {
      yield* administer(instance, running.port, `create database ${quoted(name)}`)
      return urlOf(name)
    })
    yield* administer(instance, running.port, `select from pg_database where datname = '${userName}'`).pipe(
      Effect.filterOrElse(
        (found) => found.length > 0,
        () => createDatabase(userName)
      ),
      // Somebody else is just making it.
      Effect.retry(Schedule.spaced("100 millis").pipe(Schedule.upTo({ times: 20 })))
    )
    return EmbeddedPostgres.of({
      url: urlOf(userName),
      port: running.port,
      adopted: running.adopted,
      socketDirectory: instance.socketDirectory,
      urlOf,
      createDatabase,
      dropDatabase: Effect.fn("EmbeddedPostgres.dropDatabase")(function* (name: string) {
        yield* administer(instance, running.port, `drop database if exists ${quoted(name)} with (force)`)
      }),
      restart: Effect.andThen(stop(instance, "immediate"), obtain(instance, running.port)).pipe(
        Effect.asVoid,
        Effect.withSpan("EmbeddedPostgres.restart")
      )
    })
  })

  static readonly layer = (options: Options): Layer.Layer<EmbeddedPostgres, EmbeddedPostgresError> =>
    Layer.effect(EmbeddedPostgres, EmbeddedPostgres.make(options))
}

/** Of the database superuser, and of the database which the program uses. */
const userName = "cartwright"
const majorVersion = "18"

const defaultSettings: Readonly<Record<string, string>> = {
  fsync: "on",
  shared_buffers: "128MB",
  max_connections: "200",
  shared_preload_libraries: "pg_stat_statements"
}

/** Long enough for a recovery after a crash under load. */
const startWithin = "60 seconds"
const stopWithin = "30 seconds"
/** How long a server that is starting, stopping or dead but not buried may be in our way. */
const contendFor = "15 seconds"

/** A data folder and what is needed to run it. */
interface Instance {
  readonly programs: Programs
  readonly account: Account | undefined
  readonly directory: string
  readonly data: string
  readonly log: string
  readonly socketDirectory: string | undefined
  readonly settings: Readonly<Record<string, string>>
  readonly urlOf: (port: number, database: string) => Redacted.Redacted
}

interface Running {
  readonly port: number
  readonly adopted: boolean
}

// ---- before the start: folders, data

const prepare = Effect.fnUntraced(function* (options: Options) {
  const programs = yield* locate
  const account = yield* serverAccount
  const directory = yield* files(`The folder ${options.directory} cannot be made`, async () => {
    await mkdir(options.directory, { recursive: true })
    const real = await realpath(options.directory)
    await own(real, account)
    return real
  })
  const socket = join(directory, "socket")
  // An address of a Unix socket has room for 107 bytes, and `.s.PGSQL.65535` follows; Windows clients use TCP.
  const socketDirectory =
    process.platform === "win32" || Buffer.byteLength(socket) > 90 || socket.includes(",") ? undefined : socket
  if (socketDirectory !== undefined) {
    yield* files(`The folder ${socketDirectory} cannot be made`, async () => {
      await mkdir(socketDirectory, { recursive: true, mode: 0o700 })
      await own(socketDirectory, account)
    })
  }
  const data = join(directory, "data")
  yield* initialise({ programs, account, directory, data })
  const password = yield* files(`The password in ${data} cannot be read`, () =>
    readFile(join(data, passwordFile), "utf8")
  )
  return {
    programs,
    account,
    directory,
    data,
    log: join(directory, "postgres.log"),
    socketDirectory,
    settings: { ...defaultSettings, ...options.settings },
    urlOf: (port, database) => Redacted.make(`postgres://${userName}:${password}@127.0.0.1:${port}/${database}`)
  } satisfies Instance
})

const passwordFile = "cartwright.password"
const settingsFile = "cartwright.conf"

/**
 * Makes the data folder unless it is there. It is made under another name and then renamed, so that an interrupted
 * initdb leaves nothing which looks finished, and of two programs starting at once one finds the other's.
 *
 * The server has a password although it listens on loopback only: a database superuser may run programs, and whoever
 * else has an account on this machine should not be one.
 */
const initialise = Effect.fnUntraced(function* (
  instance: Pick<Instance, "account" | "data" | "directory" | "programs">
): Effect.fn.Return<void, EmbeddedPostgresError> {
  const { account, data, directory, programs } = instance
  const version = yield* readOptional(join(data, "PG_VERSION"))
  if (version !== undefined) {
    if (version.trim() === majorVersion) return
    return yield* new EmbeddedPostgresError({
      reason: "OtherVersion",
      message:
        `${data} was written by Postgres ${version.trim()}, and this is Postgres ${majorVersion}. ` +
        "Move the folder away, or point DATABASE_URL to a server of its version."
    })
  }
  const draft = `${data}-${randomBytes(6).toString("hex")}`
  const password = `${draft}.password`
  yield* Effect.gen(function* () {
    yield* files(`${password} cannot be written`, async () => {
      await writeFile(password, randomBytes(24).toString("base64url"), { mode: 0o600 })
      await own(password, account)
    })
    const { code, output } = yield* run(
      programs.initdb,
      [
        "-D",
        draft,
        "--no-instructions",
        `--username=${userName}`,
        "--auth=scram-sha-256",
        `--pwfile=${password}`,
        "--encoding=UTF8",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--locale=C"
      ],
      { cwd: directory, account, within: startWithin }
    )
    if (code !== 0) return yield* new EmbeddedPostgresError({ reason: "NotStarted", message: `initdb: ${output}` })
    yield* files(`${draft} cannot become ${data}`, async () => {
      await rename(password, join(draft, passwordFile))
      await writeFile(join(draft, "postgresql.conf"), `\ninclude_if_exists = '${settingsFile}'\n`, { flag: "a" })
      await rename(draft, data).catch(async (cause: unknown) => {
        if ((await stat(join(data, "PG_VERSION")).catch(() => undefined)) === undefined) throw cause
      })
    })
  }).pipe(
    Effect.ensuring(
      Effect.promise(async () => {
        await rm(draft, { recursive: true, force: true })
        await rm(password, { force: true })
      })
    )
  )
})

// ---- the start

/** Takes over the server which runs on the data, or starts one; waits out one that comes up or goes down meanwhile. */
const obtain = (instance: Instance, port: number): Effect.Effect<Running, EmbeddedPostgresError> =>
  adopt(instance).pipe(
    Effect.filterOrElse(
      (adopted) => adopted !== undefined,
      () => start(instance, port)
    ),
    Effect.retry({
      while: (error) => error.reason === "DataInUse",
      schedule: Schedule.spaced("200 millis").pipe(Schedule.upTo({ duration: contendFor }))
    })
  )

/**
 * The running server, if there is one. What its pid file says is not believed: after a reboot, or in a container with
 * a kept volume, the pid in it is some other process. A connection proves that a server runs, and on which data.
 */
const adopt = Effect.fnUntraced(function* (
  instance: Instance
): Effect.fn.Return<Running | undefined, EmbeddedPostgresError> {
  const pidFile = join(instance.data, "postmaster.pid")
  const text = yield* readOptional(pidFile)
  if (text === undefined) return undefined
  const [pid, , , port] = text.split("\n").map(Number)
  if (pid === undefined || !(pid > 0) || port === undefined || !(port > 0)) {
    return yield* new EmbeddedPostgresError({
      reason: "DataInUse",
      message: `A Postgres on ${instance.data} is just starting, or was cut off at that. If none runs, remove ${pidFile}.`
    })
  }
  const found = yield* query(instance, port, "show data_directory").pipe(
    Effect.map((rows) => rows[0]?.["data_directory"]),
    Effect.orElseSucceed(() => undefined)
  )
  if (found === instance.data) return { port, adopted: true }
  if (yield* isServerOf(instance, pid)) {
    return yield* new EmbeddedPostgresError({
      reason: "DataInUse",
      message: `Process ${pid} is a Postgres on ${instance.data} and does not answer on port ${port}.`
    })
  }
  // Postgres refuses to start while the pid in the file belongs to any live process of the same user. A pid which no
  // system gives out lets it pass that check and keep the next one, for shared memory still in use by orphans of a
  // killed server. Removing the file would skip both.
  yield* files(`${pidFile} cannot be written`, async () => {
    if ((await readFile(pidFile, "utf8")) === text) await writeFile(pidFile, text.replace(String(pid), "2147483647"))
  })
  return undefined
})

const start = Effect.fnUntraced(function* (
  instance: Instance,
  askedPort: number
): Effect.fn.Return<Running, EmbeddedPostgresError> {
  const port = askedPort === 0 ? yield* freePort : askedPort
  const written = yield* Effect.promise(async () => {
    await writeFile(join(instance.data, settingsFile), settingsText(instance, port))
    return stat(instance.log).then(
      ({ size }) => size,
      () => 0
    )
  })
  const { code, output } = yield* run(
    instance.programs.pg_ctl,
    ["start", "-w", "-t", seconds(startWithin), "-D", instance.data, "-l", instance.log],
    { cwd: instance.directory, account: instance.account, within: "70 seconds" }
  )
  if (code === 0) return { port, adopted: false }
  const said = ((yield* readOptional(instance.log)) ?? "").slice(written).slice(-2000).trim() || output
  const refused = (reason: EmbeddedPostgresError["reason"], message: string) =>
    new EmbeddedPostgresError({ reason, message })
  if (/could not bind|could not create any TCP\/IP sockets/.test(said)) {
    return yield* askedPort === 0
      ? refused("DataInUse", `Port ${port} was taken meanwhile.`)
      : refused("PortInUse", `Port ${port} is taken by another program. Give another port, or 0 for any free one.`)
  }
  if (/lock file ".*" already exists|pre-existing shared memory block/.test(said)) {
    return yield* refused("DataInUse", `Another Postgres holds ${instance.data}:\n${said}`)
  }
  return yield* refused("NotStarted", `Postgres does not start in ${instance.data}:\n${said}`)
})

/** Settings stand in a file, not in `pg_ctl -o`: those options pass through a shell, which each system quotes its way. */
const settingsText = (instance: Instance, port: number): string =>
  Object.entries({
    listen_addresses: "127.0.0.1",
    port: String(port),
    unix_socket_directories: instance.socketDirectory ?? "",
    ...instance.settings
  })
    .map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`)
    .join("")

// ---- the end

const stopUnlessUsed = (instance: Instance, running: Running): Effect.Effect<void> =>
  Effect.gen(function* () {
    // Connections which were closed a moment ago are still counted for some milliseconds.
    const others = yield* administer(
      instance,
      running.port,
      "select from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
    ).pipe(
      Effect.repeat({
        until: (rows) => rows.length === 0,
        schedule: Schedule.spaced("100 millis").pipe(Schedule.upTo({ duration: "2 seconds" }))
      })
    )
    if (others.length === 0) return yield* stop(instance, "fast")
    return yield* Effect.logInfo(`Postgres on port ${running.port} goes on: ${others.length} others are connected.`)
  }).pipe(
    Effect.catch((error) => Effect.logWarning(`Postgres on port ${running.port} was not stopped: ${error.message}`))
  )

/** Stopping a server which does not run is success. */
const stop = Effect.fnUntraced(function* (
  instance: Instance,
  mode: "fast" | "immediate"
): Effect.fn.Return<void, EmbeddedPostgresError> {
  const { code, output } = yield* run(
    instance.programs.pg_ctl,
    ["stop", "-w", "-t", seconds(stopWithin), "-m", mode, "-D", instance.data],
    { cwd: instance.directory, account: instance.account, within: "40 seconds" }
  )
  if (code === 0) return
  const [pid] = (yield* readOptional(join(instance.data, "postmaster.pid")))?.split("\n") ?? []
  if (pid !== undefined && (yield* isServerOf(instance, Number(pid)))) {
    return yield* new EmbeddedPostgresError({ reason: "NotStopped", message: `Postgres does not stop: ${output}` })
  }
})

// ---- helpers

/** Runs one statement on a connection of its own in the database `postgres`, which nobody drops. */
const query = (
  instance: Instance,
  port: number,
  statement: string
): Effect.Effect<ReadonlyArray<PgConnection.Row>, SqlError> =>
  Effect.flatMap(
    PgConnection.make({
      url: instance.urlOf(port, "postgres"),
      applicationName: "cartwright-embedded",
      connectTimeout: "5 seconds"
    }),
    (connection) => connection.query(statement, [], false)
  ).pipe(
    Effect.map(({ rows }) => rows),
    Effect.scoped
  )

const administer = (instance: Instance, port: number, statement: string) =>
  query(instance, port, statement).pipe(
    Effect.mapError(
      (error) =>
        new EmbeddedPostgresError({
          reason: "Unreachable",
          message: `Postgres on port ${port} failed at \`${statement}\`: ${String(error.reason.cause)}`
        })
    )
  )

/** Whether the process lives and is the server of this data. Where that cannot be found out, a live one counts as it. */
const isServerOf = Effect.fnUntraced(function* (instance: Instance, pid: number) {
  const alive = yield* Effect.sync(() => {
    try {
      return process.kill(pid, 0)
    } catch {
      return false
    }
  })
  if (!alive || process.platform === "win32") return alive
  const commandLine =
    process.platform === "linux"
      ? // Empty for a dead process whose parent has not asked for its exit code.
        yield* readOptional(`/proc/${pid}/cmdline`)
      : yield* run("/bin/ps", ["-p", String(pid), "-o", "args="], {
          cwd: instance.directory,
          account: undefined,
          within: "5 seconds"
        }).pipe(
          Effect.map(({ output }) => output),
          Effect.orElseSucceed(() => undefined)
        )
  return commandLine !== undefined && commandLine.includes("postgres") && commandLine.includes(instance.data)
})

const freePort: Effect.Effect<number> = Effect.callback((resume) => {
  const server = createServer()
  server.once("error", (cause) => {
    resume(Effect.die(cause))
  })
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => {
      resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
    })
  })
})

const own = async (path: string, account: Account | undefined): Promise<void> => {
  if (account !== undefined) await chown(path, account.uid, account.gid)
}

const readOptional = (path: string): Effect.Effect<string | undefined> =>
  Effect.promise(() => readFile(path, "utf8").catch(() => undefined))

const files = <A>(problem: string, evaluate: () => Promise<A>): Effect.Effect<A, EmbeddedPostgresError> =>
  Effect.tryPromise({
    try: evaluate,
    catch: (cause) => new EmbeddedPostgresError({ reason: "NotAccessible", message: `${problem}: ${String(cause)}` })
  })

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`

const seconds = (duration: `${number} seconds`): string => duration.replace(" seconds", "")
