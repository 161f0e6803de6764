/**
 * What `npm start` brings along where nothing is given: a Postgres, a payment provider to play with, and the secrets nodes share. All of
 * it lives in one folder and outlasts the program, so that the next start, or a second node beside it, finds everything again.
 */
import { createHmac, randomBytes } from "node:crypto"
import { link, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import { join } from "node:path"
import * as PgConnection from "@effect/sql-pg/PgConnection"
import { Effect, Exit, Redacted, Schedule, Schema, Scope } from "effect"
import { EmbeddedPostgres } from "../postgres/EmbeddedPostgres.ts"
import type { LedgerFileUnusable } from "../sandbox/LedgerFile.ts"
import type { SandboxNotStarted } from "../sandbox/SandboxServer.ts"
import type { WebhookOptions } from "../sandbox/Webhooks.ts"

/** The folder cannot be used, or the sandbox has no place. `message` is for the person at the terminal. */
export class EmbeddedRefused extends Schema.TaggedError<EmbeddedRefused>()("EmbeddedRefused", {
  message: Schema.String
}) {}

/** Where everything stands unless another folder is named. */
export const defaultDirectory = ".cartwright"

/** Made once for each folder; all nodes on it share them. */
export interface Secrets {
  readonly cluster: Redacted.Redacted<string>
  readonly tokens: Redacted.Redacted<string>
}

/** Reads the folder's secrets, or makes the folder and them. Of several programs at once, all get the same ones. */
export const secrets = Effect.fn("Embedded.secrets")(function* (
  directory: string
): Effect.fn.Return<Secrets, EmbeddedRefused> {
  const path = join(directory, "secrets.json")
  const make = () => randomBytes(32).toString("base64url")
  const text = yield* file(`The folder ${directory} cannot be used`, async () => {
    await mkdir(directory, { recursive: true })
    const draft = `${path}.${randomBytes(4).toString("hex")}`
    await writeFile(draft, JSON.stringify({ cluster: make(), tokens: make() }), { mode: 0o600 })
    // Fails when there are some already: then those are the ones.
    await link(draft, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error
    })
    await rm(draft)
    return readFile(path, "utf8")
  })
  const found = yield* Effect.mapError(
    decodeSecrets(text),
    () =>
      new EmbeddedRefused({ message: `${path} is damaged; move it away, and restart all nodes, to have new secrets.` })
  )
  return { cluster: Redacted.make(found.cluster), tokens: Redacted.make(found.tokens) }
})

const decodeSecrets = Schema.decodeUnknownEffect(
  Schema.fromJsonString(Schema.Struct({ cluster: Schema.NonEmptyString, tokens: Schema.NonEmptyString }))
)

/** Starts the folder's Postgres, or takes over the one which runs; the last program to use it stops it. */
export const postgres = (directory: string, port: number | undefined) =>
  EmbeddedPostgres.make({
    directory: join(directory, "postgres"),
    stopOnClose: "ifLast",
    ...(port === undefined ? {} : { port })
  })

/** What the demo's sandbox is asked with. */
export const sandboxKey = "sk_test_cartwright"

/** What the sandbox signs its webhooks with: the same for all nodes on the folder. */
export const sandboxWebhookSecret = ({ tokens }: Secrets): string =>
  `whsec_${createHmac("sha256", Redacted.value(tokens)).update("the sandbox's webhooks").digest("hex")}`

/** What the demo charges for sending, in minor units. */
export const demoShippingRates =
  '{"USD":{"standard":"590","express":"1490"},"EUR":{"standard":"490","express":"1290"},"GBP":{"standard":"450","express":"1190"},"JPY":{"standard":"800","express":"1900"}}'

/**
 * The sandbox of the demo's database, which one of its nodes runs; when that one ends, however it ends, another goes on with the same
 * ledger on the same port. Which one is decided by a lock in the database.
 */
