import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { Sandbox } from "../../src/sandbox/Sandbox.ts"

interface Reply {
  readonly status: number
  readonly headers: Headers
  // oxlint-disable-next-line typescript/no-explicit-any -- JSON as it came over the wire
  readonly json: any
}

/** One request over the wire, as curl would send it. */
const request = (
  method: string,
  path: string,
  options: { readonly body?: string; readonly key?: string; readonly headers?: Record<string, string> } = {}
) =>
  Effect.gen(function* () {
    const { url } = yield* Sandbox
    return yield* Effect.tryPromise({
      try: async (signal): Promise<Reply> => {
        const response = await fetch(`${url}${path}`, {
          method,
          signal,
          redirect: "manual",
          headers: {
            authorization: "Bearer sk_test_wire",
            ...(options.body === undefined ? {} : { "content-type": "application/x-www-form-urlencoded" }),
            ...(options.key === undefined ? {} : { "idempotency-key": options.key }),
            ...options.headers
          },
          ...(options.body === undefined ? {} : { body: options.body })
        })
        const text = await response.text()
        const isJson = response.headers.get("content-type")?.startsWith("application/json") === true
        return { status: response.status, headers: response.headers, json: isJson ? JSON.parse(text) : text }
      },
      catch: () => "cut off" as const
    })
  })

const post = (path: string, body: string, key?: string) =>
  request("POST", path, { body, ...(key === undefined ? {} : { key }) })
const get = (path: string) => request("GET", path)
const fault = (injection: unknown) => request("POST", "/sandbox/faults", { body: JSON.stringify(injection) })

const intentBody =
  "amount=1000&currency=eur&capture_method=manual&payment_method=pm_card_visa&payment_method_types[]=card"
const newIntent = (more = "") => Effect.map(post("/v1/payment_intents", `${intentBody}${more}`), ({ json }) => json)

/** Tries for real until it succeeds. */
const soon = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  effect.pipe(
    Effect.retry(Schedule.spaced("5 millis").pipe(Schedule.upTo({ duration: "5 seconds" }))),
    TestClock.withLive
  )

const scenario = (name: string, test: () => Effect.Effect<unknown, unknown, Sandbox>) =>
  it.effect(name, () => Effect.provide(test(), Sandbox.layer({ port: 0 })))

