import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { onPostgres } from "./Backends.ts"
import { scenarios } from "./JournalScenarios.ts"

describe("given a journal on Postgres", () => {
  scenarios((name, body) => it.live(name, () => Effect.flatMap(onPostgres, body)))
})
