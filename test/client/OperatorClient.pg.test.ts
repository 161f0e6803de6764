import { Effect, Layer, ManagedRuntime } from "effect"
import { build } from "esbuild"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { OperatorClient } from "../../src/client/OperatorClient.ts"
import { Alert } from "../../src/entities/alert/Alert.ts"
import { layer as allHandlers } from "../../src/layers/Handlers.ts"
import { Placement } from "../../src/runtime/Placement.ts"
import { type EdgeNode, startEdgeOver, tokenFor } from "../fixtures/Edge.ts"
import * as Shop from "../fixtures/Shop.ts"

const runtime = ManagedRuntime.make(Shop.layer())
let node: EdgeNode
beforeAll(async () => {
  node = await startEdgeOver(Layer.provide(allHandlers, Layer.succeedContext(await runtime.context())))
})
afterAll(async () => {
  await node.stop()
  await runtime.dispose()
})

describe.each(["websocket", "http"] as const)("given the operators' client over %s", (transport) => {
  it("when it has an operator's token, then it calls by method, with a key of its own making; with a customer's it is refused", async () => {
    const id = Shop.fresh("stock_drift:tea")
    await runtime.runPromise(
      Effect.flatMap(Placement, (placement) =>
        placement.client(Alert)(id).Raise({
          key: Shop.key(),
          kind: "stock_drift",
          severity: "warning",
          summary: "Two more are reserved than there are reservations",
          details: {}
        })
      )
    )
    const as = <A, E>(token: string, use: Effect.Effect<A, E, OperatorClient>) =>
      Effect.runPromise(
        Effect.result(use).pipe(Effect.provide(OperatorClient.layer({ urls: [node.url], token, transport })))
      )
    const clear = Effect.flatMap(OperatorClient, (client) => client.ClearAlert({ id, reason: "Counted again" }))
    expect(await as(await tokenFor("ann"), clear)).toMatchObject({ failure: { _tag: "AccessDenied" } })
    const olga = await tokenFor("olga", { role: "operator" })
    expect(await as(olga, clear)).toMatchObject({ success: { status: "cleared", clearedBy: "olga" } })
    const wrong = Effect.flatMap(OperatorClient, (client) => client.GetFailedCompensation({ id: "not an id" }))
    expect(await as(olga, wrong)).toMatchObject({ failure: { _tag: "InvalidRequest", field: "id" } })
    const list = Effect.flatMap(OperatorClient, (client) => client.ListFailedCompensations({}))
    expect(await as(olga, list)).toMatchObject({ success: { compensations: [] } })
  })
})

it("loads in a browser: nothing of Node or of the server is in it", async () => {
  const { metafile, warnings } = await build({
    entryPoints: ["src/client/OperatorClient.ts"],
    bundle: true,
    platform: "browser",
    target: "es2022",
    format: "esm",
    write: false,
    metafile: true,
    logLevel: "silent"
  })
  const inputs = Object.keys(metafile.inputs).filter((input) => input.startsWith("src/"))
  expect(warnings).toEqual([])
  expect(inputs.filter((input) => /(Handlers|Decider|Actor|Table|Tokens|SecretHash)\.ts$/.test(input))).toEqual([])
})
