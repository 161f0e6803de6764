import { basename } from "node:path"
import { createContext, runInContext } from "node:vm"
import { gzipSync } from "node:zlib"
import { Effect } from "effect"
import { build } from "esbuild"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type EdgeNode, startEdge } from "../fixtures/Edge.ts"

let bundle: { readonly code: string; readonly inputs: ReadonlyArray<string>; readonly warnings: number }
let node: EdgeNode
beforeAll(async () => {
  const { metafile, outputFiles, warnings } = await build({
    entryPoints: ["src/client/OrdersClient.ts"],
    bundle: true,
    minify: true,
    format: "iife",
    globalName: "cartwright",
    platform: "browser",
    target: "es2022",
    write: false,
    metafile: true,
    logLevel: "silent"
  })
  bundle = { code: outputFiles[0]!.text, inputs: Object.keys(metafile.inputs), warnings: warnings.length }
  node = await startEdge({
    AddItem: ({ cartId, quantity, sku }) =>
      Effect.succeed({ id: cartId, status: "active", lines: [{ sku, quantity }], revision: 1 })
  })
})
afterAll(() => node.stop())

describe("given the client bundled for a browser", () => {
  it("when it is built, then nothing of Node, of the server or of its secrets is in it, and it stays small", () => {
    expect(bundle.warnings).toBe(0)
    const ours = bundle.inputs.filter((input) => input.startsWith("src/")).map((input) => basename(input))
    expect(
      ours.filter((file) => /(Tokens|Server|Guard|Protocol|Decider|Handlers|Draining|Health)\.ts$/.test(file))
    ).toEqual([])
    expect(ours.filter((file) => /^(Operator|Alert|FailedCompensation)/.test(file))).toEqual([])
    expect(bundle.inputs.filter((input) => /jose|platform-node|sql-pg/.test(input))).toEqual([])
    const size = gzipSync(bundle.code).length
    console.log(`client bundle: ${bundle.code.length} bytes, ${size} gzipped`)
    expect(size).toBeLessThan(150_000)
  })

  it.each(["websocket", "http"])(
    "when a page without anything of Node loads it, then it calls over %s",
    async (transport) => {
      const page = createContext({
        AbortController,
        AbortSignal,
        clearInterval,
        clearTimeout,
        console,
        crypto,
        DOMException,
        fetch,
        Headers,
        performance,
        queueMicrotask,
        ReadableStream,
        Request,
        Response,
        setInterval,
        setTimeout,
        TextDecoder,
        TextEncoder,
        Uint8Array,
        URL,
        URLSearchParams,
        WebSocket
      })
      runInContext(`${bundle.code}; globalThis.cartwright = cartwright`, page)
      const lines: unknown = await runInContext(
        `(async () => {
        const shop = cartwright.connect({ urls: ${JSON.stringify(node.url)}, transport: "${transport}" })
        const refused = await shop.cart().add({ sku: "TEA", quantity: 0, currency: "EUR" }).catch((error) => error)
        const cart = await shop.cart().add({ sku: "TEA", quantity: 2, currency: "EUR" })
        await shop.close()
        return JSON.stringify([cartwright.isRefusal(refused, "InvalidRequest"), refused.field, cart.lines])
      })()`,
        page
      )
      expect(JSON.parse(String(lines))).toEqual([true, "quantity", [{ sku: "TEA", quantity: 2 }]])
    }
  )
})
