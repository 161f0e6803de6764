/**
 * The certificates which PayPal signs its webhooks with. Each webhook names the address of its own; that address is somebody else's word,
 * so that it is fetched from PayPal's hosts only, over https, without redirects, within limits, and a few at a time.
 */
import type { KeyObject } from "node:crypto"
import { X509Certificate } from "node:crypto"
import { rootCertificates } from "node:tls"
import { Cache, Clock, type DateTime, Duration, Effect, Exit, Result } from "effect"
import { NotAuthentic, NotVerifiable } from "./ProviderWebhooks.ts"

export interface PayPalCertificates {
  /** The key of the certificate at this address, which must be valid at `now`. */
  readonly keyAt: (url: string, now: DateTime.Utc) => Effect.Effect<KeyObject, NotAuthentic | NotVerifiable>
}

export interface PayPalCertificateOptions {
  readonly environment: "live" | "sandbox"
  /** Gets the certificates in PEM at an address which has been checked; `fetchCertificates` in service. */
  readonly fetch: (url: string) => Effect.Effect<string, NotVerifiable>
  /** In PEM; those which Node comes with unless given. */
  readonly roots?: ReadonlyArray<string>
}

/** Where certificates may come from, and for whom they must be made out. */
const places = {
  live: { hosts: ["api.paypal.com", "api-m.paypal.com"], subject: "messageverificationcerts.paypal.com" },
  sandbox: {
    hosts: ["api.sandbox.paypal.com", "api-m.sandbox.paypal.com"],
    subject: "messageverificationcerts.sandbox.paypal.com"
  }
} as const

/** Certificates kept, and for how long; PayPal has one at a time, and changes it now and then. */
const keptMax = 16
const keptFor = Duration.hours(24)
/** One that could not be had, or is wrong, is not asked for again at once: anybody can name any address. */
const missedFor = Duration.seconds(30)
/** New ones in a minute at the most. */
const fetchesMax = 10

export const make = Effect.fnUntraced(function* (
  options: PayPalCertificateOptions
): Effect.fn.Return<PayPalCertificates> {
  const { hosts, subject } = places[options.environment]
  const roots = (options.roots ?? rootCertificates).map((pem) => new X509Certificate(pem))
  let fetchedAt: ReadonlyArray<number> = []

  const fetched = Effect.fnUntraced(function* (url: string) {
    const now = yield* Clock.currentTimeMillis
    fetchedAt = fetchedAt.filter((at) => now - at < 60_000)
    if (fetchedAt.length >= fetchesMax) return yield* new NotVerifiable()
    fetchedAt = [...fetchedAt, now]
    return yield* Effect.fromResult(readChain(yield* options.fetch(url)))
  })
  const cache = yield* Cache.makeWith(fetched, {
    capacity: keptMax,
    timeToLive: (exit) => (Exit.isSuccess(exit) ? keptFor : missedFor)
  })

  return {
    keyAt: (url, now) =>
      isPlace(url, hosts)
        ? Effect.flatMap(Cache.get(cache, url), (chain) => Effect.fromResult(keyOf(chain, subject, roots, now)))
        : Effect.fail(untrusted)
  }
})

const untrusted = new NotAuthentic({ because: "certificate" })

/** `https`, the standard port, one of the hosts to the letter, and the folder which certificates lie in. */
const isPlace = (text: string, hosts: ReadonlyArray<string>): boolean => {
  const url = text.length <= 500 && URL.canParse(text) ? new URL(text) : undefined
  return (
    url !== undefined &&
    url.protocol === "https:" &&
    url.port === "" &&
    url.username === "" &&
    url.password === "" &&
    url.search === "" &&
    url.hash === "" &&
    hosts.includes(url.hostname) &&
    /^\/v1\/notifications\/certs\/[\w-]{1,100}$/.test(url.pathname) &&
    url.href === text
  )
}

/** The first is the signer's; each of the others has issued the one before. */
type Chain = readonly [X509Certificate, ...ReadonlyArray<X509Certificate>]

const chainMax = 5

const readChain = (pem: string): Result.Result<Chain, NotAuthentic> => {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? []
  if (blocks.length > chainMax) return Result.fail(untrusted)
  try {
    const [leaf, ...issuers] = blocks.map((block) => new X509Certificate(block))
    return leaf === undefined ? Result.fail(untrusted) : Result.succeed([leaf, ...issuers])
  } catch {
    return Result.fail(untrusted)
  }
}

/** Made out to PayPal's signer, valid now, and each issued by the next, up to somebody whom this machine trusts. */
const keyOf = (
  chain: Chain,
  subject: string,
  roots: ReadonlyArray<X509Certificate>,
  { epochMilliseconds: now }: DateTime.Utc
): Result.Result<KeyObject, NotAuthentic> => {
  const [leaf] = chain
  const last = chain.at(-1) ?? leaf
  const valid = chain.every(({ validFrom, validTo }) => Date.parse(validFrom) <= now && now < Date.parse(validTo))
  const linked = chain.slice(1).every((issuer, index) => isIssuedBy(chain[index]!, issuer))
  // Alone, without who issued it, the connection to PayPal's own host is all there is to vouch for it. Its manual asks for no more.
  const alone = chain.length === 1 && leaf.issuer !== leaf.subject
  const trusted = alone || roots.some((root) => root.fingerprint256 === last.fingerprint256 || isIssuedBy(last, root))
  return valid &&
    linked &&
    trusted &&
    !leaf.ca &&
    isMadeOutTo(leaf, subject) &&
    leaf.publicKey.asymmetricKeyType === "rsa"
    ? Result.succeed(leaf.publicKey)
    : Result.fail(untrusted)
}

const isIssuedBy = (one: X509Certificate, issuer: X509Certificate): boolean =>
  issuer.ca && one.checkIssued(issuer) && one.verify(issuer.publicKey)

const isMadeOutTo = (leaf: X509Certificate, subject: string): boolean =>
  leaf.checkHost(subject, { subject: "default", wildcards: false }) !== undefined

const bytesMax = 64 * 1024

/** Over the network: no redirects, five seconds, 64 KB. */
export const fetchCertificates = (url: string): Effect.Effect<string, NotVerifiable> =>
  Effect.tryPromise({
    try: async (signal) => {
      const response = await fetch(url, { signal, redirect: "error", headers: { accept: "*/*" } })
      if (!response.ok || response.body === null) throw new Error(`answered with ${response.status}`)
      const chunks: Array<Uint8Array> = []
      let size = 0
      for await (const chunk of response.body) {
        size += chunk.byteLength
        if (size > bytesMax) throw new Error("too large")
        chunks.push(chunk)
      }
      return Buffer.concat(chunks).toString("latin1")
    },
    catch: (cause) => (cause instanceof Error ? cause.message : String(cause))
  }).pipe(
    Effect.timeoutOrElse({ duration: "5 seconds", orElse: () => Effect.fail("no answer") }),
    Effect.tapError((cause) => Effect.logWarning("PayPal's certificate cannot be fetched", cause)),
    Effect.mapError(() => new NotVerifiable())
  )
