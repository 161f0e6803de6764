import { execFileSync, spawn } from "node:child_process"
import { readFile, rm, writeFile } from "node:fs/promises"
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { connect } from "../../src/client/OrdersClient.ts"
import { migrate } from "../../src/migrations/Migrations.ts"
import * as Sandbox from "../../src/sandbox/Sandbox.ts"
import * as Nodes from "../fixtures/Nodes.ts"
import { freshDatabase } from "../fixtures/Postgres.ts"
import * as Shop from "../fixtures/Shop.ts"

const root = new URL("../../", import.meta.url)

/** Runs a program which stands in the checkout, as the README says to. */
const run = (text: string, name: string, token: string) =>
  Effect.gen(function* () {
    const file = new URL(name, root).pathname
    yield* Effect.acquireRelease(
      Effect.promise(() => writeFile(file, text)),
      () => Effect.promise(() => rm(file, { force: true }))
    )
    return yield* Effect.callback<{ readonly code: number | null; readonly output: string }>((resume) => {
      const child = spawn(process.execPath, [file], { env: { ...process.env, TOKEN: token } })
      let output = ""
      const keep = (chunk: Buffer) => {
        output += chunk.toString()
      }
      child.stdout.on("data", keep)
      child.stderr.on("data", keep)
      child.once("exit", (code) => resume(Effect.succeed({ code, output })))
      return Effect.sync(() => child.kill("SIGKILL"))
    }).pipe(Effect.timeout("40 seconds"))
  }).pipe(Effect.scoped)

describe("given a node", () => {
  it.live(
    "when the README's first programs are run as printed, then the order is confirmed",
    () =>
      Effect.gen(function* () {
        const databaseUrl = yield* freshDatabase
        const sandbox = yield* Sandbox.start({ port: 0 })
        const pool = PgClient.layer({ url: databaseUrl })
        yield* migrate.pipe(Effect.provide(pool))
        yield* Shop.stock([{ sku: "MUG-350-SAND", price: 1650n, onHand: { berlin: 10 } }]).pipe(Effect.provide(pool))
        const node = yield* Nodes.start({ databaseUrl, sandboxPort: sandbox.port })
        const readme = yield* Effect.promise(() => readFile(new URL("README.md", root), "utf8"))
        const programs = Array.from(readme.matchAll(/```ts\n([\s\S]*?)```/g), ([, text]) => text!)
        assert.strictEqual(programs.length, 2)
        // What `cartwright/client` stands for is built on install; here from the sources as they are.
        execFileSync("npm", ["run", "build:client"], { cwd: root, stdio: "ignore" })
        const guest = connect({ urls: [node.url] })
        const token = yield* Effect.promise(() => guest.token())
        for (const [index, program] of programs.entries()) {
          assert.include(program, "http://127.0.0.1:4000")
          const name = `first-program-${process.pid}-${index}.ts`
          const { code, output } = yield* run(program.replaceAll("http://127.0.0.1:4000", node.url), name, token)
          assert.strictEqual(code, 0, output)
          assert.include(output, "Confirmed")
          assert.match(output, /Placed pending[\s\S]*Confirmed confirmed/)
        }
        const { orders } = yield* Effect.promise(() => guest.orders.list())
        assert.strictEqual(orders.length, 2)
        yield* Effect.promise(() => guest.close())
      }).pipe(Effect.scoped),
    120_000
  )
})
