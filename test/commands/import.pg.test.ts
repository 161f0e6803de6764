import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Command } from "effect/cli"
import { SqlClient } from "effect/sql/SqlClient"
import { TestConsole } from "effect/testing"
import { importCommand } from "../../src/commands/import.ts"
import { layerMigrated } from "../fixtures/Postgres.ts"

const temporaryDirectory = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "cartwright-import-"))),
  (directory) => Effect.promise(() => rm(directory, { recursive: true, force: true }))
)

const productsCsv = `sku,name,category,prices.EUR,prices.JPY
MUG-01,"Mug, large",kitchen,12.50,1800
PEN-01,Pen,desk,9.9,
LAMP-01,Lamp,desk,49.00,
`
const stockNdjson = `{"warehouse": "AMS-1", "name": "Amsterdam", "priority": 1}
{"warehouse": "AMS-1", "sku": "MUG-01", "onHand": 120}
{"warehouse": "AMS-1", "sku": "PEN-01", "onHand": 3}
`

const run = Effect.fnUntraced(function* (...args: ReadonlyArray<string>) {
  const before = [(yield* TestConsole.logLines).length, (yield* TestConsole.errorLines).length] as const
  const exit = yield* Effect.exit(Command.runWith(importCommand, { version: "0.0.0" })(args))
  return {
    ok: exit._tag === "Success",
    out: (yield* TestConsole.logLines).slice(before[0]).join("\n"),
    errors: (yield* TestConsole.errorLines).slice(before[1]).map(String)
  }
})

const files = Effect.gen(function* () {
  const directory = yield* temporaryDirectory
  const at = (name: string) => join(directory, name)
  yield* Effect.promise(() => writeFile(at("products.csv"), productsCsv))
  yield* Effect.promise(() => writeFile(at("stock.ndjson"), stockNdjson))
  return at
})

layer(Layer.mergeAll(layerMigrated, NodeServices.layer, TestConsole.layer))("given files of a shop", (it) => {
  it.effect("when they are imported, then bad lines are told by line, field and reason, and the command fails", () =>
    Effect.gen(function* () {
      const at = yield* files
      const args = ["--file", at("products.csv"), "--stock", at("stock.ndjson"), "--actor", "ada"]
      const bad = [
        `${at("products.csv")}, line 3: prices.EUR: write EUR like 12.50, not 9.9`,
        `${at("stock.ndjson")}, line 3: sku: there is no product PEN-01`
      ]

      const dry = yield* run(...args, "--dry-run")
      assert.isFalse(dry.ok)
      assert.deepStrictEqual(dry.errors.slice(0, 2), bad)
      assert.include(
        dry.out,
        `${at("products.csv")} (dry run, nothing was changed): 3 records: 2 created, 0 changed, 0 unchanged, 0 applied before, 1 refused`
      )
      const sql = yield* SqlClient
      assert.lengthOf(yield* sql`select from catalog.products`, 0)

      const first = yield* run(...args)
      assert.isFalse(first.ok)
      assert.deepStrictEqual(first.errors.slice(0, 2), bad)
      assert.include(first.errors.join("\n"), "2 records were refused")
      assert.include(
        first.out,
        "stock.ndjson: 3 records: 2 created, 0 changed, 0 unchanged, 0 applied before, 1 refused"
      )
      assert.deepStrictEqual(
        yield* sql`select s.on_hand, l.actor from warehouse.stock s join warehouse.stock_ledger l using (sku, warehouse_id)`,
        [{ on_hand: 120, actor: "ada" }]
      )
    })
  )

  it.effect("when the same files are imported again, then what was applied is not applied again", () =>
    Effect.gen(function* () {
      const at = yield* files
      const again = yield* run("--file", at("products.csv"))
      assert.include(again.out, "3 records: 0 created, 0 changed, 0 unchanged, 2 applied before, 1 refused")
    })
  )

  it.effect("when the bad line is mended, then it goes in, and the command succeeds", () =>
    Effect.gen(function* () {
      const at = yield* files
      yield* Effect.promise(() => writeFile(at("products.csv"), productsCsv.replace("9.9", "9.90")))
      const mended = yield* run("--file", at("products.csv"))
      assert.isTrue(mended.ok)
      assert.include(mended.out, "3 records: 1 created, 0 changed, 2 unchanged, 0 applied before, 0 refused")
    })
  )

  it.effect("when no file is named, or one of an unknown kind, then the command says what it wants", () =>
    Effect.gen(function* () {
      const at = yield* files
      yield* Effect.promise(() => writeFile(at("products.xlsx"), ""))
      assert.include((yield* run()).errors.join("\n"), "Name a file: --file, --stock or both")
      assert.include(
        (yield* run("--file", at("products.xlsx"))).errors.join("\n"),
        "must be called .csv, .json or .ndjson"
      )
    })
  )
})
