/**
 * PayPal's webhooks: RSA with SHA-256 over `transmission id|time|webhook id|CRC32 of the body`, by a key whose certificate PayPal hosts.
 * Source: developer.paypal.com, "Integrate webhooks" (the own verification, not the postback).
 */
import { verify } from "node:crypto"
import { crc32 } from "node:zlib"
import { DateTime, Duration, Effect, Option, Schema } from "effect"
import { Currency, minorUnitsOf, type Money } from "../domain/Money.ts"
import { ProviderNews, ProviderReference } from "../entities/providerEvent/ProviderEvent.ts"
import type { PayPalCertificates } from "./PayPalCertificates.ts"
import type { Authentic, ProviderWebhooksOptions, ReadWebhook } from "./ProviderWebhooks.ts"
import { NotAuthentic, type NotReadable } from "./ProviderWebhooks.ts"
import { always, type Meaning, readable, withMoney } from "./WebhookReading.ts"

export type PayPalWebhookOptions = Omit<NonNullable<ProviderWebhooksOptions["paypal"]>, "environment"> & {
  readonly certificates: PayPalCertificates
}

/** What costs nothing is looked at first: no certificate is fetched for a request which could not be authentic anyway. */
export const make = ({ certificates, tolerance, webhookIds }: PayPalWebhookOptions): ReadWebhook =>
  Effect.fn("PayPalWebhooks.read")(function* ({ body, headers }) {
    const id = headers["paypal-transmission-id"]
    const sentAt = headers["paypal-transmission-time"]
    const signature = headers["paypal-transmission-sig"]
    const url = headers["paypal-cert-url"]
    if (id === undefined || sentAt === undefined || signature === undefined || url === undefined)
      return yield* new NotAuthentic({ because: "unsigned" })
    if (headers["paypal-auth-algo"]?.toUpperCase() !== "SHA256WITHRSA" || !isPlain(id) || !isSignature(signature))
      return yield* new NotAuthentic({ because: "malformed" })
    const time = isTime.test(sentAt) ? DateTime.make(sentAt) : Option.none()
    if (Option.isNone(time)) return yield* new NotAuthentic({ because: "malformed" })
    const now = yield* DateTime.now
    const apart = Math.abs(now.epochMilliseconds - time.value.epochMilliseconds)
    if (apart > Duration.toMillis(tolerance)) return yield* new NotAuthentic({ because: "time" })
    const key = yield* certificates.keyAt(url, now)
    const bytes = Buffer.from(signature, "base64")
    const sum = crc32(body)
    const signed = webhookIds.some((webhookId) =>
      verify("RSA-SHA256", Buffer.from(`${id}|${sentAt}|${webhookId}|${sum}`), key, bytes)
    )
    if (!signed) return yield* new NotAuthentic({ because: "signature" })
    return yield* read(body)
  })

const isPlain = (id: string): boolean => /^[\w-]{1,100}$/.test(id)
const isSignature = (text: string): boolean => text.length <= 1024 && /^[A-Za-z0-9+/]{100,}={0,2}$/.test(text)
const isTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)$/

// ---- what it says

const Amount = Schema.Struct({
  value: Schema.optionalKey(Schema.String),
  currency_code: Schema.optionalKey(Schema.String),
  // The first version of the API wrote it so, and its events are still sent.
  total: Schema.optionalKey(Schema.String),
  currency: Schema.optionalKey(Schema.String)
})

/** Of the authorizations, captures, refunds and disputes in events, what we read. */
const Resource = Schema.Struct({
  id: Schema.optionalKey(Schema.String),
  dispute_id: Schema.optionalKey(Schema.String),
  amount: Schema.optionalKey(Amount),
  dispute_amount: Schema.optionalKey(Amount),
  custom_id: Schema.optionalKey(Schema.String),
  invoice_id: Schema.optionalKey(Schema.String),
  reason: Schema.optionalKey(Schema.String),
  dispute_outcome: Schema.optionalKey(Schema.Struct({ outcome_code: Schema.optionalKey(Schema.String) })),
  supplementary_data: Schema.optionalKey(
    Schema.Struct({
      related_ids: Schema.optionalKey(
        Schema.Struct({
          authorization_id: Schema.optionalKey(Schema.String),
          capture_id: Schema.optionalKey(Schema.String)
        })
      )
    })
  )
})
type Resource = typeof Resource.Type

