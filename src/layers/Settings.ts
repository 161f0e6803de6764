/**
 * Every setting there is: its key in the environment, its default as one would write it, what it must look like, and why it is there.
 * `Config.ts` reads them; `docs/configuration.md` and `cartwright settings` are made from this table. REQ-GEN-15.
 */
import { ByteSize, Duration, type Redacted, Schema, SchemaTransformation } from "effect"
import { OfflineMethod } from "../domain/OfflineMethod.ts"
import { FlatRates } from "../catalog/ShippingQuotes.ts"

export interface Setting<A> {
  readonly about: string
  readonly codec: Schema.Codec<A, string>
  /** What a value must be; completes "must be ...". */
  readonly form: string
  readonly absent:
    | { readonly _tag: "Refused" }
    | { readonly _tag: "Default"; readonly text: string }
    /** Decoded as `undefined`; `otherwise` says what is done then. */
    | { readonly _tag: "Otherwise"; readonly otherwise: string }
  /** Never shown. */
  readonly secret: boolean
  /** Where the number comes from: its row in the list of requirements. */
  readonly source?: string
}

/** The type a setting is decoded to. */
export type ValueOf<S> = S extends Setting<infer A> ? A : never

interface Description {
  readonly about: string
  readonly source?: string
}

const required = { _tag: "Refused" } as const
const byDefault = (text: string) => ({ _tag: "Default", text }) as const

/** Without it `undefined`, and what `otherwise` says. */
const optional = <A>(setting: Setting<A>, otherwise: string): Setting<A | undefined> => ({
  ...setting,
  absent: { _tag: "Otherwise", otherwise }
})

const secret = (setting: Setting<string>): Setting<Redacted.Redacted<string>> => ({
  ...setting,
  codec: Schema.RedactedFromValue(setting.codec),
  secret: true
})

const text = (about: string, options?: { readonly form: string; readonly pattern: RegExp }): Setting<string> => ({
  about,
  codec: options === undefined ? Schema.NonEmptyString : Schema.String.check(Schema.isPattern(options.pattern)),
  form: options?.form ?? "text",
  absent: required,
  secret: false
})

const duration = (
  fallback: string,
  { about, source }: Description,
  bounds: { readonly from?: Duration.Input; readonly to?: Duration.Input } = {}
): Setting<Duration.Duration> => {
  const from = Duration.fromInputUnsafe(bounds.from ?? "1 millis")
  const to = Duration.fromInputUnsafe(bounds.to ?? "366 days")
  const ends = [
    ...(bounds.from === undefined || Duration.isZero(from) ? [] : [`at least ${Duration.format(from)}`]),
    ...(bounds.to === undefined ? [] : [`at most ${Duration.format(to)}`])
  ]
  return {
    about,
    codec: Schema.DurationFromString.check(
      Schema.makeFilter((value) => Duration.between(value, { minimum: from, maximum: to }))
    ),
    form: `a duration such as 250 millis, 25 seconds, 30 minutes or 7 days${ends.map((end) => `, ${end}`).join("")}`,
    absent: byDefault(fallback),
    secret: false,
    ...(source === undefined ? {} : { source })
  }
}

const whole = (
  fallback: number,
  { about, source }: Description,
  bounds: { readonly minimum: number; readonly maximum: number }
): Setting<number> => ({
  about,
  codec: Schema.NumberFromString.check(Schema.isInt(), Schema.isBetween(bounds)),
  form: `a whole number from ${bounds.minimum} to ${bounds.maximum}`,
  absent: byDefault(String(fallback)),
  secret: false,
  ...(source === undefined ? {} : { source })
})

const bytes = (fallback: string, { about, source }: Description): Setting<number> => ({
  about,
  codec: Schema.ByteSizeFromString.pipe(
    Schema.decodeTo(
      Schema.Int.check(Schema.isGreaterThan(0)),
      SchemaTransformation.transform({ decode: Number, encode: ByteSize.bytes })
    )
  ),
  form: "a size such as 512 KiB or 1 MiB",
  absent: byDefault(fallback),
  secret: false,
  ...(source === undefined ? {} : { source })
})

const port = (fallback: number, description: Description, minimum = 1): Setting<number> =>
  whole(fallback, description, { minimum, maximum: 65_535 })

const oneOf = <const L extends ReadonlyArray<string>>(
  literals: L,
  fallback: L[number],
  about: string
): Setting<L[number]> => ({
  about,
  codec: Schema.Literals(literals),
  form: `one of ${literals.join(", ")}`,
  absent: byDefault(fallback),
  secret: false
})

