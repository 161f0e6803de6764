import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { findTestToken } from "../../src/sandbox/TestTokens.ts"
import { type DrawOptions, draw } from "../../src/simulate/Buyers.ts"

const options: DrawOptions = {
  count: 1000,
  seed: 7,
  troubledShare: 30,
  troubledMax: 7,
  shelves: [
    { sku: "TEA", weight: 90 },
    { sku: "MUG", weight: 9 },
    { sku: "LAMP", weight: 1 }
  ]
}

describe("the buyers of a simulation", () => {
  it.effect("are the same for the same seed, and others for another", () =>
    Effect.gen(function* () {
      const buyers = yield* draw(options)
      assert.deepStrictEqual(yield* draw(options), buyers)
      assert.notDeepEqual(yield* draw({ ...options, seed: 8 }), buyers)
    })
  )

  it.effect("have carts of one to five different lines of what there is", () =>
    Effect.gen(function* () {
      for (const { lines } of yield* draw(options)) {
        assert.isTrue(lines.length >= 1 && lines.length <= 3)
        assert.strictEqual(new Set(lines.map(({ sku }) => sku)).size, lines.length)
        assert.isTrue(lines.every(({ quantity }) => quantity === 1 || quantity === 2))
      }
    })
  )

  it.effect("pay with cards the sandbox knows", () =>
    Effect.gen(function* () {
      for (const { card, secondCard } of yield* draw(options)) {
        assert.isDefined(findTestToken(card), card)
        if (secondCard !== undefined) assert.isDefined(findTestToken(secondCard), secondCard)
      }
    })
  )

  it.effect("are of every kind, and few of them in trouble", () =>
    Effect.gen(function* () {
      const kinds = Map.groupBy(yield* draw(options), ({ kind }) => kind)
      assert.sameMembers(
        [...kinds.keys()],
        ["plain", "clicks twice", "declined", "second factor", "walks away", "in trouble"]
      )
      const troubled = kinds.get("in trouble") ?? []
      assert.strictEqual(troubled.length, 7)
      assert.strictEqual(new Set(troubled.map(({ card }) => card)).size, 7)
    })
  )
})
