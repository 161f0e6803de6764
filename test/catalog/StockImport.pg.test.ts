import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Latch, Result, Schedule, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { Statement } from "effect/sql/Statement"
import { chunkSize, makeRun } from "../../src/catalog/Import.ts"
import { productImport } from "../../src/catalog/ProductImport.ts"
import { deltaOf, stockImport } from "../../src/catalog/StockImport.ts"
import { layerMigrated } from "../fixtures/Postgres.ts"
import { everything, importAll, nothing } from "./ImportFixtures.ts"

const amsterdam = { warehouse: "AMS-1", name: "Amsterdam", priority: 1 }
const reno = { warehouse: "RNO-1", name: "Reno", priority: 2 }
const count = (sku: string, onHand: number | string, warehouse = "AMS-1") => ({ warehouse, sku, onHand })

/** Two warehouses and two products, nothing in stock. */
const shop = Effect.gen(function* () {
  yield* importAll(productImport, "products", [
    { sku: "MUG-01", name: "Mug", category: "kitchen" },
    { sku: "PEN-01", name: "Pen", category: "desk" }
  ])
  yield* importAll(stockImport, "warehouses", [amsterdam, reno])
})

/** Counters must be what the ledger adds up to. REQ-INV-02. */
const assertFolded = Effect.gen(function* () {
  const sql = yield* SqlClient
  const drift = yield* sql`
    select s.sku, s.warehouse_id from warehouse.stock s
    left join (select sku, warehouse_id, sum(on_hand) as on_hand from warehouse.stock_ledger group by 1, 2) l using (sku, warehouse_id)
    where s.on_hand <> coalesce(l.on_hand, 0)`
  assert.deepStrictEqual(drift, [])
})

describe("given a shop with nothing in stock", () => {
  it.effect(
    "when stock is counted, then it is on hand, and the ledger says by which import and whom (REQ-INV-11)",
    () =>
      Effect.gen(function* () {
        yield* shop
        const report = yield* importAll(stockImport, "monday", [count("MUG-01", 120), count("PEN-01", "0", "RNO-1")])
        assert.deepStrictEqual(report, { ...nothing, records: 2, created: 2 })
        const { ledger, stock } = yield* everything
        assert.deepStrictEqual(stock, [
          { sku: "MUG-01", warehouse_id: "AMS-1", on_hand: 120, reserved: 0, committed: 0, damaged: 0, version: 2 },
          { sku: "PEN-01", warehouse_id: "RNO-1", on_hand: 0, reserved: 0, committed: 0, damaged: 0, version: 1 }
        ])
        assert.deepStrictEqual(ledger, [
          {
            op: "import",
            reference: "monday MUG-01@AMS-1",
            sku: "MUG-01",
            warehouse_id: "AMS-1",
            on_hand: 120,
            actor: "ada"
          }
        ])
      }).pipe(Effect.provide(layerMigrated))
  )

  it.effect(
    "when records are bad, then each says why, and a missing warehouse is never guessed (REQ-INV-13, T-INV-14)",
    () =>
      Effect.gen(function* () {
        yield* shop
        const { bad } = yield* importAll(stockImport, "monday", [
          { sku: "MUG-01", onHand: 1 },
          count("MUG-01", 1, "NO-WHERE"),
          count("NO-SUCH", 1),
          count("MUG-01", -1),
          count("MUG-01", 1.5),
          count("MUG-01", "1e3"),
          { warehouse: "AMS-1", sku: "MUG-01" },
          { warehouse: "AMS-1", onHand: 5 },
          { ...amsterdam, sku: "MUG-01", onHand: 5 },
          { warehouse: "AMS-1" },
          { warehouse: "NEW-1", active: true },
          { warehouse: "NEW-2", name: "New", priority: 2 },
          count("PEN-01", 3),
          count("PEN-01", 4)
        ])
        assert.deepStrictEqual(bad, [
          "1 warehouse: is missing",
          "4 onHand: must be a whole number from 0 to 999999999",
          "5 onHand: must be a whole number from 0 to 999999999",
          "6 onHand: must be a whole number from 0 to 999999999",
          "7 onHand: is missing",
          "8 sku: is missing",
          "9 : either a warehouse (name, priority, active) or a count (sku, onHand), each on a line of its own",
          "10 : either a warehouse (name, priority, active) or a count (sku, onHand), each on a line of its own",
          "14 : count PEN-01@AMS-1 was in the file before, on line 13",
          "2 warehouse: there is no warehouse NO-WHERE",
          "3 sku: there is no product NO-SUCH",
          "11 name: is missing, and NEW-1 is a new warehouse",
          "12 priority: RNO-1 has this priority; no two warehouses may share one"
        ])
        assert.lengthOf((yield* everything).stock, 1)
        yield* assertFolded
      }).pipe(Effect.provide(layerMigrated))
  )

  it.effect("when warehouses change, exchange priorities through a third, or stay, then the report tells", () =>
    Effect.gen(function* () {
      yield* shop
      const report = yield* importAll(stockImport, "reorganised", [
        { warehouse: "AMS-1", priority: 9 },
        { warehouse: "RNO-1", priority: "1", active: "no" },
        { warehouse: "BER-1", name: "Berlin", priority: 2 }
      ])
      assert.deepStrictEqual(report, { ...nothing, records: 3, created: 1, changed: 2 })
      assert.deepStrictEqual((yield* everything).warehouses, [
        { id: "AMS-1", name: "Amsterdam", priority: 9, active: true },
        { id: "BER-1", name: "Berlin", priority: 2, active: true },
        { id: "RNO-1", name: "Reno", priority: 1, active: false }
      ])
      const again = yield* importAll(stockImport, "same", [{ warehouse: "BER-1", name: "Berlin", priority: 2 }])
      assert.deepStrictEqual(again, { ...nothing, records: 1, unchanged: 1 })
    }).pipe(Effect.provide(layerMigrated))
  )
})

