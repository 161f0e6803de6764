import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import {
  CartId,
  CheckoutId,
  checkoutIdOf,
  CustomerId,
  IdempotencyKey,
  OrderId,
  orderIdOf,
  orderNumberOf,
  Sku,
  WarehouseId
} from "../../src/domain/Ids.ts"

const numberOf = (id: string) => orderNumberOf(OrderId.make(id))

describe("the number people read", () => {
  it("is the same on every node and in every version", () => {
    assert.strictEqual(numberOf("checkout-1"), "MMFL7-UK6K9")
    assert.strictEqual(numberOf("00000000-0000-4000-8000-000000000000"), "8PP4Q-UDKVC")
  })

  it.prop("is twice five characters without look-alikes", [OrderId], ([id]) => {
    assert.match(orderNumberOf(id), /^[2-9A-HJ-NP-Z]{5}-[2-9A-HJ-NP-Z]{5}$/)
  })

  // Ids as clients make them: counted, random, and alike but for a letter in the middle.
  const shapes: Readonly<Record<string, (index: number) => string>> = {
    counted: (index) => `checkout-${index}`,
    padded: (index) => `order_${String(index).padStart(12, "0")}`,
    random: (index) => {
      const bits = BigInt.asUintN(64, (BigInt(index) + 1n) * 0x9e3779b97f4a7c15n)
        .toString(16)
        .padStart(16, "0")
      return `${bits.slice(0, 8)}-${bits.slice(8, 12)}-4${bits.slice(12, 15)}-8000-${bits}`.slice(0, 36)
    },
    "alike around": (index) => `storefront-${index.toString(36).padStart(4, "0")}-checkout-of-today`
  }

  for (const [shape, idOf] of Object.entries(shapes)) {
    const count = 50_000
    const numbers = Array.from({ length: count }, (_, index) => numberOf(idOf(index)))

    it(`is another for each of 50 000 ${shape} ids`, () => {
      assert.strictEqual(new Set(numbers).size, count)
    })

    it(`has each character at each place about equally often over ${shape} ids`, () => {
      const share = count / 32
      for (const place of [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]) {
        const seen = new Map<string, number>()
        for (const number of numbers) seen.set(number[place]!, (seen.get(number[place]!) ?? 0) + 1)
        assert.strictEqual(seen.size, 32)
        for (const [character, times] of seen) {
          assert.isTrue(times > 0.8 * share && times < 1.2 * share, `${character} at ${place}: ${times}`)
        }
      }
    })
  }
})

it("an order has its checkout's id, and leads back to it", () => {
  const checkout = CheckoutId.make("checkout-1")
  assert.strictEqual(orderIdOf(checkout), "checkout-1")
  assert.strictEqual(checkoutIdOf(orderIdOf(checkout)), checkout)
})

describe("what an id may look like", () => {
  const cases = [
    { name: "CartId", schema: CartId, good: ["12345678", "a_b-C4567", "x".repeat(64)] },
    { name: "IdempotencyKey", schema: IdempotencyKey, good: ["12345678", "notice:Cart:c1:2:0", "k".repeat(200)] },
    { name: "CustomerId", schema: CustomerId, good: ["a", "auth0|5f7c", "ada@example.org", "c".repeat(128)] },
    { name: "Sku", schema: Sku, good: ["1", "TEE-RED_XL.2", "s".repeat(64)] },
    { name: "WarehouseId", schema: WarehouseId, good: ["B", "BERLIN-2", "w".repeat(32)] }
  ] as const
  const never = ["", " ", "a b c d e f", "äöüäöüäö", "line\nbreak1", "'; drop table--", "\u0000\u0000", 12_345_678]

  for (const { good, name, schema } of cases) {
    it(`${name}: whole, url-safe and not too long`, () => {
      const is = Schema.is(schema)
      assert.deepStrictEqual(good.filter(is), [...good])
      assert.deepStrictEqual(never.filter(is), [])
      const longest = good.at(-1)!
      assert.isFalse(is(`${longest}x`), "one more character")
      assert.isFalse(is(`${longest}\n`))
      assert.isFalse(is(`${good[0]}\n`), "a trailing line break")
    })
  }

  it("ids of carts, checkouts and orders have at least 8 characters, so that they are not guessed", () => {
    for (const schema of [CartId, CheckoutId, OrderId]) {
      assert.isFalse(Schema.is(schema)("1234567"))
      assert.isTrue(Schema.is(schema)("12345678"))
    }
  })
})
