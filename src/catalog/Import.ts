/**
 * Brings files of records into the shop: checked one by one, applied in chunks, repeatable. A chunk is one transaction which also
 * stores the import's name with each record, so that an import which broke off is run again from the start, and one which has run
 * changes nothing, however much later. REQ-INV-07, REQ-PRC-05.
 */
import { createHash } from "node:crypto"
import { DateTime, Effect, Result, Schedule, Schema, SchemaIssue, Stream } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { type SqlError, isSqlError } from "effect/sql/SqlError"
import type { BadLine, Position, ReadRecord } from "./ImportFormat.ts"

/** What is wrong with a record, or why it cannot be applied as things are. */
export interface Problem {
  readonly field: string
  readonly reason: string
}

export type Outcome = "created" | "changed" | "unchanged" | ReadonlyArray<Problem>

/** One kind of file: what its records look like, and what they do. */
export interface ImportKind<Row> {
  /** The fields a record may have. */
  readonly fields: ReadonlyArray<string>
  readonly check: (value: unknown) => Result.Result<Row, ReadonlyArray<Problem>>
  /** What the record is about: at most one record of a file may be about it. */
  readonly keyOf: (row: Row) => string
  /**
   * Applies the rows in order, in a transaction of which the caller is the only importer, and says for each what came of it. On a
   * dry run it only says so, and remembers in `run` what later rows could build on.
   */
  readonly apply: (
    rows: ReadonlyArray<Row>,
    run: ImportRun,
    at: DateTime.Utc
  ) => Effect.Effect<ReadonlyArray<Outcome>, SqlError, SqlClient>
}

export interface ImportRun {
  /** Names the import: a record applied under this name is never applied under it again. */
  readonly importId: string
  /** Who is named in ledger and history. */
  readonly actor: string
  readonly dryRun: boolean
  /** On a dry run: what would exist by now. */
  readonly planned: { readonly skus: Set<string>; readonly warehouses: Map<string, number> }
}

export const makeRun = (options: {
  readonly importId: string
  readonly actor: string
  readonly dryRun?: boolean
}): ImportRun => ({
  importId: options.importId,
  actor: options.actor,
  dryRun: options.dryRun ?? false,
  planned: { skus: new Set(), warehouses: new Map() }
})

/** How many records there were, and what came of them. All but `records` add up to `records`. */
export interface ImportReport {
  readonly records: number
  readonly created: number
  readonly changed: number
  readonly unchanged: number
  /** Applied under this import's name by an earlier run. */
  readonly appliedBefore: number
  readonly refused: number
}

/** N-053. */
export const chunkSize = 500

/**
 * Imports all records that can be, and tells `onBadLine` about each of the others, field by field. On an error what was committed
 * stays: running the same import again does the rest.
 */
export const runImport = Effect.fn("Import.run")(function* <Row, E, R, E2, R2>(
  kind: ImportKind<Row>,
  run: ImportRun,
  records: Stream.Stream<ReadRecord, E, R>,
  onBadLine: (line: BadLine) => Effect.Effect<void, E2, R2>
): Effect.fn.Return<ImportReport, E | E2 | SqlError, R | R2 | SqlClient> {
  const total = { records: 0, created: 0, changed: 0, unchanged: 0, appliedBefore: 0, refused: 0 }
  const lines = new Map<string, number>()

  const refuse = (at: Position, problems: ReadonlyArray<Problem>) => {
    total.refused++
    return Effect.forEach(problems, (problem) => onBadLine({ ...at, ...problem }), { discard: true })
  }

  const checked = (read: ReadRecord): Result.Result<Checked<Row>, readonly [Position, ReadonlyArray<Problem>]> => {
    if (Result.isFailure(read)) return Result.fail([read.failure, [read.failure]])
    const { value, ...at } = read.success
    const row = kind.check(value)
    if (Result.isFailure(row)) return Result.fail([at, row.failure])
    const key = kind.keyOf(row.success)
    const earlier = lines.get(key)
    if (earlier !== undefined) {
      return Result.fail([at, [{ field: "", reason: `${key} was in the file before, on line ${earlier}` }]])
    }
    lines.set(key, at.line)
    return Result.succeed({ at, key, row: row.success, fingerprint: fingerprintOf(row.success) })
  }

  yield* records.pipe(
    Stream.grouped(chunkSize),
    Stream.runForEach(
      Effect.fnUntraced(function* (chunk) {
        total.records += chunk.length
        const good: Array<Checked<Row>> = []
        for (const read of chunk) {
          const result = checked(read)
          if (Result.isSuccess(result)) good.push(result.success)
          else yield* refuse(...result.failure)
        }
        if (good.length === 0) return
        const outcomes = yield* applyChunk(kind, run, good)
        for (const [index, { at }] of good.entries()) {
          const outcome = outcomes[index]
          if (outcome === undefined) return yield* Effect.die(new Error(`no outcome for line ${at.line}`))
          if (typeof outcome === "string") total[outcome]++
          else yield* refuse(at, outcome)
        }
      })
    )
  )
  return total
})

interface Checked<Row> {
  readonly at: Position
  readonly key: string
  readonly row: Row
  readonly fingerprint: string
}

