import { Effect, Stream } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { AccessDenied, Unavailable } from "../../src/domain/Refusals.ts"
import { Caller } from "../../src/rpc/Auth.ts"
import { type EdgeNode, startEdge, tokenFor } from "../fixtures/Edge.ts"
import { call, callOver, item, openSocket } from "../fixtures/Wire.ts"

let node: EdgeNode
let token: string
beforeAll(async () => {
  token = await tokenFor("ann")
  node = await startEdge({
    AddItem: ({ cartId, quantity, sku }) =>
      Effect.succeed({ id: cartId, status: "active", lines: [{ sku, quantity }], revision: 1 }),
    GetCart: ({ cartId }) => Effect.succeed({ id: cartId, status: "active", lines: [], revision: 0 }),
    ClearCart: () => Effect.die(new Error("select * from secret_table on host db-7")),
    RemoveItem: () => Effect.fail(new Unavailable({ retryAfterMs: 1234 })),
    UpdateItem: () => Effect.never,
    GetCheckout: () => Effect.fail("not in the contract" as never),
    AbandonCheckout: () => Effect.interrupt,
    GetOrder: () => Effect.flatMap(Caller, () => Effect.fail(new AccessDenied())),
    WatchOrder: () => Stream.die(new Error("secret_table"))
  })
})
afterAll(() => node.stop())

describe.each(["/rpc/json", "/rpc", "/rpc/ws"] as const)("over %s", (path) => {
  const send = (tag: string, payload: unknown) => callOver(node, path, tag, payload, token)

  it("when a call is as its contract says, then it is answered", async () => {
    const exit = await send("AddItem", item)
    expect(exit).toMatchObject({ _tag: "Success", value: { lines: [{ sku: "TEA", quantity: 1 }] } })
  })

  it.each([
    ["zero", 0],
    ["negative", -1],
    ["not whole", 1.5],
    ["past 32 bits", 2 ** 31],
    ["NaN, which JSON writes as null", Number.NaN],
    ["NaN as text", "NaN"],
    ["a number as text", "1"],
    ["a list", [1]]
  ])("when a quantity is %s, then the refusal names the field", async (_, quantity) => {
    const exit = await send("AddItem", { ...item, quantity })
    expect(exit).toEqual(refused({ _tag: "InvalidRequest", field: "quantity", message: expect.any(String) }))
  })

  it.each(["price", "amount", "total", "by", "customerId", "__proto__"])(
    "when a client sends a %s of its own, then the refusal names it",
    async (field) => {
      const exit = await send("AddItem", JSON.parse(`{ "${field}": 1, ${JSON.stringify(item).slice(1)}`))
      expect(exit).toMatchObject(refused({ _tag: "InvalidRequest", field }))
    }
  )

  it("when a nested field is wrong, then the refusal names its path", async () => {
    const address = { name: "Ann", line1: "Street 1", city: "Berlin", country: "Germany" }
    const exit = await send("SetAddress", { key: "key-00000001", checkoutId: "checkout-1", address })
    expect(exit).toMatchObject(refused({ _tag: "InvalidRequest", field: "address.country" }))
  })

  it.each([
    ["missing", undefined],
    ["null", null],
    ["a list", []],
    ["text", "x"]
  ])("when the payload is %s, then it is refused", async (_, payload) => {
    expect(await send("AddItem", payload)).toMatchObject(refused({ _tag: "InvalidRequest", field: "" }))
  })

  it("when there is no such operation, then it is refused", async () => {
    expect(await send("DropTables", {})).toMatchObject(refused({ _tag: "InvalidRequest", field: "tag" }))
  })

  it("when a handler fails in a way nobody planned for, then only a request id gets out", async () => {
    const exit = await send("ClearCart", { key: "key-00000001", cartId: "cart-00000001" })
    expect(exit).toEqual(refused({ _tag: "InternalError", requestId: expect.any(String) }))
    const { requestId } = exit.cause[0].error
    expect(node.errors.some((line) => line.includes(requestId) && line.includes("secret_table"))).toBe(true)
  })

  it("when a handler fails with what its contract does not name, then nothing of it gets out", async () => {
    const exit = await send("GetCheckout", { checkoutId: "checkout-1" })
    expect(exit).toEqual(refused({ _tag: "InternalError", requestId: expect.any(String) }))
  })

  it("when a stream fails in a way nobody planned for, then only a request id gets out", async () => {
    const exit = await send("WatchOrder", { orderId: "order-00000001" })
    expect(exit).toEqual(refused({ _tag: "InternalError", requestId: expect.any(String) }))
  })

  it("when a call is cut off by the node, then the caller may come again", async () => {
    const exit = await send("AbandonCheckout", { key: "key-00000001", checkoutId: "checkout-1" })
    expect(exit).toMatchObject(refused({ _tag: "Unavailable" }))
  })

  it("when the node is overloaded, then the refusal says when to come back", async () => {
    const exit = await send("RemoveItem", { key: "key-00000001", cartId: "cart-00000001", sku: "TEA" })
    expect(exit).toEqual(refused({ _tag: "Unavailable", retryAfterMs: 1234 }))
  })

  it("when there is no token, then it is refused before anything else", async () => {
    expect(await callOver(node, path, "AddItem", item, undefined)).toEqual(refused({ _tag: "Unauthenticated" }))
  })

  it("when a token is for another customer than X-Customer-ID says, then it is refused", async () => {
    const exit = await callOver(node, path, "AddItem", item, token, { "x-customer-id": "bob" })
    expect(exit).toEqual(refused({ _tag: "AccessDenied" }))
    const own = await callOver(node, path, "AddItem", item, token, { "x-customer-id": "ann" })
    expect(own._tag).toBe("Success")
  })
})

