import { assert, describe, it } from "@effect/vitest"
import { createIntent } from "../../src/sandbox/IntentRules.ts"
import { parseSearch } from "../../src/sandbox/SearchQuery.ts"

const { intent } = createIntent(
  {
    id: "pi_1",
    clientSecret: "pi_1_secret_1",
    amount: 1_000,
    currency: "eur",
    captureMethod: "manual",
    customer: null,
    description: null,
    metadata: { checkout: "c-1" },
    automaticMethods: null,
    createdAt: 5_000
  },
  "pm_card_visa",
  null
)

describe("given an unconfirmed intent of 1000", () => {
  for (const [query, found] of [
    ["metadata['checkout']:'c-1'", true],
    [`metadata["checkout"]:"c-2"`, false],
    ["-metadata['checkout']:'c-2'", true],
    ["metadata['other']:null", true],
    ["status:'requires_confirmation' AND amount>999", true],
    ["status:'requires_confirmation' amount>1000", false],
    ["amount>=1000 AND amount<=1000 AND created<6", true],
    ["status:'succeeded' OR currency:'eur'", true],
    ["customer:'cus_1'", false]
  ] as const) {
    it(`when it is searched by ${query}, then it is ${found ? "" : "not "}found`, () => {
      assert.strictEqual(parseSearch(query)?.(intent), found)
    })
  }

  it("when the query cannot be read, then that is told", () => {
    for (const query of ["", "amount", "colour:'red'", "amount~1"]) assert.isUndefined(parseSearch(query))
  })
})