const applyChunk = <Row>(
  kind: ImportKind<Row>,
  run: ImportRun,
  chunk: ReadonlyArray<Checked<Row>>
): Effect.Effect<ReadonlyArray<Outcome | "appliedBefore">, SqlError, SqlClient> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    const at = yield* DateTime.now
    const transaction = Effect.gen(function* () {
      // One importer at a time; the shop goes on, since it takes no such lock.
      if (!run.dryRun) yield* sql`select pg_advisory_xact_lock(hashtextextended('cartwright import', 0))`
      const seen = yield* appliedBefore(run, chunk)
      const isNew = (one: Checked<Row>) => !seen.has(one.key)
      const outcomes = (yield* kind.apply(
        chunk.filter(isNew).map((one) => one.row),
        run,
        at
      )).values()
      const all = chunk.map((one): Outcome | "appliedBefore" => {
        if (isNew(one)) return outcomes.next().value ?? []
        return seen.get(one.key) === one.fingerprint ? "appliedBefore" : [conflict(run, one.key)]
      })
      const done = chunk.filter((one, index) => isNew(one) && typeof all[index] === "string")
      if (!run.dryRun) yield* remember(run, done, at)
      return all
    })
    // Repeating a chunk of which the commit was not heard is harmless: its records are found applied.
    return yield* (run.dryRun ? transaction : lossless(sql.withTransaction(transaction))).pipe(
      Effect.retry({ while: (error) => error.isRetryable, schedule: retrySchedule })
    )
  }).pipe(Effect.withSpan("Import.chunk"))

// A connection which is lost within a transaction comes out as a defect, since the rollback fails, too.
const lossless = Effect.catchDefect((defect) => (isSqlError(defect) ? Effect.fail(defect) : Effect.die(defect)))

const retrySchedule = Schedule.exponential("100 millis").pipe(Schedule.jittered, Schedule.upTo({ times: 5 }))

const conflict = (run: ImportRun, key: string): Problem => ({
  field: "",
  reason: `import ${run.importId} has applied ${key} before, with other content: give the new content an import id of its own`
})

const appliedBefore = Effect.fnUntraced(function* (run: ImportRun, chunk: ReadonlyArray<Checked<unknown>>) {
  const sql = yield* SqlClient
  const rows = yield* sql`
    select record, fingerprint from ops.import_records
    where import_id = ${run.importId} and record = any(${chunk.map((one) => one.key)}::text[])`
  const applied = yield* decodeApplied(rows)
  return new Map(applied.map((row) => [row.record, row.fingerprint]))
})

const decodeApplied = (rows: ReadonlyArray<unknown>) =>
  Effect.orDie(
    Schema.decodeUnknownEffect(Schema.Array(Schema.Struct({ record: Schema.String, fingerprint: Schema.String })))(rows)
  )

const remember = Effect.fnUntraced(function* (run: ImportRun, done: ReadonlyArray<Checked<unknown>>, at: DateTime.Utc) {
  const sql = yield* SqlClient
  if (done.length === 0) return
  yield* sql`
    insert into ops.import_records (import_id, record, fingerprint, applied_at)
    select ${run.importId}::text, x.record, x.fingerprint, ${DateTime.toDateUtc(at)}::timestamptz
    from unnest(${done.map((one) => one.key)}::text[], ${done.map((one) => one.fingerprint)}::text[])
      as x (record, fingerprint)`
})

/** Of the checked row, so that the same content written in another format or order is the same. */
const fingerprintOf = (row: unknown): string => createHash("sha256").update(canonical(row)).digest("hex")

const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, one: unknown) => {
    if (typeof one === "bigint") return one.toString()
    return typeof one === "object" && one !== null && !Array.isArray(one)
      ? Object.fromEntries(Object.entries(one).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : one
  })

// ---- what the kinds of records have in common

/** Text without blanks at its ends. */
export const text = (maximum: number) =>
  Schema.String.check(
    Schema.isTrimmed({ message: "has blanks at its ends" }),
    Schema.isMinLength(1, { message: "is empty" }),
    Schema.isMaxLength(maximum, { message: `is longer than ${maximum} characters` })
  )

/** `true` and `false`, in a CSV also `yes` and `no`. */
export const Flag = Schema.Literals([true, false, "true", "false", "yes", "no"]).annotate({
  message: "must be true or false"
})

export const flagged = (flag: typeof Flag.Type): boolean => flag === true || flag === "true" || flag === "yes"

const wholeMessage = "must be a whole number from 0 to 999999999"

/** Zero or a positive whole number below a thousand million; in a CSV it is text. */
export const Whole = Schema.Union([
  Schema.Finite.check(
    Schema.isInt({ message: wholeMessage }),
    Schema.isBetween({ minimum: 0, maximum: 999_999_999 }, { message: wholeMessage })
  ),
  Schema.String.check(Schema.isPattern(/^\d{1,9}$/, { message: wholeMessage }))
])

/** Decodes with all its complaints, in words for the person who wrote the file. */
export const checkWith = <S extends Schema.ConstraintDecoder<unknown>>(
  schema: S
): ((value: unknown) => Result.Result<S["Type"], ReadonlyArray<Problem>>) => {
  const decode = Schema.decodeUnknownResult(schema, { errors: "all", onExcessProperty: "error", reportInput: true })
  return (value) => Result.mapError(decode(value), ({ issue }) => problemsOf(issue))
}

const formatIssue = SchemaIssue.makeFormatterStandardSchemaV1({
  leafHook: (issue) => {
    if (issue._tag === "MissingKey") return "is missing"
    if (issue._tag === "UnexpectedKey") return "there is no such field"
    return SchemaIssue.defaultLeafHook(issue)
  }
})

const problemsOf = (issue: SchemaIssue.Issue): ReadonlyArray<Problem> => {
  const problems = formatIssue(issue).issues.map(({ message, path }) => ({
    field: (path ?? []).map((key) => String(typeof key === "object" ? key.key : key)).join("."),
    reason: message
  }))
  // A union complains once for each of its members.
  return problems.filter(({ field }, index) => problems.findIndex((one) => one.field === field) === index)
}
