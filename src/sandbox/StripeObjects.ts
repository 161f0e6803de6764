/** The sandbox's things as the JSON which the provider would answer with; the SDK's own types check the shapes. */
import type Stripe from "stripe"
import type { Charge, Dispute, EventName, Intent, ProviderError, Refund } from "./IntentRules.ts"
import type { Transfer } from "./Transfers.ts"

/** What an answer is about; turned into JSON only when it is sent, so that a stored answer costs next to nothing. */
export type Content =
  | { readonly _tag: "Intent"; readonly intent: Intent; readonly expandCharge: boolean }
  | { readonly _tag: "Refund"; readonly refund: Refund }
  | { readonly _tag: "Dispute"; readonly dispute: Dispute }
  | { readonly _tag: "Transfer"; readonly transfer: Transfer }
  | {
      readonly _tag: "List"
      readonly url: string
      readonly kind: "list" | "search_result"
      readonly items: ReadonlyArray<Content>
      readonly more: boolean
    }
  | { readonly _tag: "Error"; readonly error: ProviderError }

/** The answer's JSON. `url` is where the sandbox can be reached: the page on which customers prove who they are is there. */
export const render = (content: Content, url: string): unknown => {
  switch (content._tag) {
    case "Intent":
      return paymentIntent(content.intent, { url, expandCharge: content.expandCharge })
    case "Refund":
      return refund(content.refund)
    case "Dispute":
      return dispute(content.dispute)
    case "Transfer":
      return transfer(content.transfer)
    case "List": {
      const list = {
        object: content.kind,
        url: content.url,
        has_more: content.more,
        data: content.items.map((item) => render(item, url))
      }
      return content.kind === "list" ? list : { ...list, next_page: null }
    }
    case "Error":
      return { error: error(content.error, url) }
  }
}

/** A payment intent, all of it. The charge is its id unless it is asked for. */
export const paymentIntent = (
  { terms, ...intent }: Intent,
  options: { readonly url: string; readonly expandCharge: boolean }
) =>
  ({
    id: terms.id,
    object: "payment_intent",
    allowed_payment_method_types: null,
    amount: terms.amount,
    amount_capturable: intent.status === "requires_capture" ? terms.amount : 0,
    amount_received: intent.received,
    application: null,
    application_fee_amount: null,
    automatic_payment_methods:
      terms.automaticMethods === null ? null : { enabled: true, allow_redirects: terms.automaticMethods.redirects },
    canceled_at: intent.canceledAt === null ? null : seconds(intent.canceledAt),
    cancellation_reason: intent.cancellationReason,
    capture_method: terms.captureMethod,
    client_secret: terms.clientSecret,
    confirmation_method: "automatic",
    created: seconds(terms.createdAt),
    currency: terms.currency,
    customer: terms.customer,
    customer_account: null,
    description: terms.description,
    excluded_payment_method_types: null,
    last_payment_error: intent.lastError as Stripe.PaymentIntent.LastPaymentError | null,
    latest_charge:
      intent.charge === null
        ? null
        : options.expandCharge
          ? chargeOf({ terms, ...intent }, intent.charge)
          : intent.charge.id,
    livemode: false,
    managed_payments: null,
    metadata: terms.metadata,
    next_action:
      intent.status === "requires_action"
        ? {
            type: "redirect_to_url",
            redirect_to_url: { url: `${options.url}/sandbox/authenticate/${terms.id}`, return_url: intent.returnUrl }
          }
        : null,
    on_behalf_of: null,
    payment_method: intent.paymentMethod,
    payment_method_configuration_details: null,
    payment_method_options: {
      card: { installments: null, mandate_options: null, network: null, request_three_d_secure: "automatic" }
    },
    payment_method_types: ["card"],
    payment_record: null,
    processing: null,
    receipt_email: null,
    review: null,
    setup_future_usage: null,
    shipping: null,
    source: null,
    statement_descriptor: null,
    statement_descriptor_suffix: null,
    status: intent.status,
    transfer_group: null
  }) satisfies Omit<Stripe.PaymentIntent, "latest_charge"> & { readonly latest_charge: string | SandboxCharge | null }

/** What a webhook's body says. `object` is the JSON of the thing it is about. */
export const event = (fields: {
  readonly id: string
  readonly type: EventName
  readonly createdAt: number
  readonly key: string | null
  readonly object: unknown
}) =>
  ({
    id: fields.id,
    object: "event",
    api_version: null,
    created: seconds(fields.createdAt),
    data: { object: fields.object },
    livemode: false,
    pending_webhooks: 1,
    request: { id: null, idempotency_key: fields.key },
    type: fields.type
  }) satisfies Omit<Stripe.EventBase, "data" | "type"> & {
    readonly data: { readonly object: unknown }
    readonly type: Stripe.Event["type"]
  }

