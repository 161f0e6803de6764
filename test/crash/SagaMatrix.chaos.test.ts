/** Every step of an order's money, and everything that may go wrong at it: how it may end, in docs/saga-matrix.md, and that it does. */
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, expect, it } from "@effect/vitest"
import { Duration, Effect, Layer, Redacted } from "effect"
import { migrate } from "../../src/migrations/Migrations.ts"
import type { Fault, Operation } from "../../src/sandbox/Faults.ts"
import type { PaymentProvider } from "../../src/sandbox/PaymentProvider.ts"
import * as Sandbox from "../../src/sandbox/Sandbox.ts"
import { markdown } from "../fixtures/Machine.ts"
import { freshDatabase } from "../fixtures/Postgres.ts"
import * as Shop from "../fixtures/Shop.ts"
import type { Call, SagaArguments } from "./SagaShop.ts"
import {
  act,
  type Ending,
  endingOf,
  endings,
  limitsOf,
  named,
  type Names,
  patient,
  prepare,
  type Story
} from "./Sagas.ts"

/** What goes wrong with the call of a step. */
const faults = {
  "500, stored": { fault: { _tag: "ServerError", done: false }, times: 1 },
  "503, always": { fault: { _tag: "Unavailable" }, times: "always" },
  "timeout, not done": { fault: { _tag: "Silence", done: false }, times: 1 },
  "timeout, done": { fault: { _tag: "Silence", done: true }, times: 1 },
  "answer lost, done": { fault: { _tag: "Reset", done: true }, times: 1 }
} as const satisfies Readonly<Record<string, { readonly fault: Fault; readonly times: number | "always" }>>
type FaultName = keyof typeof faults

/** Where a process dies by kill -9. */
const kills = {
  "kill -9 before the call": { of: "call", when: "before" },
  "kill -9 after the call": { of: "call", when: "after" },
  "kill -9 before the commit": { of: "command", when: "before" },
  "kill -9 after the commit": { of: "command", when: "after" }
} as const

interface Step {
  readonly story: Story
  /** The call to the provider, where the step has one. */
  readonly call?: { readonly operation: Operation; readonly of: Call }
  /** The command whose commit ends the step. */
  readonly command: string
  /** How it ends, whatever goes wrong, but for the exceptions. */
  readonly ends: Ending
  readonly except?: Partial<Record<FaultName, ReadonlyArray<Ending>>>
}

const refusedOnFault = {
  "500, stored": ["refused"],
  "503, always": ["refused"],
  "timeout, not done": ["refused"],
  // A customer who was told to try again is not charged for what was authorized after that.
  "timeout, done": ["refused", "paid"]
} satisfies Step["except"]

const steps: Readonly<Record<string, Step>> = {
  reserve: { story: "sale", command: "Reserve", ends: "paid" },
  "create the intent": {
    story: "sale",
    call: { operation: "create", of: "createIntent" },
    command: "IntentCreated",
    ends: "paid",
    except: { ...refusedOnFault, "timeout, done": ["refused"], "answer lost, done": ["refused"] }
  },
  "authorize, place the order": {
    story: "sale",
    call: { operation: "confirm", of: "confirmIntent" },
    command: "Place",
    ends: "paid",
    except: refusedOnFault
  },
  "capture, commit the stock, confirm": {
    story: "sale",
    call: { operation: "capture", of: "capture" },
    command: "Confirm",
    ends: "paid",
    except: { "503, always": ["undone"] }
  },
  "capture refused": { story: "refused", command: "CaptureFailed", ends: "undone" },
  void: {
    story: "refused",
    call: { operation: "cancel", of: "void" },
    command: "Voided",
    ends: "undone",
    except: { "503, always": ["left to an operator"] }
  },
  "give the stock back": { story: "refused", command: "Release", ends: "undone" },
  "cancel the order": { story: "refused", command: "Cancel", ends: "undone" },
  "refund of a cancelled order": {
    story: "taken",
    call: { operation: "refund", of: "refund" },
    command: "RefundReported",
    ends: "undone",
    except: { "503, always": ["left to an operator"] }
  },
  "ask for a refund": { story: "refund", command: "RequestRefund", ends: "given back" },
  "begin a refund": { story: "refund", command: "StartRefund", ends: "given back" },
  refund: {
    story: "refund",
    call: { operation: "refund", of: "refund" },
    command: "RefundReported",
    ends: "given back",
    except: { "503, always": ["left to an operator"] }
  },
  "begin a deferred capture": { story: "deferred", command: "StartCapture", ends: "paid" },
  "deferred capture": {
    story: "deferred",
    call: { operation: "capture", of: "capture" },
    command: "Captured",
    ends: "paid",
    except: { "503, always": ["undone"] }
  }
}

