import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { PromotionCode, Promotions, UnknownPromotion } from "../../src/catalog/Promotions.ts"
import { CheckoutId, CustomerId } from "../../src/domain/Ids.ts"
import { Currency, zero } from "../../src/domain/Money.ts"

it.effect("given a shop without promotions, any code is unknown, and giving a use back is harmless (REQ-PRO-02)", () =>
  Effect.gen(function* () {
    const promotions = yield* Promotions
    const code = PromotionCode.make("SPRING")
    const cart = { customerId: CustomerId.make("ada"), subtotal: zero(Currency.make("EUR")), lines: [] }
    const use = { code, checkoutId: CheckoutId.make("checkout-1"), attempt: 1 }
    assert.deepStrictEqual(yield* Effect.flip(promotions.validate(code, cart)), new UnknownPromotion({ code }))
    assert.deepStrictEqual(yield* Effect.flip(promotions.reserve(use, cart)), new UnknownPromotion({ code }))
    yield* promotions.release(use)
  }).pipe(Effect.provide(Promotions.layerNone))
)
