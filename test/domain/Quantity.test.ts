import { assert, it } from "@effect/vitest"
import { Schema } from "effect"
import { Quantity } from "../../src/domain/Quantity.ts"

const is = Schema.is(Quantity)

it("a quantity is a whole number from 1 to 999 (REQ-CART-01, N-065)", () => {
  assert.deepStrictEqual([1, 2, 998, 999].filter(is), [1, 2, 998, 999])
  assert.deepStrictEqual([0, -1, 1000, 1.5, Number.NaN, Number.POSITIVE_INFINITY, "1", 1n].filter(is), [])
})