describe("given a request with an idempotency key", () => {
  scenario("when it is sent again, then the first answer comes back, and says that it does", () =>
    Effect.gen(function* () {
      const first = yield* post("/v1/payment_intents", intentBody, "key-1")
      yield* post(`/v1/payment_intents/${first.json.id}/cancel`, "")
      // In another order it is the same request.
      const second = yield* post("/v1/payment_intents", intentBody.split("&").toReversed().join("&"), "key-1")
      assert.deepStrictEqual(second.json, first.json, "as it was then, not as it is now")
      assert.isNull(first.headers.get("idempotent-replayed"))
      assert.strictEqual(second.headers.get("idempotent-replayed"), "true")
      assert.strictEqual(second.headers.get("idempotency-key"), "key-1")
      assert.strictEqual((yield* get("/v1/payment_intents")).json.data.length, 1)
    })
  )

  scenario("when it failed with 500, then that is what the key gives, whatever happens meanwhile", () =>
    Effect.gen(function* () {
      const { id } = yield* newIntent()
      yield* fault({ operation: "confirm", fault: { _tag: "ServerError", done: false } })
      const first = yield* post(`/v1/payment_intents/${id}/confirm`, "", "key-1")
      assert.deepInclude(first.json.error, { type: "api_error" })
      assert.strictEqual(
        (yield* post(`/v1/payment_intents/${id}/confirm`, "", "key-2")).json.status,
        "requires_capture"
      )
      const replayed = yield* post(`/v1/payment_intents/${id}/confirm`, "", "key-1")
      assert.deepStrictEqual([replayed.status, replayed.headers.get("idempotent-replayed")], [500, "true"])
    })
  )

  scenario("when it was declined, then it stays declined under that key", () =>
    Effect.gen(function* () {
      const { id } = yield* newIntent()
      const path = `/v1/payment_intents/${id}/confirm`
      const declined = yield* post(path, "payment_method=pm_card_chargeDeclinedInsufficientFunds", "key-1")
      assert.strictEqual(declined.status, 402)
      assert.deepInclude(declined.json.error, {
        type: "card_error",
        code: "card_declined",
        decline_code: "insufficient_funds",
        doc_url: "https://stripe.com/docs/error-codes/card-declined"
      })
      assert.deepInclude(declined.json.error.payment_intent, {
        status: "requires_payment_method",
        payment_method: null
      })
      assert.strictEqual((yield* post(path, "payment_method=pm_card_visa", "key-2")).json.status, "requires_capture")
      assert.strictEqual(
        (yield* post(path, "payment_method=pm_card_chargeDeclinedInsufficientFunds", "key-1")).status,
        402
      )
    })
  )

  scenario("when it comes with other parameters or to another address, then it is an idempotency error", () =>
    Effect.gen(function* () {
      const { id } = yield* Effect.map(post("/v1/payment_intents", intentBody, "key-1"), ({ json }) => json)
      for (const reply of [
        yield* post("/v1/payment_intents", intentBody.replace("1000", "1001"), "key-1"),
        yield* post(`/v1/payment_intents/${id}/confirm`, "", "key-1")
      ]) {
        assert.deepStrictEqual([reply.status, reply.json.error.type], [400, "idempotency_error"])
      }
    })
  )

  scenario("when the first one is still at work, then the second is told so, and nothing is done twice", () =>
    Effect.gen(function* () {
      const { provider } = yield* Sandbox
      const { id } = yield* newIntent()
      yield* fault({ operation: "confirm", fault: { _tag: "Delay", ms: 1_000 } })
      const first = yield* Effect.forkChild(post(`/v1/payment_intents/${id}/confirm`, "", "key-1"))
      while (provider.ledger.totals().calls.confirm === undefined) yield* TestClock.withLive(Effect.sleep("1 millis"))
      const second = yield* post(`/v1/payment_intents/${id}/confirm`, "", "key-1")
      assert.deepStrictEqual([second.status, second.json.error.code], [409, "idempotency_key_in_use"])
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(first)).json.status, "requires_capture")
      assert.strictEqual(provider.ledger.entry(id)?.authorized.times, 1)
    })
  )

  scenario("when it does not pass validation, then the key is free to be used again", () =>
    Effect.gen(function* () {
      const wrong = yield* post("/v1/payment_intents", intentBody.replace("amount=1000", "amount=ten"), "key-1")
      assert.deepStrictEqual([wrong.status, wrong.json.error.param], [400, "amount"])
      assert.strictEqual((yield* post("/v1/payment_intents", intentBody, "key-1")).status, 200)
    })
  )

  scenario("when 24 hours have passed, then the key is forgotten, and the request is a new one", () =>
    Effect.gen(function* () {
      const first = yield* post("/v1/payment_intents", intentBody, "key-1")
      yield* TestClock.adjust("23 hours")
      assert.strictEqual((yield* post("/v1/payment_intents", intentBody, "key-1")).json.id, first.json.id)
      yield* TestClock.adjust("1 hour")
      assert.notStrictEqual((yield* post("/v1/payment_intents", intentBody, "key-1")).json.id, first.json.id)
    })
  )
})

