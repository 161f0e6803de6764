/**
 * The provider's wire: HTTP with forms in and JSON out under `/v1`, as the provider's SDKs speak it, and under `/sandbox` what tests and
 * developers need. Plain `node:http`: every checkout makes three calls, and the sandbox shares its machine with what is measured.
 */
import { randomUUID } from "node:crypto"
import { createServer } from "node:http"
import type { IncomingMessage, OutgoingHttpHeaders, Server, ServerResponse } from "node:http"
import { Effect, FiberSet, Result, Schema } from "effect"
import type { Scope } from "effect"
import * as AuthenticationPage from "./AuthenticationPage.ts"
import { answerControl } from "./ControlRequests.ts"
import { Fault, Operation } from "./Faults.ts"
import { parseForm } from "./FormBody.ts"
import type { Ending, PaymentProvider, ProviderRequest } from "./PaymentProvider.ts"
import { render } from "./StripeObjects.ts"
import { testTokens } from "./TestTokens.ts"
import type { Webhooks } from "./Webhooks.ts"

/** The port is taken, or the host is not ours. `message` is for the person at the terminal. */
export class SandboxNotStarted extends Schema.TaggedError<SandboxNotStarted>()("SandboxNotStarted", {
  message: Schema.String
}) {}

/** Serves the provider until the scope ends; port 0 takes a free one. Returns where to call it. */
export const serve = Effect.fnUntraced(function* (
  provider: PaymentProvider["Service"],
  options: {
    readonly host: string
    readonly port: number
    /** Those which are sent, once they are. */
    readonly webhooks: () => Webhooks | undefined
  }
): Effect.fn.Return<
  { readonly url: string; readonly host: string; readonly port: number },
  SandboxNotStarted,
  Scope.Scope
> {
  const run = yield* FiberSet.makeRuntime()
  let url = ""
  const server = createServer((request, response) => {
    readBody(request, response, (body) => {
      const { method, url: target = "/" } = request
      const query = target.indexOf("?")
      const path = query < 0 ? target : target.slice(0, query)
      const search = query < 0 ? "" : target.slice(query + 1)
      if (path.startsWith("/sandbox")) control(provider, options.webhooks(), { request, response, path, search, body })
      else answerApi(provider, url, { request, response, path, parameters: method === "GET" ? search : body })
    })
  })
  // The SDK's agent keeps connections for a minute; one that we close first would be reset under a request.
  server.keepAliveTimeout = 120_000
  yield* Effect.acquireRelease(listen(server, options), () =>
    Effect.callback<void>((resume) => {
      server.close(() => resume(Effect.void))
      server.closeAllConnections()
    })
  )
  const bound = server.address()
  if (bound === null || typeof bound === "string") return yield* Effect.die("A TCP server has a port")
  const { address, family, port } = bound
  url = `http://${family === "IPv6" ? `[${address}]` : address}:${port}`

  const comeBack = Effect.sync(() => {
    // An error finds no listener, and ends the process with what it says: somebody else took the port meanwhile.
    if (!server.listening && !provider.isDown()) server.listen(port, options.host)
  })
  provider.observe({
    down: (milliseconds) => {
      run(Effect.andThen(Effect.sleep(milliseconds), comeBack))
      // Not at once: who asked for it still gets an answer.
      setImmediate(() => {
        server.close()
        server.closeAllConnections()
      })
    }
  })
  return { url, host: address, port }
})

const listen = (
  server: Server,
  { host, port }: { readonly host: string; readonly port: number }
): Effect.Effect<void, SandboxNotStarted> =>
  Effect.callback((resume) => {
    const failed = (error: NodeJS.ErrnoException): void =>
      resume(
        Effect.fail(
          new SandboxNotStarted({
            message:
              error.code === "EADDRINUSE"
                ? `Port ${port} is taken: the payment sandbox needs another one.`
                : `The payment sandbox cannot listen on ${host}:${port}: ${error.message}`
          })
        )
      )
    server.once("error", failed)
    server.listen(port, host, () => {
      server.off("error", failed)
      resume(Effect.void)
    })
  })

// ---- /v1

interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly path: string
}

