import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Duration, Effect, Redacted, Result, Schema } from "effect"
import {
  captureHorizon,
  gatewayLimitsOf,
  type InvalidConfig,
  limitsOf,
  load,
  misspelt
} from "../../src/layers/Config.ts"
import { chapters, type Setting, settings } from "../../src/layers/Settings.ts"
import { defaultLimits } from "../../src/layers/Shop.ts"

const secret = "0123456789abcdef0123456789abcdef"

/** What nobody can choose for a shop. */
const least = {
  DATABASE_URL: "postgres://shop:hunter2@db.example:5432/shop",
  CLUSTER_SECRET: secret,
  AUTH_SECRET: secret,
  STRIPE_SECRET_KEY: "sk_test_1",
  SHIPPING_RATES: '{"EUR":{"standard":"490"}}'
}

const loaded = (env: Record<string, string>, demo = false) =>
  load({ demo }).pipe(Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env }))))

const refused = (env: Record<string, string>, demo = false) =>
  Effect.map(Effect.flip(loaded(env, demo)), ({ problems }: InvalidConfig) => problems.map(({ says }) => says))

describe("given nothing but what must be given", () => {
  it.effect("when it is read, then every number is the documented default of the shop (N-006 and others)", () =>
    Effect.gen(function* () {
      const values = yield* loaded(least)
      assert.deepStrictEqual(limitsOf(values), defaultLimits)
      assert.deepStrictEqual(gatewayLimitsOf(values), {
        timeout: Duration.seconds(15),
        breakerFailures: 5,
        breakerWindow: Duration.seconds(10),
        breakerOpen: Duration.seconds(30)
      })
      assert.strictEqual(values.HTTP_PORT, 4000)
      assert.strictEqual(values.HTTP_BODY_MAX, 1024 * 1024)
      assert.isUndefined(values.RUNNER_HOST)
      assert.isUndefined(values.CORS_ORIGINS)
      assert.strictEqual(Redacted.value(values.DATABASE_URL), least.DATABASE_URL)
      assert.strictEqual(Object.values(values.SHIPPING_RATES)[0]?.standard, 490n)
    })
  )

  it.effect("when values are given, then they are taken, in any unit", () =>
    Effect.gen(function* () {
      const values = yield* loaded({
        ...least,
        CHECKOUT_SYNC_WAIT: "20000 millis",
        CAPTURE_MAX_RETRIES: "5",
        CORS_ORIGINS: "https://shop.example, https://www.shop.example",
        PAYMENT_METHODS: "card, bank_transfer",
        COD_AUTO_CONFIRM: "false",
        BANK_TRANSFER_WINDOW: "3 days",
        MIGRATE_ON_START: "false"
      })
      assert.deepStrictEqual(limitsOf(values).checkout.syncWait, Duration.seconds(20))
      assert.strictEqual(limitsOf(values).checkout.captureRetriesMax, 5)
      assert.deepStrictEqual(values.CORS_ORIGINS, ["https://shop.example", "https://www.shop.example"])
      assert.deepStrictEqual(limitsOf(values).checkout.offlineMethods, ["bank_transfer"])
      assert.isUndefined(limitsOf(values).order.confirmCashAfter)
      assert.deepStrictEqual(limitsOf(values).order.offline.bank_transfer, Duration.days(3))
      assert.deepStrictEqual(limitsOf(values).reservation.offline, limitsOf(values).order.offline)
      assert.isFalse(values.MIGRATE_ON_START)
    })
  )
})

describe("given an empty environment", () => {
  it.effect("when it is read, then all that is missing is named at once (T-OPS-03)", () =>
    Effect.gen(function* () {
      const problems = yield* refused({ AUTH_SECRET: "" })
      assert.deepStrictEqual(
        problems.map((says) => says.split(" ")[0]),
        ["DATABASE_URL", "CLUSTER_SECRET", "STRIPE_SECRET_KEY", "SHIPPING_RATES", "AUTH_SECRET"]
      )
      assert.include(problems[0], "DATABASE_URL is missing. It must be an address such as postgres://")
    })
  )

  it.effect("when everything but an identity is given, then one is asked for", () =>
    Effect.gen(function* () {
      const { AUTH_SECRET: _, ...rest } = least
      assert.match((yield* refused(rest))[0]!, /^AUTH_SECRET and AUTH_JWKS_URL are missing/)
      const both = { ...least, AUTH_JWKS_URL: "https://id.example/jwks.json" }
      assert.match((yield* refused(both))[0]!, /^AUTH_SECRET and AUTH_JWKS_URL must not both be given/)
    })
  )
})

