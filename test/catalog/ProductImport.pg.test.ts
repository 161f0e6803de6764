import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { chunkSize } from "../../src/catalog/Import.ts"
import { productImport } from "../../src/catalog/ProductImport.ts"
import { stockImport } from "../../src/catalog/StockImport.ts"
import { layerMigrated } from "../fixtures/Postgres.ts"
import { everything, importAll, nothing } from "./ImportFixtures.ts"

const mug = { sku: "MUG-01", name: "Mug", category: "kitchen", prices: { EUR: "12.50", JPY: "1800" } }
const pen = { sku: "PEN-01", name: "Pen", category: "desk", active: false, taxable: false }

const numbered = (count: number) =>
  Array.from({ length: count }, (_, number) => ({ ...mug, sku: `SKU-${number}`, prices: { EUR: `${number}.00` } }))

describe("given an empty catalog", () => {
  it.effect("when products are imported, then they and their prices are there", () =>
    Effect.gen(function* () {
      const report = yield* importAll(productImport, "first", [mug, pen])
      assert.deepStrictEqual(report, { ...nothing, records: 2, created: 2 })
      const { history, prices, products } = yield* everything
      assert.deepStrictEqual(products, [
        { sku: "MUG-01", name: "Mug", category: "kitchen", active: true, taxable: true, version: 1 },
        { sku: "PEN-01", name: "Pen", category: "desk", active: false, taxable: false, version: 1 }
      ])
      assert.deepStrictEqual(prices, [
        { sku: "MUG-01", currency: "EUR", amount: 1250n, version: 1 },
        { sku: "MUG-01", currency: "JPY", amount: 1800n, version: 1 }
      ])
      assert.deepStrictEqual(history, [
        { sku: "MUG-01", currency: "EUR", version: 1, amount: 1250n, actor: "ada", reference: "first" },
        { sku: "MUG-01", currency: "JPY", version: 1, amount: 1800n, actor: "ada", reference: "first" }
      ])
    }).pipe(Effect.provide(layerMigrated))
  )

  it.effect(
    "when a product names its seller, then it keeps it until it names another, or `-` for the shop itself",
    () =>
      Effect.gen(function* () {
        const sold = Effect.flatMap(SqlClient, (sql) =>
          Effect.map(
            sql<{ readonly seller: string | null; readonly version: number }>`
            select seller_id as seller, version from catalog.products where sku = 'MUG-01'`,
            ([row]) => [row?.seller, row?.version]
          )
        )
        yield* importAll(productImport, "first", [{ ...mug, sellerId: "potters-row" }])
        assert.deepStrictEqual(yield* sold, ["potters-row", 1])
        yield* importAll(productImport, "second", [{ sku: "MUG-01", prices: { EUR: "13.00" } }])
        assert.deepStrictEqual(yield* sold, ["potters-row", 1])
        const { bad } = yield* importAll(productImport, "third", [{ sku: "MUG-01", sellerId: "Potter's row" }])
        assert.match(bad[0]!, /^1 sellerId: /)
        yield* importAll(productImport, "fourth", [{ sku: "MUG-01", sellerId: "red-thread" }])
        assert.deepStrictEqual(yield* sold, ["red-thread", 2])
        yield* importAll(productImport, "fifth", [{ sku: "MUG-01", sellerId: "-" }])
        assert.deepStrictEqual(yield* sold, [null, 3])
      }).pipe(Effect.provide(layerMigrated))
  )

  it.effect("when lines are bad, then each is reported by line, field and reason, and the good ones are applied", () =>
    Effect.gen(function* () {
      const { bad, ...report } = yield* importAll(productImport, "first", [
        mug,
        { ...mug, sku: "MUG 02" },
        { ...mug, sku: "MUG-03", prices: { EUR: "12.5", USD: "1250", JPY: "12.00", EURO: "1.00" } },
        { ...mug, sku: "MUG-04", prices: { EUR: "-1.00", USD: "10000000000000.01", CHF: 12.5 } },
        { sku: "MUG-05", prices: { EUR: "1.00" } },
        { ...mug, sku: "MUG-06", name: " Mug", active: "maybe", colour: "red" },
        { name: "Mug" },
        "MUG-08",
        { ...mug, name: "Another" },
        { ...pen, name: "x".repeat(201), category: "" }
      ])
      assert.deepStrictEqual(report, {
        records: 10,
        created: 1,
        changed: 0,
        unchanged: 0,
        appliedBefore: 0,
        refused: 9
      })
      assert.deepStrictEqual(bad, [
        '2 sku: Expected a string matching the RegExp ^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$, got "MUG 02"',
        "3 prices.EURO: there is no such field",
        "4 prices.CHF: Expected string, got 12.5",
        "6 colour: there is no such field",
        "6 name: has blanks at its ends",
        "6 active: must be true or false",
        "7 sku: is missing",
        '8 : Expected object, got "MUG-08"',
        "9 : product MUG-01 was in the file before, on line 1",
        "10 name: is longer than 200 characters",
        "10 category: is empty",
        "5 name: is missing, and the product is new",
        "5 category: is missing, and the product is new"
      ])
      assert.lengthOf((yield* everything).products, 1)
    }).pipe(Effect.provide(layerMigrated))
  )

  it.effect("when prices are not written in the currency's own decimals, then the reason shows how", () =>
    Effect.gen(function* () {
      const { bad } = yield* importAll(productImport, "first", [
        { ...mug, prices: { EUR: "12.5", USD: "1250", JPY: "12.00", KWD: "1.25" } },
        { ...mug, sku: "MUG-02", prices: { EUR: "-1.00", USD: "10000000000000.01", GBP: "1,00" } }
      ])
      assert.deepStrictEqual(bad, [
        "1 prices.EUR: write EUR like 12.50, not 12.5",
        "1 prices.USD: write USD like 12.50, not 1250",
        "1 prices.JPY: write JPY like 1250, not 12.00",
        "1 prices.KWD: write KWD like 1.250, not 1.25",
        "2 prices.EUR: write EUR like 12.50, not -1.00",
        "2 prices.USD: at most 10000000000000.00 USD",
        "2 prices.GBP: write GBP like 12.50, not 1,00"
      ])
    }).pipe(Effect.provide(layerMigrated))
  )

  it.effect(
    "when there are warehouses, then a new product has one empty stock row in each active one (REQ-INV-06, T-INV-19)",
    () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        yield* importAll(stockImport, "warehouses", [
          { warehouse: "AMS-1", name: "Amsterdam", priority: 1 },
          { warehouse: "RNO-1", name: "Reno", priority: 2 },
          { warehouse: "OLD-1", name: "Closed", priority: 3, active: false }
        ])
        yield* importAll(productImport, "first", [mug])
        yield* importAll(productImport, "second", [{ ...mug, name: "Cup" }])
        assert.deepStrictEqual(yield* sql`select warehouse_id, on_hand from warehouse.stock order by warehouse_id`, [
          { warehouse_id: "AMS-1", on_hand: 0 },
          { warehouse_id: "RNO-1", on_hand: 0 }
        ])
      }).pipe(Effect.provide(layerMigrated))
  )
})

