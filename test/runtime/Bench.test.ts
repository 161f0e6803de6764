import { execFileSync } from "node:child_process"
import { it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { toyDatabase } from "./Backends.ts"
it.live("bench", () => Effect.gen(function* () {
  const url = Redacted.value(yield* toyDatabase)
  for (let i = 0; i < 6; i++) for (const root of ["/tmp/old", "/work/main"]) console.log(execFileSync(process.execPath, ["/tmp/bench-journal.ts", root, url], { encoding: "utf8" }).trim())
}), 300_000)
