/** Signed tokens: who a caller is, and tokens for guests and demonstrations. REQ-SEC-04. */
import { Cache, Context, Data, DateTime, Duration, Effect, Exit, Layer, Redacted, Schema } from "effect"
import type { Headers } from "effect/http/Headers"
import { createRemoteJWKSet, errors, jwtVerify, SignJWT } from "jose"
import { CustomerId } from "../domain/Ids.ts"
import { AccessDenied, Unavailable } from "../domain/Refusals.ts"
import { Authentication, Caller, Role } from "./Auth.ts"
import { Unauthenticated } from "./Edge.ts"

export interface AuthTokensOptions {
  readonly issuer: string
  readonly audience: string
  readonly keys:
    | {
        readonly _tag: "Secret"
        /** HS256; at least 32 bytes of UTF-8. jose itself would sign with five. */
        readonly secret: Redacted.Redacted
      }
    | {
        readonly _tag: "Jwks"
        /** Where the issuer publishes its keys. This node then signs nothing: guests get their tokens from the issuer. */
        readonly url: string
      }
}

export interface Identity {
  readonly customerId: CustomerId
  readonly role: Role
  readonly expiresAt: DateTime.Utc
}

export interface IssuedToken {
  readonly token: Redacted.Redacted
  readonly expiresAt: DateTime.Utc
}

/** The node cannot start with these keys. */
export class AuthTokensRefused extends Data.TaggedError("AuthTokensRefused")<{ readonly message: string }> {}

export class AuthTokens extends Context.Service<
  AuthTokens,
  {
    /** Whatever is wrong with a token, the answer is the same; only keys which cannot be fetched now are told apart. */
    readonly verify: (token: Redacted.Redacted) => Effect.Effect<Identity, Unauthenticated | Unavailable>
    /** Absent where keys are published by somebody else. */
    readonly issue:
      | ((claims: {
          readonly customerId: CustomerId
          readonly role: Role
          readonly timeToLive: Duration.Duration
        }) => Effect.Effect<IssuedToken>)
      | undefined
  }
>()("cartwright/rpc/AuthTokens") {
  static readonly layer = (options: AuthTokensOptions): Layer.Layer<AuthTokens, AuthTokensRefused> =>
    Layer.effect(AuthTokens, make(options))
}

/** Who the headers of a call say is calling. REQ-API-07. */
export const identify = Effect.fnUntraced(function* (
  { verify }: AuthTokens["Service"],
  headers: Headers
): Effect.fn.Return<Identity, Unauthenticated | AccessDenied | Unavailable> {
  const token = bearer.exec(headers["authorization"] ?? "")?.[1]
  if (token === undefined) return yield* new Unauthenticated()
  const identity = yield* verify(Redacted.make(token))
  const claimed = headers["x-customer-id"]
  if (claimed !== undefined && claimed !== identity.customerId) return yield* new AccessDenied()
  return identity
})

/** Verifies the `authorization` header of each call. */
export const authenticationLayer: Layer.Layer<Authentication, never, AuthTokens> = Layer.effect(
  Authentication,
  Effect.map(AuthTokens, (tokens) =>
    Authentication.of((effect, { headers }) =>
      Effect.gen(function* () {
        const { customerId, role } = yield* identify(tokens, headers)
        return yield* Effect.provideService(effect, Caller, { customerId, role })
      })
    )
  )
)

const bearer = /^Bearer +([\w.~+/=-]{1,4096})$/i

const make = Effect.fnUntraced(function* ({ audience, issuer, keys }: AuthTokensOptions) {
  const checks = { issuer, audience, requiredClaims: ["sub", "exp"] }
  let check: (token: string, now: Date) => Promise<unknown>
  let issue: AuthTokens["Service"]["issue"]
  if (keys._tag === "Secret") {
    const secret = new TextEncoder().encode(Redacted.value(keys.secret))
    if (secret.length < 32) {
      return yield* new AuthTokensRefused({ message: "The secret for tokens must have at least 32 bytes" })
    }
    check = async (token, now) =>
      (await jwtVerify(token, secret, { ...checks, algorithms: ["HS256"], currentDate: now })).payload
    issue = Effect.fn("AuthTokens.issue")(function* ({ customerId, role, timeToLive }) {
      const now = yield* DateTime.now
      const expiresAt = DateTime.addDuration(now, timeToLive)
      const token = yield* Effect.promise(() =>
        new SignJWT({ role })
          .setProtectedHeader({ alg: "HS256" })
          .setIssuer(issuer)
          .setAudience(audience)
          .setSubject(customerId)
          .setIssuedAt(DateTime.toDate(now))
          .setExpirationTime(DateTime.toDate(expiresAt))
          .sign(secret)
      )
      return { token: Redacted.make(token), expiresAt }
    })
  } else {
    if (!URL.canParse(keys.url))
      return yield* new AuthTokensRefused({ message: "The address of the keys is not a URL" })
    const published = createRemoteJWKSet(new URL(keys.url), { timeoutDuration: 5000 })
    const algorithms = ["EdDSA", "Ed25519", "ES256", "RS256", "PS256"]
    check = async (token, now) =>
      (await jwtVerify(token, published, { ...checks, algorithms, currentDate: now })).payload
    issue = undefined
  }

  const readClaims = Effect.fnUntraced(function* (token: string) {
    const now = yield* DateTime.now
    const payload = yield* Effect.tryPromise({ try: () => check(token, DateTime.toDate(now)), catch: refusalOf })
    const { exp, role, sub } = yield* Effect.mapError(decodeClaims(payload), () => new Unauthenticated())
    const expiresAt = DateTime.makeUnsafe(exp * 1000)
    return { identity: { customerId: sub, role, expiresAt }, goodFor: DateTime.distance(now, expiresAt) }
  })
  // Checking a signature costs 80 us of CPU.
  const known = yield* Cache.makeWith(readClaims, {
    capacity: 10_000,
    timeToLive: (exit) => (Exit.isSuccess(exit) ? exit.value.goodFor : Duration.zero)
  })

  return AuthTokens.of({
    issue,
    verify: (token) => Effect.map(Cache.get(known, Redacted.value(token)), ({ identity }) => identity)
  })
})

const Claims = Schema.Struct({ sub: CustomerId, role: Role, exp: Schema.Finite })
const decodeClaims = Schema.decodeUnknownEffect(Claims)

/** Where the keys come from is not the caller's fault, so it must not look as if they were signed out. */
const refusalOf = (cause: unknown): Unauthenticated | Unavailable =>
  cause instanceof errors.JOSEError && !(cause instanceof errors.JWKSTimeout) && cause.code !== "ERR_JOSE_GENERIC"
    ? new Unauthenticated()
    : new Unavailable({ retryAfterMs: 1000 })