const trueOrFalse = (fallback: boolean, about: string): Setting<boolean> => ({
  about,
  codec: Schema.Literals(["true", "false"]).pipe(
    Schema.decodeTo(
      Schema.Boolean,
      SchemaTransformation.transform({ decode: (word) => word === "true", encode: (yes) => (yes ? "true" : "false") })
    )
  ),
  form: "true or false",
  absent: byDefault(String(fallback)),
  secret: false
})

/** Longer than any attack on a short one: keys made from it are 256 bits. */
const key = (about: string): Setting<Redacted.Redacted<string>> =>
  secret({
    about,
    codec: Schema.String.check(Schema.makeFilter((value) => Buffer.byteLength(value) >= 32)),
    form: "at least 32 bytes; make one with: openssl rand -base64 32",
    absent: required,
    secret: true
  })

const host = (about: string): Setting<string> =>
  text(about, { form: "a host name or an address", pattern: /^[^\s/@]+$/ })

const origins: Setting<ReadonlyArray<string>> = {
  about:
    "Web origins whose pages may call this node, separated by commas. `*` for all is refused but for the demo's database.",
  codec: Schema.String.pipe(
    Schema.decodeTo(
      Schema.Array(Schema.String.check(Schema.isPattern(/^(\*|https?:\/\/[^\s/,]+)$/))),
      SchemaTransformation.transform({
        decode: (list): ReadonlyArray<string> => list.split(",").map((origin) => origin.trim()),
        encode: (list) => list.join(",")
      })
    )
  ),
  form: "origins such as https://shop.example,https://www.shop.example",
  absent: { _tag: "Otherwise", otherwise: "no other origin may" },
  secret: false,
  source: "REQ-GW-04"
}

const allMethods: ReadonlySet<string> = new Set(["card", ...OfflineMethod.literals])

const paymentMethods: Setting<ReadonlyArray<string>> = {
  about: "Ways to pay which the shop offers, separated by commas.",
  codec: Schema.String.pipe(
    Schema.decodeTo(
      Schema.Array(Schema.String).check(
        Schema.makeFilter((methods) => methods.includes("card") && methods.every((method) => allMethods.has(method)))
      ),
      SchemaTransformation.transform({
        decode: (list): ReadonlyArray<string> => list.split(",").map((method) => method.trim()),
        encode: (list) => list.join(",")
      })
    )
  ),
  form: "card, with or without cash_on_delivery and bank_transfer, such as card,bank_transfer",
  absent: byDefault("card,cash_on_delivery,bank_transfer"),
  secret: false,
  source: "REQ-CHK-14"
}

const database = {
  DATABASE_URL: secret(
    text(
      "The one thing Cartwright needs: Postgres 14 or later, reached directly or through a pooler in session mode.",
      {
        form: "an address such as postgres://user:password@host:5432/database",
        pattern: /^postgres(ql)?:\/\/\S+$/
      }
    )
  ),
  DATABASE_POOL_SIZE: whole(
    16,
    { about: "Connections of one node at the most, besides the journal's three. One of them holds the node's shards." },
    { minimum: 4, maximum: 500 }
  ),
  DATABASE_CONNECT_TIMEOUT: duration("5 seconds", { about: "For one attempt to connect." }),
  DATABASE_STATEMENT_TIMEOUT: duration("30 seconds", {
    about: "Postgres ends a statement of the pool after this. Migrations may take longer."
  }),
  DATABASE_STARTUP_WAIT: duration("30 seconds", {
    about: "How long a start waits for a database which is away, or for migrations which another program runs.",
    source: "REQ-OPS-02"
  }),
  MIGRATE_ON_START: trueOrFalse(
    true,
    "Whether a node brings the database up to date. Without, `cartwright migrate` does, with the rights of a schema's owner."
  )
}

