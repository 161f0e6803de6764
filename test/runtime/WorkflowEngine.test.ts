import { describe, layer } from "@effect/vitest"
import { Layer } from "effect"
import {
  ClusterWorkflowEngine,
  MessageStorage,
  RunnerHealth,
  Runners,
  RunnerStorage,
  Sharding,
  ShardingConfig
} from "effect/cluster"
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

describe("given a workflow on Effect's engine on its cluster", () => {
  const cluster = Sharding.layer.pipe(
    Layer.provideMerge(Runners.layerNoop),
    Layer.provideMerge(MessageStorage.layerMemory),
    Layer.provide([RunnerStorage.layerMemory, RunnerHealth.layerNoop]),
    // Its clocks are messages with a delivery time, which only the poll sees.
    Layer.provide(ShardingConfig.layer({ shardsPerGroup: 8, entityMessagePollInterval: "100 millis" }))
  )
  const engine = definitions.pipe(
    Layer.provideMerge(Layer.merge(ClusterWorkflowEngine.layer, witnesses)),
    Layer.provideMerge(cluster)
  )
  layer(engine, { excludeTestServices: true })((it) => {
    conformance((name, body) => it.effect(name, () => body), "500 millis")
  })
})
