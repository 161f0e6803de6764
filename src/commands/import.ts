/** `cartwright import`: products, prices, warehouses and stock out of files. What the files look like stands in `ProductImport` and `StockImport`. */
import { createHash } from "node:crypto"
import { Console, Effect, Option, Stream } from "effect"
import { CliError, Command, Flag } from "effect/cli"
import { FileSystem } from "effect/FileSystem"
import type { PlatformError } from "effect/PlatformError"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { type ImportKind, type ImportReport, type ImportRun, makeRun, runImport } from "../catalog/Import.ts"
import { type BadLine, formatOf, recordsOf } from "../catalog/ImportFormat.ts"
import { productImport } from "../catalog/ProductImport.ts"
import { stockImport } from "../catalog/StockImport.ts"

export const importCommand = Command.make(
  "import",
  {
    file: Flag.File("file", { mustExist: true }).pipe(
      Flag.withDescription("Products and prices: .csv, .json (an array) or .ndjson"),
      Flag.optional
    ),
    stock: Flag.File("stock", { mustExist: true }).pipe(
      Flag.withDescription("Warehouses and counted stock: .csv, .json (an array) or .ndjson"),
      Flag.optional
    ),
    id: Flag.String("id").pipe(
      Flag.withDescription(
        "Names the import; by default what is in the file does. The same import again changes nothing"
      ),
      Flag.optional
    ),
    actor: Flag.String("actor").pipe(
      Flag.withDescription("Who is named in the stock ledger and the price history"),
      Flag.withDefault("import")
    ),
    dryRun: Flag.Boolean("dry-run").pipe(
      Flag.withDescription("Checks every line and says what would happen, and changes nothing"),
      Flag.withDefault(false)
    )
  },
  Effect.fn("commands.import")(function* ({ actor, dryRun, file, id, stock }) {
    if (Option.isNone(file) && Option.isNone(stock)) return yield* refuse("Name a file: --file, --stock or both")
    // Both files share what is planned: a dry run of the stock knows of the products which the other file would bring.
    const run = makeRun({ importId: Option.getOrElse(id, () => ""), actor, dryRun })
    const load = Effect.fnUntraced(function* <Row>(kind: ImportKind<Row>, path: Option.Option<string>) {
      if (Option.isNone(path)) return 0
      const importId = Option.isSome(id) ? id.value : yield* contentId(path.value)
      const report = yield* importFile(kind, path.value, { ...run, importId }, (line) =>
        Console.error(sentence(path.value, line))
      )
      yield* Console.log(summary(path.value, report, dryRun))
      return report.refused
    })
    const refused = (yield* load(productImport, file)) + (yield* load(stockImport, stock))
    if (refused > 0) return yield* refuse(refused === 1 ? "1 record was refused" : `${refused} records were refused`)
  })
).pipe(
  Command.withDescription("Import products, prices, warehouses and stock"),
  Command.withExamples([
    { command: "cartwright import --file products.csv", description: "New products and prices; what is absent stays" },
    { command: "cartwright import --stock counts.ndjson --dry-run", description: "Check a stock count" }
  ])
)

/** Imports one file. Its format follows from its name. */
export const importFile = <Row, E, R>(
  kind: ImportKind<Row>,
  path: string,
  run: ImportRun,
  onBadLine: (line: BadLine) => Effect.Effect<void, E, R>
): Effect.Effect<ImportReport, E | CliError.UserError | PlatformError | SqlError, R | FileSystem | SqlClient> =>
  Effect.gen(function* () {
    const files = yield* FileSystem
    const format = formatOf(path)
    if (Option.isNone(format)) return yield* refuse(`${path} must be called .csv, .json or .ndjson`)
    const text = files.stream(path).pipe(Stream.decodeText)
    return yield* runImport(kind, run, recordsOf(format.value, kind.fields, text), onBadLine)
  })

/** An import's name made of what is in the file. */
export const contentId = Effect.fnUntraced(function* (path: string) {
  const files = yield* FileSystem
  const hash = createHash("sha256")
  yield* Stream.runForEach(files.stream(path), (bytes) => Effect.sync(() => hash.update(bytes)))
  return hash.digest("hex").slice(0, 24)
})

const refuse = (message: string) => Effect.fail(new CliError.UserError({ cause: message }))

const sentence = (path: string, { entry, field, line, reason }: BadLine): string => {
  const place = entry === undefined ? `line ${line}` : `line ${line} (entry ${entry})`
  return `${path}, ${place}: ${field === "" ? reason : `${field}: ${reason}`}`
}

const summary = (path: string, report: ImportReport, dryRun: boolean): string => {
  const { appliedBefore, changed, created, records, refused, unchanged } = report
  return (
    `${path}${dryRun ? " (dry run, nothing was changed)" : ""}: ${records} records: ` +
    `${created} created, ${changed} changed, ${unchanged} unchanged, ${appliedBefore} applied before, ${refused} refused`
  )
}
