import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { Catalog } from "../../src/catalog/Catalog.ts"
import { productImport } from "../../src/catalog/ProductImport.ts"
import { seed } from "../../src/demo/Demo.ts"
import { products, shippingRates } from "../../src/demo/DemoCatalog.ts"
import * as Environment from "../../src/demo/Environment.ts"
import { Sku } from "../../src/domain/Ids.ts"
import { Currency } from "../../src/domain/Money.ts"
import { everything, importAll } from "../catalog/ImportFixtures.ts"
import { layerMigrated } from "../fixtures/Postgres.ts"

const found = (effect: Effect.Effect<void, unknown, SqlClient>) =>
  Effect.map(Effect.flip(effect), (error) => (error instanceof Environment.WrongEnvironment ? error.found : error))

describe("given a new database", () => {
  it.effect("when it is decided to be the demo's, then it is the demo's for good", () =>
    Effect.gen(function* () {
      yield* Environment.decide("demo")
      yield* Environment.decide("demo")
      yield* Environment.require("demo")
      assert.strictEqual(yield* found(Environment.decide("production")), "demo")
      assert.strictEqual(yield* found(Environment.require("production")), "demo")
    }).pipe(Effect.provide(layerMigrated))
  )

  it.effect("when it is decided to be a shop's, then no demo data is let in", () =>
    Effect.gen(function* () {
      yield* Environment.decide("production")
      assert.strictEqual(yield* found(Environment.decide("demo")), "production")
      assert.strictEqual(yield* found(seed), "production")
      assert.lengthOf((yield* everything).products, 0)
    }).pipe(Effect.provide(layerMigrated))
  )

  it.effect("when nothing is decided yet, then it is not the demo's either", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* found(seed), "undecided")
      assert.strictEqual(yield* found(Environment.require("demo")), "undecided")
    }).pipe(Effect.provide(layerMigrated))
  )

  it.effect("when products came in before anything was decided, then it can only become a shop's", () =>
    Effect.gen(function* () {
      yield* importAll(productImport, "real", [{ sku: "REAL-01", name: "Real", category: "all" }])
      const refusal = yield* Effect.flip(Environment.decide("demo"))
      assert.match(refusal.message, /^This database is not the demo's \(undecided\)/)
      yield* Environment.decide("production")
    }).pipe(Effect.provide(layerMigrated))
  )

  it.live("when several nodes start at once, then they agree", () =>
    Effect.gen(function* () {
      yield* Effect.all(
        Array.from({ length: 4 }, () => Environment.decide("demo")),
        { concurrency: "unbounded" }
      )
      const sql = yield* SqlClient
      assert.lengthOf(yield* sql`select from ops.environment`, 1)
    }).pipe(Effect.provide(layerMigrated))
  )
})

describe("given the demo's database", () => {
  const demo = Layer.effectDiscard(Environment.decide("demo")).pipe(Layer.provideMerge(layerMigrated))

  it.effect("when it is seeded, then everything is priced in four currencies and most of it is in stock", () =>
    Effect.gen(function* () {
      yield* seed
      const { currencies, products: read } = yield* Catalog
      const sold = ["EUR", "GBP", "JPY", "USD"].map((code) => Currency.make(code))
      assert.deepStrictEqual(yield* currencies, sold)
      assert.sameMembers(Object.keys(shippingRates), sold)
      const skus = products.map(({ sku }) => Sku.make(sku))
      for (const currency of sold) {
        const shop = [...(yield* read(skus, currency)).values()]
        assert.lengthOf(shop, products.length)
        assert.isTrue(shop.every(({ active, price }) => active && price !== undefined && price.unit.amount > 0n))
        assert.sameDeepMembers(
          shop.filter(({ sellable }) => sellable < 10).map(({ sellable, sku }) => `${sku}: ${sellable}`),
          ["CARAFE-GLASS: 0", "LANTERN-LTD: 3"]
        )
      }
    }).pipe(Effect.provide(Layer.provideMerge(Catalog.layer, demo)))
  )

  it.effect("when it is seeded again after sales, then what is sold stays sold", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      yield* seed
      yield* sql`update warehouse.stock set on_hand = on_hand - 1 where on_hand > 0`
      yield* sql`update catalog.products set name = 'renamed' where sku = 'LAMP-ARC'`
      const before = yield* everything
      yield* seed
      assert.deepStrictEqual(yield* everything, before)
    }).pipe(Effect.provide(demo))
  )

  it.live("when several nodes seed it at once, or one broke off, then it is filled once", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      yield* Effect.all([seed, seed, seed], { concurrency: "unbounded" })
      const before = yield* everything
      yield* sql`update ops.environment set seeded_at = null`
      yield* seed
      assert.deepStrictEqual(yield* everything, before)
      assert.lengthOf(before.products, products.length)
    }).pipe(Effect.provide(demo))
  )
})
