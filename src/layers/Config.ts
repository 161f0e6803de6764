/**
 * Reads every setting at the start and checks it: a node that is set up wrongly ends before it serves anybody, and says which keys to
 * mend. REQ-GEN-15.
 */
import { Config, ConfigProvider, Duration, Effect, Layer, Option, Redacted, Schema } from "effect"
import { OfflineMethod } from "../domain/OfflineMethod.ts"
import { backoff } from "../entities/payment/Backoff.ts"
import type { PaymentGatewayLimits } from "../gateways/PaymentGateway.ts"
import type { ProviderWebhooksOptions } from "../gateways/ProviderWebhooks.ts"
import type { ServerLimits } from "../rpc/Server.ts"
import type { ShopLimits } from "./Shop.ts"
import { type Key, keys, type Setting, settings, type Values } from "./Settings.ts"

const Problem = Schema.Struct({ keys: Schema.Array(Schema.String), says: Schema.String })

/** Settings which are missing, unreadable, or do not go together. `message` is for the person who starts the node; no secret is in it. */
export class InvalidConfig extends Schema.TaggedError<InvalidConfig>()("InvalidConfig", {
  problems: Schema.Array(Problem)
}) {
  override get message(): string {
    const count = this.problems.length
    return [
      count === 1 ? "A setting is missing or wrong:" : `${count} settings are missing or wrong:`,
      "",
      ...this.problems.map(({ says }) => `  ${says}`),
      "",
      "What each setting means: docs/configuration.md, or `cartwright settings`."
    ].join("\n")
  }
}

export interface LoadOptions {
  /** Whether the shop is made up, so that anybody's page may call it. */
  readonly demo: boolean
}

/** All settings from the current `ConfigProvider`, which is the environment unless another one is given. Tells all problems at once. */
export const load = Effect.fn("Config.load")(function* (options: LoadOptions): Effect.fn.Return<Values, InvalidConfig> {
  const { problems, values } = yield* readAll(keys)
  const unknown = new Set(problems.flatMap((problem) => problem.keys))
  const broken = rules(options)
    .filter((rule) => !rule.keys.some((key) => unknown.has(key)) && !rule.holds(values))
    .map((rule) => ({ keys: rule.keys, says: rule.says(values) }))
  if (problems.length + broken.length > 0) return yield* new InvalidConfig({ problems: [...problems, ...broken] })
  return values
})

/** Only these settings, for a command which needs no others. */
export const some = Effect.fn("Config.some")(function* <const K extends Key>(
  wanted: ReadonlyArray<K>
): Effect.fn.Return<Pick<Values, K>, InvalidConfig> {
  const { problems, values } = yield* readAll(wanted)
  if (problems.length > 0) return yield* new InvalidConfig({ problems })
  return values
})

/** What could be read, and what could not: as long as there are problems, the values are not complete. */
const readAll = Effect.fnUntraced(function* <const K extends Key>(wanted: ReadonlyArray<K>) {
  const problems: Array<typeof Problem.Type> = []
  const values: Partial<Record<K, unknown>> = {}
  for (const key of wanted) {
    const result = yield* Effect.result(read(key, settings[key]))
    if (result._tag === "Success") values[key] = result.success
    else problems.push({ keys: [key], says: result.failure })
  }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- each value was decoded by the codec of its key
  return { problems, values: values as unknown as Pick<Values, K> }
})

/** Whether the environment has a value for it. */
export const isGiven = (key: Key): Effect.Effect<boolean> =>
  Config.option(Config.String(key)).pipe(
    Effect.map(Option.isSome),
    Effect.orElseSucceed(() => false)
  )

/** These stand before the environment, e.g. flags. */
export const overrides = (values: Partial<Record<Key, string>>): Layer.Layer<never> =>
  ConfigProvider.layer(
    Effect.map(ConfigProvider.ConfigProvider, (environment) =>
      firstOf(ConfigProvider.fromEnv({ env: values }), environment)
    )
  )

/** These stand where the environment says nothing, and before the defaults. */
export const fallbacks = (values: Partial<Record<Key, string>>): Layer.Layer<never> =>
  ConfigProvider.layer(
    Effect.map(ConfigProvider.ConfigProvider, (environment) =>
      firstOf(environment, ConfigProvider.fromEnv({ env: values }))
    )
  )