const http = {
  HTTP_HOST: { ...host("Address to listen on; 0.0.0.0 or :: for all of them."), absent: byDefault("127.0.0.1") },
  HTTP_PORT: port(4000, { about: "Port of the storefront's calls, the admin page and the documentation." }),
  HEALTH_PORT: port(
    8081,
    {
      about: "Port of /healthz, /readyz, /startupz and /metrics for whoever runs the node; 0 for none. Same host.",
      source: "N-055"
    },
    0
  ),
  CORS_ORIGINS: origins,
  HTTP_REQUEST_TIMEOUT: duration("30 seconds", {
    about: "For one request from its last byte to its answer.",
    source: "N-005"
  }),
  HTTP_BODY_MAX: bytes("1 MiB", { about: "Of a request's body; more is answered with 413.", source: "N-054" }),
  HTTP_HEADERS_MAX: bytes("16 KiB", { about: "Of a request's headers; more is answered with 431.", source: "N-054" }),
  HTTP_CALLS_MAX: whole(
    4000,
    { about: "Calls at once; one more is answered `Unavailable`.", source: "REQ-GW-08" },
    { minimum: 1, maximum: 1_000_000 }
  ),
  HTTP_DELAY_MAX: duration("25 millis", {
    about:
      "Calls are turned away as `Unavailable` while work waits for longer than this for the processor, or to become durable; one caller has a quarter of the places at the most.",
    source: "REQ-GW-08"
  }),
  HTTP_STREAMS_MAX: whole(
    10_000,
    { about: "Streams at once, such as watched orders.", source: "REQ-GW-08" },
    { minimum: 1, maximum: 1_000_000 }
  ),
  WEBSOCKET_SILENCE_MAX: duration("60 seconds", {
    about: "A WebSocket from which nothing came for so long is closed."
  }),
  DRAIN_DELAY: duration(
    "0 millis",
    { about: "How long a node which stops goes on answering, not ready any more, until load balancers have noticed." },
    { from: "0 millis" }
  ),
  DRAIN_WITHIN: duration("2 seconds", { about: "How long calls which are under way may take after that." }),
  SHUTDOWN_GRACE: duration(
    "30 seconds",
    { about: "A node which is asked to stop has ended by then, come what may.", source: "N-059" },
    { from: "2 seconds" }
  )
}

const cluster = {
  CLUSTER_NAME: {
    ...text("Names the cluster whose database this is: a node of another one is refused.", {
      form: "up to 64 letters, digits, dots, dashes or underscores",
      pattern: /^[A-Za-z0-9._-]{1,64}$/
    }),
    absent: byDefault("cartwright")
  },
  CLUSTER_SECRET: key(
    "Shared by all nodes: who does not have it cannot talk to one. Calls between nodes are encrypted with it."
  ),
  CLUSTER_SECRET_OTHER: optional(
    key(
      "A second secret which this node accepts but does not use, while the secret is changed one node after another."
    ),
    "only CLUSTER_SECRET is accepted"
  ),
  RUNNER_HOST: optional(
    host("Where the other nodes reach this one."),
    "this machine's first address that is not its own loopback; 127.0.0.1 when the database is on this machine"
  ),
  RUNNER_PORT: port(5005, { about: "Port at which the other nodes reach this one.", source: "N-055" }),
  RUNNER_BIND_HOST: optional(
    host("Address to listen on for the other nodes, where it differs from RUNNER_HOST."),
    "0.0.0.0, or 127.0.0.1 when RUNNER_HOST is that"
  ),
  RUNNER_BIND_PORT: optional(
    port(5005, { about: "Port to listen on for the other nodes, where it differs from RUNNER_PORT." }),
    "RUNNER_PORT"
  ),
  CLUSTER_SHARDS: whole(
    32,
    { about: "Slices of the work that nodes share out among themselves. Fixed for the life of a database." },
    { minimum: 1, maximum: 1024 }
  ),
  CLUSTER_BUCKETS: whole(
    128,
    { about: "Groups of actors within the shards. Fixed for the life of a database." },
    { minimum: 1, maximum: 65_536 }
  ),
  SHARD_LOCK_EXPIRATION: duration(
    "3 seconds",
    { about: "A node that was silent for this long has lost its shards: how long an outage lasts when a node dies." },
    { from: "1 second", to: "2 minutes" }
  ),
  SHARD_LOCK_REFRESH: duration("1 second", { about: "How often a node says that it lives." }),
  SHARD_ASSIGNMENT_REFRESH: duration("250 millis", {
    about: "How often a node looks who else is there. One that is alone looks every two seconds."
  }),
  SHARD_HANDOVER_WITHIN: duration("250 millis", {
    about:
      "How long calls under way may take when their shard moves to another node; then they are cut off, and asked again there."
  }),
  RUNNER_HEALTH_CHECK_INTERVAL: duration("1 second", {
    about: "How often nodes call each other to see whether they answer."
  })
}

