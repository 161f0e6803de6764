/** The demo's shop: what it sells, and where that lies. Goes through the same import as a real shop's files. */
import { DateTime, Effect, Result, Stream } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { type ImportKind, makeRun, runImport } from "../catalog/Import.ts"
import { productImport } from "../catalog/ProductImport.ts"
import { stockImport } from "../catalog/StockImport.ts"
import { counts, products, warehouses } from "./DemoCatalog.ts"
import * as Environment from "./Environment.ts"

/**
 * Fills the demo's database with products and stock, once: what is sold stays sold. Refuses any database but the demo's. Broken off
 * in the middle, the next call does the rest.
 */
export const seed: Effect.Effect<void, Environment.WrongEnvironment | SqlError, SqlClient> = Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* Environment.require("demo")
  const unseeded = yield* sql`select from ops.environment where seeded_at is null`
  if (unseeded.length === 0) return
  yield* load(stockImport, warehouses)
  yield* load(productImport, products)
  yield* load(stockImport, counts)
  const now = DateTime.toDateUtc(yield* DateTime.now)
  yield* sql`update ops.environment set seeded_at = ${now}::timestamptz where seeded_at is null`
}).pipe(Effect.withSpan("Demo.seed"))

const load = <Row>(kind: ImportKind<Row>, records: ReadonlyArray<unknown>) =>
  runImport(
    kind,
    makeRun({ importId: "demo", actor: "demo" }),
    Stream.fromIterable(records.map((value, index) => Result.succeed({ line: index + 1, value }))),
    (line) => Effect.die(new Error(`${line.field} of demo record ${line.line}: ${line.reason}`))
  )
