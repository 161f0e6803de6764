import { type ChildProcess, spawn } from "node:child_process"
import { chmod, mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { env } from "node:process"
import * as PgConnection from "@effect/sql-pg/PgConnection"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Schedule } from "effect"
import { freePort } from "../fixtures/Nodes.ts"
import { freshDatabase } from "../fixtures/Postgres.ts"

const program = new URL("../../src/bin/cartwright.ts", import.meta.url).pathname
const secret = "0123456789abcdef0123456789abcdef"

/** The program, with nothing in its environment but what is given. Killed with the scope. */
const cartwright = (args: ReadonlyArray<string>, environment: Readonly<Record<string, string>> = {}) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child: ChildProcess = spawn(process.execPath, [program, ...args], {
        env: { PATH: "/usr/bin:/bin", NODE_OPTIONS: env["NODE_OPTIONS"], ...environment },
        stdio: ["ignore", "pipe", "pipe"]
      })
      let output = ""
      child.stdout?.on("data", (data) => (output += String(data)))
      child.stderr?.on("data", (data) => (output += String(data)))
      const ended = Effect.callback<NodeJS.Signals | number | null>((resume) => {
        const end = () => resume(Effect.succeed(child.signalCode ?? child.exitCode))
        if (child.exitCode !== null || child.signalCode !== null) end()
        else child.once("close", end)
      })
      return { child, ended, output: () => output }
    }),
    ({ child, ended }) =>
      Effect.andThen(
        Effect.sync(() => child.kill("SIGKILL")),
        ended
      )
  )

type Program = Effect.Success<ReturnType<typeof cartwright>>

/** Ends a program in order, and gives its exit code. */
const stopped = ({ child, ended }: Program) =>
  Effect.andThen(
    Effect.sync(() => child.kill("SIGINT")),
    Effect.timeout(ended, "20 seconds")
  )

/** Runs the program to its end. */
const outcome = (args: ReadonlyArray<string>, environment?: Readonly<Record<string, string>>) =>
  Effect.gen(function* () {
    const started = yield* cartwright(args, environment)
    const code = yield* Effect.timeout(started.ended, "20 seconds")
    return { code, output: started.output() }
  }).pipe(Effect.scoped)

/** Ends the Postgres which a killed node has left. */
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

/** Asks again until it holds; a deadline passes with what was said last. */
const eventually = <A>(attempt: () => Promise<A>): Effect.Effect<A> =>
  Effect.tryPromise(attempt).pipe(
    Effect.retry(Schedule.spaced("100 millis").pipe(Schedule.upTo({ duration: "20 seconds" }))),
    Effect.mapError(({ cause }) => cause),
    Effect.orDie
  )

/** A demo node in the folder, up and ready. */
const demo = Effect.fnUntraced(function* (directory: string, args: ReadonlyArray<string> = []) {
  const port = yield* freePort
  const runnerPort = yield* freePort
  const started = yield* cartwright([
    "node",
    "--directory",
    directory,
    "--port",
    `${port}`,
    "--runner-port",
    `${runnerPort}`,
    ...args
  ])
  const url = `http://127.0.0.1:${port}`
  yield* eventually(async () => assert.include(started.output(), "Ctrl-C stops it all."))
  const said = (pattern: RegExp) =>
    pattern.exec(started.output())?.[1] ?? assert.fail(`${pattern}: ${started.output()}`)
  return { ...started, url, port, runnerPort, said, token: said(/export TOKEN=(\S+)/) }
})

const call = (node: { readonly url: string; readonly token: string }, tag: string, payload: object) =>
  eventually<unknown>(async () => {
    const response = await fetch(`${node.url}/rpc/json`, {
      method: "POST",
      headers: { authorization: `Bearer ${node.token}`, "content-type": "application/json" },
      body: JSON.stringify({ _tag: "Request", id: "1", tag, payload, headers: [] })
    })
    const text = await response.text()
    assert.include(text, '"_tag":"Success"')
    return JSON.parse(text)
  })

const cart = "cart-of-the-test"
const addItem = (sku: string) => ({ key: `add-${sku}-key`, cartId: cart, currency: "EUR", sku, quantity: 1 })

describe("given an empty folder and nothing else", () => {
  it.live(
    "when nodes start, are killed, join and stop there, then the shop goes on with its data, and nothing is left running (REQ-OPS-09)",
    () =>
      Effect.gen(function* () {
        const directory = yield* temporaryDirectory
        const sandboxPort = yield* freePort
        const first = yield* demo(directory, ["--sandbox-port", `${sandboxPort}`])
        assert.deepStrictEqual(yield* eventually<unknown>(async () => (await fetch(`${first.url}/readyz`)).json()), {
          ready: true,
          checks: { database: true, migrations: true, shards: true, serving: true, progress: true }
        })
        assert.include(first.said(/Nodes +(.*)/), `127.0.0.1:${first.runnerPort} (this one)`)
        yield* call(first, "AddItem", addItem("MUG-350-SAND"))
        const totals = `http://127.0.0.1:${sandboxPort}/sandbox/totals`
        yield* eventually(async () => assert.isTrue((await fetch(totals)).ok))

        // A second node finds database, sandbox and secrets of the first.
        const second = yield* demo(directory)
        assert.include(second.said(/Nodes +(.*)/), `127.0.0.1:${first.runnerPort}`)
        assert.strictEqual(second.said(/Postgres +(\S+)/), first.said(/Postgres +(\S+)/))
        assert.include(second.said(/Payments +(\S+)/), `:${sandboxPort}`)
        yield* call({ url: second.url, token: first.token }, "AddItem", addItem("LAMP-ARC"))

        // The first is killed: the second has its actors, and runs the sandbox.
        first.child.kill("SIGKILL")
        assert.strictEqual(yield* first.ended, "SIGKILL")
        yield* eventually(async () => assert.isTrue((await fetch(totals)).ok))
        const seen = yield* call(second, "GetCart", { cartId: cart })
        assert.include(JSON.stringify(seen), "LAMP-ARC")
        assert.include(JSON.stringify(seen), "MUG-350-SAND")

        // The last one out stops everything, although it started none of it.
        assert.strictEqual(yield* stopped(second), 0)
        yield* Effect.flip(Effect.tryPromise(() => fetch(totals)))
        yield* Effect.flip(Effect.tryPromise(() => readFile(pidFile(directory))))

        // The next start finds what was.
        const third = yield* demo(directory)
        assert.include(third.said(/Payments +(\S+)/), `:${sandboxPort}`)
        assert.include(
          JSON.stringify(yield* call({ url: third.url, token: first.token }, "GetCart", { cartId: cart })),
          "LAMP-ARC"
        )
        assert.strictEqual(yield* stopped(third), 0)
      }).pipe(Effect.scoped),
    90_000
  )
})