const answerApi = (
  provider: PaymentProvider["Service"],
  url: string,
  { request, response, path, parameters }: Exchange & { readonly parameters: string }
): void => {
  if (request.method === "OPTIONS") return answerPreflight(response)
  const credential = credentialOf(request.headers.authorization, parameters)
  if (Result.isFailure(credential)) return sendJson(response, 401, credential.failure, {})
  const { method } = request
  if (method !== "GET" && method !== "POST")
    return sendJson(response, 405, errorBody(`Unsupported method ${method}.`), {})
  const key = request.headers["idempotency-key"]
  const params = parseForm(parameters)
  const asked: ProviderRequest = {
    method,
    path,
    params,
    key: method === "POST" && typeof key === "string" && key !== "" ? key : undefined,
    credential: credential.success
  }
  provider.handle(asked, (ending) => end(response, request, ending, asked.key, url))
}

const end = (
  response: ServerResponse,
  request: IncomingMessage,
  ending: Ending,
  key: string | undefined,
  url: string
): void => {
  switch (ending._tag) {
    case "Answered": {
      const { status, content, replayed, retryAfterSeconds } = ending.answer
      const headers: OutgoingHttpHeaders = {}
      if (key !== undefined) headers["idempotency-key"] = key
      if (replayed) headers["idempotent-replayed"] = "true"
      if (retryAfterSeconds !== undefined) headers["retry-after"] = String(retryAfterSeconds)
      if (request.headers["stripe-version"] !== undefined) headers["stripe-version"] = request.headers["stripe-version"]
      if (request.headers.origin !== undefined) headers["access-control-allow-origin"] = "*"
      return sendJson(response, status, render(content, url), headers)
    }
    case "Unavailable":
      return send(response, 503, "text/html", "<html><body><h1>503 Service Unavailable</h1></body></html>", {})
    case "Cut":
    case "Down":
      request.socket.resetAndDestroy()
      return
    case "Silent":
      return
  }
}

/** Test keys only: whoever points a live key at a sandbox is about to make a mistake. */
const credentialOf = (
  header: string | undefined,
  parameters: string
): Result.Result<"secret" | "publishable", unknown> => {
  const [scheme, value = ""] = (header ?? "").split(" ")
  const basic = scheme?.toLowerCase() === "basic" ? Buffer.from(value, "base64").toString().split(":")[0] : undefined
  const inForm = header === undefined ? /(?:^|&)key=(pk_test_\w+)/.exec(parameters)?.[1] : undefined
  const key = basic ?? inForm ?? (scheme?.toLowerCase() === "bearer" ? value : "")
  if (key.startsWith("sk_test_")) return Result.succeed("secret")
  if (key.startsWith("pk_test_")) return Result.succeed("publishable")
  return Result.fail(
    errorBody(
      /^(sk|rk|pk)_live_/.test(key)
        ? "This is a sandbox and takes no live keys: use one which begins with sk_test_."
        : key === ""
          ? "You did not provide an API key. Use HTTP Bearer or Basic authentication with one which begins with sk_test_."
          : "Invalid API Key provided: the sandbox takes keys which begin with sk_test_."
    )
  )
}

const answerPreflight = (response: ServerResponse): void => {
  response.writeHead(204, {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET, POST",
    "access-control-allow-headers": "authorization, content-type, idempotency-key, stripe-version",
    "access-control-max-age": "600"
  })
  response.end()
}

// ---- /sandbox

/** What a test may ask for: faults for the next calls. `times` is one unless given. */
const FaultRequest = Schema.Struct({
  operation: Schema.optionalKey(Schema.Union([Operation, Schema.Literal("any")])),
  fault: Fault,
  times: Schema.optionalKey(Schema.Union([Schema.Int, Schema.Literal("always")]))
})
const decodeFaultRequest = Schema.decodeUnknownResult(Schema.fromJsonString(FaultRequest))

