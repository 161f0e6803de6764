import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import { Catalog, type CatalogEntry } from "../../src/catalog/Catalog.ts"
import { Cursor, Product } from "../../src/catalog/Product.ts"
import { EUR, conforms, entry } from "./CatalogConformance.ts"

describe("given the catalog in memory", () => {
  conforms(Catalog.layerMemory)

  it.effect("when a test changes an entry, then the next call sees it", () => {
    const entries: Array<CatalogEntry> = [entry("MUG-350")]
    return Effect.gen(function* () {
      const { products } = yield* Catalog
      const sku = entries[0]!.sku
      entries[0] = entry("MUG-350", { prices: { EUR: { amount: 1n, version: 2 } } })
      assert.strictEqual((yield* products([sku], EUR)).get(sku)?.price?.version, 2)
    }).pipe(Effect.provide(Catalog.layerMemory(entries)))
  })
})

it.prop("a product survives the wire", [Product], ([product]) => {
  const codec = Schema.toCodecJson(Product)
  assert.deepStrictEqual(Schema.decodeSync(codec)(Schema.encodeSync(codec)(product)), product)
})

it.prop("a cursor survives the wire, and made-up text is no cursor", [Cursor, Schema.String], ([cursor, text]) => {
  assert.deepStrictEqual(Schema.decodeSync(Cursor)(Schema.encodeSync(Cursor)(cursor)), cursor)
  assert.isTrue(Result.isFailure(Schema.decodeResult(Cursor)(`${text}!`)))
})
