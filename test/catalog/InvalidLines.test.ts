import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import {
  NotForSale,
  NotSoldIn,
  UnknownCurrency,
  UnknownSku,
  allPriced,
  sellsIn
} from "../../src/catalog/InvalidLines.ts"
import type { Product } from "../../src/catalog/Product.ts"
import { Sku } from "../../src/domain/Ids.ts"
import { Currency } from "../../src/domain/Money.ts"

const EUR = Currency.make("EUR")
const [mug, pen, tent, lamp] = ["MUG-01", "PEN-01", "TENT-01", "LAMP-01"].map((sku) => Sku.make(sku)) as [
  Sku,
  Sku,
  Sku,
  Sku
]

const product = (sku: Sku, rest: Partial<Product> = {}): Product => ({
  sku,
  name: sku,
  category: "all",
  active: true,
  taxable: true,
  version: 1,
  sellable: 1,
  price: { unit: { amount: 100n, currency: EUR }, version: 1 },
  ...rest
})
const unpriced = (sku: Sku): Product => {
  const { price: _, ...rest } = product(sku)
  return rest
}
const found = (...products: ReadonlyArray<Product>) => new Map(products.map((one) => [one.sku, one]))

describe("given what the catalog knows of a cart's skus (REQ-CHK-17)", () => {
  it("when all are for sale, then they come priced and in the order of the cart", () => {
    const priced = Result.getOrThrow(allPriced([pen, mug], EUR, found(product(mug), product(pen))))
    assert.deepStrictEqual(
      priced.map((one) => one.sku),
      [pen, mug]
    )
  })

  it("when several are unknown, then one refusal names them all", () => {
    assert.deepStrictEqual(
      allPriced([mug, pen, tent], EUR, found(product(pen))),
      Result.fail(new UnknownSku({ skus: [mug, tent] }))
    )
  })

  it("when one is withdrawn, then it is not for sale, whatever its price", () => {
    assert.deepStrictEqual(
      allPriced([mug, pen], EUR, found(product(mug, { active: false }), product(pen))),
      Result.fail(new NotForSale({ skus: [mug] }))
    )
  })

  it("when some have no price in the currency, then they are not sold in it", () => {
    assert.deepStrictEqual(
      allPriced([mug, lamp], EUR, found(product(mug), unpriced(lamp))),
      Result.fail(new NotSoldIn({ currency: EUR, skus: [lamp] }))
    )
  })

  it("when nothing at all is sold in the currency, then the refusal says what is", () => {
    const CHF = Currency.make("CHF")
    assert.deepStrictEqual(sellsIn(CHF, [EUR]), Result.fail(new UnknownCurrency({ currency: CHF, known: [EUR] })))
    assert.deepStrictEqual(sellsIn(EUR, [EUR]), Result.succeed(EUR))
  })
})