const control = (
  provider: PaymentProvider["Service"],
  webhooks: Webhooks | undefined,
  exchange: Exchange & { readonly search: string; readonly body: string }
): void => {
  const { request, response, path, search, body } = exchange
  // A page from elsewhere in the developer's browser has no business here.
  const { origin, host } = request.headers
  if (origin !== undefined && origin !== "null" && origin !== `http://${host}`) {
    return sendJson(response, 403, errorBody("Only pages of the sandbox itself may call this."), {})
  }
  const query = new URLSearchParams(search)
  switch (`${request.method} ${path}`) {
    case "GET /sandbox/health":
      return sendJson(response, 200, { status: "up" }, {})
    case "GET /sandbox/tokens":
      return sendJson(response, 200, testTokens, {})
    case "GET /sandbox/ledger": {
      const checkout = query.get("checkout")
      if (checkout !== null)
        return sendJson(response, 200, { entries: provider.ledger.ofCheckout(checkout), more: false }, {})
      const after = query.get("after")
      const limit = Math.min(1000, Math.max(1, Number(query.get("limit") ?? "100") || 100))
      return sendJson(response, 200, provider.ledger.page({ limit, ...(after === null ? {} : { after }) }), {})
    }
    case "GET /sandbox/totals":
      return sendJson(response, 200, provider.ledger.totals(), {})
    case "GET /sandbox/faults":
      return sendJson(response, 200, provider.faults.pending(), {})
    case "DELETE /sandbox/faults":
      provider.faults.clear()
      return sendJson(response, 200, [], {})
    case "POST /sandbox/faults": {
      const decoded = decodeFaultRequest(body)
      if (Result.isFailure(decoded)) return sendJson(response, 400, errorBody(String(decoded.failure)), {})
      const { operation = "any", fault, times = 1 } = decoded.success
      provider.faults.inject({ operation, fault, times })
      return sendJson(response, 200, provider.faults.pending(), {})
    }
    case "POST /sandbox/reset":
      provider.reset()
      return sendJson(response, 200, { status: "reset" }, {})
  }
  const answer = answerControl({ method: request.method ?? "", path, body }, provider, webhooks)
  if (answer !== undefined) return sendJson(response, answer.status, answer.value, {})
  const intent = /^\/sandbox\/authenticate\/(pi_\w+)$/.exec(path)?.[1]
  if (intent === undefined) return sendJson(response, 404, errorBody("The sandbox has no such page."), {})
  authenticate(provider, intent, exchange)
}

const authenticate = (
  provider: PaymentProvider["Service"],
  id: string,
  { request, response, body }: Exchange & { readonly body: string }
): void => {
  if (request.method === "GET") {
    provider.handle(
      { method: "GET", path: `/v1/payment_intents/${id}`, params: {}, key: undefined, credential: "secret" },
      (ending) =>
        ending._tag === "Answered" && ending.answer.content._tag === "Intent"
          ? sendPage(response, 200, AuthenticationPage.question(ending.answer.content.intent))
          : sendPage(response, 404, AuthenticationPage.result(false, false))
    )
    return
  }
  const passed = parseForm(body)["outcome"] === "complete"
  const outcome = provider.authenticate(id, passed)
  if (outcome === undefined) return sendPage(response, 404, AuthenticationPage.result(false, passed))
  const { intent, accepted } = outcome
  if (!accepted || intent.returnUrl === null)
    return sendPage(response, 200, AuthenticationPage.result(accepted, passed))
  const back = new URL(intent.returnUrl)
  back.searchParams.set("payment_intent", id)
  back.searchParams.set("payment_intent_client_secret", intent.terms.clientSecret)
  back.searchParams.set("redirect_status", passed ? "succeeded" : "failed")
  response.writeHead(303, { location: back.toString() })
  response.end()
}

// ---- bytes

/** The provider's own forms are far smaller. */
const bodyLimit = 64 * 1024

const readBody = (request: IncomingMessage, response: ServerResponse, done: (body: string) => void): void => {
  if (request.method === "GET" || request.method === "OPTIONS") return done("")
  let text = ""
  let size = 0
  const chunks: Array<Buffer> = []
  request.on("data", (chunk: Buffer) => {
    size += chunk.length
    if (size <= bodyLimit) chunks.push(chunk)
  })
  request.on("end", () => {
    if (size > bodyLimit) return sendJson(response, 413, errorBody("The request is too large."), {})
    text = chunks.length === 1 ? chunks[0]!.toString() : Buffer.concat(chunks).toString()
    done(text)
  })
}

const errorBody = (message: string) => ({ error: { type: "invalid_request_error", message } })

const sendPage = (response: ServerResponse, status: number, html: string): void =>
  send(response, status, "text/html; charset=utf-8", html, {})

const sendJson = (response: ServerResponse, status: number, value: unknown, headers: OutgoingHttpHeaders): void =>
  send(response, status, "application/json", JSON.stringify(value), headers)

const send = (
  response: ServerResponse,
  status: number,
  type: string,
  body: string,
  headers: OutgoingHttpHeaders
): void => {
  // The caller may have given up long ago: nobody reads this then.
  if (response.destroyed) return
  response.writeHead(status, {
    ...headers,
    "content-type": type,
    "content-length": Buffer.byteLength(body),
    "request-id": `req_${randomUUID().slice(0, 14).replaceAll("-", "")}`
  })
  response.end(body)
}
