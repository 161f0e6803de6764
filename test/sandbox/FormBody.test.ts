import { assert, describe, it } from "@effect/vitest"
import { listOf, parseForm, recordOf, textOf } from "../../src/sandbox/FormBody.ts"

describe("given a form in the provider's bracket notation", () => {
  it("when it has names in brackets, then they make objects, however deep", () => {
    assert.deepStrictEqual(parseForm("amount=1&metadata[checkout]=c-1&a[b][c]=2"), {
      amount: "1",
      metadata: { checkout: "c-1" },
      a: { b: { c: "2" } }
    })
  })

  it("when brackets are empty or hold numbers, then they make lists", () => {
    assert.deepStrictEqual(parseForm("expand[]=x&expand[]=y&items[0][id]=a&items[1][id]=b"), {
      expand: ["x", "y"],
      items: [{ id: "a" }, { id: "b" }]
    })
  })

  it("when names and values are escaped, then they are read as they were meant", () => {
    assert.deepStrictEqual(parseForm("metadata%5Bnote%5D=100%25+of+it%3F&broken=%E0%A4%A&empty="), {
      metadata: { note: "100% of it?" },
      broken: "%E0%A4%A",
      empty: ""
    })
  })

  it("when there is nothing in it, then there are no parameters", () => {
    assert.deepStrictEqual(parseForm(""), {})
    assert.deepStrictEqual(parseForm("&&"), {})
  })

  it("when a name looks like a part of every object, then it is a name like any other", () => {
    const params = parseForm("__proto__[polluted]=yes&constructor=x")
    assert.isUndefined(({} as Record<string, unknown>)["polluted"])
    assert.deepStrictEqual(Object.keys(params), ["__proto__", "constructor"])
  })

  it("when a parameter is of another kind than asked for, then it counts as absent", () => {
    const params = parseForm("a[b]=1&c=2")
    assert.isUndefined(textOf(params["a"]))
    assert.deepStrictEqual(recordOf(params["c"]), {})
    assert.deepStrictEqual(listOf(params["c"]), [])
  })
})
