/** The sale of `HotSku` on two nodes of one database, over which the buyers are spread; the floor beside it is one process. */
import { Effect } from "effect"
import type { SandboxSilent } from "../../src/simulate/SandboxControl.ts"
import type { BenchFailed, Stage } from "../Stage.ts"
import { contest, type SaleResult, type SaleRounds } from "./HotSku.ts"

export const run = (
  stage: Stage,
  options: SaleRounds
): Effect.Effect<SaleResult<"two-nodes">, BenchFailed | SandboxSilent> =>
  Effect.gen(function* () {
    const pair = yield* stage.start({ system: "node", name: "pair", nodes: 2 })
    return yield* contest(stage, "two-nodes", pair, yield* stage.plain("floor"), options)
  }).pipe(Effect.scoped, Effect.withSpan("TwoNodes.run"))