/** By value: the library's own takes a longer key, such as `CLUSTER_SECRET_OTHER`, for an answer to a shorter one. */
const firstOf = (
  one: ConfigProvider.ConfigProvider,
  other: ConfigProvider.ConfigProvider
): ConfigProvider.ConfigProvider =>
  ConfigProvider.make((path) =>
    Effect.flatMap(one.load(path), (node) =>
      node?.value === undefined ? Effect.map(other.load(path), (found) => found ?? node) : Effect.succeed(node)
    )
  )

/** Keys in the environment which are almost, but not quite, one of ours: a default would quietly stand where a value was meant. */
export const misspelt = Effect.gen(function* () {
  const provider = yield* ConfigProvider.ConfigProvider
  const found = yield* keysIn(provider, [])
  return found.flatMap((name) => {
    if (name in settings || name.length < 7) return []
    const meant = Object.keys(settings).find((key) => distance(name, key) <= 2)
    return meant === undefined ? [] : [{ found: name, meant }]
  })
})

/** What the edge allows. */
export const serverLimitsOf = (values: Values): ServerLimits => ({
  timeLimit: values.HTTP_REQUEST_TIMEOUT,
  callsMax: values.HTTP_CALLS_MAX,
  delayMax: values.HTTP_DELAY_MAX,
  streamsMax: values.HTTP_STREAMS_MAX,
  bodyMax: values.HTTP_BODY_MAX,
  webhookMax: values.WEBHOOK_BODY_MAX,
  headersMax: values.HTTP_HEADERS_MAX,
  silentFor: values.WEBSOCKET_SILENCE_MAX,
  shutdownWithin: values.DRAIN_WITHIN
})