describe("given products which were imported before", () => {
  it.effect("when a price changes, then its version goes up and the history has both (T-PRC-04, REQ-PRC-04)", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      yield* importAll(productImport, "first", [mug])
      const report = yield* importAll(productImport, "second", [
        { sku: "MUG-01", prices: { EUR: "13.00", JPY: "1800" } }
      ])
      assert.deepStrictEqual(report, { ...nothing, records: 1, changed: 1 })
      assert.deepStrictEqual(
        yield* sql`
          select currency, version, amount, reference, lead(valid_from) over w is null as valid
          from catalog.price_history window w as (partition by currency order by version) order by currency, version`,
        [
          { currency: "EUR", version: 1, amount: 1250n, reference: "first", valid: false },
          { currency: "EUR", version: 2, amount: 1300n, reference: "second", valid: true },
          { currency: "JPY", version: 1, amount: 1800n, reference: "first", valid: true }
        ]
      )
      assert.deepStrictEqual((yield* everything).products[0]!["version"], 1)
    }).pipe(Effect.provide(layerMigrated))
  )

  it.effect("when a record leaves fields out, then those stay; what it says is changed", () =>
    Effect.gen(function* () {
      yield* importAll(productImport, "first", [mug, pen])
      const report = yield* importAll(productImport, "second", [{ sku: "MUG-01", active: "no" }, { sku: "PEN-01" }])
      assert.deepStrictEqual(report, { ...nothing, records: 2, changed: 1, unchanged: 1 })
      assert.deepStrictEqual((yield* everything).products, [
        { sku: "MUG-01", name: "Mug", category: "kitchen", active: false, taxable: true, version: 2 },
        { sku: "PEN-01", name: "Pen", category: "desk", active: false, taxable: false, version: 1 }
      ])
    }).pipe(Effect.provide(layerMigrated))
  )

  it.effect("when the same import runs again, even after another, then nothing changes (REQ-INV-07)", () =>
    Effect.gen(function* () {
      yield* importAll(productImport, "first", [mug, pen])
      yield* importAll(productImport, "second", [{ ...mug, prices: { EUR: "99.00" } }])
      const before = yield* everything
      const report = yield* importAll(productImport, "first", [pen, mug])
      assert.deepStrictEqual(report, { ...nothing, records: 2, appliedBefore: 2 })
      assert.deepStrictEqual(yield* everything, before)
    }).pipe(Effect.provide(layerMigrated))
  )

  it.effect("when an import's name comes again with other content, then that line is refused (REQ-GEN-03)", () =>
    Effect.gen(function* () {
      yield* importAll(productImport, "first", [mug])
      const before = yield* everything
      const report = yield* importAll(productImport, "first", [{ ...mug, prices: { EUR: "99.00" } }])
      assert.strictEqual(report.refused, 1)
      assert.match(report.bad[0]!, /^1 : import first has applied product MUG-01 before, with other content/)
      assert.deepStrictEqual(yield* everything, before)
    }).pipe(Effect.provide(layerMigrated))
  )
})

