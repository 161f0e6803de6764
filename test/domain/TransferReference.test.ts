import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { printed, referenceFrom, referenceIn, TransferReference } from "../../src/domain/TransferReference.ts"

const byte = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))
const references = Arbitrary.map(Arbitrary.array(Arbitrary.schema(byte), { minLength: 8, maxLength: 8 }), (bytes) =>
  referenceFrom(Uint8Array.from(bytes))
)

/** ISO 7064 as it is written: the first four characters behind the others, letters as two digits, and that modulo 97 is one. */
const isValid = (reference: string): boolean => {
  const digits = Array.from(reference.slice(4) + reference.slice(0, 4), (character) => Number.parseInt(character, 36))
  return BigInt(digits.join("")) % 97n === 1n
}

describe("given a reference for a transfer", () => {
  it("when it is one that others have published, then its check digits are right (ISO 11649)", () => {
    assert.isTrue(isValid("RF18539007547034"))
    const longer =
      "RF" + String(98n - ((539007547034n * 10n ** 10n + 271500n) % 97n)).padStart(2, "0") + "5390075470340000"
    assert.strictEqual(referenceIn(printed(TransferReference.make(longer))), longer)
  })

  it.prop(
    "whatever it was made of, it is valid, and is read back as people and banks write it",
    [references],
    ([reference]) => {
      assert.isTrue(isValid(reference))
      for (const written of [reference, printed(reference), printed(reference).toLowerCase(), ` ${reference}\n`]) {
        assert.strictEqual(referenceIn(written), reference)
      }
    }
  )

  it.prop("one wrong character, or two swapped, is found out", [references], ([reference]) => {
    for (let position = 4; position < reference.length; position++) {
      const character = reference[position]!
      const other = character === "7" ? "8" : "7"
      assert.isUndefined(referenceIn(reference.slice(0, position) + other + reference.slice(position + 1)))
      const next = reference[position + 1]
      if (next === undefined || next === character) continue
      const swapped = reference.slice(0, position) + next + character + reference.slice(position + 2)
      assert.isUndefined(referenceIn(swapped))
    }
  })

  it("when letters are taken for digits, then it is the same", () => {
    const reference = referenceFrom(Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 11]))
    assert.strictEqual(reference.slice(4), "0000000000000011")
    assert.strictEqual(referenceIn(`${reference.slice(0, 4)}oOoooooooooOO0iL`), reference)
  })

  it.each([
    "",
    "RF",
    "RF18",
    "RF18539007547034",
    "DE185390075470340000",
    "RF18 5390 0754 703u 0000",
    "RF00 0000 0000 0000 0000"
  ])("when it is %j, then it is none", (text) => assert.isUndefined(referenceIn(text)))
})