/** The shop's numbers. */
export const limitsOf = (values: Values): ShopLimits => ({
  runtime: {
    buckets: values.CLUSTER_BUCKETS,
    bucketPollInterval: values.BUCKET_POLL_INTERVAL,
    callTimeout: values.ACTOR_CALL_TIMEOUT,
    batchMax: values.JOURNAL_BATCH_MAX,
    queueMax: values.JOURNAL_QUEUE_MAX,
    residentMax: values.ACTORS_RESIDENT_MAX,
    retryFor: values.JOURNAL_RETRY_FOR,
    flushTimeout: values.JOURNAL_FLUSH_TIMEOUT,
    idleInTransaction: values.JOURNAL_IDLE_IN_TRANSACTION,
    timerSweepInterval: values.TIMER_SWEEP_INTERVAL,
    timerConcurrency: values.TIMER_CONCURRENCY,
    noticeAttemptsMax: values.NOTICE_MAX_ATTEMPTS,
    noticeBackoff: values.NOTICE_BACKOFF_BASE,
    noticeBackoffMax: values.NOTICE_BACKOFF_CAP,
    acknowledgeWithin: values.NOTICE_ACKNOWLEDGE_WITHIN,
    noticeSweepInterval: values.NOTICE_SWEEP_INTERVAL
  },
  retention: {
    keysKeptFor: values.RETENTION_KEYS,
    executionsKeptFor: values.RETENTION_WORKFLOWS,
    interval: values.RETENTION_INTERVAL,
    page: values.RETENTION_PAGE
  },
  reconciliation: {
    schedules: [
      { group: "payments", every: values.RECONCILIATION_PAYMENT_INTERVAL },
      { group: "stock", every: values.RECONCILIATION_STOCK_INTERVAL },
      { group: "consistency", every: values.RECONCILIATION_CHECK_INTERVAL },
      { group: "provider", dailyAt: timeOfDay(values.RECONCILIATION_PROVIDER_AT) }
    ],
    window: values.RECONCILIATION_PROVIDER_WINDOW,
    grace: values.RECONCILIATION_GRACE,
    stuckAfter: values.RECONCILIATION_PAYMENT_STUCK,
    page: values.RECONCILIATION_PAGE,
    pollInterval: values.RECONCILIATION_POLL_INTERVAL,
    keepFor: values.RECONCILIATION_RETENTION
  },
  cart: { idleFor: values.CART_IDLE_EXPIRY, lockCheckAfter: values.CART_LOCK_CHECK },
  session: { idleFor: values.CHECKOUT_IDLE_EXPIRY, watchAfter: values.CHECKOUT_WATCH_AFTER },
  reservation: {
    reserveFor: values.RESERVATION_TTL,
    offline: windowsOf(values),
    captureWithin: values.RESERVATION_CAPTURE_TTL
  },
  payment: {
    holdFor: values.PAYMENT_HOLD_EXPIRY,
    paymentWindow: values.PAYMENT_WINDOW,
    resolve: { base: values.PAYMENT_LOOKUP_BACKOFF_BASE, cap: values.PAYMENT_LOOKUP_BACKOFF_CAP },
    refund: {
      retriesMax: values.REFUND_MAX_RETRIES,
      backoff: { base: values.REFUND_BACKOFF_BASE, cap: values.REFUND_BACKOFF_CAP },
      watchAfter: values.REFUND_WATCH_AFTER
    },
    captureLead: values.CAPTURE_LEAD
  },
  order: {
    expireAfter: values.ORDER_PENDING_EXPIRY,
    offline: windowsOf(values),
    confirmCashAfter: values.COD_AUTO_CONFIRM ? values.COD_CONFIRM_AFTER : undefined
  },
  checkout: {
    paymentTimeout: values.PAYMENT_TIMEOUT,
    syncWait: values.CHECKOUT_SYNC_WAIT,
    captureMode: values.PAYMENT_CAPTURE_MODE,
    feeBasisPoints: values.SELLER_FEE_BASIS_POINTS,
    holdFor: values.PAYMENT_HOLD_EXPIRY,
    captureRetriesMax: values.CAPTURE_MAX_RETRIES,
    captureBackoff: { base: values.CAPTURE_BACKOFF_BASE, cap: values.CAPTURE_BACKOFF_CAP },
    compensationAttempts: values.COMPENSATION_ATTEMPTS,
    compensationBackoff: values.COMPENSATION_BACKOFF,
    confirmRate: { limit: values.RATE_LIMIT_CONFIRM, window: values.RATE_LIMIT_CONFIRM_WINDOW },
    resolveAfter: values.PAYMENT_LOOKUP_BACKOFF_BASE,
    resolveLooksMax: values.PAYMENT_LOOKUPS_MAX,
    offlineMethods: OfflineMethod.literals.filter((method) => values.PAYMENT_METHODS.includes(method)),
    actionPollInterval: values.ACTION_POLL_INTERVAL
  },
  alert: {
    dedupeFor: values.ALERT_DEDUPE_WINDOW,
    deliveryBackoff: { base: values.ALERT_BACKOFF_BASE, cap: values.ALERT_BACKOFF_CAP },
    keepFor: values.ALERT_RETENTION
  },
  payout: {
    roundsMax: 60,
    alertAfter: 5,
    backoff: { base: values.PAYOUT_BACKOFF_BASE, cap: values.PAYOUT_BACKOFF_CAP }
  },
  compensation: {
    maxRetries: values.COMPENSATION_MAX_RETRIES,
    backoff: { base: values.COMPENSATION_RETRY_BASE, cap: values.COMPENSATION_RETRY_CAP },
    keepFor: values.COMPENSATION_RETENTION
  },
  webhook: {
    attemptsMax: values.WEBHOOK_MAX_ATTEMPTS,
    backoff: { base: values.WEBHOOK_BACKOFF_BASE, cap: values.WEBHOOK_BACKOFF_CAP },
    watchAfter: values.WEBHOOK_WATCH_AFTER,
    unmatchedMax: values.WEBHOOK_UNMATCHED_MAX
  }
})

/** How long an order waits for its money or its confirmation, and its claim on stock with it. */
const windowsOf = ({ BANK_TRANSFER_WINDOW, COD_WINDOW }: Values) => ({
  cash_on_delivery: COD_WINDOW,
  bank_transfer: BANK_TRANSFER_WINDOW
})

/** Of a time such as 02:00, how long after midnight it is. */
const timeOfDay = (text: string): Duration.Duration => {
  const [hours = 0, minutes = 0] = text.split(":").map(Number)
  return Duration.minutes(60 * hours + minutes)
}

/** What is listed in one setting, separated by commas. */
const listed = (text: string): ReadonlyArray<string> => text.split(",").map((entry) => entry.trim())

/** Whose webhooks are taken. */
export const webhooksOf = (values: Values): ProviderWebhooksOptions => ({
  ...(values.STRIPE_WEBHOOK_SECRETS === undefined
    ? {}
    : {
        stripe: {
          secrets: listed(Redacted.value(values.STRIPE_WEBHOOK_SECRETS)).map((secret) => Redacted.make(secret)),
          tolerance: values.WEBHOOK_TOLERANCE
        }
      }),
  ...(values.PAYPAL_WEBHOOK_IDS === undefined
    ? {}
    : {
        paypal: {
          webhookIds: listed(values.PAYPAL_WEBHOOK_IDS),
          environment: values.PAYPAL_ENVIRONMENT,
          tolerance: values.PAYPAL_WEBHOOK_TOLERANCE
        }
      })
})