describe("given garbage on the wire", () => {
  const garbage = [
    "{",
    "",
    "null",
    "[null]",
    "[1,2]",
    "{}",
    '{"_tag":"Request"}',
    '{"_tag":"Request","id":{},"tag":"AddItem","payload":{}}',
    '{"_tag":"Request","id":"1","tag":7,"payload":{}}',
    '{"_tag":"Request","id":"1","tag":"AddItem","payload":{},"headers":[["a"]]}',
    '{"_tag":"Request","id":"1","tag":"AddItem","payload":{},"headers":{"a":1}}',
    '{"_tag":"Ack"}',
    '{"_tag":"Interrupt","requestId":null}',
    '{"_tag":"Defect","defect":"x"}',
    '{"_tag":"Request","id":"1","tag":"AddItem","payl',
    `${"[".repeat(5000)}${"]".repeat(5000)}`
  ]

  it("when it comes between calls of one WebSocket, then those are answered all the same", async () => {
    const socket = await openSocket(node)
    const slow = socket.call(
      "UpdateItem",
      { key: "key-00000001", cartId: "cart-00000001", sku: "TEA", quantity: 1 },
      token
    )
    let ended = false
    void slow.finally(() => (ended = true))
    for (const frame of garbage) socket.send(frame)
    socket.send(new Uint8Array([0, 255, 254, 1]))
    expect(await socket.call("AddItem", item, token)).toMatchObject({ _tag: "Success" })
    expect(ended).toBe(false)
    expect(socket.defects).toEqual([])
    socket.close()
  })

  it.each(["/rpc", "/rpc/json"])("when it is posted to %s, then the node answers and goes on", async (path) => {
    for (const body of garbage) {
      const response = await fetch(node.url + path, { method: "POST", body: `${body}\n` })
      expect(response.status).toBeLessThan(500)
      expect(await response.text()).not.toMatch(/Defect|SyntaxError|stack/)
    }
    expect(await call(node, "AddItem", item, token)).toMatchObject({ _tag: "Success" })
  })

  it("when a WebSocket message is over the limit, then its connection ends and others go on", async () => {
    const socket = await openSocket(node)
    const other = await openSocket(node)
    socket.send(JSON.stringify({ _tag: "Request", id: "1", tag: "AddItem", payload: { junk: "x".repeat(1_100_000) } }))
    expect(await socket.closed).toBe(1009)
    expect(await other.call("AddItem", item, token)).toMatchObject({ _tag: "Success" })
    other.close()
  })

  it("when an id is used twice at once, then other clients do not notice", async () => {
    const socket = await openSocket(node)
    const other = await openSocket(node)
    const request = JSON.stringify({
      _tag: "Request",
      id: "same",
      tag: "UpdateItem",
      payload: { key: "key-00000001", cartId: "cart-00000001", sku: "TEA", quantity: 1 },
      headers: [["authorization", `Bearer ${token}`]]
    })
    socket.send(request)
    socket.send(request)
    expect(await other.call("AddItem", item, token)).toMatchObject({ _tag: "Success" })
    other.close()
    socket.close()
  })
})

const refused = (error: object) => ({ _tag: "Failure", cause: [{ _tag: "Fail", error }] })
