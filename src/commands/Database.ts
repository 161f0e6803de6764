/** The database of a command which needs no node: the one of `DATABASE_URL`, else the one in the folder. */
import { Effect, Layer, Redacted } from "effect"
import { Flag } from "effect/cli"
import * as Config from "../layers/Config.ts"
import * as Embedded from "../layers/Embedded.ts"
import * as Sql from "../layers/Sql.ts"
import { explained } from "./Explained.ts"

export const directoryFlag = Flag.String("directory").pipe(
  Flag.withDescription("Folder of the embedded Postgres, the sandbox and the secrets, where no DATABASE_URL is given"),
  Flag.withDefault(Embedded.defaultDirectory)
)

/** Starts the folder's Postgres for as long as the scope lives, unless it runs already. */
export const databaseSettings = Effect.fn("commands.databaseSettings")(function* (directory: string) {
  if (yield* Config.isGiven("DATABASE_URL")) return yield* Config.some(Sql.settingsKeys)
  const { url } = yield* Embedded.postgres(directory, undefined)
  return yield* Effect.provide(Config.some(Sql.settingsKeys), Config.fallbacks({ DATABASE_URL: Redacted.value(url) }))
})

/** A pool on it, with all migrations applied. */
export const layerMigrated = (directory: string) =>
  Layer.effectContext(
    Effect.gen(function* () {
      const settings = yield* databaseSettings(directory)
      yield* Sql.migrate(settings)
      return yield* Layer.build(Sql.layer(settings))
    }).pipe(explained)
  )
