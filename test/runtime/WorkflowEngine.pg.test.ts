import { describe, layer } from "@effect/vitest"
import { Layer } from "effect"
import * as WorkflowEngine from "../../src/runtime/WorkflowEngine.ts"
import { runtimeLayer } from "../fixtures/Runtime.ts"
import { conformance, definitions, Gate, Trace } from "./WorkflowConformance.ts"

describe("given a workflow on the journal's engine", () => {
  const engine = definitions.pipe(
    Layer.provideMerge(Layer.mergeAll(WorkflowEngine.layer, Trace.layer, Gate.layer)),
    Layer.provideMerge(runtimeLayer)
  )
  layer(engine, { excludeTestServices: true })((it) => {
    conformance((name, body) => it.effect(name, () => body))
  })
})
