import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { onPostgres } from "./Backends.ts"
import { conformance } from "./StoreConformance.ts"

describe("given the store on Postgres", () => {
  conformance((name, body) =>
    it.live(name, () =>
      Effect.gen(function* () {
        const backend = yield* onPostgres
        yield* body(yield* backend.open, backend)
      })
    )
  )
})
