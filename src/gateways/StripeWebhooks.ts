/**
 * Stripe's webhooks. The signature is checked by the SDK's own code, which compares in constant time; it knows one secret a call, and no
 * time to come, so both are seen to here. Source: the provider's manual on webhooks, and the SDK's `Webhooks.ts`.
 */
import { DateTime, Duration, Effect, Option, Redacted, Schema } from "effect"
import type Stripe from "stripe"
import { Currency, type Money } from "../domain/Money.ts"
import type { PaymentFact } from "../entities/providerEvent/ProviderEvent.ts"
import { ProviderNews, ProviderReference } from "../entities/providerEvent/ProviderEvent.ts"
import type { Authentic, ProviderWebhooksOptions, ReadWebhook } from "./ProviderWebhooks.ts"
import { NotAuthentic, type NotReadable } from "./ProviderWebhooks.ts"
import { always, type Meaning, readable, withMoney } from "./WebhookReading.ts"
import { fromProviderAmount } from "./StripeProtocol.ts"

/** The SDK is loaded with the first webhook: it takes a tenth of a second, which a starting node does not have. */
export const make = ({
  secrets,
  tolerance
}: NonNullable<ProviderWebhooksOptions["stripe"]>): Effect.Effect<ReadWebhook> =>
  Effect.gen(function* () {
    const sdk = yield* Effect.cached(Effect.promise(async () => (await import("stripe")).default))
    // Zero would switch the SDK's check off.
    const seconds = Math.max(1, Math.floor(Duration.toSeconds(tolerance)))
    return Effect.fn("StripeWebhooks.read")(function* ({ body, headers }) {
      const header = headers["stripe-signature"]
      if (header === undefined || header === "") return yield* new NotAuthentic({ because: "unsigned" })
      const { epochMilliseconds: now } = yield* DateTime.now
      const times = header.split(",").flatMap((part) => (part.startsWith("t=") ? [part.slice(2)] : []))
      if (times.length !== 1 || !/^\d{1,12}$/.test(times[0]!)) return yield* new NotAuthentic({ because: "malformed" })
      if (Number(times[0]) - Math.floor(now / 1000) > seconds) return yield* new NotAuthentic({ because: "time" })
      const { webhooks } = yield* sdk
      const signed = secrets.some((secret) => isSigned(webhooks, body, header, Redacted.value(secret), seconds, now))
      if (!signed) return yield* new NotAuthentic({ because: "signature" })
      return yield* read(body)
    })
  })

const isSigned = (
  { signature }: typeof Stripe.webhooks,
  body: Uint8Array,
  header: string,
  secret: string,
  tolerance: number,
  now: number
): boolean => {
  try {
    return signature?.verifyHeader(body, header, secret, tolerance, undefined, now) === true
  } catch {
    // It throws for each way of not being signed, and for some headers which it cannot read.
    return false
  }
}

// ---- what it says

const Metadata = Schema.Record(Schema.String, Schema.Unknown)

/** Of the payment intents, charges, refunds and disputes in events, what we read. */
const Subject = Schema.Struct({
  id: Schema.String,
  amount: Schema.optionalKey(Schema.Int),
  amount_capturable: Schema.optionalKey(Schema.Int),
  amount_received: Schema.optionalKey(Schema.Int),
  currency: Schema.optionalKey(Schema.String),
  metadata: Schema.optionalKey(Schema.NullOr(Metadata)),
  payment_intent: Schema.optionalKey(
    Schema.NullOr(Schema.Union([Schema.String, Schema.Struct({ id: Schema.String })]))
  ),
  status: Schema.optionalKey(Schema.NullOr(Schema.String)),
  reason: Schema.optionalKey(Schema.NullOr(Schema.String)),
  failure_reason: Schema.optionalKey(Schema.NullOr(Schema.String))
})
type Subject = typeof Subject.Type

const decodeEvent = Schema.decodeUnknownOption(
  Schema.fromJsonString(
    Schema.Struct({
      id: Schema.String,
      type: Schema.String,
      created: Schema.Int,
      data: Schema.Struct({ object: Schema.Unknown })
    })
  )
)
const decodeSubject = Schema.decodeUnknownOption(Subject)
const asReference = Schema.decodeUnknownOption(ProviderReference)
const decodeNews = Schema.decodeUnknownOption(Schema.toType(ProviderNews))

