import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import {
  add,
  AmountOutOfRange,
  Currency,
  CurrencyMismatch,
  format,
  maxAmount,
  minorUnitsOf,
  Money,
  subtract,
  times,
  zero
} from "../../src/domain/Money.ts"

const EUR = Currency.make("EUR")
const USD = Currency.make("USD")
const euro = (amount: bigint): Money => ({ amount, currency: EUR })
const ofEuro = Schema.Struct({ ...Money.fields, currency: Schema.Literal(EUR) })
const anyCount = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 999 }))

describe("given two amounts of one currency", () => {
  it.prop("their sum less one of them is the other, in either order", [ofEuro, ofEuro], ([left, right]) => {
    const sum = add(left, right)
    assert.deepStrictEqual(sum, add(right, left))
    if (Result.isSuccess(sum)) assert.deepStrictEqual(subtract(sum.success, right), Result.succeed(left))
    else assert.isTrue(left.amount + right.amount > maxAmount)
  })

  it.prop("a whole number of times one is as many sums", [ofEuro, anyCount], ([price, count]) => {
    const many = times(price, count)
    let sum: Result.Result<Money, unknown> = Result.succeed(zero(EUR))
    for (let index = 0; index < count && Result.isSuccess(sum); index++) sum = add(sum.success, price)
    if (Result.isSuccess(many)) assert.deepStrictEqual(sum, many)
    else assert.isTrue(Result.isFailure(sum))
  })

  it("when the sum passes the bound by one, then it is refused with what it would be (REQ-PRC-03, N-070)", () => {
    assert.deepStrictEqual(add(euro(maxAmount), euro(0n)), Result.succeed(euro(maxAmount)))
    assert.deepStrictEqual(
      add(euro(maxAmount), euro(1n)),
      Result.fail(new AmountOutOfRange({ amount: maxAmount + 1n }))
    )
    assert.deepStrictEqual(times(euro(maxAmount), 2), Result.fail(new AmountOutOfRange({ amount: 2n * maxAmount })))
  })

  it("when more is taken away than there is, then it is refused", () => {
    assert.deepStrictEqual(subtract(euro(1n), euro(1n)), Result.succeed(zero(EUR)))
    assert.deepStrictEqual(subtract(euro(1n), euro(2n)), Result.fail(new AmountOutOfRange({ amount: -1n })))
  })
})

it("amounts of two currencies are never added or subtracted (REQ-GEN-14)", () => {
  const dollar = { amount: 1n, currency: USD }
  const mismatch = Result.fail(new CurrencyMismatch({ left: EUR, right: USD }))
  assert.deepStrictEqual(add(euro(1n), dollar), mismatch)
  assert.deepStrictEqual(subtract(euro(1n), dollar), mismatch)
})

describe("as JSON", () => {
  const codec = Schema.toCodecJson(Money)
  const decode = Schema.decodeUnknownResult(codec)

  it.prop("an amount is decimal text, and comes back exactly", [Money], ([money]) => {
    const json = Schema.encodeSync(codec)(money)
    assert.deepStrictEqual(json, { amount: money.amount.toString(), currency: money.currency })
    assert.deepStrictEqual(decode(json), Result.succeed(money))
  })

  it("numbers, fractions, negative or too large amounts and other currencies' names are refused", () => {
    const refused = [
      { amount: 100, currency: "EUR" },
      { amount: "1.5", currency: "EUR" },
      { amount: "-1", currency: "EUR" },
      { amount: (maxAmount + 1n).toString(), currency: "EUR" },
      { amount: "1", currency: "eur" },
      { amount: "1", currency: "EURO" },
      { amount: "1" }
    ]
    for (const json of refused) assert.isTrue(Result.isFailure(decode(json)), JSON.stringify(json))
  })
})

it("people see major units with the decimals of the currency (ISO 4217)", () => {
  const shown = (amount: bigint, currency: string) => format({ amount, currency: Currency.make(currency) })
  assert.strictEqual(shown(123_456n, "EUR"), "1234.56 EUR")
  assert.strictEqual(shown(5n, "EUR"), "0.05 EUR")
  assert.strictEqual(shown(0n, "EUR"), "0.00 EUR")
  assert.strictEqual(shown(123_456n, "JPY"), "123456 JPY")
  assert.strictEqual(shown(123_456n, "KWD"), "123.456 KWD")
  assert.strictEqual(shown(7n, "KWD"), "0.007 KWD")
})

describe("given an amount as others write it", () => {
  for (const [text, currency, expected] of [
    ["41.89", "EUR", 4189n],
    ["41.8", "EUR", 4180n],
    ["41", "EUR", 4100n],
    ["41.8900", "EUR", 4189n],
    ["500", "JPY", 500n],
    ["500.00", "JPY", 500n],
    ["1.234", "KWD", 1234n],
    ["0.1", "EUR", 10n]
  ] as const) {
    it(`when it is ${text} ${currency}, then it is ${expected} minor units`, () => {
      assert.strictEqual(minorUnitsOf(text, Currency.make(currency)), expected)
    })
  }

  for (const text of ["", "-1", "+1", "1e3", "1,00", "1.001", ".5", "1.", " 1", "NaN", "1.00001", "1".repeat(16)]) {
    it(`when it is "${text}", then it is none`, () => assert.isUndefined(minorUnitsOf(text, EUR)))
  }

  it.prop("when it was formatted by us, then it is what it was", [Money.fields.amount], ([amount]) => {
    const [text = ""] = format(euro(amount)).split(" ")
    assert.strictEqual(minorUnitsOf(text, EUR), amount)
  })
})
