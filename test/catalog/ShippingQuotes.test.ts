import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import { FlatRates, NoShippingQuote, type QuoteRequest, ShippingQuotes } from "../../src/catalog/ShippingQuotes.ts"
import { Currency } from "../../src/domain/Money.ts"
import { ServiceTimeout } from "../../src/domain/Refusals.ts"

const EUR = Currency.make("EUR")
const JPY = Currency.make("JPY")
const request = (rest: Partial<QuoteRequest> = {}): QuoteRequest => ({
  address: { name: "Ada", line1: "Main Street 1", city: "Utrecht", country: "NL", postalCode: "3511 AB" },
  currency: EUR,
  lines: [],
  method: "standard",
  ...rest
})

describe("given flat rates (REQ-CHK-04)", () => {
  const rates = Schema.decodeSync(Schema.toCodecJson(FlatRates))({
    EUR: { standard: "490", express: "1290" },
    JPY: { standard: "800" }
  })
  const quoteOf = (rest?: Partial<QuoteRequest>) =>
    Effect.flatMap(ShippingQuotes, ({ quote }) => quote(request(rest))).pipe(
      Effect.provide(ShippingQuotes.layerFlat(rates))
    )

  it.effect("when a method is quoted, then it is that of the cart's own currency", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* quoteOf(), { amount: 490n, currency: EUR })
      assert.deepStrictEqual(yield* quoteOf({ method: "express" }), { amount: 1290n, currency: EUR })
      assert.deepStrictEqual(yield* quoteOf({ currency: JPY }), { amount: 800n, currency: JPY })
    })
  )

  it.effect("when there is no rate for it, then the refusal says for what", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* Effect.flip(quoteOf({ currency: JPY, method: "express" })),
        new NoShippingQuote({ method: "express", country: "NL", currency: JPY })
      )
      const CHF = Currency.make("CHF")
      assert.strictEqual((yield* Effect.flip(quoteOf({ currency: CHF })))._tag, "NoShippingQuote")
    })
  )
})

describe("given a carrier who does not answer (REQ-GEN-05, N-003)", () => {
  it.effect("when 8 seconds have passed, then the quote is refused as a timeout, and not before", () =>
    Effect.gen(function* () {
      const quote = yield* Effect.forkChild(Effect.flip(ShippingQuotes.make(() => Effect.never).quote(request())))
      yield* TestClock.adjust("7999 millis")
      assert.isUndefined(quote.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* Fiber.join(quote), new ServiceTimeout({ service: "shipping", afterMs: 8000 }))
    })
  )

  it.effect("when another limit is set, then that one holds", () =>
    Effect.gen(function* () {
      const { quote } = ShippingQuotes.make(() => Effect.never, Duration.millis(50))
      const asked = yield* Effect.forkChild(Effect.flip(quote(request())))
      yield* TestClock.adjust("50 millis")
      assert.deepStrictEqual(yield* Fiber.join(asked), new ServiceTimeout({ service: "shipping", afterMs: 50 }))
    })
  )
})