/** The provider's limits, for every call of any payment. */
export const gatewayLimitsOf = (values: Values): PaymentGatewayLimits => ({
  timeout: values.PAYMENT_TIMEOUT,
  breakerFailures: values.PAYMENT_BREAKER_FAILURES,
  breakerWindow: values.PAYMENT_BREAKER_WINDOW,
  breakerOpen: values.PAYMENT_BREAKER_OPEN
})

/** How long a capture may be under way, from its first call to the last answer of its last retry. Each try looks the payment up before. */
export const captureHorizon = (values: Values): Duration.Duration => {
  const tries = Duration.times(values.PAYMENT_TIMEOUT, 2 * (values.CAPTURE_MAX_RETRIES + 1))
  const pauses = Array.from({ length: values.CAPTURE_MAX_RETRIES }, (_, index) =>
    backoff(index + 1, { base: values.CAPTURE_BACKOFF_BASE, cap: values.CAPTURE_BACKOFF_CAP })
  )
  return pauses.reduce(Duration.sum, Duration.sum(tries, latest))
}

/** A node is still the owner of its shards after a pause as long as this: its locks outlive its last heartbeat by more. */
export const pauseMax = (values: Values): Duration.Duration =>
  Duration.subtract(values.SHARD_LOCK_EXPIRATION, Duration.min(values.SHARD_LOCK_REFRESH, third(values)))

const third = (values: Values): Duration.Duration => Duration.times(values.SHARD_LOCK_EXPIRATION, 1 / 3)

/** Timers may be late by as much. N-062. */
const latest = Duration.seconds(60)

// ---- one setting

const read = Effect.fnUntraced(function* (key: string, setting: Setting<unknown>): Effect.fn.Return<unknown, string> {
  const found = yield* Config.option(Config.schema(setting.codec, key)).pipe(
    Effect.catch(() =>
      Effect.flatMap(
        Effect.orElseSucceed(Config.String(key), () => ""),
        (text) => Effect.fail(refusal(key, setting, text))
      )
    )
  )
  if (Option.isSome(found)) return found.value
  switch (setting.absent._tag) {
    case "Default":
      return yield* Effect.orDie(Schema.decodeEffect(setting.codec)(setting.absent.text))
    case "Otherwise":
      return undefined
    case "Refused":
      return yield* Effect.fail(`${key} is missing. It must be ${setting.form}.`)
  }
})

const refusal = (key: string, setting: Setting<unknown>, text: string): string =>
  `${key} ${setting.secret ? "is wrong" : `is ${JSON.stringify(text)}`}. It must be ${setting.form}.`

// ---- what must hold between settings

interface Rule {
  /** Those it looks at. */
  readonly keys: ReadonlyArray<Key>
  readonly holds: (values: Values) => boolean
  readonly says: (values: Values) => string
}

type DurationKey = { [K in Key]: Values[K] extends Duration.Duration ? K : never }[Key]

/** `shorter` must be below `longer`, for the reason given. */
const below = (shorter: DurationKey, longer: DurationKey, because: string): Rule => ({
  keys: [shorter, longer],
  holds: (values) => Duration.isLessThan(values[shorter], values[longer]),
  says: (values) =>
    `${shorter} (${Duration.format(values[shorter])}) must be shorter than ${longer} (${Duration.format(values[longer])}): ${because}.`
})

/** `base` may not be above `cap`. */
const capped = (base: DurationKey, cap: DurationKey): Rule => ({
  keys: [base, cap],
  holds: (values) => Duration.isLessThanOrEqualTo(values[base], values[cap]),
  says: (values) =>
    `${base} (${Duration.format(values[base])}) must not be longer than ${cap} (${Duration.format(values[cap])}).`
})