interface Cell {
  readonly name: string
  readonly step: Step
  readonly allowed: ReadonlyArray<Ending>
  readonly names: Names
}

const faultCells = Object.entries(steps).flatMap(([name, step]) =>
  step.call === undefined
    ? []
    : Object.entries(faults).map(([column, fault]): Cell & { readonly fault: (typeof faults)[FaultName] } => ({
        name: `${name}: ${column}`,
        step,
        allowed: step.except?.[column as FaultName] ?? [step.ends],
        names: named(step.story),
        fault
      }))
)

const killCells = Object.entries(steps).flatMap(([name, step]) =>
  Object.entries(kills).flatMap(([column, { of, when }]) => {
    const point =
      of === "command" ? { command: step.command } : step.call === undefined ? undefined : { call: step.call.of }
    const cell: Cell = { name: `${name}: ${column}`, step, allowed: [step.ends], names: named(step.story) }
    return point === undefined ? [] : [{ ...cell, point, when }]
  })
)

const child = new URL("SagaShop.ts", import.meta.url).pathname

/** Whether it died as it was to. */
const killed = (args: SagaArguments): Effect.Effect<boolean> =>
  Effect.callback<boolean>((resume) => {
    const started = spawn(process.execPath, [child, JSON.stringify(args)], { stdio: ["ignore", "ignore", "inherit"] })
    started.on("exit", (_, signal) => resume(Effect.succeed(signal === "SIGKILL")))
    return Effect.sync(() => started.kill("SIGKILL"))
  }).pipe(Effect.timeout("60 seconds"), Effect.orDie)

const shopFor = (story: Story, paymentTimeout: Duration.Duration, url: Redacted.Redacted<string>, port: number) => {
  const limits = limitsOf(story, paymentTimeout)
  return Shop.shopOn(url, limits).pipe(Layer.provide(Shop.stripe(port, limits)))
}

/** The ending, once it is one which is allowed; or what it still is when patience ends. */
const settledAs = Effect.fnUntraced(function* ({ ledger }: PaymentProvider["Service"], { allowed, names }: Cell) {
  let ending: string = ""
  for (let tries = 0; tries < 300; tries++) {
    ending = yield* endingOf(ledger, names.checkoutId)
    if ((allowed as ReadonlyArray<string>).includes(ending)) return ending
    yield* Effect.sleep("50 millis")
  }
  return ending
})

const wrongOf = (cell: Cell, ending: string): ReadonlyArray<string> =>
  (cell.allowed as ReadonlyArray<string>).includes(ending)
    ? []
    : [`${cell.name} (${cell.names.checkoutId}) ended as ${ending}`]

const stocked = Shop.stock([
  { sku: "tea", price: 1250n, onHand: { berlin: 500, lyon: 500 } },
  { sku: "cup", price: 900n, onHand: { lyon: 1000 } }
])

