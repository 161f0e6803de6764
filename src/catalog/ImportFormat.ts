/** Files of records, one at a time: CSV with a header, a JSON array, or one JSON object a line. What cannot be read is an element, too. */
import { Option, Result, Schema, Stream } from "effect"
import { Csv, JsonArray } from "effect/encoding"

export type ImportFormat = "csv" | "json" | "ndjson"

/** By the name of the file; `none` for one that says nothing. */
export const formatOf = (fileName: string): Option.Option<ImportFormat> => {
  const ending = fileName.toLowerCase().split(".").at(-1)
  if (ending === "csv" || ending === "json" || ending === "ndjson") return Option.some(ending)
  return ending === "jsonl" ? Option.some("ndjson") : Option.none()
}

/** Where a record stands, counted from 1. */
export interface Position {
  /** The line on which it begins; in a JSON array the one on which it ends. */
  readonly line: number
  /** Which element of a JSON array it is. */
  readonly entry?: number
}

/** Why a record was not imported; `field` is empty when it is about the whole of it. */
export interface BadLine extends Position {
  readonly field: string
  readonly reason: string
}

export interface RawRecord extends Position {
  readonly value: unknown
}

export type ReadRecord = Result.Result<RawRecord, BadLine>

/**
 * The records of a text in order. A record which cannot be read is a `BadLine` in its place; where the text is so broken that its
 * records cannot be told apart any more, the last element says so and the rest is not read.
 *
 * A column `prices.EUR` of a CSV is the field `EUR` of `prices`; an empty cell is an absent field. A column which is not one of
 * `fields` is refused once, with the whole file, since each of its lines would be bad.
 */
export const recordsOf = <E, R>(
  format: ImportFormat,
  fields: ReadonlyArray<string>,
  text: Stream.Stream<string, E, R>
): Stream.Stream<ReadRecord, E, R> => {
  switch (format) {
    case "csv":
      return csvRecords(fields, text)
    case "json":
      return jsonArrayRecords(text)
    case "ndjson":
      return ndjsonRecords(text)
  }
}

const bad = (line: number, reason: string, field = ""): ReadRecord => Result.fail({ line, field, reason })

interface CsvPosition {
  readonly line: number
  /** Absent before the header, and for good when the header is bad. */
  readonly header?: ReadonlyArray<string>
  readonly refused?: true
}

const csvRecords = <E, R>(
  fields: ReadonlyArray<string>,
  text: Stream.Stream<string, E, R>
): Stream.Stream<ReadRecord, E, R> =>
  text.pipe(
    oneLineAtATime,
    Stream.pipeThroughChannel(Csv.decodeString<E>()),
    Stream.map((cells): Result.Result<Csv.Row, BadLine> => Result.succeed(cells)),
    Stream.catchIf(Csv.isCsvError, ({ line, message }) =>
      Stream.succeed(Result.fail({ line, field: "", reason: `${message}${readNoFurther}` }))
    ),
    Stream.mapAccum(
      (): CsvPosition => ({ line: 1 }),
      (at, read): readonly [CsvPosition, ReadonlyArray<ReadRecord>] => {
        if (Result.isFailure(read)) return [at, [Result.fail(read.failure)]]
        const cells = read.success
        const line = at.line + 1 + cells.reduce((breaks, cell) => breaks + lineBreaksIn(cell), 0)
        if (at.refused === true || (cells.length === 1 && cells[0]?.trim() === "")) return [{ ...at, line }, []]
        if (at.header === undefined) {
          const header = cells.map((cell) => cell.trim())
          const problems = headerProblems(header, fields).map(([name, reason]) => bad(at.line, reason, name))
          return problems.length === 0 ? [{ line, header }, []] : [{ line, refused: true }, problems]
        }
        return [
          { ...at, line },
          [
            cells.length === at.header.length
              ? Result.succeed({ line: at.line, value: nested(at.header, cells) })
              : bad(at.line, `${cells.length} cells where the header has ${at.header.length}`)
          ]
        ]
      }
    )
  )

const headerProblems = (
  header: ReadonlyArray<string>,
  fields: ReadonlyArray<string>
): ReadonlyArray<readonly [name: string, reason: string]> => {
  const twice = header.filter((name, index) => header.indexOf(name) !== index)
  const strange = header.filter((name) => !fields.includes(name.split(".", 1)[0] ?? ""))
  return [
    ...twice.map((name) => [name, "a second column of this name"] as const),
    ...strange.map((name) => [name, `no such column: there are ${fields.join(", ")}`] as const)
  ]
}

const lineBreaksIn = (cell: string): number => cell.match(/\r\n|\r|\n/g)?.length ?? 0

const nested = (names: ReadonlyArray<string>, cells: ReadonlyArray<string>): unknown => {
  const record: Record<string, unknown> = Object.create(null)
  for (const [index, name] of names.entries()) {
    const cell = cells[index]?.trim() ?? ""
    if (cell === "") continue
    const dot = name.indexOf(".")
    if (dot === -1) {
      record[name] = cell
    } else {
      const group = name.slice(0, dot)
      record[group] = Object.assign(record[group] ?? {}, { [name.slice(dot + 1)]: cell })
    }
  }
  return record
}

const parseJson = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Unknown))

const ndjsonRecords = <E, R>(text: Stream.Stream<string, E, R>): Stream.Stream<ReadRecord, E, R> =>
  text.pipe(
    Stream.splitLines,
    Stream.zipWithIndex,
    Stream.filter(([line]) => line.trim() !== ""),
    Stream.map(([json, index]) => {
      const line = index + 1
      return Result.match(parseJson(json), {
        onSuccess: (value) => Result.succeed({ line, value }),
        onFailure: () => bad(line, "not a JSON object")
      })
    })
  )

const jsonArrayRecords = <E, R>(text: Stream.Stream<string, E, R>): Stream.Stream<ReadRecord, E, R> =>
  Stream.suspend(() => {
    // The parser tells no positions. As it is fed line by line, an element ends on the line that went in last.
    let line = 0
    let entry = 0
    return text.pipe(
      oneLineAtATime,
      Stream.map((json) => {
        line++
        return json
      }),
      Stream.pipeThroughChannel(JsonArray.decodeString<E>()),
      Stream.map((value): ReadRecord => Result.succeed({ line, entry: ++entry, value })),
      Stream.catchIf(JsonArray.isJsonArrayError, ({ message }) =>
        Stream.succeed(bad(line, `not a JSON array: ${message}${readNoFurther}`))
      )
    )
  })

// The parsers drop what they have read of a chunk when it ends in an error: so that good records are not lost, a chunk is a line.
const oneLineAtATime = <E, R>(text: Stream.Stream<string, E, R>): Stream.Stream<string, E, R> =>
  text.pipe(
    Stream.splitLines,
    Stream.map((line) => `${line}\n`),
    Stream.rechunk(1)
  )

const readNoFurther = "; nothing from this line on was read"
