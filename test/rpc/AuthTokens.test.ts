import { createServer } from "node:http"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Redacted, Result } from "effect"
import { TestClock } from "effect/testing"
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from "jose"
import { CustomerId } from "../../src/domain/Ids.ts"
import { AuthTokens, type AuthTokensOptions } from "../../src/rpc/AuthTokens.ts"
import { authOptions } from "../fixtures/Edge.ts"

const secret = new TextEncoder().encode(Redacted.value(authOptions.keys.secret))
const good = { iss: authOptions.issuer, aud: authOptions.audience, sub: "ann", role: "customer" }

const signed = (claims: Record<string, unknown>, options: { readonly alg?: string; readonly key?: Uint8Array } = {}) =>
  Effect.promise(() =>
    new SignJWT(claims).setProtectedHeader({ alg: options.alg ?? "HS256" }).sign(options.key ?? secret)
  )

const verify = Effect.fnUntraced(function* (token: string) {
  const tokens = yield* AuthTokens
  return yield* Effect.result(tokens.verify(Redacted.make(token)))
})
const tagOf = Effect.fnUntraced(function* (token: string) {
  const result = yield* verify(token)
  return Result.isFailure(result) ? result.failure._tag : "accepted"
})

const withTokens = <A, E>(effect: Effect.Effect<A, E, AuthTokens>, options: AuthTokensOptions = authOptions) =>
  Effect.provide(effect, AuthTokens.layer(options))

describe("given a shared secret", () => {
  it.effect("when a token of ours comes, then it says who calls", () =>
    Effect.gen(function* () {
      const { issue, verify: check } = yield* AuthTokens
      const { token } = yield* issue!({
        customerId: CustomerId.make("ann"),
        role: "operator",
        timeToLive: Duration.hours(1)
      })
      const { customerId, role } = yield* check(token)
      assert.deepStrictEqual([customerId, role], ["ann", "operator"])
    }).pipe(withTokens)
  )

  it.effect("when anything about a token is wrong, then the answer is always the same", () =>
    Effect.gen(function* () {
      const exp = 3600
      const valid = yield* signed({ ...good, exp })
      const bad = {
        "of another issuer": yield* signed({ ...good, iss: "https://evil.test", exp }),
        "for another shop": yield* signed({ ...good, aud: "other", exp }),
        "with another secret": yield* signed({ ...good, exp }, { key: new Uint8Array(32) }),
        "with another algorithm": yield* signed({ ...good, exp }, { alg: "HS512" }),
        "without an expiry": yield* signed(good),
        "without a subject": yield* signed({ ...good, sub: undefined, exp }),
        "with a malformed subject": yield* signed({ ...good, sub: "a b", exp }),
        "with a role that is none": yield* signed({ ...good, role: "root", exp }),
        "without a signature": new UnsecuredJWT({ ...good, exp }).encode(),
        "with a changed payload": valid.replace(/\.[^.]+\./, `.${btoa(JSON.stringify({ ...good, sub: "bob", exp }))}.`),
        empty: "",
        nonsense: "x"
      }
      assert.strictEqual(yield* tagOf(valid), "accepted")
      for (const [what, token] of Object.entries(bad)) {
        assert.strictEqual(yield* tagOf(token), "Unauthenticated", what)
      }
    }).pipe(withTokens)
  )

  it.effect("when a token expires, then it is refused from that instant on, although it is remembered", () =>
    Effect.gen(function* () {
      const token = yield* signed({ ...good, exp: 60 })
      assert.strictEqual(yield* tagOf(token), "accepted")
      yield* TestClock.adjust("59 seconds")
      assert.strictEqual(yield* tagOf(token), "accepted")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* tagOf(token), "Unauthenticated")
    }).pipe(withTokens)
  )

  it.effect("when the secret is shorter than 32 bytes, then the node does not start", () =>
    Effect.gen(function* () {
      const options = { ...authOptions, keys: { _tag: "Secret", secret: Redacted.make("short") } } as const
      const error = yield* Effect.flip(withTokens(AuthTokens, options))
      assert.strictEqual(error._tag, "AuthTokensRefused")
    })
  )
})

describe("given keys which an issuer publishes", () => {
  it.live(
    "when they are there, then its tokens are accepted; when they are away, then that is not the caller's fault",
    () =>
      Effect.gen(function* () {
        const pair = yield* Effect.promise(() => generateKeyPair("EdDSA", { extractable: true }))
        const jwk = yield* Effect.promise(() => exportJWK(pair.publicKey))
        const server = createServer((_, response) => {
          response.setHeader("content-type", "application/json")
          response.end(JSON.stringify({ keys: [{ ...jwk, kid: "one" }] }))
        })
        yield* Effect.callback<void>((resume) => {
          server.listen(0, "127.0.0.1", () => {
            resume(Effect.void)
          })
        })
        const address = server.address()
        const port = typeof address === "object" && address !== null ? address.port : 0
        const options = { ...authOptions, keys: { _tag: "Jwks", url: `http://127.0.0.1:${port}/keys` } } as const
        const exp = Math.floor(performance.timeOrigin / 1000) + 3600
        const token = yield* Effect.promise(() =>
          new SignJWT({ ...good, exp }).setProtectedHeader({ alg: "EdDSA", kid: "one" }).sign(pair.privateKey)
        )
        const hmac = yield* signed({ ...good, exp })
        yield* Effect.gen(function* () {
          assert.isUndefined((yield* AuthTokens).issue)
          assert.strictEqual(yield* tagOf(token), "accepted")
          assert.strictEqual(yield* tagOf(hmac), "Unauthenticated")
        }).pipe((effect) => withTokens(effect, options))
        server.close()
        server.closeAllConnections()
        assert.strictEqual(yield* withTokens(tagOf(token), options), "Unavailable")
      })
  )
})