describe("given the address of the API", () => {
  scenario("when the key is a live one, a made-up one or missing, then it is refused", () =>
    Effect.gen(function* () {
      const { url } = yield* Sandbox
      for (const [authorization, text] of [
        ["Bearer sk_live_1", "takes no live keys"],
        ["Bearer secret", "Invalid API Key"],
        [`Basic ${btoa("sk_live_1:")}`, "takes no live keys"]
      ] as const) {
        const reply = yield* request("GET", "/v1/payment_intents", { headers: { authorization } })
        assert.strictEqual(reply.status, 401)
        assert.include(reply.json.error.message, text)
      }
      assert.strictEqual((yield* Effect.promise(() => fetch(`${url}/v1/payment_intents`))).status, 401)
      const curl = yield* request("GET", "/v1/payment_intents", {
        headers: { authorization: `Basic ${btoa("sk_test_1:")}` }
      })
      assert.strictEqual(curl.status, 200)
    })
  )

  scenario("when the provider has no such endpoint, then neither has the sandbox", () =>
    Effect.gen(function* () {
      for (const path of ["/v1/charges", "/v1/payment_intents/by_key/1", "/v2/payment_intents", "/other"]) {
        assert.strictEqual((yield* get(path)).status, 404)
      }
    })
  )

  scenario("when a parameter is unknown, misspelt or too large, then it is refused", () =>
    Effect.gen(function* () {
      for (const [body, code] of [
        [`${intentBody}&chekout=1`, "parameter_unknown"],
        [intentBody.replace("pm_card_visa", "pm_unknown"), "resource_missing"],
        [`${intentBody}&customer=customer-1`, "resource_missing"],
        [intentBody.replace("amount=1000", "amount=0"), "parameter_invalid_integer"],
        [intentBody.replace("amount=1000", "amount=100000000"), "amount_too_large"],
        ["currency=eur", "parameter_missing"]
      ] as const) {
        const reply = yield* post("/v1/payment_intents", body)
        assert.deepStrictEqual([reply.status, reply.json.error.code], [400, code], body)
      }
      assert.strictEqual(
        (yield* post("/v1/payment_intents", `${intentBody}&description=${"x".repeat(70_000)}`)).status,
        413
      )
    })
  )

  scenario("when redirects are not excluded, then confirming needs an address to come back to", () =>
    Effect.gen(function* () {
      const body = intentBody.replace("&payment_method_types[]=card", "")
      const { id } = yield* Effect.map(post("/v1/payment_intents", body), ({ json }) => json)
      const refused = yield* post(`/v1/payment_intents/${id}/confirm`, "")
      assert.deepStrictEqual([refused.status, refused.json.error.param], [400, "return_url"])
      const confirmed = yield* post(`/v1/payment_intents/${id}/confirm`, "return_url=https%3A%2F%2Fshop.example%2Fback")
      assert.strictEqual(confirmed.json.status, "requires_capture")
    })
  )

  scenario("when an intent is made and confirmed in one call, then it is held at once", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* newIntent("&confirm=true")).status, "requires_capture")
      const automatic = yield* post("/v1/payment_intents", `${intentBody.replace("manual", "automatic")}&confirm=true`)
      assert.deepInclude(automatic.json, { status: "succeeded", amount_received: 1_000 })
    })
  )

  scenario("when the charge is asked for, then it is there with its date", () =>
    Effect.gen(function* () {
      const { id, latest_charge } = yield* newIntent("&confirm=true")
      assert.match(latest_charge, /^ch_/)
      const { json } = yield* get(`/v1/payment_intents/${id}?expand[]=latest_charge`)
      assert.deepInclude(json.latest_charge, { id: latest_charge, captured: false, amount_refunded: 0 })
      assert.strictEqual(json.latest_charge.payment_method_details.card.capture_before, 7 * 24 * 60 * 60)
    })
  )

  scenario("when intents are listed, then newest first, page by page", () =>
    Effect.gen(function* () {
      const ids: Array<string> = []
      for (const customer of ["cus_1", "cus_2", "cus_1"]) {
        ids.unshift((yield* newIntent(`&customer=${customer}`)).id)
        yield* TestClock.adjust("10 seconds")
      }
      const idsOf = (reply: Reply): Array<string> => reply.json.data.map((one: { id: string }) => one.id)
      assert.deepStrictEqual(idsOf(yield* get("/v1/payment_intents")), ids)
      const page = yield* get("/v1/payment_intents?limit=1")
      assert.deepStrictEqual([idsOf(page), page.json.has_more], [[ids[0]], true])
      const rest = yield* get(`/v1/payment_intents?limit=5&starting_after=${ids[0]}`)
      assert.deepStrictEqual([idsOf(rest), rest.json.has_more], [[ids[1], ids[2]], false])
      const before = yield* get(`/v1/payment_intents?limit=1&ending_before=${ids[2]}`)
      assert.deepStrictEqual([idsOf(before), before.json.has_more], [[ids[1]], true])
      const newest = yield* get(`/v1/payment_intents?limit=1&ending_before=${ids[1]}`)
      assert.deepStrictEqual([idsOf(newest), newest.json.has_more], [[ids[0]], false])
      assert.deepStrictEqual(idsOf(yield* get("/v1/payment_intents?customer=cus_2")), [ids[1]])
      assert.deepStrictEqual(idsOf(yield* get("/v1/payment_intents?created[gte]=10&created[lt]=20")), [ids[1]])
    })
  )

  scenario("when intents are searched, then they are found, but not at once", () =>
    Effect.gen(function* () {
      const { id } = yield* newIntent("&metadata[checkout]=c-1")
      const query = encodeURIComponent("metadata['checkout']:'c-1'")
      assert.deepStrictEqual((yield* get(`/v1/payment_intents/search?query=${query}`)).json.data, [])
      yield* TestClock.adjust("1 second")
      const { json } = yield* get(`/v1/payment_intents/search?query=${query}`)
      assert.deepStrictEqual([json.object, json.data[0].id], ["search_result", id])
      assert.strictEqual((yield* get("/v1/payment_intents/search?query=nonsense")).status, 400)
    })
  )

  scenario("when money is given back, then the refunds can be looked up and listed", () =>
    Effect.gen(function* () {
      const intent = yield* newIntent("&confirm=true")
      yield* post(`/v1/payment_intents/${intent.id}/capture`, "amount_to_capture=900")
      const refunded = yield* post(
        "/v1/refunds",
        `payment_intent=${intent.id}&amount=100&reason=duplicate&metadata[r]=1`
      )
      assert.deepInclude(refunded.json, {
        object: "refund",
        amount: 100,
        charge: intent.latest_charge,
        reason: "duplicate",
        status: "succeeded"
      })
      const rest = yield* post("/v1/refunds", `charge=${intent.latest_charge}`)
      assert.strictEqual(rest.json.amount, 800)
      assert.deepStrictEqual((yield* get(`/v1/refunds/${refunded.json.id}`)).json, refunded.json)
      const { json } = yield* get(`/v1/refunds?payment_intent=${intent.id}`)
      assert.deepStrictEqual(json.data, [rest.json, refunded.json])
      assert.strictEqual((yield* get("/v1/refunds/re_unknown")).status, 404)
    })
  )
})