describe("given ports which are taken", () => {
  it.live("when a node starts, then it says which, and how to start beside, in one line, before anything else", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const blocked = yield* cartwright(["sandbox", "--port", "0"])
      const port = Number(
        yield* eventually(async () => /http:\/\/127.0.0.1:(\d+)/.exec(blocked.output())?.[1] ?? assert.fail("none"))
      )
      const runnerPort = yield* freePort
      const { code, output } = yield* outcome([
        "node",
        "--directory",
        join(directory, "unused"),
        "--port",
        `${port}`,
        "--runner-port",
        `${runnerPort}`
      ])
      assert.strictEqual(code, 1)
      assert.match(
        output.trim(),
        new RegExp(
          `^ERROR\\s+Taken by another program: port ${port} \\(--port\\)\\. .* --port \\d+ --runner-port ${runnerPort}\\.$`
        )
      )
    }).pipe(Effect.scoped)
  )
})

describe("given settings which are missing or wrong", () => {
  it.live(
    "when a node starts, then it ends before it serves, and names them without a stack (T-OPS-03, REQ-GEN-15)",
    () =>
      Effect.gen(function* () {
        const { code, output } = yield* outcome(["node"], {
          DATABASE_URL: "postgres://shop:hunter2@127.0.0.1:1/shop",
          CHECKOUT_SYNC_WAIT: "soon",
          CLUSTER_SECRET: "short"
        })
        assert.strictEqual(code, 1)
        for (const key of [
          "CHECKOUT_SYNC_WAIT",
          "CLUSTER_SECRET",
          "AUTH_SECRET",
          "STRIPE_SECRET_KEY",
          "SHIPPING_RATES"
        ]) {
          assert.include(output, key)
        }
        assert.notMatch(output, /hunter2|short"|^\s+at /m)
      })
  )
})

describe("given a shop's own database", () => {
  const environment = (url: Redacted.Redacted<string>) => ({
    DATABASE_URL: Redacted.value(url),
    CLUSTER_SECRET: secret,
    AUTH_SECRET: secret,
    STRIPE_SECRET_KEY: "sk_test_1",
    SHIPPING_RATES: '{"EUR":{"standard":"490"}}'
  })

  it.live(
    "when it is migrated and served, then there is no demo in it, health has its own port, and the log is JSON (REQ-OPS-01)",
    () =>
      Effect.gen(function* () {
        const url = yield* freshDatabase
        const settings = environment(url)
        const pending = yield* outcome(["migrate", "--pending"], settings)
        assert.strictEqual(pending.code, 1)
        assert.include(pending.output, "pending  0001_create_catalog")
        assert.strictEqual((yield* outcome(["migrate"], settings)).code, 0)
        assert.include((yield* outcome(["migrate"], settings)).output, "The database is up to date.")

        const [port, healthPort, runnerPort] = [yield* freePort, yield* freePort, yield* freePort]
        const node = yield* cartwright(["node"], {
          ...settings,
          HTTP_PORT: `${port}`,
          HEALTH_PORT: `${healthPort}`,
          RUNNER_PORT: `${runnerPort}`,
          MIGRATE_ON_START: "false"
        })
        for (const path of ["healthz", "readyz", "startupz"]) {
          yield* eventually(async () => assert.isTrue((await fetch(`http://127.0.0.1:${healthPort}/${path}`)).ok))
        }
        const metrics = yield* eventually(async () => (await fetch(`http://127.0.0.1:${healthPort}/metrics`)).text())
        assert.include(metrics, "effect_cluster_shards 32")
        yield* eventually(async () => assert.include(node.output(), "The node is up"))
        const lines = node.output().trim().split("\n")
        assert.nestedPropertyVal(JSON.parse(lines.at(-1)!), "annotations.runner", `127.0.0.1:${runnerPort}`)
        assert.notInclude(node.output(), secret)

        const connection = yield* PgConnection.make({ url })
        const { rows } = yield* connection.query(
          "select (select kind from ops.environment), (select count(*) from catalog.products) as products, (select name from runtime.cluster)"
        )
        assert.deepStrictEqual(rows, [{ kind: "production", products: 0n, name: "cartwright" }])

        const refused = yield* outcome(
          [
            "node",
            "--demo",
            "--port",
            `${yield* freePort}`,
            "--runner-port",
            `${yield* freePort}`,
            "--directory",
            yield* temporaryDirectory
          ],
          settings
        )
        assert.strictEqual(refused.code, 1)
        assert.include(refused.output, "This database is not the demo's")
        assert.strictEqual(yield* stopped(node), 0)
      }).pipe(Effect.scoped),
    60_000
  )
})
