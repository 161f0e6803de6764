import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Result, Schema, Stream } from "effect"
import { Csv } from "effect/encoding"
import { type ImportFormat, formatOf, recordsOf } from "../../src/catalog/ImportFormat.ts"

const fields = ["sku", "name", "prices"]

/** What was read, in order: values as they are, bad lines as text. The text comes in pieces of `size` characters. */
const read = (format: ImportFormat, text: string, size = 7) =>
  recordsOf(format, fields, Stream.fromIterable(text.match(new RegExp(`[^]{1,${size}}`, "g")) ?? [])).pipe(
    Stream.map(
      Result.match({
        onSuccess: ({ line, value }): unknown => [line, { ...(value as object) }],
        onFailure: ({ field, line, reason }): unknown => `${line} ${field}: ${reason}`
      })
    ),
    Stream.runCollect
  )

it("a file's name tells its format, and some tell none", () => {
  assert.deepStrictEqual(
    ["a.CSV", "b.json", "c.jsonl", "d.ndjson", "e.xlsx", "csv"].map((name) => Option.getOrNull(formatOf(name))),
    ["csv", "json", "ndjson", "ndjson", null, "csv"]
  )
})

describe("given a CSV", () => {
  it.effect("when cells are quoted and span lines, then each record has the line on which it begins", () =>
    Effect.gen(function* () {
      const text = '\uFEFFsku,name,prices.EUR,prices.USD\r\nA,"big, ""red""\r\nmug",1.00,\r\n\r\nB,,,2.00\r\n'
      assert.deepStrictEqual(yield* read("csv", text), [
        [2, { sku: "A", name: 'big, "red"\nmug', prices: { EUR: "1.00" } }],
        [5, { sku: "B", prices: { USD: "2.00" } }]
      ])
    })
  )

  it.effect("when a line has too many or too few cells, then that line is bad and the next is read", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* read("csv", "sku,name\nA,B,C\nA\nA,B"), [
        "2 : 3 cells where the header has 2",
        "3 : 1 cells where the header has 2",
        [4, { sku: "A", name: "B" }]
      ])
    })
  )

  it.effect("when a quote is out of place, then what stood before is read and nothing after it", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* read("csv", 'sku,name\nA,B\nC,D "E"\nF,G\n', 1000), [
        [2, { sku: "A", name: "B" }],
        "3 : Unexpected quote in an unquoted field; nothing from this line on was read"
      ])
    })
  )

  it.effect("when the header has an unknown or a repeated column, then the file is refused once", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* read("csv", "sku,pricse.EUR,sku\nA,1.00,A\nB,1.00,B"), [
        "1 sku: a second column of this name",
        "1 pricse.EUR: no such column: there are sku, name, prices"
      ])
    })
  )
})

describe("given JSON", () => {
  it.effect("when there is one object a line, then a bad one does not stop the others", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* read("ndjson", '{"sku":"A"}\n\n{"sku":\n{"sku":"B"}'), [
        [1, { sku: "A" }],
        "3 : not a JSON object",
        [4, { sku: "B" }]
      ])
    })
  )

  it.effect("when it is an array, then each element has its line", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* read("json", '[{"sku":"A"},\n  {\n "sku":"B"\n}, {"sku":"C"} ]'), [
        [1, { sku: "A" }],
        [4, { sku: "B" }],
        [4, { sku: "C" }]
      ])
    })
  )

  it.effect("when the array breaks, then the lines before are read and the rest is not", () =>
    Effect.gen(function* () {
      const records = yield* read("json", '[{"sku":"A"},\n{"sku":"B"}}\n{"sku":"C"}]', 1000)
      assert.deepStrictEqual(records[0], [1, { sku: "A" }])
      assert.match(records[1] as string, /^2 : not a JSON array: .*; nothing from this line on was read$/)
      assert.lengthOf(records, 2)
    })
  )

  it.effect("when it is no array at all, then it says so", () =>
    Effect.gen(function* () {
      assert.match((yield* read("json", '{"sku":"A"}'))[0] as string, /^1 : not a JSON array: /)
      assert.match((yield* read("json", ""))[0] as string, /^0 : not a JSON array: /)
    })
  )
})

const cell = Schema.String.check(Schema.isPattern(/^[a-z",;\n é€]{0,12}$/))

it.effect.prop(
  "whatever is in the cells, and however the text is cut, a CSV is read as it was written",
  [Schema.Array(Schema.Tuple([cell, cell])), Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 20 }))],
  ([rows, size]) =>
    Effect.gen(function* () {
      const text = yield* Stream.fromIterable([["sku", "name"], ...rows]).pipe(
        Stream.pipeThroughChannel(Csv.encodeString()),
        Stream.mkString
      )
      const records = yield* read("csv", text, size)
      const filled = rows.filter((row) => row.length > 0)
      assert.deepStrictEqual(
        records.map((record) => (record as [number, { sku?: string; name?: string }])[1]),
        filled.map(([sku, name]) => ({
          ...(sku.trim() === "" ? {} : { sku: sku.trim() }),
          ...(name.trim() === "" ? {} : { name: name.trim() })
        }))
      )
    })
)
