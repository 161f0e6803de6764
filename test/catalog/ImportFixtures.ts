import { Effect, Result, Stream } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { type ImportKind, makeRun, runImport } from "../../src/catalog/Import.ts"
import type { BadLine } from "../../src/catalog/ImportFormat.ts"

/** Imports records as if each stood on a line of its own, and gives the report with the bad lines as text. */
export const importAll = <Row>(
  kind: ImportKind<Row>,
  importId: string,
  records: ReadonlyArray<unknown>,
  options: { readonly dryRun?: boolean; readonly run?: ReturnType<typeof makeRun> } = {}
) =>
  Effect.gen(function* () {
    const bad: Array<BadLine> = []
    const report = yield* runImport(
      kind,
      { ...(options.run ?? makeRun({ importId, actor: "ada", dryRun: options.dryRun ?? false })), importId },
      Stream.fromIterable(records.map((value, index) => Result.succeed({ line: index + 1, value }))),
      (line) => Effect.sync(() => bad.push(line))
    )
    return { ...report, bad: bad.map(({ field, line, reason }) => `${line} ${field}: ${reason}`) }
  })

export const nothing = {
  records: 0,
  created: 0,
  changed: 0,
  unchanged: 0,
  appliedBefore: 0,
  refused: 0,
  bad: [] as Array<string>
}

/** Everything an import may touch, to compare before and after. */
export const everything = Effect.gen(function* () {
  const sql = yield* SqlClient
  return {
    products: yield* sql`select sku, name, category, active, taxable, version from catalog.products order by sku`,
    prices: yield* sql`select sku, currency, amount, version from catalog.prices order by sku, currency`,
    history:
      yield* sql`select sku, currency, version, amount, actor, reference from catalog.price_history order by 1, 2, 3`,
    warehouses: yield* sql`select * from warehouse.warehouses order by id`,
    stock: yield* sql`select * from warehouse.stock order by sku, warehouse_id`,
    ledger:
      yield* sql`select op, reference, sku, warehouse_id, on_hand, actor from warehouse.stock_ledger order by 1, 2`
  }
})
