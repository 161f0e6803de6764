/** What any released version has stored or sent is read by this one as what it was. REQ-GEN-12, REQ-GEN-13, T-MSG-05. */
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import type { Rpc } from "effect/rpc"
import { Api } from "../../src/rpc/Api.ts"
import { type Contract, contracts, currentVersion, lost, storedOf, versions } from "../fixtures/Contracts.ts"
import { sample } from "../fixtures/Histories.ts"

type Reader = Pick<Contract, "decode" | "encode">

/** What is wrong with what was `sent`, as this version reads it; undefined when it is still the example. */
const problemOf = ({ decode, encode }: Reader, example: unknown, sent: unknown = example): string | undefined => {
  let value: unknown
  try {
    value = decode(sent)
  } catch (error) {
    return `cannot be read: ${String(error)}`
  }
  const gone = lost(example, encode(value))
  return gone.length === 0 ? undefined : `not what it was: ${gone.join(", ")}`
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  value !== null && typeof value === "object" && !Array.isArray(value)

for (const version of versions()) {
  for (const [file, named] of Object.entries(contracts)) {
    describe(`given the ${file} of version ${version}`, () => {
      const stored = storedOf(version, file)
      const examplesOf = (name: string): ReadonlyArray<unknown> => {
        const { examples, like } = stored[name]!
        return examples ?? examplesOf(like!)
      }

      it("each is read as what it was, and as the same with a field from a later version", () => {
        const problems = Object.keys(stored).flatMap((name) => {
          const contract = named.get(name)
          if (contract === undefined) return [`${name}: nobody reads it any more`]
          return examplesOf(name).flatMap((example) => {
            const later = isRecord(example) ? { ...example, addedLater: { since: "9.9.9" } } : example
            const problem = problemOf(contract, example) ?? problemOf(contract, example, later)
            return problem === undefined ? [] : [`${name}: ${problem}`]
          })
        })
        assert.deepStrictEqual(problems, [])
      })
    })
  }
}

it("every contract of this version has an example: npm run contracts adds what is new", () => {
  const missing = Object.entries(contracts).flatMap(([file, named]) => {
    const stored = storedOf(currentVersion(), file)
    return [...named.keys()].filter((name) => !(name in stored)).map((name) => `${file}: ${name}`)
  })
  assert.deepStrictEqual(missing, [])
})

describe("given a contract of a line with an optional gift note", () => {
  const contractOf = (fields: Schema.Struct.Fields) => {
    const codec = Schema.toCodecJson(Schema.Struct(fields) as unknown as Schema.Codec<unknown, unknown>)
    return { decode: Schema.decodeUnknownSync(codec), encode: Schema.encodeUnknownSync(codec) }
  }
  const before = { sku: Schema.String, quantity: Schema.Int, note: Schema.optionalKey(Schema.String) }
  const example = { sku: "MUG-01", quantity: 2, note: "For Ada" }
  const verdict = (fields: Schema.Struct.Fields) => problemOf(contractOf(fields), example)

  it("when an optional field is added, then what was stored is still read", () => {
    assert.isUndefined(verdict(before))
    assert.isUndefined(verdict({ ...before, colour: Schema.optionalKey(Schema.String) }))
  })

  it("when a field is renamed, removed, retyped, or added as a required one, then that is noticed", () => {
    const { note, quantity, ...rest } = before
    assert.match(verdict({ ...rest, note, amount: quantity })!, /cannot be read/)
    assert.match(verdict({ ...rest, quantity, remark: note })!, /not what it was: \.note/)
    assert.match(verdict({ ...rest, quantity })!, /not what it was: \.note/)
    assert.match(verdict({ ...before, quantity: Schema.String })!, /cannot be read/)
    assert.match(verdict({ ...before, colour: Schema.String })!, /cannot be read/)
    assert.match(verdict({ ...before, sku: Schema.Literals(["TEE-RED"]) })!, /cannot be read/)
  })
})

describe("what a client may send can be stored", () => {
  // A token is verified and a cursor decoded; neither is written anywhere.
  const unstored = new Set(["fromToken", "after"])
  const textsOf = (value: unknown): ReadonlyArray<string> => {
    if (typeof value === "string") return [value]
    if (value === null || typeof value !== "object") return []
    return Object.entries(value).flatMap(([name, inner]) => (unstored.has(name) ? [] : textsOf(inner)))
  }
  // `jsonb` refuses both, and with them everything that was to be written together.
  const storable = (text: string) => text.isWellFormed() && !text.includes("\u0000")

  for (const [tag, rpc] of Api.requests as unknown as ReadonlyMap<string, Rpc.AnyWithProps>) {
    it(`by ${tag}`, () => {
      const payload = rpc.payloadSchema as unknown as Schema.Codec<unknown, unknown>
      const encode = Schema.encodeSync(Schema.toCodecJson(payload))
      const texts = sample(Arbitrary.schema(payload), 200).flatMap((value) => textsOf(encode(value)))
      assert.deepStrictEqual(
        texts.filter((text) => !storable(text)),
        []
      )
    })
  }
})
