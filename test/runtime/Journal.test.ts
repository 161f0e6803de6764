import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { onMemory } from "./Backends.ts"
import { scenarios } from "./JournalScenarios.ts"

describe("given a journal in memory", () => {
  scenarios((name, body) => it.live(name, () => Effect.flatMap(onMemory, body)))
})