const rules = ({ demo }: LoadOptions): ReadonlyArray<Rule> => [
  {
    keys: ["DRAIN_DELAY", "DRAIN_WITHIN", "SHUTDOWN_GRACE"],
    holds: (values) =>
      Duration.isLessThan(Duration.sum(values.DRAIN_DELAY, values.DRAIN_WITHIN), values.SHUTDOWN_GRACE),
    says: (values) =>
      `DRAIN_DELAY and DRAIN_WITHIN together must be shorter than SHUTDOWN_GRACE (${Duration.format(values.SHUTDOWN_GRACE)}): ` +
      "the node has its work to hand over as well."
  },
  below("CHECKOUT_SYNC_WAIT", "HTTP_REQUEST_TIMEOUT", "a caller must hear `Pending` before its request ends"),
  below(
    "CHECKOUT_SYNC_WAIT",
    "CHECKOUT_WATCH_AFTER",
    "a confirmation is not looked after while its caller still waits"
  ),
  below(
    "PAYMENT_HOLD_EXPIRY",
    "RECONCILIATION_PROVIDER_WINDOW",
    "a hold which nothing stands behind must be found while it lives"
  ),
  below("RECONCILIATION_GRACE", "RECONCILIATION_PROVIDER_WINDOW", "otherwise nothing is looked at"),
  below("PAYMENT_TIMEOUT", "CHECKOUT_SYNC_WAIT", "a caller should hear what the provider said"),
  below("PAYMENT_WINDOW", "RESERVATION_TTL", "a customer must not lose the goods while still allowed to pay"),
  {
    keys: [
      "RESERVATION_CAPTURE_TTL",
      "CAPTURE_MAX_RETRIES",
      "CAPTURE_BACKOFF_BASE",
      "CAPTURE_BACKOFF_CAP",
      "PAYMENT_TIMEOUT"
    ],
    holds: (values) => Duration.isLessThan(captureHorizon(values), values.RESERVATION_CAPTURE_TTL),
    says: (values) =>
      `RESERVATION_CAPTURE_TTL (${Duration.format(values.RESERVATION_CAPTURE_TTL)}) must be longer than all tries of a capture take ` +
      `(${Duration.format(captureHorizon(values))}, of CAPTURE_MAX_RETRIES, CAPTURE_BACKOFF_BASE, CAPTURE_BACKOFF_CAP and PAYMENT_TIMEOUT): ` +
      "the goods must still be there when the money comes."
  },
  {
    keys: [
      "ORDER_PENDING_EXPIRY",
      "CAPTURE_MAX_RETRIES",
      "CAPTURE_BACKOFF_BASE",
      "CAPTURE_BACKOFF_CAP",
      "PAYMENT_TIMEOUT"
    ],
    holds: (values) => Duration.isLessThan(captureHorizon(values), values.ORDER_PENDING_EXPIRY),
    says: (values) =>
      `ORDER_PENDING_EXPIRY (${Duration.format(values.ORDER_PENDING_EXPIRY)}) must be longer than all tries of a capture take ` +
      `(${Duration.format(captureHorizon(values))}): an order must not expire while its payment is under way.`
  },
  capped("PAYMENT_LOOKUP_BACKOFF_BASE", "PAYMENT_LOOKUP_BACKOFF_CAP"),
  capped("CAPTURE_BACKOFF_BASE", "CAPTURE_BACKOFF_CAP"),
  capped("REFUND_BACKOFF_BASE", "REFUND_BACKOFF_CAP"),
  capped("PAYOUT_BACKOFF_BASE", "PAYOUT_BACKOFF_CAP"),
  below("COD_CONFIRM_AFTER", "COD_WINDOW", "an order is confirmed while it is still waited for"),
  below("CAPTURE_LEAD", "PAYMENT_HOLD_EXPIRY", "a deferred capture is made while the hold lives"),
  capped("NOTICE_BACKOFF_BASE", "NOTICE_BACKOFF_CAP"),
  capped("ALERT_BACKOFF_BASE", "ALERT_BACKOFF_CAP"),
  capped("COMPENSATION_RETRY_BASE", "COMPENSATION_RETRY_CAP"),
  capped("WEBHOOK_BACKOFF_BASE", "WEBHOOK_BACKOFF_CAP"),
  {
    keys: ["SHARD_LOCK_REFRESH", "SHARD_LOCK_EXPIRATION"],
    holds: (values) =>
      Duration.isLessThanOrEqualTo(Duration.times(values.SHARD_LOCK_REFRESH, 2), values.SHARD_LOCK_EXPIRATION),
    says: (values) =>
      `SHARD_LOCK_REFRESH (${Duration.format(values.SHARD_LOCK_REFRESH)}) must be at most half of SHARD_LOCK_EXPIRATION ` +
      `(${Duration.format(values.SHARD_LOCK_EXPIRATION)}): one late sign of life must not cost a node its shards.`
  },
  {
    keys: ["AUTH_SECRET", "AUTH_JWKS_URL"],
    holds: (values) => (values.AUTH_SECRET === undefined) !== (values.AUTH_JWKS_URL === undefined),
    says: (values) =>
      values.AUTH_SECRET === undefined
        ? "AUTH_SECRET and AUTH_JWKS_URL are missing. One of them must be given: without, nobody could prove who they are."
        : "AUTH_SECRET and AUTH_JWKS_URL must not both be given: tokens are either ours or the identity provider's."
  },
  {
    keys: ["ALERT_WEBHOOK_URL", "ALERT_WEBHOOK_SECRET"],
    holds: (values) => (values.ALERT_WEBHOOK_URL === undefined) === (values.ALERT_WEBHOOK_SECRET === undefined),
    says: () =>
      "ALERT_WEBHOOK_URL and ALERT_WEBHOOK_SECRET go together: what is not signed cannot be told from anybody else's."
  },
  {
    keys: ["CORS_ORIGINS"],
    holds: (values) => demo || !(values.CORS_ORIGINS ?? []).includes("*"),
    says: () =>
      "CORS_ORIGINS must name the shop's origins: `*` would let any page act for a customer, and is for the demo only."
  },
  {
    keys: ["STRIPE_SECRET_KEY", "STRIPE_PROTOCOL"],
    holds: (values) => values.STRIPE_PROTOCOL === "https" || !isLive(values),
    says: () =>
      "STRIPE_PROTOCOL must be https with a live STRIPE_SECRET_KEY: it would go over the network for all to read."
  },
  {
    keys: ["STRIPE_SECRET_KEY"],
    holds: (values) => !demo || !isLive(values),
    says: () => "STRIPE_SECRET_KEY must be a test key for the demo: its customers are made up, the money would not be."
  },
  {
    keys: ["CLUSTER_SHARDS", "CLUSTER_BUCKETS"],
    holds: (values) => values.CLUSTER_SHARDS <= values.CLUSTER_BUCKETS,
    says: (values) =>
      `CLUSTER_SHARDS (${values.CLUSTER_SHARDS}) must not be more than CLUSTER_BUCKETS (${values.CLUSTER_BUCKETS}): some would be empty.`
  },
  ...distinctPorts("HTTP_PORT", "HEALTH_PORT"),
  ...distinctPorts("HTTP_PORT", "RUNNER_PORT"),
  ...distinctPorts("HEALTH_PORT", "RUNNER_PORT")
]

