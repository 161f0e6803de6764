import { assert, describe, it } from "@effect/vitest"
import { leaksIn } from "../fixtures/Secrets.ts"

const secrets: ReadonlyArray<readonly [what: string, line: string, secret: string]> = [
  ["the id of an authorization", "captured # for order-1", "pi_3MtwBwLkdIwHu7ix28a3tqPa"],
  ["a payment method", "paying with # for order-1", "pm_1MtwBwLkdIwHu7ix28a3tqPa"],
  ["a payment method", "paying with # for order-1", "pm_card_visa"],
  ["a payment method", "paying with # for order-1", "tok_1MtwBwLkdIwHu7ix28a3tqPa"],
  ["a payment method", '{"source":"#"}', "card_1MvoiELkdIwHu7ixOeFGbN4D"],
  ["a client secret", "secret: x#", "_secret_YrKJUKribcBjcG8HVhfZluoGH"],
  ["a key of the provider", "connecting with #", "sk_test_4eC39HqLyjWDarjtT1zdp7dc"],
  ["a secret of webhooks", "signed by #", "whsec_of_these_tests"],
  ["a token", "token=# is known", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJndWVzdC0xIn0.c2lnbmF0dXJlLXg"],
  ["a token", "Authorization: #", "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJndWVzdC0xIn0.c2lnbmF0dXJlLXg"],
  ["a token", "authorization: #", "bearer 7f3kQ-opaque+value/2=="],
  ["a card's number", "paid with # in Berlin", "4242 4242 4242 4242"],
  ["a card's number", '{"number":"#"}', "4222222222222"],
  ["a card's number", "paid with # in Berlin", "5555-5555-5555-4444"],
  ["a card's number", "paid with # in Berlin", "2223003122003222"],
  ["a card's number", "paid with # in Berlin", "3782 822463 10005"],
  ["a card's number", "paid with # in Berlin", "6011111111111117"],
  ["a card's number", "paid with # in Berlin", "30569309025904"],
  ["a card's number", "paid with # in Berlin", "3566002020360505"],
  ["a card's number", "paid with # in Berlin", "6205500000000000004"]
]

describe("given the search of what tests print", () => {
  for (const [what, text, secret] of secrets) {
    it(`${what} is found in a line, and not shown again: ${secret.slice(0, 4)}, of ${secret.length}`, () => {
      const line = text.replace("#", secret)
      const [leak, ...others] = leaksIn(`first\n${line}\nlast`)
      assert.deepStrictEqual(others, [])
      assert.strictEqual(leak?.what, what)
      assert.notInclude(leak!.line, secret.slice(4))
      assert.include(leak!.line, text.split("#")[0]!)
    })
  }

  it("none of several in one line is shown", () => {
    const leaks = leaksIn("pm_1MtwBwLkdIwHu7ix28a3tqPa pays pi_3MtwBwLkdIwHu7ix28a3tqPa")
    assert.strictEqual(leaks.length, 2)
    for (const { line } of leaks) assert.notInclude(line, "28a3tqPa")
  })

  it("a test card is found in any other line than that which lists it", () => {
    assert.lengthOf(leaksIn("| `pm_card_visa` | Authorized, captured and refunded at once for order-1. |"), 1)
  })

  it("what only looks like one is not", () => {
    for (const line of [
      "authorization 1f3a9c2be7d0",
      "refused: card_declined, tok_ of pm_ alone",
      "a Bearer authentication is needed, by Bearer $TOKEN",
      "4000123412341235 has no sum of Luhn's",
      "1800000000000 and 1764128299000000000 are instants, 254000123412341000 an id of the cluster",
      "span 4242424242424242ab, 0.4242424242424242 of them, in 4242424242424242.5 ms",
      "42424242-4242-4242-8242-424242424242",
      "| `pm_card_visa` | Authorized, captured and refunded at once. |",
      "  export TOKEN=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJndWVzdC0xIn0.c2lnbmF0dXJlLXg",
      "order-018f4e2c-7d1a-7b3c-9e55-1f2a3b4c5d6e"
    ]) {
      assert.deepStrictEqual(leaksIn(line), [], line)
    }
  })
})