describe("given a value which cannot be read", () => {
  const cases: ReadonlyArray<readonly [key: keyof typeof settings, text: string, says: RegExp]> = [
    ["HTTP_PORT", "80x", /^HTTP_PORT is "80x". It must be a whole number from 1 to 65535.$/],
    ["HTTP_PORT", "70000", /^HTTP_PORT is "70000"/],
    ["DATABASE_POOL_SIZE", "2.5", /^DATABASE_POOL_SIZE is "2.5"/],
    ["CHECKOUT_SYNC_WAIT", "25 parsecs", /^CHECKOUT_SYNC_WAIT is "25 parsecs". It must be a duration such as/],
    ["CHECKOUT_SYNC_WAIT", "0 seconds", /^CHECKOUT_SYNC_WAIT/],
    ["SHARD_LOCK_EXPIRATION", "200 millis", /at least 1s, at most 2m.$/],
    ["MIGRATE_ON_START", "maybe", /true or false/],
    ["LOG_FORMAT", "xml", /one of auto, pretty, json/],
    ["HTTP_BODY_MAX", "lots", /a size such as/],
    ["CORS_ORIGINS", "shop.example", /origins such as https:\/\/shop.example/],
    ["PAYMENT_METHODS", "card,cheque", /^PAYMENT_METHODS is "card,cheque". It must be card, with or without/],
    ["PAYMENT_METHODS", "bank_transfer", /^PAYMENT_METHODS/],
    ["SHIPPING_RATES", "{", /JSON such as/],
    ["SHIPPING_RATES", '{"EUR":{"express":"1290"}}', /JSON such as/],
    ["CLUSTER_NAME", "my cluster", /up to 64 letters/],
    ["DATABASE_URL", "mysql://root:hunter2@db/shop", /^DATABASE_URL is wrong. It must be/],
    ["AUTH_SECRET", "hunter2", /^AUTH_SECRET is wrong. It must be at least 32 bytes/],
    ["STRIPE_SECRET_KEY", "hunter2", /^STRIPE_SECRET_KEY is wrong/]
  ]
  for (const [key, text, says] of cases) {
    it.effect(`when ${key} is ${text}, then it is named with what it must be, and no secret is shown`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(loaded({ ...least, [key]: text }))
        assert.lengthOf(error.problems, 1)
        assert.deepStrictEqual(error.problems[0]!.keys, [key])
        assert.match(error.problems[0]!.says, says)
        assert.notInclude(error.message, "hunter2")
        assert.notInclude(error.message, secret)
      })
    )
  }
})

