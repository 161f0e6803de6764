/** Programs as children with their own output, and what they cost: CPU seconds as the kernel counts them. */
import { type ChildProcess, fork } from "node:child_process"
import { createWriteStream } from "node:fs"
import { readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import { env } from "node:process"
import { Data, Effect, Schedule, type Scope } from "effect"

/** A program ended, or never came up. `message` has the end of what it said. */
export class ProcessFailed extends Data.TaggedError("ProcessFailed")<{ readonly message: string }> {}

export interface Program {
  readonly name: string
  readonly script: string
  readonly arguments: ReadonlyArray<string>
  /** All of its environment: nothing is passed on from ours. */
  readonly environment: Readonly<Record<string, string>>
  /** For node itself, e.g. `--import`. */
  readonly nodeOptions?: ReadonlyArray<string>
  /** Where its output goes, as `<name>.log`. */
  readonly directory: string
}

export interface Running {
  readonly name: string
  readonly pid: number
  readonly child: ChildProcess
  /** Fails with what is wrong and with the end of what the program has said. */
  readonly fail: (problem: string) => Effect.Effect<never, ProcessFailed>
  /** Fails when the program ends by itself. */
  readonly ended: Effect.Effect<never, ProcessFailed>
}

/** What Node itself has been told, which is no setting of a program. */
const nodeOptions = env["NODE_OPTIONS"] === undefined ? {} : { NODE_OPTIONS: env["NODE_OPTIONS"] }

/** Starts a program of this project; it is asked to stop when the scope closes, and killed if it does not. */
export const start = (program: Program): Effect.Effect<Running, ProcessFailed, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<Running, ProcessFailed>((resume) => {
      const log = join(program.directory, `${program.name}.log`)
      const child = fork(program.script, program.arguments, {
        env: { ...nodeOptions, ...program.environment },
        execArgv: ["--import", new URL("orphan.ts", import.meta.url).href, ...(program.nodeOptions ?? [])],
        stdio: ["ignore", "pipe", "pipe", "ipc"],
        serialization: "advanced"
      })
      const into = createWriteStream(log, { flags: "a" })
      child.stdout!.pipe(into)
      child.stderr!.pipe(into)
      const fail = (problem: string) =>
        Effect.flatMap(
          Effect.promise(() => readFile(log, "utf8").catch(() => "")),
          (said) => Effect.fail(new ProcessFailed({ message: `The ${program.name} ${problem}\n${said.slice(-2000)}` }))
        )
      const ended = Effect.callback<never, ProcessFailed>((end) => {
        const gone = () => end(fail(`has ended (${child.exitCode ?? child.signalCode}).`))
        if (child.exitCode !== null || child.signalCode !== null) return gone()
        child.once("exit", gone)
        return Effect.sync(() => child.off("exit", gone))
      })
      child.once("error", (cause) => resume(fail(`cannot be started: ${cause.message}`)))
      child.once("spawn", () => resume(Effect.succeed({ name: program.name, pid: child.pid!, child, fail, ended })))
    }),
    ({ child }) =>
      Effect.callback<void>((resume) => {
        if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
        const force = setTimeout(() => child.kill("SIGKILL"), 10_000)
        child.once("exit", () => {
          clearTimeout(force)
          resume(Effect.void)
        })
        child.kill("SIGTERM")
      })
  )

/** Waits until the address answers with 200; fails as soon as the program ends, or after half a minute. */
export const awaitHttp = (running: Running, url: string): Effect.Effect<void, ProcessFailed> =>
  Effect.tryPromise(async () => {
    const response = await fetch(url)
    await response.body?.cancel()
    if (response.status !== 200) throw new Error(String(response.status))
  }).pipe(
    Effect.retry(Schedule.spaced("100 millis").pipe(Schedule.upTo({ duration: "30 seconds" }))),
    Effect.catch(() => running.fail(`does not answer at ${url}.`)),
    Effect.raceFirst(running.ended)
  )

/** CPU seconds this process has used; absent where the kernel has no /proc. */
export const cpuOf = (pid: number): Effect.Effect<number | undefined> =>
  Effect.map(statOf(String(pid)), (stat) => (stat === undefined ? undefined : stat.own))

/** The same of a Postgres server: its postmaster, every child it has, and those that have ended. */
export const cpuOfTree = Effect.fnUntraced(function* (parent: number) {
  const own = yield* statOf(String(parent))
  if (own === undefined) return undefined
  const pids = yield* Effect.promise(() => readdir("/proc").catch((): Array<string> => []))
  const stats = yield* Effect.forEach(
    pids.filter((name) => /^\d+$/.test(name)),
    statOf
  )
  return stats.reduce((sum, stat) => sum + (stat?.parent === parent ? stat.own : 0), own.own + own.ofEndedChildren)
})

/** The kernel counts in hundredths of a second on every Linux there is: USER_HZ is part of its interface. */
const ticksPerSecond = 100

const statOf = (pid: string) =>
  Effect.promise(async () => {
    const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined)
    if (text === undefined) return undefined
    // The name in parentheses may hold anything.
    const fields = text
      .slice(text.lastIndexOf(")") + 2)
      .split(" ")
      .map(Number)
    return {
      parent: fields[1]!,
      own: (fields[11]! + fields[12]!) / ticksPerSecond,
      ofEndedChildren: (fields[13]! + fields[14]!) / ticksPerSecond
    }
  })

/** Bytes of memory this process has now, and the most it ever had; absent where the kernel has no /proc. */
export const memoryOf = (pid: number): Effect.Effect<{ readonly now: number; readonly most: number } | undefined> =>
  Effect.promise(async () => {
    const text = await readFile(`/proc/${pid}/status`, "utf8").catch(() => undefined)
    const bytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text ?? "")?.[1]) * 1024
    return text === undefined ? undefined : { now: bytes("VmRSS"), most: bytes("VmHWM") }
  })
