import { describe, layer } from "@effect/vitest"
import { Layer } from "effect"
import { WorkflowEngine as Engine } from "effect/workflow"
import * as WorkflowEngine from "../../src/runtime/WorkflowEngine.ts"
import { runtimeInMemory } from "../fixtures/Runtime.ts"
import { conformance, definitions, Gate, Trace } from "./WorkflowConformance.ts"

const witnesses = Layer.merge(Trace.layer, Gate.layer)

describe("given a workflow on the journal's engine, the journal in memory", () => {
  const engine = definitions.pipe(
    Layer.provideMerge(Layer.merge(WorkflowEngine.layer, witnesses)),
    Layer.provideMerge(runtimeInMemory)
  )
  layer(engine, { excludeTestServices: true })((it) => {
    conformance((name, body) => it.effect(name, () => body))
  })
})

// Shows that the suite asks for what Effect's own engine does, so that definitions are tested with either.
describe("given a workflow on Effect's engine in memory", () => {
  const engine = definitions.pipe(Layer.provideMerge(Layer.merge(Engine.layerMemory, witnesses)))
  layer(engine, { excludeTestServices: true })((it) => {
    conformance((name, body) => it.effect(name, () => body))
  })
})