describe("given a browser with a publishable key", () => {
  const asBrowser = { authorization: "Bearer pk_test_1", origin: "https://shop.example" }

  scenario("when it knows the client secret, then it sees and confirms that intent, from any page", () =>
    Effect.gen(function* () {
      const { id, client_secret } = yield* newIntent()
      const seen = yield* request("GET", `/v1/payment_intents/${id}?client_secret=${client_secret}`, {
        headers: asBrowser
      })
      assert.deepStrictEqual([seen.json.id, seen.headers.get("access-control-allow-origin")], [id, "*"])
      const confirmed = yield* request("POST", `/v1/payment_intents/${id}/confirm`, {
        body: `client_secret=${client_secret}`,
        headers: asBrowser
      })
      assert.strictEqual(confirmed.json.status, "requires_capture")
      assert.strictEqual((yield* request("OPTIONS", `/v1/payment_intents/${id}`, { headers: asBrowser })).status, 204)
    })
  )

  scenario("when it does not, or wants more, then it is told that there is no such intent", () =>
    Effect.gen(function* () {
      const { id, client_secret } = yield* newIntent("&confirm=true")
      for (const reply of [
        yield* request("GET", `/v1/payment_intents/${id}`, { headers: asBrowser }),
        yield* request("POST", `/v1/payment_intents/${id}/capture`, {
          body: `client_secret=${client_secret}`,
          headers: asBrowser
        }),
        yield* request("GET", "/v1/payment_intents", { headers: asBrowser })
      ]) {
        assert.strictEqual(reply.status, 404)
      }
    })
  )

  scenario("when the customer is asked who they are, then a page with two buttons decides", () =>
    Effect.gen(function* () {
      const { url } = yield* Sandbox
      const ask = Effect.map(
        post(
          "/v1/payment_intents",
          `${intentBody.replace("pm_card_visa", "pm_card_authenticationRequired")}&confirm=true&return_url=https%3A%2F%2Fshop.example%2Fback`
        ),
        ({ json }) => json
      )
      const passing = yield* ask
      assert.strictEqual(passing.status, "requires_action")
      const page = `/sandbox/authenticate/${passing.id}`
      assert.deepStrictEqual(passing.next_action, {
        type: "redirect_to_url",
        redirect_to_url: { url: `${url}${page}`, return_url: "https://shop.example/back" }
      })
      assert.include((yield* get(page)).json, "<button")
      const done = yield* post(page, "outcome=complete")
      assert.strictEqual(done.status, 303)
      assert.include(done.headers.get("location"), `https://shop.example/back?payment_intent=${passing.id}`)
      assert.include(done.headers.get("location"), "redirect_status=succeeded")
      assert.strictEqual((yield* get(`/v1/payment_intents/${passing.id}`)).json.status, "requires_capture")
      assert.include((yield* post(page, "outcome=fail")).json, "not any more")

      const failing = yield* ask
      yield* post(`/sandbox/authenticate/${failing.id}`, "outcome=fail")
      const { json } = yield* get(`/v1/payment_intents/${failing.id}`)
      assert.deepStrictEqual(
        [json.status, json.last_payment_error.code],
        ["requires_payment_method", "payment_intent_authentication_failure"]
      )
      assert.strictEqual((yield* get("/sandbox/authenticate/pi_unknown")).status, 404)
    })
  )
})

