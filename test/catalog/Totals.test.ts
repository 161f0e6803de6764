import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { PricedLine, lineTotal, subtotalOf, totalsOf } from "../../src/catalog/Totals.ts"
import { Sku } from "../../src/domain/Ids.ts"
import { Currency, type Money, maxAmount, zero } from "../../src/domain/Money.ts"
import { Quantity } from "../../src/domain/Quantity.ts"

const EUR = Currency.make("EUR")
const euro = (amount: bigint): Money => ({ amount, currency: EUR })
const line = (unitPrice: Money, quantity = 1): PricedLine => ({
  sku: Sku.make("MUG-01"),
  quantity: Quantity.make(quantity),
  unitPrice
})
const bill = (parts: Partial<Parameters<typeof totalsOf>[0]>) =>
  totalsOf({ currency: EUR, lines: [], discount: zero(EUR), shipping: zero(EUR), ...parts })

const refusalOf = (result: Result.Result<unknown, { readonly _tag: string }>) =>
  Result.isFailure(result) ? result.failure._tag : "none"

describe("given a cart of two lines (REQ-CHK-09)", () => {
  const lines = [line(euro(1250n), 2), line(euro(399n), 3)]

  it("when it is totalled, then the total is subtotal less discount plus shipping", () => {
    assert.deepStrictEqual(
      bill({ lines, discount: euro(500n), shipping: euro(490n) }),
      Result.succeed({
        subtotal: euro(3697n),
        discount: euro(500n),
        shipping: euro(490n),
        total: euro(3687n)
      })
    )
  })

  it("when the discount is the whole subtotal, then only shipping is paid (REQ-PRO-04)", () => {
    const totals = Result.getOrThrow(bill({ lines, discount: euro(3697n), shipping: euro(490n) }))
    assert.deepStrictEqual(totals.total, euro(490n))
  })

  it("when the discount is one cent more than the subtotal, then it is refused (REQ-PRO-04, T-PRO-02)", () => {
    assert.strictEqual(refusalOf(bill({ lines, discount: euro(3698n), shipping: euro(490n) })), "DiscountTooLarge")
  })

  it("when any part is in another currency, then it is refused (REQ-GEN-14)", () => {
    const dollar = { amount: 1n, currency: Currency.make("USD") }
    assert.strictEqual(refusalOf(bill({ lines: [...lines, line(dollar)] })), "CurrencyMismatch")
    assert.strictEqual(refusalOf(bill({ lines, discount: dollar })), "CurrencyMismatch")
    assert.strictEqual(refusalOf(bill({ lines, shipping: dollar })), "CurrencyMismatch")
  })
})

describe("given amounts at the bound (REQ-PRC-03, T-PRC-03)", () => {
  it("when a line reaches it exactly, then it is still a total", () => {
    assert.deepStrictEqual(lineTotal(line(euro(maxAmount / 8n), 8)), Result.succeed(euro(maxAmount)))
  })

  it("when a line, the sum of lines or the shipping passes it, then it is refused as out of range", () => {
    assert.strictEqual(refusalOf(lineTotal(line(euro(maxAmount), 2))), "AmountOutOfRange")
    assert.strictEqual(refusalOf(bill({ lines: [line(euro(maxAmount)), line(euro(1n))] })), "AmountOutOfRange")
    assert.strictEqual(refusalOf(bill({ lines: [line(euro(maxAmount))], shipping: euro(1n) })), "AmountOutOfRange")
  })
})

const price = Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: 0n, maximum: 100_000_000n }))
const anyLine = Schema.Struct({
  ...PricedLine.fields,
  unitPrice: Schema.Struct({ amount: price, currency: Schema.Literal(EUR) })
})
const anyLines = Schema.Array(anyLine)
const share = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 100 }))

it.prop(
  "a total is never negative, and is what its parts add up to",
  [anyLines, share, price],
  ([lines, percent, carriage]) => {
    const subtotal = Result.getOrThrow(subtotalOf(EUR, lines))
    const discount = euro((subtotal.amount * BigInt(percent)) / 100n)
    const totals = Result.getOrThrow(bill({ lines, discount, shipping: euro(carriage) }))
    assert.strictEqual(totals.total.amount, totals.subtotal.amount - totals.discount.amount + totals.shipping.amount)
    assert.isTrue(totals.total.amount >= carriage)
  }
)

it.prop("the order of lines and how a quantity is split over them do not matter", [anyLines], ([lines]) => {
  const split = lines.flatMap((one) =>
    Array.from({ length: one.quantity }, () => ({ ...one, quantity: Quantity.make(1) }))
  )
  assert.deepStrictEqual(subtotalOf(EUR, lines.toReversed()), subtotalOf(EUR, lines))
  assert.deepStrictEqual(subtotalOf(EUR, split), subtotalOf(EUR, lines))
})

it.prop(
  "whatever the amounts, the answer is a total within bounds or a refusal",
  [Schema.Array(PricedLine), PricedLine.fields.unitPrice, PricedLine.fields.unitPrice],
  ([lines, discount, shipping]) => {
    const totals = totalsOf({ currency: EUR, lines, discount, shipping })
    if (Result.isSuccess(totals)) {
      for (const { amount, currency } of Object.values(totals.success)) {
        assert.isTrue(amount >= 0n && amount <= maxAmount && currency === EUR)
      }
    } else {
      assert.include(["AmountOutOfRange", "CurrencyMismatch", "DiscountTooLarge"], totals.failure._tag)
    }
  }
)