describe("given stock of which some is reserved, committed and damaged", () => {
  const busy = Effect.gen(function* () {
    const sql = yield* SqlClient
    yield* shop
    yield* importAll(stockImport, "monday", [count("MUG-01", 10), count("PEN-01", 10)])
    yield* sql`update warehouse.stock set reserved = 3, committed = 2, damaged = 1 where sku = 'MUG-01'`
    return sql
  })

  it.effect("when a count is below what is promised, then that line is refused and the rest applied (REQ-INV-01)", () =>
    Effect.gen(function* () {
      yield* busy
      const report = yield* importAll(stockImport, "tuesday", [count("MUG-01", 5), count("PEN-01", 4)])
      assert.deepStrictEqual(report, {
        ...nothing,
        records: 2,
        changed: 1,
        refused: 1,
        bad: ["1 onHand: 6 are reserved, committed or damaged, so there cannot be only 5"]
      })
      assert.deepStrictEqual(
        (yield* everything).stock.map(({ on_hand, version }) => [on_hand, version]),
        [
          [10, 2],
          [4, 3]
        ]
      )
      yield* assertFolded

      // The line was not applied, so the same import applies it once things have changed.
      const sql = yield* SqlClient
      yield* sql`update warehouse.stock set reserved = 0 where sku = 'MUG-01'`
      const again = yield* importAll(stockImport, "tuesday", [count("MUG-01", 5), count("PEN-01", 4)])
      assert.deepStrictEqual(again, { ...nothing, records: 2, changed: 1, appliedBefore: 1 })
      yield* assertFolded
    }).pipe(Effect.provide(layerMigrated))
  )

  it.effect("when goods were sold since, then the same import again does not bring them back (REQ-INV-07)", () =>
    Effect.gen(function* () {
      const sql = yield* busy
      yield* sql`update warehouse.stock set on_hand = on_hand - 2, committed = 0 where sku = 'MUG-01'`
      const before = yield* everything
      const report = yield* importAll(stockImport, "monday", [count("MUG-01", 10), count("PEN-01", 10)])
      assert.deepStrictEqual(report, { ...nothing, records: 2, appliedBefore: 2 })
      assert.deepStrictEqual(yield* everything, before)
    }).pipe(Effect.provide(layerMigrated))
  )

  /** Waits until somebody waits for a row lock of somebody else. */
  const somebodyWaits = Effect.gen(function* () {
    const sql = yield* SqlClient
    const waiting = sql`
      select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and wait_event <> 'advisory'`
    yield* waiting.pipe(
      Effect.repeat({ until: (rows) => rows.length > 0, schedule: Schedule.spaced("5 millis") }),
      Effect.timeout("5 seconds")
    )
  })

  /** Runs `counting` against a transaction which has done `first`, and which does `then` once it is waited for. */
  const meanwhile = <A, E, R>(first: Statement<unknown>, counting: Effect.Effect<A, E, R>, then: Statement<unknown>) =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const held = yield* Latch.make()
      const goOn = yield* Latch.make()
      const holder = yield* Effect.forkChild(
        sql.withTransaction(Effect.all([first, held.open, goOn.await, then], { discard: true }))
      )
      yield* held.await
      const waiting = yield* Effect.forkChild(counting)
      yield* somebodyWaits
      yield* goOn.open
      yield* Fiber.join(holder)
      return yield* Fiber.join(waiting)
    })

  it.live("when goods leave while a count goes in, then the count is still what is on hand (REQ-INV-05)", () =>
    Effect.gen(function* () {
      const sql = yield* busy
      const report = yield* meanwhile(
        sql`update warehouse.stock set on_hand = on_hand - 2, committed = 0 where sku = 'MUG-01'`,
        importAll(stockImport, "tuesday", [count("MUG-01", 7)]),
        sql`select`
      )
      assert.deepStrictEqual(report, { ...nothing, records: 1, changed: 1 })
      const { ledger, stock } = yield* everything
      assert.strictEqual(stock.find(({ sku }) => sku === "MUG-01")?.["on_hand"], 7)
      assert.strictEqual(ledger.find(({ reference }) => reference === "tuesday MUG-01@AMS-1")?.["on_hand"], -1)
    }).pipe(Effect.provide(layerMigrated))
  )

  it.live(
    "when a checkout holds the first of its rows, then a count waits there and holds no later one (DESIGN 5)",
    () =>
      Effect.gen(function* () {
        const sql = yield* busy
        const report = yield* meanwhile(
          sql`select from warehouse.stock where sku = 'MUG-01' for update`,
          importAll(stockImport, "tuesday", [count("PEN-01", 7), count("MUG-01", 7)]),
          sql`select from warehouse.stock where sku = 'PEN-01' for update nowait`
        )
        assert.deepStrictEqual(report, { ...nothing, records: 2, changed: 2 })
        yield* assertFolded
      }).pipe(Effect.provide(layerMigrated))
  )
})