export const refund = (fields: Refund) =>
  ({
    id: fields.id,
    object: "refund",
    amount: fields.amount,
    balance_transaction: null,
    charge: fields.chargeId,
    created: seconds(fields.createdAt),
    currency: fields.currency,
    customer: null,
    customer_account: null,
    metadata: fields.metadata,
    payment_intent: fields.intentId,
    payment_method: null,
    reason: fields.reason,
    receipt_number: null,
    source_transfer_reversal: null,
    status: fields.status,
    transfer_reversal: null,
    ...(fields.status === "failed" ? { failure_reason: "lost_or_stolen_card" as const } : {})
  }) satisfies Stripe.Refund

/** Without what the shop would answer with, which is of no use here. */
export const dispute = (fields: Dispute) =>
  ({
    id: fields.id,
    object: "dispute",
    amount: fields.amount,
    balance_transactions: [],
    charge: fields.chargeId,
    created: seconds(fields.createdAt),
    currency: fields.currency,
    enhanced_eligibility_types: [],
    intended_submission_method: null,
    is_charge_refundable: false,
    livemode: false,
    metadata: {},
    payment_intent: fields.intentId,
    reason: fields.reason,
    status: fields.status
  }) satisfies Omit<Stripe.Dispute, "evidence" | "evidence_details">

export const transfer = (fields: Transfer) =>
  ({
    id: fields.id,
    object: "transfer",
    amount: fields.amount,
    amount_reversed: 0,
    balance_transaction: null,
    created: seconds(fields.createdAt),
    currency: fields.currency,
    description: null,
    destination: fields.destination,
    livemode: false,
    metadata: fields.metadata,
    reversed: false,
    source_transaction: null,
    transfer_group: fields.group
  }) satisfies Omit<Stripe.Transfer, "reversals">

/** The charge of an intent which has one. */
export const chargeOfIntent = (intent: Intent): SandboxCharge | undefined =>
  intent.charge === null ? undefined : chargeOf(intent, intent.charge)

/** Those fields of a charge which say what became of the money. */
type SandboxCharge = Pick<
  Stripe.Charge,
  | "id"
  | "object"
  | "amount"
  | "amount_captured"
  | "amount_refunded"
  | "captured"
  | "created"
  | "currency"
  | "disputed"
  | "failure_code"
  | "failure_message"
  | "livemode"
  | "metadata"
  | "paid"
  | "payment_intent"
  | "refunded"
  | "status"
> & {
  readonly payment_method_details: { readonly type: "card"; readonly card: { readonly capture_before?: number } }
}

const chargeOf = ({ terms, ...intent }: Intent, charge: Charge): SandboxCharge => ({
  id: charge.id,
  object: "charge",
  amount: terms.amount,
  amount_captured: intent.received,
  // What is let go of a hold shows as refunded, although it was never taken. Source: answers of the provider seen in public.
  amount_refunded: charge.failed ? 0 : letGo(terms, intent) + intent.refunded,
  captured: intent.received > 0,
  created: seconds(charge.createdAt),
  currency: terms.currency,
  disputed: intent.disputed !== undefined,
  failure_code: charge.failed ? (intent.lastError?.code ?? "card_declined") : null,
  failure_message: charge.failed ? (intent.lastError?.message ?? null) : null,
  livemode: false,
  metadata: terms.metadata,
  paid: !charge.failed,
  payment_intent: terms.id,
  payment_method_details: {
    type: "card",
    card: terms.captureMethod === "manual" && !charge.failed ? { capture_before: seconds(charge.captureBefore) } : {}
  },
  refunded: !charge.failed && letGo(terms, intent) + intent.refunded === terms.amount,
  status: charge.failed ? "failed" : intent.status === "processing" ? "pending" : "succeeded"
})

const letGo = (terms: Intent["terms"], intent: Pick<Intent, "status" | "received">): number =>
  intent.status === "succeeded" || intent.status === "canceled" ? terms.amount - intent.received : 0

const error = ({ status: _, intent, chargeId, ...fields }: ProviderError, url: string) => ({
  ...fields,
  ...(fields.code === undefined
    ? {}
    : { doc_url: `https://stripe.com/docs/error-codes/${fields.code.replaceAll("_", "-")}` }),
  ...(chargeId === undefined ? {} : { charge: chargeId }),
  ...(intent === undefined ? {} : { payment_intent: paymentIntent(intent, { url, expandCharge: false }) })
})

const seconds = (milliseconds: number): number => Math.floor(milliseconds / 1000)
