import { request } from "node:http"
import { Effect } from "effect"
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest"
import type { Reception } from "../../../src/rpc/webhooks/WebhookReceiver.ts"
import { type EdgeNode, startEdge } from "../../fixtures/Edge.ts"

let node: EdgeNode
let next: Effect.Effect<Reception>
let received: Array<{ readonly provider: string; readonly body: string; readonly header: string | undefined }>

beforeAll(async () => {
  node = await startEdge(
    {},
    {
      webhooks: {
        receive: (provider, { body, headers }) =>
          Effect.suspend(() => {
            received.push({ provider, body: new TextDecoder().decode(body), header: headers["stripe-signature"] })
            return next
          })
      }
    }
  )
})
afterAll(() => node.stop())
beforeEach(() => {
  received = []
  next = Effect.succeed("accepted")
})

const post = (body: string, headers: Record<string, string> = {}, path = "/webhooks/stripe") =>
  fetch(node.url + path, { method: "POST", headers: { "content-type": "application/json", ...headers }, body })

describe("given a webhook at the edge", () => {
  it("when it is posted, then its bytes and headers arrive as they were sent", async () => {
    const body = '{ "b":1,\n "a": "é" }'
    const response = await post(body, {
      "Stripe-Signature": "t=1,v1=x",
      "content-type": "application/json; charset=utf-8"
    })
    expect(response.status).toBe(200)
    expect(await response.text()).toBe("")
    expect(received).toEqual([{ provider: "stripe", body, header: "t=1,v1=x" }])
  })

  const answers: ReadonlyArray<readonly [Reception, number]> = [
    ["accepted", 200],
    ["duplicate", 200],
    ["ignored", 200],
    ["unreadable", 400],
    ["forged", 401],
    ["unknown", 404],
    ["contradiction", 409],
    ["unavailable", 503]
  ]
  it.each(answers)("when it is %s, then the answer is %i and says nothing else", async (result, status) => {
    next = Effect.succeed(result)
    const response = await post("{}")
    expect([response.status, await response.text()]).toEqual([status, ""])
    expect(response.headers.get("retry-after")).toBe(result === "unavailable" ? "1" : null)
  })

  it.each(["GET", "PUT", "DELETE", "PATCH"])("when it is a %s, then it is 405", async (method) => {
    const response = await fetch(`${node.url}/webhooks/stripe`, { method })
    expect([response.status, response.headers.get("allow")]).toEqual([405, "POST"])
    expect(received).toEqual([])
  })

  it.each(["text/plain", "application/x-www-form-urlencoded", "application/jsonp"])(
    "when its type is %s, then it is 415",
    async (type) => {
      expect((await post("{}", { "content-type": type })).status).toBe(415)
      expect(received).toEqual([])
    }
  )

  it("when it is 1.5 MiB, which other requests may not be, then it is taken", async () => {
    expect((await post("x".repeat(1_500_000))).status).toBe(200)
    expect(received[0]?.body.length).toBe(1_500_000)
  })

  it("when it is over 2 MiB, then it is 413", async () => {
    expect((await post("x".repeat(2 * 1024 * 1024 + 1))).status).toBe(413)
    expect(received).toEqual([])
  })

  it("when it is over 2 MiB and comes in chunks, then it is 413 as well", async () => {
    const status = await new Promise((resolve, reject) => {
      const sent = request(
        `${node.url}/webhooks/stripe`,
        { method: "POST", headers: { "content-type": "application/json", "transfer-encoding": "chunked" } },
        (response) => resolve(response.statusCode)
      )
      sent.on("error", reject)
      for (let chunk = 0; chunk < 33; chunk++) sent.write("x".repeat(64 * 1024))
      sent.end()
    })
    expect(status).toBe(413)
    expect(received).toEqual([])
  })

  it("when handling it fails in a way nobody planned for, then it is to come again, and nothing gets out", async () => {
    next = Effect.die(new Error("secret_table is on fire"))
    const response = await post("{}")
    expect([response.status, await response.text()]).toEqual([503, ""])
    expect(node.errors.some((line) => line.includes("secret_table"))).toBe(true)
  })

  it("when it is counted, then by provider and answer, and never by what somebody made up", async () => {
    next = Effect.succeed("forged")
    await post("{}")
    next = Effect.succeed("unknown")
    await post("{}", {}, "/webhooks/made-up-by-somebody")
    const metrics = await (await fetch(`${node.url}/metrics`)).text()
    expect(metrics).toMatch(/webhooks_total\{[^}]*provider="stripe"[^}]*result="forged"[^}]*\} [1-9]/)
    expect(metrics).toMatch(/webhooks_total\{[^}]*provider="unknown"[^}]*result="unknown"[^}]*\} [1-9]/)
    expect(metrics).not.toContain("made-up")
  })

  it("when the node drains, then it goes to another one", async () => {
    const other = await startEdge({}, { webhooks: { receive: () => Effect.succeed("accepted") } })
    await other.drain()
    const response = await fetch(`${other.url}/webhooks/stripe`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}"
    })
    expect(response.status).toBe(503)
    await other.stop()
  })
})
