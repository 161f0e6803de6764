import { Command } from "effect/cli"
import { defaultDirectory } from "../layers/Embedded.ts"
import { layerMigrated } from "./Database.ts"
import { importCommand } from "./import.ts"

/** `cartwright import`, into the database of `DATABASE_URL`, else into the embedded one. */
export const importInto = importCommand.pipe(Command.provide(layerMigrated(defaultDirectory)))
