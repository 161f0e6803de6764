import { request as httpRequest } from "node:http"
import { Duration, Effect, Stream } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { OrderId, OrderNumber, Sku } from "../../src/domain/Ids.ts"
import { Currency } from "../../src/domain/Money.ts"
import { Unavailable } from "../../src/domain/Refusals.ts"
import { OutOfStock } from "../../src/entities/checkoutSession/CheckoutSession.ts"
import { Caller } from "../../src/rpc/Auth.ts"
import { RateLimited } from "../../src/workflows/checkout/Checkout.ts"
import { type EdgeNode, startEdge, tokenFor } from "../fixtures/Edge.ts"
import { call, item, openSocket } from "../fixtures/Wire.ts"

const confirmations: Array<{ key: string; checkoutId: string; by: string }> = []
const total = { amount: 1234n, currency: Currency.make("EUR") }

let node: EdgeNode
let bearer: Record<string, string>
beforeAll(async () => {
  bearer = { authorization: `Bearer ${await tokenFor("ann")}` }
  node = await startEdge(
    {
      ConfirmCheckout: ({ checkoutId, key }) =>
        Effect.gen(function* () {
          const { customerId } = yield* Caller
          confirmations.push({ key, checkoutId, by: customerId })
          if (key === "key-out-of-stock") {
            return yield* new OutOfStock({ lines: [{ sku: Sku.make("TEA"), wanted: 3, have: 1 }] })
          }
          if (key === "key-too-often") return yield* new RateLimited({ retryAfterMs: 61_500 })
          if (key === "key-defect") return yield* Effect.die(new Error("lock on table payments at host db-7"))
          return {
            _tag: "Confirmed",
            orderId: OrderId.make(checkoutId),
            number: OrderNumber.make("ABCDE-FGHJK"),
            total
          } as const
        }),
      ValidateInventory: () => Effect.succeed([{ _tag: "Available", sku: Sku.make("TEA") }]),
      GetOrder: () => Effect.fail(new Unavailable({ retryAfterMs: 500 })),
      GetCart: ({ cartId }) => Effect.succeed({ id: cartId, status: "active", lines: [], revision: 0 }),
      AddItem: () => Effect.never,
      WatchOrder: () => Stream.never
    },
    { corsOrigins: ["https://shop.example"], limits: { timeLimit: Duration.millis(300) } }
  )
})
afterAll(() => node.stop())