const identity = {
  AUTH_SECRET: optional(
    key(
      "Signs and verifies tokens (HS256), where no identity provider issues them. One of AUTH_SECRET and AUTH_JWKS_URL is needed."
    ),
    "tokens are verified by AUTH_JWKS_URL"
  ),
  AUTH_JWKS_URL: optional(
    text("Where the identity provider publishes its keys.", {
      form: "an address such as https://id.example/.well-known/jwks.json",
      pattern: /^https?:\/\/\S+$/
    }),
    "tokens are verified by AUTH_SECRET"
  ),
  AUTH_ISSUER: { ...text("Who tokens must be from: their `iss`."), absent: byDefault("cartwright") },
  AUTH_AUDIENCE: { ...text("For whom tokens must be: their `aud`."), absent: byDefault("cartwright") }
}

const provider = {
  STRIPE_SECRET_KEY: secret(
    text("The payment provider's key. The sandbox takes test keys only.", {
      form: "a key which begins with sk_test_, sk_live_, rk_test_ or rk_live_",
      pattern: /^[rs]k_(test|live)_\w+$/
    })
  ),
  STRIPE_HOST: optional(
    host("Another host which speaks the provider's protocol, such as the sandbox."),
    "the provider's own"
  ),
  STRIPE_PORT: optional(port(443, { about: "Its port." }), "443, or 80 for http"),
  STRIPE_PROTOCOL: oneOf(["https", "http"], "https", "How it is reached. `http` is refused with a live key."),
  STRIPE_CONNECTIONS_MAX: whole(
    256,
    { about: "Calls to the provider at once; further ones wait." },
    { minimum: 1, maximum: 10_000 }
  ),
  PAYMENT_TIMEOUT: duration("15 seconds", { about: "For one call to the provider.", source: "N-001" }),
  PAYMENT_BREAKER_FAILURES: whole(
    5,
    { about: "So many failures within the window, and no more calls are made.", source: "N-036" },
    { minimum: 1, maximum: 1000 }
  ),
  PAYMENT_BREAKER_WINDOW: duration("10 seconds", { about: "In which failures count.", source: "N-036" }),
  PAYMENT_BREAKER_OPEN: duration("30 seconds", {
    about: "Until one call may see whether the provider is back.",
    source: "N-036"
  })
}

const webhooks = {
  STRIPE_WEBHOOK_SECRETS: optional(
    secret(
      text(
        "The secrets of the webhook endpoint at Stripe, separated by commas: two while one is exchanged for the other.",
        {
          form: "secrets which begin with whsec_, separated by commas",
          pattern: /^whsec_[^\s,]{8,}(\s*,\s*whsec_[^\s,]{8,})*$/
        }
      )
    ),
    "/webhooks/stripe does not exist"
  ),
  PAYPAL_WEBHOOK_IDS: optional(
    text("PayPal's ids of the webhook, separated by commas: two while one is exchanged for the other.", {
      form: "ids such as 8PT597110X687430L, separated by commas",
      pattern: /^[A-Za-z0-9]{1,50}(\s*,\s*[A-Za-z0-9]{1,50})*$/
    }),
    "/webhooks/paypal does not exist"
  ),
  PAYPAL_ENVIRONMENT: oneOf(["live", "sandbox"], "live", "Whose certificates PayPal's webhooks must be signed with."),
  WEBHOOK_TOLERANCE: duration(
    "5 minutes",
    { about: "How old a webhook's signature may be, and how much ahead of our clock.", source: "N-047" },
    { from: "1 second", to: "1 hour" }
  ),
  PAYPAL_WEBHOOK_TOLERANCE: duration(
    "5 minutes",
    {
      about:
        "The same for PayPal's, which are signed with the time of their transmission. Widen it should repeated ones be refused.",
      source: "N-047"
    },
    { from: "1 second", to: "4 days" }
  ),
  WEBHOOK_BODY_MAX: bytes("2 MiB", { about: "Of a webhook's body; more is answered with 413." }),
  WEBHOOK_MAX_ATTEMPTS: whole(
    10,
    { about: "Tries to handle a webhook before it is set aside and an alert raised.", source: "N-047" },
    { minimum: 1, maximum: 100 }
  ),
  WEBHOOK_BACKOFF_BASE: duration("1 second", { about: "Before the second try; doubles.", source: "N-073" }),
  WEBHOOK_BACKOFF_CAP: duration("5 minutes", { about: "It grows up to this.", source: "N-073" }),
  WEBHOOK_WATCH_AFTER: duration("30 seconds", {
    about: "A webhook is handled at once; one which has not been by then is looked after."
  }),
  WEBHOOK_UNMATCHED_MAX: whole(
    10_000,
    { about: "Webhooks about payments of somebody else that are kept, such as another shop's on the same account." },
    { minimum: 0, maximum: 10_000_000 }
  )
}

