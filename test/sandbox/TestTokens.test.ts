import { assert, describe, it } from "@effect/vitest"
import { findTestToken, testTokens, testTokensAsMarkdown } from "../../src/sandbox/TestTokens.ts"

describe("given the table of test tokens", () => {
  it("when it is printed, then each token stands in it once, with what happens", () => {
    const lines = testTokensAsMarkdown().split("\n").slice(2)
    assert.strictEqual(lines.length, testTokens.length)
    assert.strictEqual(new Set(testTokens.map(({ token }) => token)).size, testTokens.length)
    for (const { token, happens } of testTokens) assert.include(lines, `| \`${token}\` | ${happens} |`)
  })

  it("when a declining card is named with its brand, then it is the same card", () => {
    assert.strictEqual(findTestToken("pm_card_visa_chargeDeclined"), findTestToken("pm_card_chargeDeclined"))
  })

  it("when nobody knows the token, then there is no card", () => {
    assert.isUndefined(findTestToken("pm_unknown"))
  })
})
