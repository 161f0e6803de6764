import { Effect } from "effect"
import * as Migrator from "effect/sql/Migrator"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import createCatalog from "./0001_create_catalog.ts"
import createStock from "./0002_create_stock.ts"
import createRuntime from "./0003_create_runtime.ts"
import createOrders from "./0004_create_orders.ts"
import extendWorkflows from "./0005_extend_workflows.ts"
import createOperations from "./0006_create_operations.ts"
import createWebhooks from "./0007_create_webhooks.ts"
import createRefunds from "./0008_create_refunds.ts"
import createOfflinePayments from "./0009_create_offline_payments.ts"
import createReconciliation from "./0010_create_reconciliation.ts"
import createEscrow from "./0012_create_escrow.ts"
import createPayouts from "./0013_create_payouts.ts"

/**
 * Every migration, by `<number>_<name>` as its file is called. A new one is a file with an Effect as its default export
 * and two lines here. Numbers only grow: one below a number which a database has seen is never run there.
 */
const migrations: Readonly<Record<string, Effect.Effect<void, unknown, SqlClient.SqlClient>>> = {
  "0001_create_catalog": createCatalog,
  "0002_create_stock": createStock,
  "0003_create_runtime": createRuntime,
  "0004_create_orders": createOrders,
  "0005_extend_workflows": extendWorkflows,
  "0006_create_operations": createOperations,
  "0007_create_webhooks": createWebhooks,
  "0008_create_refunds": createRefunds,
  "0009_create_offline_payments": createOfflinePayments,
  "0010_create_reconciliation": createReconciliation,
  "0012_create_escrow": createEscrow,
  "0013_create_payouts": createPayouts
}

const table = "schema_migrations"

/**
 * Brings the database up to date and gives what was applied. All of it is one transaction, under a table lock: of
 * several nodes starting at once one works and the others wait for it. A database which is ahead of this program (a
 * newer version has migrated it) is left as it is.
 */
export const migrate: Effect.Effect<
  ReadonlyArray<string>,
  Migrator.MigrationError | SqlError,
  SqlClient.SqlClient
> = Effect.gen(function* () {
  const applied = yield* Migrator.make({})({ loader: Migrator.fromRecord(migrations), table })
  const skipped = yield* pending
  if (skipped.length > 0) {
    return yield* new Migrator.MigrationError({
      kind: "BadState",
      message: `Numbered below what the database has seen, so never run: ${skipped.join(", ")}. Give it a higher number.`
    })
  }
  const names = Object.keys(migrations)
  return applied.flatMap(([id]) => names.filter((name) => number(name) === id))
}).pipe(Effect.withSpan("Migrations.migrate"))

/** The migrations which the database has not seen. A node is ready only when there are none. */
export const pending: Effect.Effect<ReadonlyArray<string>, SqlError, SqlClient.SqlClient> = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const [found] = yield* sql<{ exists: boolean }>`select to_regclass(${table}) is not null as exists`
  const rows = found?.exists === true ? yield* sql<{ id: number }>`select migration_id as id from ${sql(table)}` : []
  const seen = new Set(rows.map(({ id }) => id))
  return Object.keys(migrations)
    .filter((name) => !seen.has(number(name)))
    .toSorted((a, b) => number(a) - number(b))
}).pipe(Effect.withSpan("Migrations.pending"))

const number = (name: string): number => Number.parseInt(name, 10)
