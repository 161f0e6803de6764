/** `cartwright import` as a process of its own, for a test which kills it. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Config, Effect, Layer } from "effect"
import { Command } from "effect/cli"
import { importCommand } from "../../src/commands/import.ts"

Command.run(importCommand, { version: "0.0.0" }).pipe(
  Effect.provide(Layer.merge(NodeServices.layer, PgClient.layerConfig({ url: Config.Redacted("DATABASE_URL") }))),
  NodeRuntime.runMain
)
