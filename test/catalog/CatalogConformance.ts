import { assert, it } from "@effect/vitest"
import { Effect, type Layer } from "effect"
import { Catalog, type CatalogEntry } from "../../src/catalog/Catalog.ts"
import type { Cursor } from "../../src/catalog/Product.ts"
import { SellerId, Sku } from "../../src/domain/Ids.ts"
import { Currency } from "../../src/domain/Money.ts"

export const EUR = Currency.make("EUR")
export const JPY = Currency.make("JPY")

export const entry = (sku: string, rest: Partial<CatalogEntry> = {}): CatalogEntry => ({
  sku: Sku.make(sku),
  name: `Product ${sku}`,
  category: "kitchen",
  active: true,
  taxable: true,
  version: 1,
  sellable: 0,
  prices: { EUR: { amount: 1250n, version: 1 } },
  ...rest
})

/** What every catalog does, whatever it reads from: `layerOf` makes one which holds these products. */
export const conforms = (layerOf: (entries: ReadonlyArray<CatalogEntry>) => Layer.Layer<Catalog>): void => {
  const mug = entry("MUG-350", { name: "Stoneware mug", sellable: 7, sellerId: SellerId.make("potters-row") })
  const pen = entry("PEN-01", {
    name: "Brass pen",
    category: "desk",
    taxable: false,
    prices: { EUR: { amount: 990n, version: 3 }, JPY: { amount: 1500n, version: 1 } }
  })
  const withdrawn = entry("OLD-01", { name: "Old lamp", active: false, sellable: 4 })
  const shop = layerOf([mug, pen, withdrawn])
  const skus = (...texts: ReadonlyArray<string>) => texts.map((text) => Sku.make(text))

  it.effect("a product comes with its price in the currency asked for, and what can be sold", () =>
    Effect.gen(function* () {
      const { products } = yield* Catalog
      const found = yield* products(skus("MUG-350", "PEN-01"), EUR)
      assert.deepStrictEqual(found.get(mug.sku), {
        sku: mug.sku,
        name: "Stoneware mug",
        category: "kitchen",
        active: true,
        taxable: true,
        version: 1,
        sellable: 7,
        sellerId: mug.sellerId!,
        price: { unit: { amount: 1250n, currency: EUR }, version: 1 }
      })
      assert.deepStrictEqual(found.get(pen.sku)?.price, { unit: { amount: 990n, currency: EUR }, version: 3 })
    }).pipe(Effect.provide(shop))
  )

  it.effect("a product without a price in the currency has none, and an unknown sku is absent", () =>
    Effect.gen(function* () {
      const { products } = yield* Catalog
      const found = yield* products(skus("MUG-350", "NO-SUCH"), JPY)
      assert.deepStrictEqual([...found.keys()], skus("MUG-350"))
      assert.notProperty(found.get(mug.sku), "price")
    }).pipe(Effect.provide(shop))
  )

  it.effect("a withdrawn product is told as such, and is on no page", () =>
    Effect.gen(function* () {
      const { page, products } = yield* Catalog
      assert.isFalse((yield* products([withdrawn.sku], EUR)).get(withdrawn.sku)?.active)
      const { products: listed } = yield* page({ currency: EUR })
      assert.deepStrictEqual(
        listed.map(({ name }) => name),
        ["Brass pen", "Stoneware mug"]
      )
    }).pipe(Effect.provide(shop))
  )

  it.effect("nothing asked for is nothing found", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* (yield* Catalog).products([], EUR)).size, 0)
    }).pipe(Effect.provide(shop))
  )

  it.effect("the currencies are those in which anything has a price", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* (yield* Catalog).currencies, [EUR, JPY])
    }).pipe(Effect.provide(shop))
  )

  it.effect("a page shows one currency and category, and finds words by how they begin", () =>
    Effect.gen(function* () {
      const { page } = yield* Catalog
      const found = (request: Parameters<typeof page>[0]) =>
        Effect.map(page(request), ({ products }) => products.map(({ sku }) => sku))
      assert.deepStrictEqual(yield* found({ currency: JPY }), skus("PEN-01"))
      assert.deepStrictEqual(yield* found({ currency: EUR, category: "kitchen" }), skus("MUG-350"))
      assert.deepStrictEqual(yield* found({ currency: EUR, search: "MUG stone" }), skus("MUG-350"))
      assert.deepStrictEqual(yield* found({ currency: EUR, search: "mug-35" }), skus("MUG-350"))
      assert.deepStrictEqual(yield* found({ currency: EUR, search: "mug pen" }), [])
      assert.deepStrictEqual(yield* found({ currency: EUR, search: "' & | ! :* (" }), skus("PEN-01", "MUG-350"))
    }).pipe(Effect.provide(shop))
  )

  it.effect("pages follow one another without gap or repetition, also where names are equal (REQ-GEN-16)", () =>
    Effect.gen(function* () {
      const { page } = yield* Catalog
      const seen: Array<Sku> = []
      let after: Cursor | undefined
      let pages = 0
      do {
        const next = yield* page({ currency: EUR, limit: 3, ...(after === undefined ? {} : { after }) })
        seen.push(...next.products.map(({ sku }) => sku))
        after = next.next
        pages++
      } while (after !== undefined)
      assert.strictEqual(pages, 3)
      assert.deepStrictEqual(seen, skus("A", "B", "C", "D", "E", "F", "G", "H"))
    }).pipe(
      Effect.provide(
        layerOf(["H", "G", "F", "E", "D", "C", "B", "A"].map((sku) => entry(sku, { name: sku < "E" ? "one" : "two" })))
      )
    )
  )
}