describe("given an import of several chunks (REQ-PRC-05, T-PRC-05, T-INV-20)", () => {
  const count = 2 * chunkSize + 200

  /** Behaves as productImport until chunk `last` has been written, and then does what a crash does: it never commits. */
  const crashingIn = (last: number): typeof productImport => {
    let chunk = 0
    return {
      ...productImport,
      apply: (rows, run, at) =>
        Effect.tap(productImport.apply(rows, run, at), () => (++chunk === last ? Effect.die("crashed") : Effect.void))
    }
  }

  it.effect(
    "when it crashes in the second one, then that chunk left no trace, and the next run does the rest once",
    () =>
      Effect.gen(function* () {
        yield* Effect.exit(importAll(crashingIn(2), "big", numbered(count)))
        const half = yield* everything
        assert.lengthOf(half.products, chunkSize)
        assert.lengthOf(half.history, chunkSize)

        const report = yield* importAll(productImport, "big", numbered(count))
        assert.deepStrictEqual(report, {
          ...nothing,
          records: count,
          appliedBefore: chunkSize,
          created: count - chunkSize
        })
        const whole = yield* everything
        assert.lengthOf(whole.products, count)
        assert.lengthOf(whole.history, count)
        assert.isTrue(whole.products.every((product) => product["version"] === 1))
      }).pipe(Effect.provide(layerMigrated))
  )

  it.live("when its connection is cut, then the chunk is repeated as if nothing had been", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      let cuts = 0
      const cut: typeof productImport = {
        ...productImport,
        apply: (rows, run, at) =>
          Effect.tap(
            productImport.apply(rows, run, at),
            Effect.when(
              sql`select pg_terminate_backend(pg_backend_pid())`,
              Effect.sync(() => cuts++ === 0)
            )
          )
      }
      assert.deepStrictEqual(yield* importAll(cut, "big", numbered(3)), { ...nothing, records: 3, created: 3 })
      assert.strictEqual(cuts, 2)
      assert.lengthOf((yield* everything).history, 3)
    }).pipe(Effect.provide(layerMigrated))
  )

  it.live("when two run the same import at once, then each record is applied once", () =>
    Effect.gen(function* () {
      const both = yield* Effect.all(
        [importAll(productImport, "big", numbered(count)), importAll(productImport, "big", numbered(count))],
        { concurrency: "unbounded" }
      )
      assert.strictEqual(both[0].created + both[1].created, count)
      assert.strictEqual(both[0].appliedBefore + both[1].appliedBefore, count)
      assert.lengthOf((yield* everything).history, count)
    }).pipe(Effect.provide(layerMigrated))
  )

  it.live("when it is interrupted anywhere, then the next run completes it", () =>
    Effect.gen(function* () {
      for (const wait of [5, 15, 30, 60]) {
        const run = yield* Effect.forkChild(importAll(productImport, "big", numbered(count)))
        yield* Effect.sleep(wait)
        yield* Fiber.interrupt(run)
      }
      const report = yield* importAll(productImport, "big", numbered(count))
      assert.strictEqual(report.created + report.appliedBefore, count)
      assert.lengthOf((yield* everything).history, count)
    }).pipe(Effect.provide(layerMigrated))
  )
})

describe("given a dry run", () => {
  it.effect("when it has said what would happen, then nothing has, and the real run says the same", () =>
    Effect.gen(function* () {
      yield* importAll(productImport, "first", [mug])
      const before = yield* everything
      const records = [
        { ...mug, prices: { EUR: "13.00" } },
        pen,
        { sku: "NEW-01", prices: { EUR: "1.00" } },
        { sku: "NEW-02", prices: { EUR: "1" } }
      ]
      const dry = yield* importAll(productImport, "second", records, { dryRun: true })
      assert.deepStrictEqual(yield* everything, before)
      assert.deepStrictEqual(yield* importAll(productImport, "second", records), dry)
      assert.deepStrictEqual([dry.created, dry.changed, dry.refused], [1, 1, 2])
    }).pipe(Effect.provide(layerMigrated))
  )
})