export const sandbox = Effect.fn("Embedded.sandbox")(function* (options: {
  readonly databaseUrl: Redacted.Redacted<string>
  readonly directory: string
  /** Any free one unless given; the ones after the first start are told by the folder. */
  readonly port?: number
  /** Where it tells of payments when this node runs it: this node. */
  readonly webhook?: WebhookOptions
}): Effect.fn.Return<{ readonly port: number; readonly own: boolean }, EmbeddedRefused, Scope.Scope> {
  const directory = join(options.directory, "sandbox")
  const portFile = join(directory, "port")
  const readPort = Effect.promise(() => readFile(portFile, "utf8").then(Number, () => 0))
  const { tryLock } = yield* makeLock(options.databaseUrl)

  const run = Effect.fnUntraced(function* (port: number) {
    // The provider with its SDK types is not small, and only one node needs it.
    const { start } = yield* Effect.promise(() => import("../sandbox/Sandbox.ts"))
    return yield* start({ port, directory, ...(options.webhook === undefined ? {} : { webhook: options.webhook }) })
  })

  if (yield* tryLock) {
    const wanted = options.port ?? ((yield* readPort) || defaultSandboxPort)
    // Nobody may go by the last one's port while this one looks for its own.
    yield* Effect.promise(() => rm(portFile, { force: true }))
    const free = yield* isFree("127.0.0.1", wanted)
    if (!free && options.port !== undefined) return yield* taken(wanted)
    const { port } = yield* Effect.catchTag(
      run(free ? wanted : 0),
      ["SandboxNotStarted", "LedgerFileUnusable"],
      refused
    )
    yield* file(`${portFile} cannot be written`, async () => {
      await writeFile(`${portFile}.new`, String(port))
      await rename(`${portFile}.new`, portFile)
    })
    return { port, own: true }
  }
  const port = yield* readPort.pipe(
    Effect.repeat({
      until: (found) => found > 0,
      schedule: Schedule.spaced("100 millis").pipe(Schedule.upTo({ duration: "10 seconds" }))
    })
  )
  if (port === 0)
    return yield* new EmbeddedRefused({ message: `The payment sandbox of ${options.directory} does not come up.` })
  const parent = yield* Effect.scope
  const takeOver = Effect.gen(function* () {
    if (!(yield* tryLock) || !(yield* isFree("127.0.0.1", port))) return false
    const scope = yield* Scope.fork(parent)
    const started = yield* Effect.exit(Scope.provide(run(port), scope))
    if (Exit.isFailure(started)) yield* Scope.close(scope, started)
    return Exit.isSuccess(started)
  })
  yield* takeOver.pipe(
    Effect.repeat({ until: (done) => done, schedule: Schedule.spaced("250 millis") }),
    Effect.andThen(Effect.logInfo(`This node runs the payment sandbox on port ${port} from now on.`)),
    Effect.forkScoped
  )
  return { port, own: false }
})

const defaultSandboxPort = 4010

const refused = (error: LedgerFileUnusable | SandboxNotStarted) =>
  Effect.fail(new EmbeddedRefused({ message: error.message }))

const taken = (port: number) =>
  Effect.fail(
    new EmbeddedRefused({ message: `Port ${port} is taken: the payment sandbox needs another one (--sandbox-port).` })
  )

/** A lock which ends with this program, or with its connection; the next try then makes a new one. */
const makeLock = Effect.fnUntraced(function* (url: Redacted.Redacted<string>) {
  const parent = yield* Effect.scope
  let held: { readonly connection: PgConnection.PgConnection; readonly scope: Scope.Closeable } | undefined
  const connected = Effect.gen(function* () {
    if (held !== undefined) return held
    const scope = yield* Scope.fork(parent)
    const connection = yield* PgConnection.make({ url, applicationName: "cartwright-sandbox" }).pipe(
      Scope.provide(scope),
      Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
    )
    held = { connection, scope }
    return held
  })
  const drop = Effect.suspend(() => {
    const scope = held?.scope
    held = undefined
    return scope === undefined ? Effect.void : Scope.close(scope, Exit.void)
  })
  const tryLock = connected.pipe(
    Effect.flatMap(({ connection }) =>
      connection.query("select pg_try_advisory_lock(hashtextextended('cartwright sandbox', 0)) as got", [], false)
    ),
    Effect.map(({ rows }) => rows[0]?.["got"] === true),
    Effect.timeout("2 seconds"),
    Effect.catch(() => Effect.as(drop, false))
  )
  return { tryLock }
})

/** Whether somebody could listen there now. */
export const isFree = (host: string, port: number): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const server = createServer()
    server.once("error", () => resume(Effect.succeed(false)))
    server.listen(port, host, () => {
      server.close(() => resume(Effect.succeed(true)))
    })
  })

const file = <A>(problem: string, evaluate: () => Promise<A>): Effect.Effect<A, EmbeddedRefused> =>
  Effect.tryPromise({
    try: evaluate,
    catch: (cause) =>
      new EmbeddedRefused({ message: `${problem}: ${cause instanceof Error ? cause.message : String(cause)}` })
  })
