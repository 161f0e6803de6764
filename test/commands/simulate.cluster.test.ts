import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { chmod, mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { env } from "node:process"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Sandbox } from "../../src/sandbox/Sandbox.ts"
import { freePort } from "../fixtures/Nodes.ts"

const program = new URL("../../src/bin/cartwright.ts", import.meta.url).pathname

/** Runs the program to its end, away from any node that may be running on this machine. */
const simulate = Effect.fnUntraced(function* (directory: string, ...words: ReadonlyArray<string>) {
  const nobody = yield* freePort
  return yield* Effect.callback<{ readonly code: number | null; readonly output: string }>((resume) => {
    const child = spawn(process.execPath, [program, "simulate", "--directory", directory, "--seed", "3", ...words], {
      env: { PATH: "/usr/bin:/bin", NODE_OPTIONS: env["NODE_OPTIONS"], HTTP_PORT: String(nobody) },
      stdio: ["ignore", "pipe", "pipe"]
    })
    let output = ""
    child.stdout.on("data", (chunk) => (output += String(chunk)))
    child.stderr.on("data", (chunk) => (output += String(chunk)))
    child.once("close", (code) => resume(Effect.succeed({ code, output })))
    // In order, so that it ends what it has started.
    return Effect.sync(() => child.kill("SIGTERM"))
  })
})

const temporaryDirectory = Effect.acquireRelease(
  Effect.promise(async () => {
    const directory = await mkdtemp(join(tmpdir(), `cartwright-test-${process.pid}-`))
    // Postgres does not run as root, and must come in.
    await chmod(directory, 0o755)
    return directory
  }),
  (directory) =>
    Effect.promise(async () => {
      const pid = Number.parseInt(await readFile(pidFile(directory), "utf8").catch(() => ""), 10)
      if (pid > 0) process.kill(pid, "SIGQUIT")
      await rm(directory, { recursive: true, force: true, maxRetries: 20 })
    })
)

const pidFile = (directory: string) => join(directory, "postgres", "data", "postmaster.pid")

describe("given no node", () => {
  it.live(
    "when customers are simulated, then a node is started, the books are right, and all of it is stopped",
    Effect.fnUntraced(function* () {
      const directory = yield* temporaryDirectory
      const { code, output } = yield* simulate(directory, "--orders", "24", "--concurrency", "4")
      assert.strictEqual(code, 0, output)
      assert.match(output, /buyers +24 /)
      for (const book of ["answers", "money", "stock", "orders"]) {
        assert.match(output, new RegExp(`${book} +right\\.`), output)
      }
      assert.isFalse(existsSync(pidFile(directory)), "its Postgres still runs")
    }, Effect.scoped),
    120_000
  )

  it.live(
    "when the money went elsewhere than the ledger says, then that is told and the exit code is not zero",
    Effect.fnUntraced(
      function* () {
        const directory = yield* temporaryDirectory
        const { url } = yield* Sandbox
        const words = ["--orders", "6", "--concurrency", "4", "--sandbox", url, "--settle-within", "0"]
        const { code, output } = yield* simulate(directory, ...words)
        assert.match(output, /money +WRONG\./, output)
        assert.match(output, /stock +right\./, output)
        assert.strictEqual(code, 1)
      },
      Effect.scoped,
      Effect.provide(Sandbox.layer({ port: 0 }))
    ),
    120_000
  )
})