describe("given the sandbox's own pages", () => {
  scenario("when the ledger is read, then it tells what happened from what was asked", () =>
    Effect.gen(function* () {
      const { id } = yield* Effect.map(
        post("/v1/payment_intents", `${intentBody}&metadata[checkout]=c-1`, "a"),
        ({ json }) => json
      )
      yield* post(`/v1/payment_intents/${id}/confirm`, "", "b")
      yield* post(`/v1/payment_intents/${id}/confirm`, "", "b")
      yield* post(`/v1/payment_intents/${id}/capture`, "", "c")
      yield* post(`/v1/payment_intents/${id}/capture`, "", "d")
      const other = yield* newIntent("&confirm=true&metadata[checkout]=c-1")
      const { json: page } = yield* get("/sandbox/ledger?limit=1")
      assert.isTrue(page.more)
      assert.deepInclude(page.entries[0], {
        id,
        checkoutId: "c-1",
        authorized: { times: 1, amount: 1_000 },
        captured: { times: 1, amount: 1_000 },
        calls: { create: 1, confirm: 2, capture: 2 }
      })
      assert.deepStrictEqual((yield* get(`/sandbox/ledger?after=${id}`)).json.entries[0].id, other.id)
      assert.strictEqual((yield* get("/sandbox/ledger?checkout=c-1")).json.entries.length, 2)
      const { json: totals } = yield* get("/sandbox/totals")
      assert.deepStrictEqual([totals.intents, totals.heldTwice, totals.chargedTwice], [2, ["c-1"], []])
      yield* post(`/v1/payment_intents/${other.id}/capture`, "")
      assert.deepStrictEqual((yield* get("/sandbox/totals")).json.chargedTwice, ["c-1"])
    })
  )

  scenario("when it is reset, then it knows nothing any more", () =>
    Effect.gen(function* () {
      const { id } = yield* newIntent()
      yield* request("POST", "/sandbox/reset")
      assert.strictEqual((yield* get(`/v1/payment_intents/${id}`)).status, 404)
      assert.deepStrictEqual((yield* get("/sandbox/totals")).json.calls, { retrieve: 1 })
    })
  )

  scenario("when faults are injected, then the next calls have them, and no others", () =>
    Effect.gen(function* () {
      const { id } = yield* newIntent()
      yield* fault({ operation: "retrieve", fault: { _tag: "Unavailable" }, times: 2 })
      yield* fault({ fault: { _tag: "Reset", done: false } })
      assert.strictEqual((yield* get("/sandbox/faults")).json.length, 2)
      const unavailable = yield* get(`/v1/payment_intents/${id}`)
      assert.deepStrictEqual([unavailable.status, unavailable.headers.get("content-type")], [503, "text/html"])
      assert.strictEqual(yield* Effect.flip(get("/v1/payment_intents")), "cut off")
      assert.strictEqual((yield* get("/v1/payment_intents")).status, 200)
      assert.strictEqual((yield* get(`/v1/payment_intents/${id}`)).status, 503)
      assert.strictEqual((yield* get(`/v1/payment_intents/${id}`)).status, 200)
      yield* fault({ fault: { _tag: "Unavailable" }, times: "always" })
      assert.strictEqual((yield* get("/v1/payment_intents")).status, 503)
      yield* request("DELETE", "/sandbox/faults")
      assert.strictEqual((yield* get("/v1/payment_intents")).status, 200)
    })
  )

  scenario("when a fault cannot be read, then it is refused", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* fault({ fault: { _tag: "Earthquake" } })).status, 400)
      assert.strictEqual((yield* request("POST", "/sandbox/faults", { body: "{" })).status, 400)
      assert.strictEqual((yield* get("/sandbox/elsewhere")).status, 404)
    })
  )

  scenario("when it is told to go down, then nobody answers until it comes back", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* fault({ fault: { _tag: "Down", ms: 5_000 } })).status, 200)
      yield* soon(Effect.flip(get("/sandbox/health")))
      yield* TestClock.adjust("4 seconds")
      assert.strictEqual(yield* Effect.flip(get("/sandbox/health")), "cut off")
      yield* TestClock.adjust("1 second")
      yield* soon(get("/sandbox/health"))
    })
  )

  scenario("when a page from elsewhere calls, then it is turned away", () =>
    Effect.gen(function* () {
      const reply = yield* request("POST", "/sandbox/reset", { headers: { origin: "https://elsewhere.example" } })
      assert.strictEqual(reply.status, 403)
    })
  )

  scenario("when the tokens are asked for, then each is told with what happens", () =>
    Effect.gen(function* () {
      const { json } = yield* get("/sandbox/tokens")
      assert.include(
        json.map(({ token }: { token: string }) => token),
        "pm_sandbox_capture_503_twice"
      )
    })
  )
})

