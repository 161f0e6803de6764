import { assert, it } from "@effect/vitest"
import { Duration } from "effect"
import { defaultLimits } from "../../src/layers/Shop.ts"
import { limits } from "../fixtures/Builders.ts"
import { providerEventLimits } from "../fixtures/machines/ProviderEventMachine.ts"

it("the limits of these tests are the shop's own (N-007, N-008, N-009, N-015, N-016, N-026, N-052, N-061, N-066, N-069)", () => {
  const { alert, cart, compensation, order, payment, reservation, session } = defaultLimits
  assert.deepStrictEqual({ alert, cart, compensation, session, reservation, payment, order }, limits)
  assert.deepInclude(defaultLimits.webhook, providerEventLimits)
  assert.deepStrictEqual(defaultLimits.checkout.captureBackoff, {
    base: Duration.seconds(5),
    cap: Duration.seconds(60)
  })
})