const get = (path: string, headers: Record<string, string> = bearer) => fetch(node.url + path, { headers })
const confirm = (body: unknown, headers: Record<string, string> = {}) =>
  fetch(`${node.url}/api/v1/checkout/confirm`, {
    method: "POST",
    headers: { ...bearer, "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body)
  })

describe("given plain HTTP", () => {
  it("when a checkout is confirmed by its body, then the same handler answers", async () => {
    const response = await confirm({ checkoutId: "checkout-1", key: "key-00000001" })
    expect(response.status).toBe(200)
    expect(await response.json()).toEqual({
      _tag: "Confirmed",
      orderId: "checkout-1",
      number: "ABCDE-FGHJK",
      total: { amount: "1234", currency: "EUR" }
    })
    expect(confirmations.at(-1)).toEqual({ key: "key-00000001", checkoutId: "checkout-1", by: "ann" })
  })

  it("when headers name the session and the key, then those count", async () => {
    const response = await confirm({}, { "x-session-id": "checkout-2", "idempotency-key": "key-00000002" })
    expect(response.status).toBe(200)
    expect(confirmations.at(-1)).toMatchObject({ key: "key-00000002", checkoutId: "checkout-2" })
  })

  it.each([
    ["no key", { checkoutId: "checkout-1" }, {}, "key"],
    ["no session", { key: "key-00000001" }, {}, "checkoutId"],
    ["two sessions", { checkoutId: "checkout-1", key: "key-00000001" }, { "x-session-id": "checkout-2" }, "checkoutId"],
    ["a field of its own", { checkoutId: "checkout-1", key: "key-00000001", amount: 1 }, {}, "amount"],
    ["a malformed session", { checkoutId: "x", key: "key-00000001" }, {}, "checkoutId"],
    ["no JSON", "{", {}, ""]
  ])("when a confirmation has %s, then it is a problem which names the field", async (_, body, headers, field) => {
    const response = await confirm(body, headers)
    expect(response.status).toBe(400)
    expect(response.headers.get("content-type")).toContain("application/problem+json")
    expect(await response.json()).toMatchObject({ code: "InvalidRequest", retryable: false, details: { field } })
  })

  it("when it is refused, then code, text, request id and details are there", async () => {
    const response = await confirm(
      { checkoutId: "checkout-1", key: "key-out-of-stock" },
      { "x-request-id": "my-request-7" }
    )
    expect(response.status).toBe(409)
    expect(response.headers.get("x-request-id")).toBe("my-request-7")
    expect(await response.json()).toEqual({
      status: 409,
      code: "OutOfStock",
      title: "Some items are not available in the quantity asked for.",
      requestId: "my-request-7",
      retryable: false,
      details: { lines: [{ sku: "TEA", wanted: 3, have: 1 }] }
    })
  })

  it("when it is refused for now, then the reply says when to come back", async () => {
    const limited = await confirm({ checkoutId: "checkout-1", key: "key-too-often" })
    expect([limited.status, limited.headers.get("retry-after")]).toEqual([429, "62"])
    const away = await get("/api/v1/orders/order-00000001")
    expect([away.status, away.headers.get("retry-after")]).toEqual([503, "1"])
    expect(await away.json()).toMatchObject({ code: "Unavailable", retryable: true })
  })

  it("when it fails in a way nobody planned for, then the text is neutral and the log has the cause", async () => {
    const response = await confirm({ checkoutId: "checkout-1", key: "key-defect" }, { "x-request-id": "my-request-8" })
    expect(response.status).toBe(500)
    const text = await response.text()
    expect(text).not.toMatch(/lock|table|db-7/)
    expect(JSON.parse(text)).toMatchObject({ code: "InternalError", requestId: "my-request-8", retryable: true })
    expect(node.errors.some((line) => line.includes("my-request-8") && line.includes("db-7"))).toBe(true)
  })

  it("when stock is asked after, then session_id names the checkout", async () => {
    const response = await get("/api/v1/checkout/validate/inventory?session_id=checkout-1")
    expect([response.status, await response.json()]).toEqual([200, [{ _tag: "Available", sku: "TEA" }]])
  })

  it("when there is no token or a bad one, then it is 401; when X-Customer-ID is another's, then it is 403", async () => {
    expect((await get("/api/v1/orders/order-00000001", {})).status).toBe(401)
    expect((await get("/api/v1/orders/order-00000001", { authorization: "Bearer x.y.z" })).status).toBe(401)
    expect((await get("/api/v1/orders/order-00000001", { ...bearer, "x-customer-id": "bob" })).status).toBe(403)
  })

  it("when a call takes longer than the limit, then it is 504 and may be repeated", async () => {
    const exit = await call(node, "AddItem", item, bearer["authorization"]!.slice(7))
    expect(exit.cause[0].error).toEqual({ _tag: "RequestTimeout", afterMs: 300 })
  })

  it("when a guest asks for a token, then it works", async () => {
    const response = await fetch(`${node.url}/auth/guest`, { method: "POST" })
    const { customerId, token } = (await response.json()) as { customerId: string; token: string }
    expect(customerId).toMatch(/^guest-/)
    const exit = await call(node, "GetCart", { cartId: "cart-00000001" }, token)
    expect(exit._tag).toBe("Success")
  })

  it("when the description is asked for, then it names the paths and the problems", async () => {
    const api = (await (await fetch(`${node.url}/openapi.json`)).json()) as {
      paths: Record<string, { post: { responses: object } }>
    }
    const ofOperators = (path: string) => path.startsWith("/api/v1/admin/")
    expect(Object.keys(api.paths).filter(ofOperators)).toContain("/api/v1/admin/alerts")
    expect(
      Object.keys(api.paths)
        .filter((path) => !ofOperators(path))
        .toSorted()
    ).toEqual(["/api/v1/checkout/confirm", "/api/v1/checkout/validate/inventory", "/api/v1/orders/{id}", "/auth/guest"])
    expect(Object.keys(api.paths["/api/v1/checkout/confirm"]!.post.responses)).toEqual(
      expect.arrayContaining(["200", "400", "401", "403", "409", "422", "429", "503"])
    )
    expect((await fetch(`${node.url}/docs`)).status).toBe(200)
  })
})

describe("given request ids", () => {
  it("when one is sent, then it is echoed; when it is missing or malformed, then one is made", async () => {
    const id = async (headers: Record<string, string>) =>
      (await fetch(`${node.url}/healthz`, { headers })).headers.get("x-request-id")
    expect(await id({ "x-request-id": "abc-12345" })).toBe("abc-12345")
    expect(await id({})).toMatch(/^[\w-]{36}$/)
    expect(await id({ "x-request-id": "with spaces and 'quotes'" })).toMatch(/^[\w-]{36}$/)
    expect(await id({ "x-request-id": "x".repeat(200) })).toMatch(/^[\w-]{36}$/)
  })
})

describe("given limits on size", () => {
  it.each(["/rpc", "/rpc/json", "/api/v1/checkout/confirm"])(
    "when 2 MiB are posted to %s, then it is 413",
    async (path) => {
      const body = JSON.stringify({ junk: "x".repeat(2 * 1024 * 1024) })
      expect((await fetch(node.url + path, { method: "POST", headers: bearer, body })).status).toBe(413)
    }
  )

  it.each(["/rpc", "/api/v1/checkout/confirm"])(
    "when they are posted to %s in chunks, then it is 413 as well",
    async (path) => {
      const status = await new Promise<number | undefined>((resolve, reject) => {
        const sent = httpRequest(
          {
            port: node.port,
            agent: false,
            method: "POST",
            path,
            headers: { ...bearer, "content-type": "application/json" }
          },
          (response) => {
            response.resume()
            resolve(response.statusCode)
          }
        )
        sent.on("error", reject)
        for (let chunk = 0; chunk < 18; chunk++) sent.write("x".repeat(64 * 1024))
        sent.end()
      })
      expect(status).toBe(413)
    }
  )

  it("when the headers are over 16 KiB, then it is 431", async () => {
    expect((await get("/healthz", { junk: "x".repeat(20_000) })).status).toBe(431)
  })
})

describe("given web pages", () => {
  const preflight = (origin: string) =>
    fetch(`${node.url}/rpc`, {
      method: "OPTIONS",
      headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization" }
    })

  it("when the origin is on the list, then it may call", async () => {
    const { headers } = await preflight("https://shop.example")
    expect(headers.get("access-control-allow-origin")).toBe("https://shop.example")
    const allowed = headers.get("access-control-allow-headers")?.split(",")
    expect(allowed).toEqual(expect.arrayContaining(["authorization", "b3", "content-type", "traceparent"]))
  })

  it("when the origin is another, then it may not, over HTTP or WebSocket", async () => {
    expect((await preflight("https://evil.example")).headers.get("access-control-allow-origin")).toBeNull()
    const upgrade = await new Promise<number | undefined>((resolve) => {
      const sent = httpRequest({
        port: node.port,
        agent: false,
        path: "/rpc/ws",
        headers: {
          origin: "https://evil.example",
          connection: "Upgrade",
          upgrade: "websocket",
          "sec-websocket-version": "13",
          "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="
        }
      })
      sent.on("response", ({ statusCode }) => {
        resolve(statusCode)
      })
      sent.on("upgrade", () => {
        resolve(101)
      })
      sent.end()
    })
    expect(upgrade).toBe(403)
  })

  it("when no origin is named, then no page may call", async () => {
    const closed = await startEdge()
    const response = await fetch(`${closed.url}/healthz`, { headers: { origin: "https://shop.example" } })
    expect(response.headers.get("access-control-allow-origin")).toBeNull()
    await closed.stop()
  })

  it("when all origins are allowed outside of development, then the node does not start", async () => {
    await expect(startEdge({}, { corsOrigins: ["*"] })).rejects.toThrow("corsOrigins")
    const dev = await startEdge({}, { corsOrigins: ["*"], dev: true })
    const response = await fetch(`${dev.url}/healthz`, { headers: { origin: "http://anything.test" } })
    expect(response.headers.get("access-control-allow-origin")).toBe("http://anything.test")
    await dev.stop()
  })
})

describe("given an orchestrator", () => {
  it("when the node is not ready, then it is live, and started only after it was ready once", async () => {
    let ready = false
    const starting = await startEdge({}, { ready: () => ready })
    const statuses = () =>
      Promise.all(["/healthz", "/readyz", "/startupz"].map(async (path) => (await fetch(starting.url + path)).status))
    expect(await statuses()).toEqual([200, 503, 503])
    ready = true
    expect(await statuses()).toEqual([200, 200, 200])
    ready = false
    expect(await statuses()).toEqual([200, 503, 200])
    await starting.stop()
  })

  it("when metrics are scraped, then every operation is there from the start", async () => {
    const text = await (await fetch(`${node.url}/metrics`)).text()
    expect(text).toContain('request_errors_total{op="ConfirmCheckout",reason="InternalError"}')
    expect(text).toMatch(/request_errors_total\{op="ConfirmCheckout",reason="OutOfStock"\} 1/)
    expect(text).toMatch(/rate_limited_total\{op="ConfirmCheckout"\} 1/)
    expect(text).toMatch(/request_seconds_count\{op="ConfirmCheckout"\} \d/)
  })

  it("when health has a port of its own, then it is not on the other", async () => {
    const probe = await startEdge()
    const healthPort = probe.port
    await probe.stop()
    const both = await startEdge({}, { healthPort })
    expect((await fetch(`http://127.0.0.1:${healthPort}/readyz`)).status).toBe(200)
    expect((await fetch(`${both.url}/readyz`)).status).toBe(404)
    await both.stop()
  })
})

describe("given a node which is about to stop", () => {
  it("when it drains, then commands are refused, questions answered, streams ended, and it is not ready", async () => {
    const token = bearer["authorization"]!.slice(7)
    const leaving = await startEdge({
      GetCart: ({ cartId }) => Effect.succeed({ id: cartId, status: "active", lines: [], revision: 0 }),
      AddItem: ({ cartId }) => Effect.succeed({ id: cartId, status: "active", lines: [], revision: 0 }),
      WatchOrder: () => Stream.never
    })
    const socket = await openSocket(leaving)
    const watching = socket.call("WatchOrder", { orderId: "order-00000001" }, token)
    expect(await socket.call("AddItem", item, token)).toMatchObject({ _tag: "Success" })
    await leaving.drain()
    expect(await watching).toMatchObject({ cause: [{ error: { _tag: "Unavailable" } }] })
    expect(await socket.call("AddItem", item, token)).toMatchObject({ cause: [{ error: { _tag: "Unavailable" } }] })
    expect(await socket.call("GetCart", { cartId: "cart-00000001" }, token)).toMatchObject({ _tag: "Success" })
    expect((await fetch(`${leaving.url}/readyz`)).status).toBe(503)
    const start = performance.now()
    await leaving.stop()
    expect(await socket.closed).toBeGreaterThanOrEqual(1000)
    expect(performance.now() - start).toBeLessThan(2000)
  })
})

describe("given a WebSocket whose client vanished", () => {
  it("when nothing came from it for too long, then it is closed; one that pings stays", async () => {
    const edge = await startEdge({}, { limits: { silentFor: Duration.millis(300) } })
    const [vanished, alive] = [await openSocket(edge), await openSocket(edge)]
    const pinging = setInterval(() => {
      alive.send('{"_tag":"Ping"}')
    }, 50)
    expect(await vanished.closed).toBeGreaterThanOrEqual(1000)
    const stillOpen = await Promise.race([alive.closed, new Promise((resolve) => setTimeout(resolve, 300, "open"))])
    expect(stillOpen).toBe("open")
    clearInterval(pinging)
    alive.close()
    await edge.stop()
  })
})

describe("given more calls at once than a node takes", () => {
  it("when one more comes, then it is refused at once, and taken when another has ended", async () => {
    const token = bearer["authorization"]!.slice(7)
    const busy = await startEdge(
      {
        AddItem: () => Effect.never,
        GetCart: ({ cartId }) => Effect.succeed({ id: cartId, status: "active", lines: [], revision: 0 })
      },
      { limits: { callsMax: 2, timeLimit: Duration.millis(500) } }
    )
    const socket = await openSocket(busy)
    const held = [1, 2].map((n) => socket.call("AddItem", { ...item, key: `key-0000000${n}` }, token))
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(await socket.call("GetCart", { cartId: "cart-00000001" }, token)).toMatchObject({
      cause: [{ error: { _tag: "Unavailable" } }]
    })
    await Promise.all(held)
    expect(await socket.call("GetCart", { cartId: "cart-00000001" }, token)).toMatchObject({ _tag: "Success" })
    await busy.stop()
  })
})
