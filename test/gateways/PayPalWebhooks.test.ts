import { type KeyObject, sign } from "node:crypto"
import { createServer, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { crc32 } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Duration, Effect, Result } from "effect"
import { TestClock } from "effect/testing"
import * as PayPalCertificates from "../../src/gateways/PayPalCertificates.ts"
import * as PayPalWebhooks from "../../src/gateways/PayPalWebhooks.ts"
import { NotVerifiable } from "../../src/gateways/ProviderWebhooks.ts"
import { type CertificateOptions, makeCertificate } from "../fixtures/Certificates.ts"

const now = Date.parse("2026-11-20T10:00:00Z")
const day = 86_400_000
const webhookId = "8PT597110X687430L"
const oldWebhookId = "1AB23456CD789012E"
const certificateUrl = "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-a5cafa77"

const make = (options: Partial<CertificateOptions> & Pick<CertificateOptions, "name">) =>
  makeCertificate({ validFrom: now - day, validTo: now + day, ...options })

const root = make({ name: "Test Root", authority: true })
const issuer = make({ name: "Test Issuer", issuer: root, authority: true })
const signer = make({ name: "messageverificationcerts.paypal.com", issuer })
const genuineChain = signer.pem + issuer.pem

const event = {
  id: "WH-2WR32451HC0233532-67976317FL4543714",
  event_type: "PAYMENT.CAPTURE.COMPLETED",
  create_time: "2026-11-20T09:59:59.000Z",
  resource_type: "capture",
  resource: {
    id: "27M47624FP291604U",
    status: "COMPLETED",
    amount: { currency_code: "EUR", value: "41.89" },
    custom_id: "checkout-1",
    supplementary_data: { related_ids: { order_id: "5O190127TN364715T", authorization_id: "0VF52814937998046" } }
  }
}
const body = JSON.stringify(event)

const isoOf = (at: number): string => DateTime.formatIso(DateTime.makeUnsafe(at))

interface Sent {
  readonly body?: string
  /** What was signed, where that is not what is sent. */
  readonly signedBody?: string
  readonly at?: string
  readonly signedAt?: string
  readonly webhook?: string
  readonly key?: KeyObject
  readonly headers?: Readonly<Record<string, string | undefined>>
}

const headersOf = ({
  at = "2026-11-20T10:00:00Z",
  headers,
  key = signer.privateKey,
  webhook = webhookId,
  ...sent
}: Sent) => {
  const id = "69cd13f0-d67a-11e5-baa3-778b53f4ae55"
  const signed = Buffer.from(sent.signedBody ?? sent.body ?? body)
  const message = `${id}|${sent.signedAt ?? at}|${webhook}|${crc32(signed)}`
  return {
    "paypal-transmission-id": id,
    "paypal-transmission-time": at,
    "paypal-transmission-sig": sign("RSA-SHA256", Buffer.from(message), key).toString("base64"),
    "paypal-cert-url": certificateUrl,
    "paypal-auth-algo": "SHA256withRSA",
    ...headers
  }
}

/** A shop which trusts the root of these tests, and gets `chain` wherever it asks. */
const shop = (chain: string | null = genuineChain) =>
  Effect.gen(function* () {
    yield* TestClock.setTime(now)
    const asked: Array<string> = []
    const certificates = yield* PayPalCertificates.make({
      environment: "live",
      roots: [root.pem],
      fetch: (url) =>
        Effect.suspend(() => {
          asked.push(url)
          return chain === null ? Effect.fail(new NotVerifiable()) : Effect.succeed(chain)
        })
    })
    const read = PayPalWebhooks.make({
      webhookIds: [webhookId, oldWebhookId],
      tolerance: Duration.minutes(5),
      certificates
    })
    const send = (sent: Sent = {}) =>
      Effect.map(Effect.result(read({ headers: headersOf(sent), body: Buffer.from(sent.body ?? body) })), (result) =>
        Result.isSuccess(result)
          ? "accepted"
          : "because" in result.failure
            ? result.failure.because
            : result.failure._tag
      )
    return { asked, read, send }
  })