const catalog = {
  CATALOG_TIMEOUT: duration("10 seconds", { about: "For one read of products, prices and stock.", source: "N-002" }),
  SHIPPING_TIMEOUT: duration("8 seconds", { about: "For one quote.", source: "N-003" }),
  SHIPPING_RATES: {
    about:
      "What sending a cart costs, in minor units, by currency and method; a method or currency that is not named is not offered.",
    codec: Schema.fromJsonString(Schema.toCodecJson(FlatRates)),
    form: 'JSON such as {"EUR":{"standard":"490","express":"1290"}}',
    absent: required,
    secret: false
  } satisfies Setting<FlatRates>
}

const carts = {
  CART_IDLE_EXPIRY: duration("30 days", { about: "An untouched cart is dropped after this.", source: "N-052" }),
  CART_LOCK_CHECK: duration("2 minutes", {
    about: "After this a locked cart asks whether its checkout has begun at all."
  })
}

const checkout = {
  CHECKOUT_IDLE_EXPIRY: duration("24 hours", { about: "An untouched checkout expires after this.", source: "N-061" }),
  CHECKOUT_WATCH_AFTER: duration("40 seconds", {
    about: "A confirmation which has not ended by then is looked after."
  }),
  CHECKOUT_SYNC_WAIT: duration("25 seconds", {
    about: "How long a caller waits before hearing `Pending`.",
    source: "N-006"
  }),
  RATE_LIMIT_CONFIRM: whole(
    5,
    { about: "Confirmations of one customer within the window.", source: "N-034" },
    { minimum: 1, maximum: 1_000_000 }
  ),
  RATE_LIMIT_CONFIRM_WINDOW: duration("10 minutes", { about: "The window.", source: "N-034" }),
  ACTION_POLL_INTERVAL: duration("3 seconds", {
    about: "The least time between two questions to the provider about a customer's second factor."
  })
}

const reservations = {
  RESERVATION_TTL: duration("30 minutes", { about: "How long a claim on stock lasts.", source: "N-007" }),
  RESERVATION_CAPTURE_TTL: duration("30 minutes", {
    about: "How long it lasts from the start of a capture on: longer than all retries of the capture take."
  })
}

const payments = {
  PAYMENT_HOLD_EXPIRY: duration("7 days", {
    about: "How long a hold on a card lives when the provider gives no date.",
    source: "N-026"
  }),
  PAYMENT_WINDOW: duration("15 minutes", {
    about: "How long the customer may take for the second factor.",
    source: "N-008"
  }),
  PAYMENT_LOOKUP_BACKOFF_BASE: duration("1 minute", {
    about: "Before the second look into an authorization whose outcome is unknown; doubles.",
    source: "N-066"
  }),
  PAYMENT_LOOKUP_BACKOFF_CAP: duration("30 minutes", { about: "It grows up to this.", source: "N-066" }),
  PAYMENT_LOOKUPS_MAX: whole(
    8,
    {
      about:
        "Looks into it at the most, two hours by default: what the provider will not drop by then is left to an operator as a failed compensation."
    },
    { minimum: 1, maximum: 1000 }
  ),
  CAPTURE_MAX_RETRIES: whole(
    3,
    { about: "After the first attempt; then the payment is given back and the order cancelled.", source: "N-011" },
    { minimum: 0, maximum: 20 }
  ),
  CAPTURE_BACKOFF_BASE: duration("5 seconds", {
    about: "Before the first retry of a capture; doubles.",
    source: "N-012"
  }),
  CAPTURE_BACKOFF_CAP: duration("60 seconds", { about: "It grows up to this.", source: "N-012" }),
  PAYMENT_CAPTURE_MODE: oneOf(
    ["immediate", "deferred"],
    "immediate",
    "Whether an authorized payment is captured at once, or when the order ships: then the hold alone confirms the order."
  ),
  CAPTURE_LEAD: duration("24 hours", {
    about: "A deferred capture is made this long before the hold runs out, at the latest.",
    source: "N-067"
  }),
  SELLER_FEE_BASIS_POINTS: whole(
    1000,
    {
      about:
        "What the shop keeps of what buyers pay for sellers' products, in hundredths of a per cent, unless an operator sets another fee for a seller. An order keeps the one it was confirmed with."
    },
    { minimum: 0, maximum: 10_000 }
  ),
  PAYOUT_BACKOFF_BASE: duration("1 minute", {
    about: "Before a payout to a seller whose outcome nobody knows is looked into again; doubles."
  }),
  PAYOUT_BACKOFF_CAP: duration("12 hours", { about: "It grows up to this." }),
  REFUND_MAX_RETRIES: whole(
    3,
    { about: "After the first try; then the refund is left to an operator.", source: "N-015" },
    { minimum: 0, maximum: 20 }
  ),
  REFUND_BACKOFF_BASE: duration("1 minute", { about: "Before the first retry of a refund; doubles.", source: "N-016" }),
  REFUND_BACKOFF_CAP: duration("30 minutes", { about: "It grows up to this.", source: "N-016" }),
  REFUND_WATCH_AFTER: duration("40 seconds", {
    about: "When a refund under way is looked after, should the node which works on it have died.",
    source: "measured"
  }),
  COMPENSATION_ATTEMPTS: whole(
    3,
    { about: "Tries of one compensating step within the process.", source: "N-014" },
    { minimum: 1, maximum: 20 }
  ),
  COMPENSATION_BACKOFF: duration("100 millis", { about: "Between the first two; doubles.", source: "N-014" })
}