const text = new TextDecoder()

const read = Effect.fnUntraced(function* (body: Uint8Array): Effect.fn.Return<Authentic, NotReadable> {
  const event = yield* readable(decodeEvent(text.decode(body)))
  const meaning = meanings.get(event.type)
  if (meaning === undefined) return { news: undefined, checkoutId: undefined }
  const subject = yield* readable(decodeSubject(event.data.object))
  const fact = yield* readable(meaning(subject))
  const news = yield* readable(
    decodeNews({
      provider: "stripe",
      eventId: event.id,
      type: event.type,
      object: subject.id,
      ...intentOf(event.type, subject),
      occurredAt: Option.getOrUndefined(DateTime.make(event.created * 1000)),
      fact
    })
  )
  const checkoutId = subject.metadata?.["checkout"]
  return { news, checkoutId: typeof checkoutId === "string" ? checkoutId : undefined }
})

const intentOf = (type: string, { id, payment_intent: named }: Subject): { readonly intent?: string } => {
  if (type.startsWith("payment_intent.")) return { intent: id }
  if (named === undefined || named === null) return {}
  return { intent: typeof named === "string" ? named : named.id }
}

const moneyOf = (amount: number | undefined, currency: string | undefined): Money | undefined =>
  amount === undefined || currency === undefined || amount < 0 || !/^[a-z]{3}$/i.test(currency)
    ? undefined
    : { amount: fromProviderAmount(amount, currency), currency: Currency.make(currency.toUpperCase()) }

const refund = withMoney<Subject>(
  ({ amount, currency }) => moneyOf(amount, currency),
  (money, { failure_reason: code, id, metadata, status }) => {
    const state = refundStates[status ?? ""]
    const reference = Option.getOrUndefined(asReference(id))
    const ours = metadata?.["refund"]
    if (state === undefined || reference === undefined) return undefined
    return {
      _tag: "Refund",
      ...money,
      refund: reference,
      status: state,
      ...(typeof ours === "string" ? { ours } : {}),
      ...(typeof code === "string" ? { code } : {})
    }
  }
)

const refundStates: Readonly<Record<string, Extract<PaymentFact, { readonly _tag: "Refund" }>["status"]>> = {
  pending: "pending",
  // The customer is asked where the money is to go.
  requires_action: "pending",
  succeeded: "completed",
  failed: "failed",
  canceled: "failed"
}

const chargeback = withMoney<Subject>(
  ({ amount, currency }) => moneyOf(amount, currency),
  (money, { id, reason, status }) => {
    const reference = Option.getOrUndefined(asReference(id))
    if (reference === undefined) return undefined
    return {
      _tag: "Chargeback",
      ...money,
      chargeback: reference,
      reason: reason ?? "general",
      // An inquiry that was closed has taken nothing.
      status:
        status === "won" || status === "warning_closed" || status === "prevented"
          ? "won"
          : status === "lost"
            ? "lost"
            : "opened"
    }
  }
)

/** What is of interest; the SDK's types check the names. `charge.refunded` says nothing that `refund.*` does not say better. */
const known: Readonly<Partial<Record<Stripe.Event["type"], Meaning<Subject>>>> = {
  "payment_intent.amount_capturable_updated": withMoney<Subject>(
    ({ amount_capturable: amount, currency }) => moneyOf(amount, currency),
    (money) => ({ _tag: "Authorized", ...money })
  ),
  "payment_intent.succeeded": withMoney<Subject>(
    ({ amount_received: amount, currency }) => moneyOf(amount, currency),
    (money) => ({ _tag: "Captured", ...money })
  ),
  "payment_intent.payment_failed": always({ _tag: "Failed" }),
  "payment_intent.canceled": always({ _tag: "Voided" }),
  "payment_intent.requires_action": always({ _tag: "RequiresAction" }),
  "payment_intent.processing": always({ _tag: "Processing" }),
  "refund.created": refund,
  "refund.updated": refund,
  "refund.failed": refund,
  "charge.refund.updated": refund,
  "charge.dispute.created": chargeback,
  "charge.dispute.closed": chargeback
}

const meanings: ReadonlyMap<string, Meaning<Subject>> = new Map(Object.entries(known))
