/** A node of the demo for as long as a simulation takes, where none runs: the program itself, as a child. */
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { Data, Effect, Schedule, type Scope } from "effect"
import { freePort } from "./FreePort.ts"

/** The node has not come up; `message` has the end of what it said. */
export class OwnNodeFailed extends Data.TaggedError("OwnNodeFailed")<{ readonly message: string }> {}

/** Starts the demo in `directory` and gives its address once it is ready. Stopped in order, with all it brought, when the scope closes. */
export const start = Effect.fn("OwnNode.start")(function* (
  directory: string
): Effect.fn.Return<string, OwnNodeFailed, Scope.Scope> {
  const port = yield* freePort
  const runnerPort = yield* freePort
  let said = ""
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const program = fileURLToPath(new URL("../bin/cartwright.ts", import.meta.url))
      const words = ["node", "--directory", directory, "--port", String(port), "--runner-port", String(runnerPort)]
      // In a group of its own: a Ctrl-C at the terminal is for us, and we stop it in order.
      const made = spawn(process.execPath, [program, ...words], { stdio: ["ignore", "pipe", "pipe"], detached: true })
      const keep = (chunk: Buffer) => {
        said = (said + chunk.toString()).slice(-4000)
      }
      made.stdout.on("data", keep)
      made.stderr.on("data", keep)
      return made
    }),
    (made) =>
      Effect.callback<void>((resume) => {
        if (made.exitCode !== null || made.signalCode !== null) return resume(Effect.void)
        made.once("exit", () => resume(Effect.void))
        made.kill("SIGTERM")
      })
  )
  const ended = Effect.callback<never, OwnNodeFailed>((resume) => {
    child.once("exit", (code) => resume(new OwnNodeFailed({ message: `The node has ended (${code}).\n${said}` })))
  })
  const url = `http://127.0.0.1:${port}`
  yield* Effect.repeat(isReady(url), { until: (ready) => ready, schedule: Schedule.spaced("100 millis") }).pipe(
    Effect.timeoutOrElse({
      duration: "60 seconds",
      orElse: () => new OwnNodeFailed({ message: `The node does not come up.\n${said}` })
    }),
    Effect.raceFirst(ended)
  )
  return url
})

/** Whether a node answers there and has its share of the work. */
export const isReady = (url: string): Effect.Effect<boolean> =>
  Effect.tryPromise(async (signal) => {
    const response = await fetch(`${url}/readyz`, { signal })
    await response.body?.cancel()
    return response.status === 200
  }).pipe(
    Effect.timeout("2 seconds"),
    Effect.orElseSucceed(() => false)
  )