const orders = {
  ORDER_PENDING_EXPIRY: duration("30 minutes", {
    about: "An order which is still pending is cancelled after this.",
    source: "N-009"
  })
}

const offline = {
  PAYMENT_METHODS: paymentMethods,
  COD_WINDOW: duration("24 hours", {
    about:
      "An order with cash on delivery which nobody has confirmed is cancelled after this; its stock is claimed for as long.",
    source: "CONF-08"
  }),
  COD_AUTO_CONFIRM: trueOrFalse(
    true,
    "Whether an order with cash on delivery is confirmed by itself. Without, operators confirm each."
  ),
  COD_CONFIRM_AFTER: duration(
    "1 minute",
    {
      about: "When that is, after it was placed: the time an operator has to hold it for a look.",
      source: "REQ-COD-01"
    },
    { from: "0 millis" }
  ),
  BANK_TRANSFER_WINDOW: duration("24 hours", {
    about: "An order whose bank transfer has not come in is cancelled after this; its stock is claimed for as long.",
    source: "N-046"
  })
}

const compensations = {
  COMPENSATION_MAX_RETRIES: whole(
    3,
    {
      about:
        "Of an operation whose undoing failed, by itself and on durable timers; then an operator has to see to it.",
      source: "N-015"
    },
    { minimum: 0, maximum: 20 }
  ),
  COMPENSATION_RETRY_BASE: duration("1 minute", { about: "Before the first of them; doubles.", source: "N-016" }),
  COMPENSATION_RETRY_CAP: duration("30 minutes", { about: "It grows up to this.", source: "N-016" }),
  COMPENSATION_RETENTION: duration("90 days", {
    about: "How long a resolved one is kept; the others are kept until they are.",
    source: "N-052"
  })
}

const alerts = {
  ALERT_DEDUPE_WINDOW: duration("15 minutes", {
    about: "The same trouble met again within this tells nobody a second time.",
    source: "N-069"
  }),
  ALERT_BACKOFF_BASE: duration("5 seconds", { about: "After the first vain attempt to tell somebody; doubles." }),
  ALERT_BACKOFF_CAP: duration("5 minutes", { about: "It grows up to this." }),
  ALERT_SINK_TIMEOUT: duration("10 seconds", { about: "For one attempt to tell a webhook or a pager." }),
  ALERT_WEBHOOK_URL: optional(
    secret(
      text("Where alerts are sent as signed JSON; ALERT_WEBHOOK_SECRET goes with it.", {
        form: "an address such as https://alerts.example/cartwright",
        pattern: /^https?:\/\/\S+$/
      })
    ),
    "no webhook is told"
  ),
  ALERT_WEBHOOK_SECRET: optional(key("Signs what is sent to ALERT_WEBHOOK_URL."), "no webhook is told"),
  ALERT_PAGERDUTY_ROUTING_KEY: optional(
    secret(
      text("Of a PagerDuty service's Events API v2 integration.", {
        form: "32 letters and digits",
        pattern: /^[A-Za-z0-9]{32}$/
      })
    ),
    "PagerDuty is not told"
  ),
  ALERT_PAGERDUTY_URL: {
    ...text("Where PagerDuty takes events.", {
      form: "an address such as https://events.eu.pagerduty.com",
      pattern: /^https?:\/\/\S+$/
    }),
    absent: byDefault("https://events.pagerduty.com")
  },
  ALERT_RETENTION: duration("90 days", { about: "How long an alert is kept once it is over.", source: "N-052" })
}