const decodeEvent = Schema.decodeUnknownOption(
  Schema.fromJsonString(
    Schema.Struct({
      id: Schema.String,
      event_type: Schema.String,
      create_time: Schema.String.check(Schema.isPattern(isTime)),
      resource: Schema.Unknown
    })
  )
)
const decodeResource = Schema.decodeUnknownOption(Resource)
const asReference = Schema.decodeUnknownOption(ProviderReference)
const decodeNews = Schema.decodeUnknownOption(Schema.toType(ProviderNews))

const text = new TextDecoder()

const read = Effect.fnUntraced(function* (body: Uint8Array): Effect.fn.Return<Authentic, NotReadable> {
  const event = yield* readable(decodeEvent(text.decode(body)))
  const meaning = meanings.get(event.event_type)
  if (meaning === undefined) return { news: undefined, checkoutId: undefined }
  const resource = yield* readable(decodeResource(event.resource))
  const fact = yield* readable(meaning(resource))
  const { authorization_id: authorization, capture_id: capture } = resource.supplementary_data?.related_ids ?? {}
  const news = yield* readable(
    decodeNews({
      provider: "paypal",
      eventId: event.id,
      type: event.event_type,
      object: resource.id ?? resource.dispute_id ?? "",
      ...(event.event_type.startsWith("PAYMENT.AUTHORIZATION.")
        ? { intent: resource.id }
        : authorization === undefined && capture === undefined
          ? {}
          : { intent: authorization ?? capture }),
      occurredAt: Option.getOrUndefined(DateTime.make(event.create_time)),
      fact
    })
  )
  return { news, checkoutId: resource.custom_id ?? resource.invoice_id }
})

const moneyOf = ({ amount: charged, dispute_amount: disputed }: Resource): Money | undefined => {
  const money = charged ?? disputed
  const currency = money?.currency_code ?? money?.currency
  const value = money?.value ?? money?.total
  if (currency === undefined || value === undefined || !/^[A-Z]{3}$/.test(currency)) return undefined
  const amount = minorUnitsOf(value, Currency.make(currency))
  return amount === undefined ? undefined : { amount, currency: Currency.make(currency) }
}

const refund = (status: "pending" | "completed" | "failed"): Meaning<Resource> =>
  withMoney(moneyOf, (money, { id }) => {
    const reference = Option.getOrUndefined(asReference(id))
    return reference === undefined ? undefined : { _tag: "Refund", ...money, refund: reference, status }
  })

const chargeback = (statusOf: (resource: Resource) => "opened" | "won" | "lost"): Meaning<Resource> =>
  withMoney(moneyOf, (money, resource) => {
    const reference = Option.getOrUndefined(asReference(resource.dispute_id ?? resource.id))
    if (reference === undefined) return undefined
    const { reason = "unknown" } = resource
    return { _tag: "Chargeback", ...money, chargeback: reference, reason, status: statusOf(resource) }
  })

/** Source: developer.paypal.com, "Webhook event names". */
const known: Readonly<Record<string, Meaning<Resource>>> = {
  "PAYMENT.AUTHORIZATION.CREATED": withMoney(moneyOf, (money) => ({ _tag: "Authorized", ...money })),
  "PAYMENT.AUTHORIZATION.VOIDED": always({ _tag: "Voided" }),
  "PAYMENT.CAPTURE.PENDING": always({ _tag: "Processing" }),
  "PAYMENT.CAPTURE.COMPLETED": withMoney(moneyOf, (money) => ({ _tag: "Captured", ...money })),
  "PAYMENT.CAPTURE.DENIED": always({ _tag: "Failed" }),
  "PAYMENT.CAPTURE.DECLINED": always({ _tag: "Failed" }),
  "PAYMENT.CAPTURE.REFUNDED": refund("completed"),
  "PAYMENT.REFUND.PENDING": refund("pending"),
  "PAYMENT.REFUND.FAILED": refund("failed"),
  "CUSTOMER.DISPUTE.CREATED": chargeback(() => "opened"),
  "CUSTOMER.DISPUTE.RESOLVED": chargeback(({ dispute_outcome: outcome }) =>
    sellersOutcomes.has(outcome?.outcome_code ?? "") ? "won" : "lost"
  )
}

const meanings: ReadonlyMap<string, Meaning<Resource>> = new Map(Object.entries(known))

const sellersOutcomes: ReadonlySet<string> = new Set(["RESOLVED_SELLER_FAVOUR", "CANCELED_BY_BUYER", "DENIED"])
