import { assert, describe, it } from "@effect/vitest"
import { leaksIn } from "../fixtures/Secrets.ts"

const secrets = {
  "the id of an authorization": "captured pi_3MtwBwLkdIwHu7ix28a3tqPa for order-1",
  "a client secret": "secret: x_secret_YrKJUKribcBjcG8HVhfZluoGH",
  "a key of the provider": "connecting with sk_test_4eC39HqLyjWDarjtT1zdp7dc",
  "a token": "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJndWVzdC0xIn0.c2lnbmF0dXJlLXg",
  "a card's number": "paid with 4242 4242 4242 4242 in Berlin"
}

describe("given the search of what tests print", () => {
  for (const [what, line] of Object.entries(secrets)) {
    it(`${what} is found in a line, and not shown again`, () => {
      const [leak, ...others] = leaksIn(`first\n${line}\nlast`)
      assert.deepStrictEqual(others, [])
      assert.strictEqual(leak?.what, what)
      const secret = line.split(" ").find((word) => word.length > 18) ?? "4242 4242 4242 4242"
      assert.notInclude(leak!.line, secret)
    })
  }

  it("what only looks like one is not", () => {
    for (const line of [
      "authorization 1f3a9c2be7d0",
      "pm_card_visa at 1800000000000",
      "trace 4000123412341235 of 3",
      "  export TOKEN=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJndWVzdC0xIn0.c2lnbmF0dXJlLXg",
      "order-018f4e2c-7d1a-7b3c-9e55-1f2a3b4c5d6e"
    ]) {
      assert.deepStrictEqual(leaksIn(line), [], line)
    }
  })
})
