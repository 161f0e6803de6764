import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { Address, problems } from "../../src/domain/Address.ts"
import { address } from "../fixtures/Builders.ts"

const is = Schema.is(Address)
const fieldsOf = (changes: Partial<Address>) => problems({ ...address, ...changes }).map(({ field }) => field)

describe("what an address may look like (REQ-CHK-08)", () => {
  it("needs a name, a street, a city and a country of two capital letters", () => {
    assert.isTrue(is({ name: "Ada", line1: "Street 1", city: "Berlin", country: "DE" }))
    for (const field of ["name", "line1", "city", "country"]) {
      const { [field]: _gone, ...without } = address as Readonly<Record<string, unknown>>
      assert.isFalse(is(without), field)
    }
    assert.isFalse(is({ ...address, country: "de" }))
    assert.isFalse(is({ ...address, country: "DEU" }))
  })

  it("has no empty, padded or endless lines", () => {
    for (const line1 of ["", " ", " Street 1", "Street 1 ", "x".repeat(161)]) assert.isFalse(is({ ...address, line1 }))
    assert.isTrue(is({ ...address, line1: "x".repeat(160) }))
    assert.isFalse(is({ ...address, line2: "" }), "absent instead of empty")
  })

  it("takes the letters of the world, and none which cannot be stored or printed", () => {
    for (const name of ["Łukasz Żółć", "山田太郎", "Ødegård", "O'Neill-Smith", "Anaïs 🙂"])
      assert.isTrue(is({ ...address, name }), name)
    for (const name of ["a\u0000b", "a\nb", "a\u001bb", "a\u007fb", "half \ud83d of a pair", "\udc00"]) {
      assert.isFalse(is({ ...address, name }), JSON.stringify(name))
      assert.isFalse(is({ ...address, line2: name }))
    }
  })

  it("takes telephone numbers as people write them", () => {
    for (const phone of ["+49 30 1234567", "(030) 123-45.67", "112 34"]) assert.isTrue(is({ ...address, phone }), phone)
    for (const phone of ["1234", "call me", "+49;30", "1".repeat(40)]) assert.isFalse(is({ ...address, phone }), phone)
  })
})

describe("what a country asks of an address", () => {
  const accepted: Readonly<Record<string, ReadonlyArray<string>>> = {
    AT: ["1010"],
    AU: ["2000"],
    BE: ["1000"],
    CA: ["K1A 0B1", "k1a0b1"],
    CH: ["8001"],
    DE: ["10117", "01067"],
    DK: ["1050"],
    ES: ["28001"],
    FR: ["75001"],
    GB: ["SW1A 1AA", "M1 1AE", "ec1a1bb"],
    IT: ["00118"],
    JP: ["100-0001", "1000001"],
    NL: ["1012 JS", "1012js"],
    PL: ["00-950"],
    SE: ["111 22", "11122"],
    US: ["20500", "20500-0003"]
  }
  const refused: Readonly<Record<string, ReadonlyArray<string>>> = {
    AT: ["101", "10100"],
    AU: ["200"],
    BE: ["10000"],
    CA: ["D1A 0B1", "K1A-0B1", "12345"],
    CH: ["80011"],
    DE: ["1011", "101170", "D-10117", "10117\n"],
    DK: ["DK-1050"],
    ES: ["2800"],
    FR: ["7500A"],
    GB: ["SW1A", "12345", "SW1A 1A"],
    IT: ["0011"],
    JP: ["100-001"],
    NL: ["1012", "1012 J"],
    PL: ["00950"],
    SE: ["1112"],
    US: ["2050", "20500-3"]
  }

  for (const [country, codes] of Object.entries(accepted)) {
    it(`${country} knows its postal codes from others`, () => {
      const region = "Somewhere"
      for (const postalCode of codes) assert.deepStrictEqual(fieldsOf({ country, postalCode, region }), [], postalCode)
      for (const postalCode of refused[country]!) {
        assert.deepStrictEqual(fieldsOf({ country, postalCode, region }), ["postalCode"], postalCode)
      }
    })
  }

  it("where a code is asked for, none is not one", () => {
    const { postalCode: _none, ...without } = address
    assert.deepStrictEqual(problems(without), [{ field: "postalCode", message: "not a postal code of DE" }])
  })

  it("Australia, Canada and the United States ask for a state or province", () => {
    for (const [country, postalCode] of [
      ["AU", "2000"],
      ["CA", "K1A 0B1"],
      ["US", "20500"]
    ] as const) {
      assert.deepStrictEqual(fieldsOf({ country, postalCode }), ["region"])
    }
  })

  it("all that is wrong is told at once", () => {
    assert.deepStrictEqual(problems({ ...address, country: "US" }).length, 1, "10117 is one of theirs too")
    assert.deepStrictEqual(fieldsOf({ country: "US", postalCode: "SW1A 1AA" }), ["postalCode", "region"])
  })

  it("a country without rules here takes any address", () => {
    assert.deepStrictEqual(fieldsOf({ country: "BR", postalCode: "anything" }), [])
  })

  it.prop("a problem names a field which can be told to a buyer", [Address], ([any]) => {
    for (const { field, message } of problems(any)) {
      assert.include(["postalCode", "region"], field)
      assert.isAbove(message.length, 0)
    }
  })
})