describe("given a port", () => {
  it.effect("when it is taken, then the sandbox does not start, and says why", () =>
    Effect.gen(function* () {
      const { port } = yield* Sandbox
      const error = yield* Effect.flip(Effect.provide(Sandbox, Sandbox.layer({ port }), { local: true }))
      assert.deepInclude(error, {
        _tag: "SandboxNotStarted",
        message: `Port ${port} is taken: the payment sandbox needs another one.`
      })
    }).pipe(Effect.provide(Sandbox.layer({ port: 0 })))
  )

  it.effect("when no host is given, then only this machine reaches it", () =>
    Effect.gen(function* () {
      const { host, url, port } = yield* Sandbox
      assert.deepStrictEqual([host, url], ["127.0.0.1", `http://127.0.0.1:${port}`])
    }).pipe(Effect.provide(Sandbox.layer({ port: 0 })))
  )
})

describe("given a refund or a dispute which takes its course", () => {
  /** Captured with this card; gives the intent's id. */
  const paidWith = (card: string) =>
    Effect.gen(function* () {
      const { json } = yield* post("/v1/payment_intents", intentBody.replace("pm_card_visa", card))
      yield* post(`/v1/payment_intents/${json.id}/confirm`, "")
      yield* post(`/v1/payment_intents/${json.id}/capture`, "")
      return String(json.id)
    })
  const refundOf = (id: string) =>
    Effect.map(post("/v1/refunds", `payment_intent=${id}&amount=400`), ({ json }) => json)

  scenario("when a refund begins pending, then it succeeds by itself, and only then the ledger has it", () =>
    Effect.gen(function* () {
      const { provider } = yield* Sandbox
      const id = yield* paidWith("pm_card_pendingRefund")
      const refund = yield* refundOf(id)
      assert.strictEqual(refund.status, "pending")
      assert.deepStrictEqual(provider.ledger.entry(id)?.refunded, { times: 0, amount: 0 })
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(provider.ledger.entry(id)?.refunded, { times: 1, amount: 400 })
      assert.strictEqual((yield* get(`/v1/refunds/${refund.id}`)).json.status, "succeeded")
    })
  )

  scenario("when a refund fails in the end, then all of the payment can be given back again", () =>
    Effect.gen(function* () {
      const { provider } = yield* Sandbox
      const id = yield* paidWith("pm_sandbox_refund_pending_then_fails")
      const refund = yield* refundOf(id)
      yield* TestClock.adjust("5 seconds")
      const failed = (yield* get(`/v1/refunds/${refund.id}`)).json
      assert.deepStrictEqual([failed.status, failed.failure_reason], ["failed", "lost_or_stolen_card"])
      assert.deepStrictEqual(provider.ledger.entry(id)?.refunded, { times: 0, amount: 0 })
      assert.strictEqual((yield* post("/v1/refunds", `payment_intent=${id}&amount=1000`)).status, 200)
    })
  )

  scenario("when a refund comes back from the customer's bank, then the ledger has both ways", () =>
    Effect.gen(function* () {
      const { provider } = yield* Sandbox
      const id = yield* paidWith("pm_card_refundFail")
      assert.strictEqual((yield* refundOf(id)).status, "succeeded")
      yield* TestClock.adjust("5 seconds")
      const entry = provider.ledger.entry(id)
      assert.deepStrictEqual(
        [entry?.refunded, entry?.refundsReturned],
        [
          { times: 1, amount: 400 },
          { times: 1, amount: 400 }
        ]
      )
      assert.deepStrictEqual(provider.ledger.totals().money["eur"]?.refundsReturned, { times: 1, amount: 400 })
    })
  )

  scenario("when voids or refunds fail a number of times, then the next one works", () =>
    Effect.gen(function* () {
      const { json } = yield* post(
        "/v1/payment_intents",
        intentBody.replace("pm_card_visa", "pm_sandbox_void_503_times_4")
      )
      yield* post(`/v1/payment_intents/${json.id}/confirm`, "")
      const statuses: Array<number> = []
      for (let time = 0; time < 5; time++) {
        statuses.push((yield* post(`/v1/payment_intents/${json.id}/cancel`, "")).status)
      }
      assert.deepStrictEqual(statuses, [503, 503, 503, 503, 200])
    })
  )

  scenario("when voids and refunds are refused for good, then they are, each time", () =>
    Effect.gen(function* () {
      const held = (yield* post("/v1/payment_intents", intentBody.replace("pm_card_visa", "pm_sandbox_void_refused")))
        .json
      yield* post(`/v1/payment_intents/${held.id}/confirm`, "")
      const paid = yield* paidWith("pm_sandbox_refund_refused")
      for (let time = 0; time < 3; time++) {
        assert.strictEqual((yield* post(`/v1/payment_intents/${held.id}/cancel`, "")).status, 400)
        assert.strictEqual((yield* post("/v1/refunds", `payment_intent=${paid}`)).status, 400)
      }
      assert.strictEqual((yield* get(`/v1/payment_intents/${held.id}`)).json.status, "requires_capture")
    })
  )

  scenario("when a card disputes, then the money is gone until the bank has decided for the shop", () =>
    Effect.gen(function* () {
      const { provider } = yield* Sandbox
      const id = yield* paidWith("pm_card_createDispute")
      const [dispute] = (yield* get(`/v1/disputes?payment_intent=${id}`)).json.data
      assert.deepInclude(dispute, { object: "dispute", amount: 1_000, status: "needs_response", reason: "fraudulent" })
      assert.strictEqual((yield* post("/v1/refunds", `payment_intent=${id}`)).json.error.code, "charge_disputed")
      const close = request("POST", `/sandbox/disputes/${dispute.id}`, { body: '{"outcome":"won"}' })
      assert.strictEqual((yield* close).status, 200)
      assert.strictEqual((yield* close).status, 404, "it is closed once")
      assert.strictEqual((yield* get(`/v1/disputes/${dispute.id}`)).json.status, "won")
      const entry = provider.ledger.entry(id)
      assert.deepStrictEqual(entry?.chargedBack, entry?.chargebacksReturned)
      assert.strictEqual(
        (yield* request("POST", "/sandbox/disputes", { body: '{"payment_intent":"pi_x"}' })).status,
        400
      )
    })
  )
})