const runtime = {
  ACTOR_CALL_TIMEOUT: duration("10 seconds", { about: "For a call to an actor, wherever it lives." }),
  ACTORS_RESIDENT_MAX: whole(
    20_000,
    { about: "Actors a node keeps in memory; the ones unused for longest are read again when needed." },
    { minimum: 100, maximum: 10_000_000 }
  ),
  BUCKET_POLL_INTERVAL: duration("100 millis", { about: "How often a node looks which actors it has been given." }),
  JOURNAL_BATCH_MAX: whole(
    256,
    { about: "Steps which share one transaction, at the most." },
    { minimum: 1, maximum: 10_000 }
  ),
  JOURNAL_QUEUE_MAX: whole(
    10_000,
    { about: "Steps which may wait for one; more are answered `Unavailable`.", source: "REQ-GW-08" },
    { minimum: 1, maximum: 1_000_000 }
  ),
  JOURNAL_RETRY_FOR: duration("10 seconds", { about: "How long a step waits for a database which has gone away." }),
  JOURNAL_FLUSH_TIMEOUT: duration("5 seconds", { about: "For one transaction, before its connection is given up." }),
  JOURNAL_IDLE_IN_TRANSACTION: duration(
    "4 seconds",
    { about: "A frozen node keeps rows locked for this long: Postgres then ends its transactions." },
    { from: "1 second" }
  ),
  STALL_EXIT_AFTER: duration(
    "6 seconds",
    {
      about:
        "A node which makes no progress for so long, although its database answers, ends itself with exit code 70, for its supervisor to start it again."
    },
    { from: "2 seconds" }
  ),
  TIMER_SWEEP_INTERVAL: duration("1 second", {
    about: "How often due timers are read. They fire at their instant all the same: a read looks ahead."
  }),
  TIMER_CONCURRENCY: whole(
    10,
    { about: "Timers handled at once by a node.", source: "N-010" },
    { minimum: 1, maximum: 1000 }
  ),
  NOTICE_MAX_ATTEMPTS: whole(
    10,
    { about: "Deliveries of a notice before it is set aside for an operator.", source: "N-020" },
    { minimum: 1, maximum: 100 }
  ),
  NOTICE_BACKOFF_BASE: duration("1 second", { about: "After its first failure; doubles.", source: "N-023" }),
  NOTICE_BACKOFF_CAP: duration("5 minutes", { about: "It grows up to this.", source: "N-023" }),
  NOTICE_ACKNOWLEDGE_WITHIN: duration("250 millis", {
    about: "How long acknowledgements are collected before they are written."
  }),
  NOTICE_SWEEP_INTERVAL: duration("5 seconds", { about: "How often notices which a crash left behind are looked for." })
}

const retention = {
  RETENTION_KEYS: duration(
    "30 days",
    {
      about: "How long carts and checkouts that are over remember what they were told: keys, answers and history.",
      source: "N-022"
    },
    { from: "1 day" }
  ),
  RETENTION_WORKFLOWS: duration(
    "30 days",
    { about: "How long executions of workflows are kept after their end, with their steps and log.", source: "N-022" },
    { from: "1 day" }
  ),
  RETENTION_INTERVAL: duration("1 hour", { about: "How often one of the nodes looks for what is past its time." }),
  RETENTION_PAGE: whole(
    500,
    { about: "Actors or executions looked at by one statement; it rests in between." },
    { minimum: 1, maximum: 10_000 }
  )
}