describe("given a webhook of PayPal's", () => {
  it.effect("when it is signed by the certificate it names, for either of our webhooks, then it is authentic", () =>
    Effect.gen(function* () {
      const { asked, read, send } = yield* shop()
      assert.strictEqual(yield* send(), "accepted")
      assert.strictEqual(yield* send({ webhook: oldWebhookId }), "accepted")
      assert.deepStrictEqual(asked, [certificateUrl], "fetched once")
      const { checkoutId, news } = yield* read({ headers: headersOf({}), body: Buffer.from(body) })
      assert.strictEqual(checkoutId, "checkout-1")
      assert.deepInclude(news as object, {
        provider: "paypal",
        eventId: event.id,
        object: "27M47624FP291604U",
        intent: "0VF52814937998046",
        fact: { _tag: "Captured", amount: 4189n, currency: "EUR" }
      })
    })
  )

  const forgeries: Readonly<Record<string, readonly [Sent, string]>> = {
    "another webhook's id": [{ webhook: "0ZZ00000ZZ000000Z" }, "signature"],
    "another key": [{ key: make({ name: "messageverificationcerts.paypal.com" }).privateKey }, "signature"],
    "a body changed by a byte": [{ body: body.replace("41.89", "41.88"), signedBody: body }, "signature"],
    "another body's signature": [{ signedBody: "{}" }, "signature"],
    "a changed event id": [{ body: body.replace("WH-2", "WH-3"), signedBody: body }, "signature"],
    "an old time": [{ at: "2026-11-20T09:54:59Z" }, "time"],
    "a time to come": [{ at: "2026-11-20T10:05:01Z" }, "time"],
    "a changed time": [{ signedAt: "2026-11-19T10:00:00Z" }, "signature"],
    "a time which is none": [{ at: "yesterday" }, "malformed"],
    "no signature": [{ headers: { "paypal-transmission-sig": undefined } }, "unsigned"],
    "no certificate": [{ headers: { "paypal-cert-url": undefined } }, "unsigned"],
    "a signature which is none": [{ headers: { "paypal-transmission-sig": "abc" } }, "malformed"],
    "another algorithm": [{ headers: { "paypal-auth-algo": "none" } }, "malformed"],
    "an id with a bar": [{ headers: { "paypal-transmission-id": "a|b" } }, "malformed"]
  }
  for (const [name, [sent, reason]] of Object.entries(forgeries)) {
    it.effect(`when it has ${name}, then it is refused, and the genuine one is accepted afterwards`, () =>
      Effect.gen(function* () {
        const { send } = yield* shop()
        assert.strictEqual(yield* send(sent), reason)
        assert.strictEqual(yield* send(), "accepted")
      })
    )
  }

  for (const url of [
    "https://api.paypal.com.evil.example/v1/notifications/certs/CERT-1",
    "https://evil.example/v1/notifications/certs/CERT-1",
    "https://evil.example#api.paypal.com/v1/notifications/certs/CERT-1",
    "https://api.paypal.com@evil.example/v1/notifications/certs/CERT-1",
    "https://api.paypal.com:8443/v1/notifications/certs/CERT-1",
    "http://api.paypal.com/v1/notifications/certs/CERT-1",
    "https://api.paypal.com/v1/notifications/certs/../../redirect",
    "https://api.paypal.com/v1/notifications/certs/CERT-1?to=evil.example",
    "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-1",
    "https://API.PAYPAL.COM/v1/notifications/certs/CERT-1",
    "https://127.0.0.1/v1/notifications/certs/CERT-1",
    "file:///etc/passwd",
    "",
    `https://api.paypal.com/v1/notifications/certs/${"a".repeat(600)}`
  ]) {
    it.effect(
      `when its certificate is at ${url.slice(0, 70) || "no address"}, then nothing is fetched, and it is refused`,
      () =>
        Effect.gen(function* () {
          const { asked, send } = yield* shop()
          assert.strictEqual(yield* send({ headers: { "paypal-cert-url": url } }), "certificate")
          assert.deepStrictEqual(asked, [])
        })
    )
  }

  const name = signer.name
  const foreignRoot = make({ name: "Test Root", authority: true })
  const chains: Readonly<Record<string, string>> = {
    "signed by itself": make({ name }).pem,
    expired: make({ name, issuer, validTo: now - 1 }).pem + issuer.pem,
    "not valid yet": make({ name, issuer, validFrom: now + day / 2 }).pem + issuer.pem,
    "of an expired issuer": (() => {
      const old = make({ name: "Old Issuer", issuer: root, authority: true, validTo: now - 1 })
      return make({ name, issuer: old }).pem + old.pem
    })(),
    "made out to somebody else": make({ name: "evil.example", issuer }).pem + issuer.pem,
    "made out to a name which begins alike": make({ name: `${name}.evil.example`, issuer }).pem + issuer.pem,
    "an authority's own": make({ name, issuer, authority: true }).pem + issuer.pem,
    "issued by a key which is not its issuer's": make({ name, issuer, signedBy: signer.privateKey }).pem + issuer.pem,
    "issued by no authority": make({ name, issuer: signer }).pem + signer.pem + issuer.pem,
    "of a root which only has the name of ours": make({ name, issuer: foreignRoot }).pem + foreignRoot.pem,
    "a chain without end": signer.pem + issuer.pem.repeat(9),
    "no certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
    "a page": "<html>not found</html>"
  }
  for (const [what, chain] of Object.entries(chains)) {
    it.effect(`when its certificate is ${what}, then it is refused`, () =>
      Effect.gen(function* () {
        const { send } = yield* shop(chain)
        assert.strictEqual(yield* send(), "certificate")
      })
    )
  }

  it.effect("when the certificate comes without its issuers, then PayPal's own host vouches for it", () =>
    Effect.gen(function* () {
      const { send } = yield* shop(signer.pem)
      assert.strictEqual(yield* send(), "accepted")
    })
  )

  it.effect("when the certificate runs out while it is kept, then what it signs is refused", () =>
    Effect.gen(function* () {
      const { asked, send } = yield* shop()
      assert.strictEqual(yield* send(), "accepted")
      yield* TestClock.setTime(now + day - 1_000)
      assert.strictEqual(yield* send({ at: isoOf(now + day - 1_000) }), "accepted")
      yield* TestClock.setTime(now + day)
      assert.strictEqual(yield* send({ at: isoOf(now + day) }), "certificate")
      assert.isAtMost(asked.length, 2)
    })
  )

  it.effect("when the certificate cannot be had, then that is no refusal, and it is not asked for again at once", () =>
    Effect.gen(function* () {
      const { asked, send } = yield* shop(null)
      for (let time = 0; time < 5; time++) assert.strictEqual(yield* send(), "NotVerifiable")
      assert.strictEqual(asked.length, 1)
    })
  )

  it.effect("when somebody names ever new certificates, then few are fetched", () =>
    Effect.gen(function* () {
      const { asked, send } = yield* shop()
      for (let number = 0; number < 50; number++) {
        yield* send({ headers: { "paypal-cert-url": `https://api.paypal.com/v1/notifications/certs/CERT-${number}` } })
      }
      assert.strictEqual(asked.length, 10)
    })
  )
})

