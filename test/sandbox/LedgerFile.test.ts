import { spawn } from "node:child_process"
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { Currency } from "../../src/domain/Money.ts"
import { PaymentGateway } from "../../src/gateways/PaymentGateway.ts"
import * as StripeGateway from "../../src/gateways/StripeGateway.ts"
import { Sandbox } from "../../src/sandbox/Sandbox.ts"
import { limits } from "../gateways/conformance.ts"

const temporaryDirectory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "cartwright-sandbox-"))),
  (made) => Effect.sync(() => rmSync(made, { recursive: true, force: true }))
)

const price = { amount: 1_000n, currency: Currency.make("EUR") }

/** Pays at the sandbox which listens there; the keys are always the same. */
const pay = ({ host, port }: { readonly host: string; readonly port: number }) =>
  Effect.gen(function* () {
    const gateway = yield* PaymentGateway
    const { id } = yield* gateway.createIntent({
      key: "checkout-1:intent",
      amount: price,
      checkoutId: "checkout-1",
      customerId: "customer-1",
      paymentMethod: Redacted.make("pm_card_visa")
    })
    yield* gateway.confirmIntent({ key: "checkout-1:auth", id })
    yield* gateway.capture({ key: "order-1:capture", id, amount: price })
    yield* gateway.refund({
      key: "order-1:refund",
      id,
      amount: { ...price, amount: 100n },
      checkoutId: "checkout-1",
      refund: "refund-1"
    })
    return yield* gateway.retrieve(id)
  }).pipe(
    Effect.provide(
      StripeGateway.layer({ secretKey: Redacted.make("sk_test_1"), host, port, protocol: "http", limits }),
      {
        local: true
      }
    )
  )

const inSandbox = <A, E>(directory: string, use: (sandbox: Sandbox["Service"]) => Effect.Effect<A, E>) =>
  Effect.flatMap(Sandbox, use).pipe(Effect.provide(Sandbox.layer({ port: 0, directory }), { local: true }))

/** A sandbox in a process of its own, which prints its address. */
const program = (directory: string): string => `
  import { Effect, Scope } from "effect"
  import * as Sandbox from ${JSON.stringify(new URL("../../src/sandbox/Sandbox.ts", import.meta.url).href)}
  const { url } = await Effect.runPromise(
    Effect.provideService(Sandbox.start({ port: 0, directory: ${JSON.stringify(directory)} }), Scope.Scope, Scope.makeUnsafe())
  )
  console.log(url)`

describe("given a sandbox which keeps its ledger", () => {
  it.effect("when it is started again, then money, keys and refunds are as they were", () =>
    Effect.gen(function* () {
      const path = yield* temporaryDirectory
      const before = yield* inSandbox(path, (sandbox) =>
        Effect.andThen(
          pay(sandbox),
          Effect.sync(() => sandbox.provider.ledger.ofCheckout("checkout-1"))
        )
      )
      const after = yield* inSandbox(path, (sandbox) =>
        Effect.sync(() => sandbox.provider.ledger.ofCheckout("checkout-1"))
      )
      assert.deepStrictEqual(
        after.map(({ calls: _, ...entry }) => entry),
        before.map(({ calls: _, ...entry }) => entry)
      )
      const repeated = yield* inSandbox(path, (sandbox) =>
        Effect.andThen(
          pay(sandbox),
          Effect.sync(() => sandbox.provider.ledger.ofCheckout("checkout-1"))
        )
      )
      assert.deepStrictEqual(
        repeated[0]?.movements,
        before[0]?.movements,
        "the keys were known: nothing happened again"
      )
    })
  )

  it.effect("when its last line is torn, then all before it is kept, and new lines start on a line of their own", () =>
    Effect.gen(function* () {
      const path = yield* temporaryDirectory
      yield* inSandbox(path, pay)
      const file = join(path, "ledger.jsonl")
      const complete = readFileSync(file, "utf8")
      appendFileSync(file, complete.split("\n")[0]!.slice(0, 100))
      yield* inSandbox(path, (sandbox) =>
        Effect.sync(() => assert.strictEqual(sandbox.provider.ledger.totals().money["eur"]?.captured.amount, 1_000))
      )
      assert.strictEqual(readFileSync(file, "utf8"), complete)
    })
  )

  it.effect("when a line in the middle is damaged, then it does not start, and says which file", () =>
    Effect.gen(function* () {
      const path = yield* temporaryDirectory
      const file = join(path, "ledger.jsonl")
      writeFileSync(file, "not json\n{}\n")
      const error = yield* Effect.flip(inSandbox(path, () => Effect.void))
      assert.strictEqual(error._tag, "LedgerFileUnusable")
      assert.include(error.message, file)
    })
  )

  it.effect("when it is reset, then the file is empty too", () =>
    Effect.gen(function* () {
      const path = yield* temporaryDirectory
      yield* inSandbox(path, (sandbox) => Effect.andThen(pay(sandbox), Effect.sync(sandbox.provider.reset)))
      assert.strictEqual(readFileSync(join(path, "ledger.jsonl"), "utf8"), "")
    })
  )

  it.effect("when keys were written a day ago, then they are forgotten after the restart", () =>
    Effect.gen(function* () {
      const path = yield* temporaryDirectory
      yield* inSandbox(path, pay)
      yield* TestClock.adjust("24 hours")
      const intents = yield* inSandbox(path, (sandbox) =>
        Effect.andThen(
          pay(sandbox),
          Effect.sync(() => sandbox.provider.ledger.totals().intents)
        )
      )
      assert.strictEqual(intents, 2)
    })
  )

  it.live("when its process is killed, then everything that was answered is found again", () =>
    Effect.gen(function* () {
      const path = yield* temporaryDirectory
      const child = yield* Effect.acquireRelease(
        Effect.sync(() =>
          spawn(process.execPath, ["--input-type=module", "-e", program(path)], {
            cwd: import.meta.dirname,
            stdio: ["ignore", "pipe", "inherit"]
          })
        ),
        (started) => Effect.sync(() => started.kill("SIGKILL"))
      )
      const url = yield* Effect.callback<string>((resume) => {
        child.stdout.once("data", (text: Buffer) => resume(Effect.succeed(text.toString().trim())))
      })
      const { hostname, port } = new URL(url)
      const paid = yield* pay({ host: hostname, port: Number(port) })
      assert.deepInclude(paid, { _tag: "Captured", amount: 1_000n, refunded: 100n })
      yield* Effect.callback<void>((resume) => {
        child.once("exit", () => resume(Effect.void))
        child.kill("SIGKILL")
      })
      const [entry] = yield* inSandbox(path, (sandbox) =>
        Effect.sync(() => sandbox.provider.ledger.ofCheckout("checkout-1"))
      )
      assert.deepStrictEqual(
        [entry?.captured, entry?.refunded],
        [
          { times: 1, amount: 1_000 },
          { times: 1, amount: 100 }
        ]
      )
    })
  )
})
