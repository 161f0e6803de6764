/**
 * Whose database this is: the demo's, whose customers and money are made up, or a shop's. It is decided once, when the database is
 * first used, so that demo data, the demo's token and the sandbox can never reach a real shop.
 */
import { DateTime, Effect, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"

export const EnvironmentKind = Schema.Literals(["demo", "production"])
export type EnvironmentKind = typeof EnvironmentKind.Type

/** The database is not of the kind asked for. `undecided` has never been started on, but holds products already. */
export class WrongEnvironment extends Schema.TaggedError<WrongEnvironment>()("WrongEnvironment", {
  wanted: EnvironmentKind,
  found: Schema.Literals(["demo", "production", "undecided"])
}) {
  override get message(): string {
    return this.wanted === "demo"
      ? `This database is not the demo's (${this.found}): neither demo data nor the demo's token are let in. Use an empty database.`
      : "This database is the demo's: its orders and payments are made up. Use another one for a real shop, or start with --demo."
  }
}

/** Decides what the database is, if nothing has yet; the first start does. An undecided one becomes the demo's only while it is empty. */
export const decide = Effect.fn("Environment.decide")(function* (
  wanted: EnvironmentKind
): Effect.fn.Return<void, WrongEnvironment | SqlError, SqlClient> {
  const sql = yield* SqlClient
  const now = DateTime.toDateUtc(yield* DateTime.now)
  yield* sql`
    insert into ops.environment (kind, decided_at)
    select ${wanted}::text, ${now}::timestamptz
    where ${wanted}::text = 'production' or not exists (select from catalog.products)
    on conflict do nothing`
  yield* require(wanted)
})

/** Fails unless the database was decided to be of this kind. */
export const require = Effect.fn("Environment.require")(function* (
  wanted: EnvironmentKind
): Effect.fn.Return<void, WrongEnvironment | SqlError, SqlClient> {
  const sql = yield* SqlClient
  const [row] = yield* Effect.flatMap(sql`select kind from ops.environment`, (rows) => Effect.orDie(decodeKinds(rows)))
  const found = row?.kind ?? "undecided"
  if (found !== wanted) return yield* new WrongEnvironment({ wanted, found })
})

const decodeKinds = Schema.decodeUnknownEffect(Schema.Array(Schema.Struct({ kind: EnvironmentKind })))