const isLive = (values: Values): boolean => /^.k_live_/.test(Redacted.value(values.STRIPE_SECRET_KEY))

type PortKey = "HEALTH_PORT" | "HTTP_PORT" | "RUNNER_PORT"

const listened = (values: Values, key: PortKey): number =>
  key === "RUNNER_PORT" ? (values.RUNNER_BIND_PORT ?? values.RUNNER_PORT) : values[key]

const distinctPorts = (one: PortKey, other: PortKey): ReadonlyArray<Rule> => [
  {
    keys: [one, other],
    holds: (values) => listened(values, one) !== listened(values, other),
    says: (values) => `${one} and ${other} must differ: both are ${listened(values, one)}.`
  }
]

// ---- almost right names

/** Every name an environment holds. It is read in parts, between underscores. */
const keysIn = (
  provider: ConfigProvider.ConfigProvider,
  path: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<string>> =>
  Effect.gen(function* () {
    const node = yield* Effect.orElseSucceed(provider.load(path), () => undefined)
    if (node === undefined) return []
    const own = node.value === undefined ? [] : [path.join("_")]
    if (node._tag !== "Record") return own
    const longer = yield* Effect.forEach(node.keys, (part) => keysIn(provider, [...path, part]))
    return [...own, ...longer.flat()]
  })

/** How many letters must be put in, left out or replaced to make one word of the other; neighbours swapped count as one. */
const distance = (one: string, other: string): number => {
  if (Math.abs(one.length - other.length) > 2) return 3
  let before: ReadonlyArray<number> = []
  let last = Array.from({ length: other.length + 1 }, (_, index) => index)
  for (let row = 1; row <= one.length; row++) {
    const next = [row]
    for (let column = 1; column <= other.length; column++) {
      const same = one[row - 1] === other[column - 1]
      let least = Math.min(last[column]! + 1, next[column - 1]! + 1, last[column - 1]! + (same ? 0 : 1))
      const swapped = row > 1 && column > 1 && one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1]
      if (swapped) least = Math.min(least, before[column - 2]! + 1)
      next.push(least)
    }
    before = last
    last = next
  }
  return last[other.length]!
}