describe("given values which do not go together", () => {
  const cases: ReadonlyArray<readonly [given: string, env: Record<string, string>, says: RegExp]> = [
    [
      "a wait as long as the request",
      { CHECKOUT_SYNC_WAIT: "30 seconds" },
      /^CHECKOUT_SYNC_WAIT \(30s\) must be shorter than HTTP_REQUEST_TIMEOUT \(30s\)/
    ],
    [
      "a watch before the wait is over",
      { CHECKOUT_WATCH_AFTER: "10 seconds" },
      /^CHECKOUT_SYNC_WAIT .* CHECKOUT_WATCH_AFTER/
    ],
    ["a slow provider", { PAYMENT_TIMEOUT: "26 seconds" }, /^PAYMENT_TIMEOUT .* CHECKOUT_SYNC_WAIT/],
    ["a window beyond the claim", { PAYMENT_WINDOW: "1 hour" }, /^PAYMENT_WINDOW .* RESERVATION_TTL/],
    [
      "the slow profile of retries alone (N-013)",
      {
        CAPTURE_MAX_RETRIES: "7",
        CAPTURE_BACKOFF_BASE: "1 minute",
        CAPTURE_BACKOFF_CAP: "30 minutes",
        ORDER_PENDING_EXPIRY: "1 day"
      },
      /^RESERVATION_CAPTURE_TTL \(30m\) must be longer than all tries of a capture take \(1h 36m/
    ],
    ["an order that expires early", { ORDER_PENDING_EXPIRY: "1 minute" }, /^ORDER_PENDING_EXPIRY \(1m\)/],
    ["a deferred capture after the hold", { CAPTURE_LEAD: "7 days" }, /^CAPTURE_LEAD .* PAYMENT_HOLD_EXPIRY/],
    ["a confirmation after the window", { COD_CONFIRM_AFTER: "24 hours" }, /^COD_CONFIRM_AFTER .* COD_WINDOW/],
    ["a refund's base above its cap", { REFUND_BACKOFF_BASE: "1 hour" }, /^REFUND_BACKOFF_BASE/],
    ["a base above its cap", { NOTICE_BACKOFF_CAP: "500 millis" }, /^NOTICE_BACKOFF_BASE/],
    ["a rare sign of life", { SHARD_LOCK_REFRESH: "2 seconds" }, /^SHARD_LOCK_REFRESH/],
    ["all origins", { CORS_ORIGINS: "*" }, /^CORS_ORIGINS must name/],
    [
      "a live key in clear",
      { STRIPE_SECRET_KEY: "sk_live_1", STRIPE_PROTOCOL: "http" },
      /^STRIPE_PROTOCOL must be https/
    ],
    ["one port for two things", { RUNNER_PORT: "4000" }, /^HTTP_PORT and RUNNER_PORT must differ: both are 4000/],
    ["more shards than buckets", { CLUSTER_SHARDS: "200" }, /^CLUSTER_SHARDS/]
  ]
  for (const [given, env, says] of cases) {
    it.effect(`when there is ${given}, then it is refused`, () =>
      Effect.gen(function* () {
        const problems = yield* refused({ ...least, ...env })
        assert.lengthOf(problems, 1)
        assert.match(problems[0]!, says)
      })
    )
  }

  it.effect("when the shop is the demo, then any page may call it (REQ-GW-04)", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* loaded({ ...least, CORS_ORIGINS: "*" }, true)).CORS_ORIGINS, ["*"])
    })
  )

  it.effect("when no health port is wanted, then it is not in anybody's way", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* loaded({ ...least, HEALTH_PORT: "0" })).HEALTH_PORT, 0)
    })
  )
})

it.effect("the horizon of a capture counts each try, its look-up, each pause, and a late timer", () =>
  Effect.gen(function* () {
    const values = yield* loaded(least)
    // 4 tries of 2 calls of 15 s, pauses of 5, 10 and 20 s, and 60 s.
    assert.deepStrictEqual(captureHorizon(values), Duration.seconds(4 * 2 * 15 + 35 + 60))
  })
)

it.effect("given keys which are almost ours, they are told, and others are left alone", () =>
  Effect.gen(function* () {
    const env = {
      ...least,
      CHECKOUT_SYNC_WIAT: "9 seconds",
      PAYMENT_TIMEOUTS: "3 seconds",
      PATH: "/bin",
      HOME: "/",
      LOGLEVEL: "info",
      SHELL_LEVEL: "1"
    }
    const found = yield* misspelt.pipe(Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env }))))
    assert.deepStrictEqual(
      found.toSorted((one, other) => one.found.localeCompare(other.found)),
      [
        { found: "CHECKOUT_SYNC_WIAT", meant: "CHECKOUT_SYNC_WAIT" },
        { found: "LOGLEVEL", meant: "LOG_LEVEL" },
        { found: "PAYMENT_TIMEOUTS", meant: "PAYMENT_TIMEOUT" }
      ]
    )
  })
)

describe("given the table of settings", () => {
  const all = Object.entries<Setting<unknown>>(settings)

  it("when its chapters are joined, then each key is there once", () => {
    const keys = chapters.flatMap((chapter) => Object.keys(chapter.settings))
    assert.deepStrictEqual(keys.toSorted(), Object.keys(settings).toSorted())
    assert.strictEqual(new Set(keys).size, keys.length)
  })

  it("when a default is read, then it is what the setting takes, and says a sentence about itself", () => {
    for (const [key, { about, absent, codec }] of all) {
      assert.match(about, /\.$/, key)
      if (absent._tag === "Default") {
        assert.isTrue(Result.isSuccess(Schema.decodeResult(codec)(absent.text)), key)
      }
    }
  })
})
