import { assert, describe, it } from "@effect/vitest"
import { findTestToken, testTokens, testTokensAsMarkdown } from "../../src/sandbox/TestTokens.ts"

describe("given the table of test tokens", () => {
  it("when it is printed, then each token stands in it once, with what happens", () => {
    const lines = testTokensAsMarkdown().split("\n").slice(2)
    assert.strictEqual(lines.length, testTokens.length + 1, "and one which stands for any number of failures")
    assert.strictEqual(new Set(testTokens.map(({ token }) => token)).size, testTokens.length)
    for (const { token, happens } of testTokens) assert.include(lines, `| \`${token}\` | ${happens} |`)
  })

  it("when a declining card is named with its brand, then it is the same card", () => {
    assert.strictEqual(findTestToken("pm_card_visa_chargeDeclined"), findTestToken("pm_card_chargeDeclined"))
  })

  it("when a token names how often, then so often it fails", () => {
    assert.deepStrictEqual(findTestToken("pm_sandbox_void_503_times_7")?.faults, [
      { operation: "cancel", times: 7, fault: { _tag: "Unavailable" } }
    ])
    assert.deepInclude(findTestToken("pm_sandbox_refund_503_times_12")?.faults[0], { operation: "refund", times: 12 })
    assert.isUndefined(findTestToken("pm_sandbox_refund_503_times_x"))
  })

  it("when nobody knows the token, then there is no card", () => {
    assert.isUndefined(findTestToken("pm_unknown"))
  })
})