const reconciliation = {
  RECONCILIATION_STOCK_INTERVAL: duration(
    "1 hour",
    { about: "How often stock counters are compared with the reservations they are made of.", source: "N-031" },
    { from: "1 minute" }
  ),
  RECONCILIATION_CHECK_INTERVAL: duration(
    "1 hour",
    { about: "How often orders, payments and reservations are compared with each other.", source: "REQ-REC-04" },
    { from: "1 minute" }
  ),
  RECONCILIATION_PAYMENT_INTERVAL: duration(
    "5 minutes",
    { about: "How often payments are looked for which do not move.", source: "REQ-REC-03" },
    { from: "10 seconds" }
  ),
  RECONCILIATION_PAYMENT_STUCK: duration(
    "5 minutes",
    { about: "A payment or confirmation which has not moved for so long is looked up.", source: "REQ-REC-03" },
    { from: "1 minute" }
  ),
  RECONCILIATION_PROVIDER_AT: {
    ...text("When payments are compared with what the provider has, once a day, in UTC.", {
      form: "a time such as 02:00",
      pattern: /^([01]\d|2[0-3]):[0-5]\d$/
    }),
    absent: byDefault("02:00"),
    source: "N-072"
  },
  RECONCILIATION_PROVIDER_WINDOW: duration(
    "14 days",
    { about: "How far back that goes: longer than a hold lives." },
    { from: "1 day" }
  ),
  RECONCILIATION_GRACE: duration(
    "15 minutes",
    {
      about:
        "Payments which the provider has for less than this are left alone: their checkout may be under way. Money which no living order stands behind goes back after it."
    },
    { from: "1 minute" }
  ),
  RECONCILIATION_PAGE: whole(
    500,
    { about: "Rows looked at by one statement of reconciliation; it rests in between." },
    { minimum: 1, maximum: 10_000 }
  ),
  RECONCILIATION_POLL_INTERVAL: duration("2 seconds", {
    about: "How soon a reconciliation which an operator asks for begins."
  }),
  RECONCILIATION_RETENTION: duration("90 days", { about: "How long the reports of reconciliation are kept." })
}

const telemetry = {
  LOG_LEVEL: oneOf(
    ["trace", "debug", "info", "warn", "error", "fatal", "none"],
    "info",
    "The least level that is logged. The flag --log-level goes before it."
  ),
  LOG_FORMAT: oneOf(
    ["auto", "pretty", "json"],
    "auto",
    "`auto` is pretty at a terminal, one line of JSON an entry otherwise."
  ),
  OTEL_EXPORTER_OTLP_ENDPOINT: optional(
    text("Where logs, metrics and traces are sent besides, as OTLP over HTTP.", {
      form: "an address such as http://collector:4318",
      pattern: /^https?:\/\/\S+$/
    }),
    "nothing is sent; /metrics is served all the same"
  ),
  OTEL_EXPORTER_OTLP_HEADERS: optional(
    secret(
      text("Headers to send with it, e.g. the collector's key.", {
        form: "name=value pairs, separated by commas",
        pattern: /^\s*[\w-]+=[^,]*(,\s*[\w-]+=[^,]*)*$/
      })
    ),
    "none"
  ),
  OTEL_SERVICE_NAME: { ...text("What this node is called in traces."), absent: byDefault("cartwright") }
}

/** All settings by key. */
export const settings = {
  ...database,
  ...http,
  ...cluster,
  ...identity,
  ...provider,
  ...webhooks,
  ...catalog,
  ...carts,
  ...checkout,
  ...reservations,
  ...payments,
  ...orders,
  ...offline,
  ...compensations,
  ...alerts,
  ...runtime,
  ...retention,
  ...reconciliation,
  ...telemetry
}

export type Key = keyof typeof settings

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- nothing is added to the table at run time
export const keys = Object.keys(settings) as ReadonlyArray<Key>

/** Every setting, decoded. */
export type Values = { readonly [K in Key]: ValueOf<(typeof settings)[K]> }

/** The same, in the order and under the headings in which people read them. */
export const chapters: ReadonlyArray<{
  readonly title: string
  readonly settings: Readonly<Record<string, Setting<unknown>>>
}> = [
  { title: "Database", settings: database },
  { title: "HTTP", settings: http },
  { title: "Cluster", settings: cluster },
  { title: "Identity", settings: identity },
  { title: "Payment provider", settings: provider },
  { title: "Webhooks", settings: webhooks },
  { title: "Catalog and shipping", settings: catalog },
  { title: "Carts", settings: carts },
  { title: "Checkout", settings: checkout },
  { title: "Reservations", settings: reservations },
  { title: "Payments", settings: payments },
  { title: "Orders", settings: orders },
  { title: "Cash on delivery and bank transfer", settings: offline },
  { title: "Failed compensations", settings: compensations },
  { title: "Alerts", settings: alerts },
  { title: "Runtime", settings: runtime },
  { title: "Retention", settings: retention },
  { title: "Reconciliation", settings: reconciliation },
  { title: "Logs, metrics and traces", settings: telemetry }
]
