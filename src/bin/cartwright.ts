#!/usr/bin/env node
/** The program. Each command stands in a file of its own, and is loaded when it is asked for. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Cause, Effect, Exit, Runtime } from "effect"
import { Command } from "effect/cli"
import { lazily } from "../commands/Lazily.ts"
import { version } from "../layers/Version.ts"

const commands = await lazily(
  [
    {
      name: "node",
      about: "Run a node of the shop; without a database, the whole demo",
      load: () => import("../commands/node.ts").then(({ node }) => node)
    },
    {
      name: "migrate",
      about: "Bring the database up to date",
      load: () => import("../commands/migrate.ts").then(({ migrate }) => migrate)
    },
    {
      name: "import",
      about: "Import products, prices, warehouses and stock",
      load: () => import("../commands/importInto.ts").then(({ importInto }) => importInto)
    },
    {
      name: "sandbox",
      about: "Run a payment provider to develop against",
      load: () => import("../commands/sandbox.ts").then(({ sandbox }) => sandbox)
    },
    {
      name: "settings",
      about: "What can be set, and what is",
      load: () => import("../commands/settings.ts").then(({ settingsCommand }) => settingsCommand)
    },
    {
      name: "simulate",
      about: "Let customers come, and check money and stock afterwards",
      load: () => import("../commands/simulate.ts").then(({ simulate }) => simulate)
    },
    {
      name: "bench",
      about: "Measure what a confirmed checkout costs, beside a hand-written floor",
      load: () => import("../commands/bench.ts").then(({ bench }) => bench)
    },
    {
      name: "chaos",
      about: "Break everything on purpose, and check that nothing was lost",
      load: () => import("../commands/chaos.ts").then(({ chaos }) => chaos)
    }
  ],
  process.argv.slice(2)
)

const cartwright = Command.make("cartwright").pipe(
  Command.withDescription("Orders from cart to doorstep: actors, durable processes, and Postgres"),
  Command.withSubcommands(commands)
)

Command.run(cartwright, { version }).pipe(
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain({
    // A server which is asked to stop, and did, has done its work.
    teardown: (exit, end) =>
      Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause) && process.argv.includes("node")
        ? end(0)
        : Runtime.defaultTeardown(exit, end)
  })
)
