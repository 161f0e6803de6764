/** `cartwright migrate`: brings the database up to date, before nodes of this version start. */
import { Console, Effect } from "effect"
import { CliError, Command, Flag } from "effect/cli"
import * as Sql from "../layers/Sql.ts"
import { databaseSettings, directoryFlag } from "./Database.ts"
import { explained } from "./Explained.ts"

export const migrate = Command.make(
  "migrate",
  {
    pending: Flag.Boolean("pending").pipe(
      Flag.withDescription("Only list what would be applied; fails when there is anything"),
      Flag.withDefault(false)
    ),
    directory: directoryFlag
  },
  Effect.fn("commands.migrate")(function* ({ directory, pending }) {
    const names = yield* Effect.gen(function* () {
      const settings = yield* databaseSettings(directory)
      return yield* pending ? Sql.pendingMigrations(settings) : Sql.migrate(settings)
    }).pipe(Effect.scoped, explained)
    for (const name of names) yield* Console.log(pending ? `pending  ${name}` : `applied  ${name}`)
    if (names.length === 0) yield* Console.log("The database is up to date.")
    else if (pending) return yield* new CliError.UserError({ cause: `${names.length} migrations are pending.` })
  })
).pipe(
  Command.withDescription("Bring the database up to date (of DATABASE_URL, else of the embedded Postgres)"),
  Command.withExamples([
    { command: "cartwright migrate", description: "Apply what is missing, once, whoever else tries the same" },
    { command: "cartwright migrate --pending", description: "Say what is missing; exit code 1 when something is" }
  ])
)