describe("given a count of several chunks (T-INV-20)", () => {
  it.effect("when it is run twice, then the second run changes nothing", () =>
    Effect.gen(function* () {
      yield* shop
      const skus = Array.from({ length: chunkSize + 50 }, (_, number) => `SKU-${number}`)
      yield* importAll(
        productImport,
        "more",
        skus.map((sku) => ({ sku, name: sku, category: "all" }))
      )
      const records = skus.map((sku, number) => count(sku, number))
      assert.strictEqual((yield* importAll(stockImport, "big", records)).refused, 0)
      const before = yield* everything
      assert.strictEqual((yield* importAll(stockImport, "big", records)).appliedBefore, records.length)
      assert.deepStrictEqual(yield* everything, before)
      yield* assertFolded
    }).pipe(Effect.provide(layerMigrated))
  )
})

describe("given a dry run of products and stock together", () => {
  it.effect("when the stock is of products and warehouses which only the files bring, then it is in order", () =>
    Effect.gen(function* () {
      const run = makeRun({ importId: "dry", actor: "ada", dryRun: true })
      const products = [{ sku: "MUG-01", name: "Mug", category: "kitchen" }]
      const stock = [amsterdam, count("MUG-01", 5), count("MUG-01", 5, "RNO-1")]
      yield* importAll(productImport, "dry", products, { run })
      const report = yield* importAll(stockImport, "dry", stock, { run })
      assert.deepStrictEqual(report, {
        ...nothing,
        records: 3,
        created: 2,
        refused: 1,
        bad: ["3 warehouse: there is no warehouse RNO-1"]
      })
      const { ledger, products: stored, stock: rows, warehouses } = yield* everything
      assert.deepStrictEqual([...ledger, ...stored, ...rows, ...warehouses], [])
    }).pipe(Effect.provide(layerMigrated))
  )
})

const counter = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 999_999_999 }))

it.prop(
  "a count that is let in leaves exactly itself on hand, and never less than what is promised",
  [counter, counter, counter],
  ([counted, onHand, bound]) => {
    const delta = deltaOf(counted, { onHand, bound })
    if (Result.isSuccess(delta)) assert.isTrue(onHand + delta.success === counted && counted >= bound)
    else assert.isTrue(counted < bound)
  }
)