describe("given what PayPal's events are about", () => {
  const cases: ReadonlyArray<readonly [string, object, unknown]> = [
    [
      "PAYMENT.AUTHORIZATION.CREATED",
      { id: "A1", amount: { total: "7.47", currency: "USD" } },
      { _tag: "Authorized", amount: 747n, currency: "USD" }
    ],
    ["PAYMENT.AUTHORIZATION.VOIDED", { id: "A1" }, { _tag: "Voided" }],
    ["PAYMENT.CAPTURE.DENIED", { id: "C1" }, { _tag: "Failed" }],
    [
      "PAYMENT.CAPTURE.COMPLETED",
      { id: "C1", amount: { value: "500", currency_code: "JPY" } },
      { _tag: "Captured", amount: 500n, currency: "JPY" }
    ],
    [
      "PAYMENT.CAPTURE.REFUNDED",
      { id: "R1", amount: { value: "1.5", currency_code: "EUR" } },
      { _tag: "Refund", amount: 150n, currency: "EUR", refund: "R1", status: "completed" }
    ],
    [
      "CUSTOMER.DISPUTE.CREATED",
      { dispute_id: "PP-D-1", dispute_amount: { value: "10.00", currency_code: "EUR" }, reason: "UNAUTHORISED" },
      {
        _tag: "Chargeback",
        amount: 1000n,
        currency: "EUR",
        chargeback: "PP-D-1",
        reason: "UNAUTHORISED",
        status: "opened"
      }
    ],
    [
      "CUSTOMER.DISPUTE.RESOLVED",
      {
        dispute_id: "PP-D-1",
        dispute_amount: { value: "10.00", currency_code: "EUR" },
        reason: "UNAUTHORISED",
        dispute_outcome: { outcome_code: "RESOLVED_SELLER_FAVOUR" }
      },
      {
        _tag: "Chargeback",
        amount: 1000n,
        currency: "EUR",
        chargeback: "PP-D-1",
        reason: "UNAUTHORISED",
        status: "won"
      }
    ]
  ]
  for (const [type, resource, fact] of cases) {
    it.effect(`when it is ${type}, then this is what it says`, () =>
      Effect.gen(function* () {
        const { read } = yield* shop()
        const content = JSON.stringify({ ...event, event_type: type, resource })
        const { news } = yield* read({ headers: headersOf({ body: content }), body: Buffer.from(content) })
        const told: { readonly fact?: unknown } = news ?? {}
        assert.deepStrictEqual(told.fact, fact)
      })
    )
  }

  for (const [what, resource] of Object.entries({
    "an amount with an exponent": { id: "C1", amount: { value: "1e3", currency_code: "EUR" } },
    "an amount below zero": { id: "C1", amount: { value: "-1.00", currency_code: "EUR" } },
    "more places than the currency has": { id: "C1", amount: { value: "1.001", currency_code: "EUR" } },
    "no amount": { id: "C1" },
    "no id": { amount: { value: "1.00", currency_code: "EUR" } }
  })) {
    it.effect(`when it says ${what}, then it is unreadable`, () =>
      Effect.gen(function* () {
        const { send } = yield* shop()
        assert.strictEqual(yield* send({ body: JSON.stringify({ ...event, resource }) }), "NotReadable")
      })
    )
  }
})

describe("given the way to a certificate", () => {
  /** Answers every request so. */
  const serving = (answer: (response: ServerResponse) => void) =>
    Effect.gen(function* () {
      const server = createServer((_, response) => answer(response))
      yield* Effect.acquireRelease(
        Effect.callback<void>((resume) => {
          server.listen(0, "127.0.0.1", () => resume(Effect.void))
        }),
        () => Effect.sync(() => server.close().closeAllConnections())
      )
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
    })

  it.live("when it is there, then it is read", () =>
    Effect.gen(function* () {
      const url = yield* serving((response) => response.end(signer.pem))
      assert.strictEqual(yield* PayPalCertificates.fetchCertificates(url), signer.pem)
    })
  )

  it.live("when it leads elsewhere, has no end, or is not there, then it is given up", () =>
    Effect.gen(function* () {
      const urls = [
        yield* serving((response) => response.writeHead(302, { location: "https://evil.example/" }).end()),
        yield* serving((response) => response.end("x".repeat(70_000))),
        yield* serving((response) => response.writeHead(404).end())
      ]
      for (const url of urls) {
        assert.strictEqual((yield* Effect.flip(PayPalCertificates.fetchCertificates(url)))._tag, "NotVerifiable")
      }
    })
  )
})
