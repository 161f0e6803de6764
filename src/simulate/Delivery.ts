/** New stock for the demo's shelves, so that one simulation after another finds something to buy. */
import { Effect, Result, Stream } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { makeRun, runImport } from "../catalog/Import.ts"
import { stockImport } from "../catalog/StockImport.ts"
import { counts } from "../demo/DemoCatalog.ts"
import * as Environment from "../demo/Environment.ts"
import { type Books, readBooks } from "./StockCheck.ts"

/** Fills up what has been sold to less than half, by an import like any other. Gives the units; none where the shop is not the demo's. */
export const deliver = Effect.fn("simulate.deliver")(function* (
  run: string
): Effect.fn.Return<number, SqlError, SqlClient> {
  const demo = yield* Effect.result(Environment.require("demo"))
  if (Result.isFailure(demo)) return demo.failure._tag === "SqlError" ? yield* demo.failure : 0
  const wanted = missing(yield* readBooks(run))
  const records = wanted.map(({ onHand, sku, warehouse }, index) =>
    Result.succeed({ line: index + 1, value: { warehouse, sku, onHand } })
  )
  yield* runImport(
    stockImport,
    makeRun({ importId: `${run}-delivery`, actor: "simulate" }),
    Stream.fromIterable(records),
    () => Effect.void
  )
  return wanted.reduce((sum, { units }) => sum + units, 0)
})

/** A count says how many there are, so what is sold and not yet sent stands in it. */
const missing = ({ shelves }: Books) =>
  counts.flatMap(({ onHand: full, sku, warehouse }) => {
    const shelf = shelves.find((one) => one.sku === sku && one.warehouse === warehouse)
    if (shelf === undefined) return []
    const sellable = shelf.onHand - shelf.reserved - shelf.committed - shelf.damaged
    return sellable >= full / 2
      ? []
      : [{ sku, warehouse, units: full - sellable, onHand: shelf.onHand + full - sellable }]
  })