describe("given every step of an order's money", () => {
  it.live(
    "when its call goes wrong in every way, then it ends as it may (SAGA-01 to SAGA-12)",
    () =>
      Effect.gen(function* () {
        const url = yield* freshDatabase
        const sandbox = yield* Sandbox.start({ port: 0 })
        const { provider } = sandbox
        const pool = PgClient.layer({ url })
        yield* migrate.pipe(Effect.provide(pool))
        yield* stocked.pipe(Effect.provide(pool))
        const wrong: Array<string> = []
        for (const stories of [["sale", "refused", "taken", "refund"], ["deferred"]] satisfies ReadonlyArray<
          ReadonlyArray<Story>
        >) {
          yield* Effect.gen(function* () {
            for (const cell of faultCells.filter(({ names: { story } }) =>
              (stories as ReadonlyArray<Story>).includes(story)
            )) {
              const { fault, names, step } = cell
              yield* prepare(names)
              if (names.story === "taken") {
                provider.faults.inject({ operation: "capture", fault: { _tag: "Reset", done: true }, times: 1 })
                provider.faults.inject({ operation: "retrieve", fault: { _tag: "Unavailable" }, times: 4 })
              }
              provider.faults.inject({ operation: step.call!.operation, ...fault })
              yield* act(names)
              wrong.push(...wrongOf(cell, yield* settledAs(provider, cell)))
              provider.faults.clear()
            }
            // Nothing moves any more that should not.
            for (const cell of faultCells) {
              if (!(stories as ReadonlyArray<Story>).includes(cell.names.story) || cell.fault.times === "always")
                continue
              wrong.push(...wrongOf(cell, yield* endingOf(provider.ledger, cell.names.checkoutId)))
            }
            assert.deepStrictEqual(wrong, [])
            assert.deepStrictEqual(provider.ledger.totals().chargedTwice, [])
            assert.deepStrictEqual(yield* Shop.violations, [])
          }).pipe(Effect.provide(shopFor(stories[0]!, Duration.seconds(2), url, sandbox.port)))
        }
      }).pipe(Effect.scoped),
    300_000
  )

  it.live(
    "when its process dies by kill -9 around the call and the commit, then another one brings it to the same end (T-PAY-14)",
    () =>
      Effect.gen(function* () {
        const url = yield* freshDatabase
        const sandbox = yield* Sandbox.start({ port: 0 })
        const { provider } = sandbox
        const pool = PgClient.layer({ url })
        yield* migrate.pipe(Effect.provide(pool))
        yield* stocked.pipe(Effect.provide(pool))
        // One after another: each goes on with what those before it have left, and two that live would take steps from one another.
        const lived = yield* Effect.forEach(killCells, ({ name, names, point, when }) =>
          Effect.map(
            killed({ ...names, databaseUrl: Redacted.value(url), sandboxPort: sandbox.port, point, when }),
            (dead) => (dead ? [] : [name])
          )
        )
        assert.deepStrictEqual(lived.flat(), [], "each of them met its step")
        yield* Effect.gen(function* () {
          // Whoever was told nothing asks again with the same keys.
          yield* Effect.forEach(killCells, ({ names }) => act(names), { concurrency: 4, discard: true })
          const wrong: Array<string> = []
          for (const cell of killCells) wrong.push(...wrongOf(cell, yield* settledAs(provider, cell)))
          for (const cell of killCells)
            wrong.push(...wrongOf(cell, yield* endingOf(provider.ledger, cell.names.checkoutId)))
          assert.deepStrictEqual(wrong, [])
          assert.deepStrictEqual(provider.ledger.totals().chargedTwice, [])
          assert.deepStrictEqual(yield* Shop.violations, [])
        }).pipe(Effect.provide(shopFor("sale", patient, url, sandbox.port)))
      }).pipe(Effect.scoped),
    900_000
  )

  it("then docs/saga-matrix.md says how each may end: npm test -- test/crash/SagaMatrix -u", async () => {
    const columns = [...Object.keys(faults), ...Object.keys(kills)]
    const cells = [...faultCells, ...killCells]
    const rows = Object.keys(steps).map((step) => [
      step,
      ...columns.map((column) => cells.find(({ name }) => name === `${step}: ${column}`)?.allowed.join(" or ") ?? "-")
    ])
    const begin = "<!-- begin matrix -->"
    const end = "<!-- end matrix -->"
    const path = new URL("../../docs/saga-matrix.md", import.meta.url).pathname
    const page = readFileSync(path, "utf8")
    const legend = Object.entries(endings).map(([ending, meaning]) => `- \`${ending}\`: ${meaning}.`)
    const text = `${page.slice(0, page.indexOf(begin))}${begin}\n\n${legend.join("\n")}\n\n${markdown(["", ...columns], rows)}\n\n${page.slice(page.indexOf(end))}`
    await expect(text).toMatchFileSnapshot(path)
  })
})
