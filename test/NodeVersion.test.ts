import { assert, describe, it } from "@effect/vitest"

describe("given the project's own Node", () => {
  it("when tests run, then they run on it, and not on the older one which the machine may have", () => {
    assert.match(process.version, /^v24\./, "start the tests with npm test")
  })
})
