/**
 * How a payment goes is chosen by the card's token, as with the provider's own test cards. Tokens which begin with `pm_sandbox_` exist
 * only here: they are cards whose payments go wrong half-way. Source of the others: the provider's manual on testing.
 */
import type { Fault, Injection, Operation } from "./Faults.ts"
import type { WebhookPlan } from "./WebhookPlan.ts"

/** Why an issuer refuses. `code` and `decline_code` are the provider's words; `message` may be shown to buyers. */
export interface Decline {
  readonly code: string
  readonly decline_code?: string
  readonly message: string
}

export interface TestToken {
  readonly token: string
  /** For people: what happens to a payment with it. */
  readonly happens: string
  /** The customer must prove who they are first. */
  readonly authentication?: boolean
  readonly decline?: Decline
  /** What the customer tells their bank right after the capture. */
  readonly dispute?: string
  /** What goes wrong with the webhooks of its payments. */
  readonly webhooks?: Partial<WebhookPlan>
  /** Counted for each intent; those of `create`, which has none yet, for each idempotency key. */
  readonly faults: ReadonlyArray<Injection>
}

/** From a refund's request to its end. */
const refundTakes = 5_000

/** Every token the sandbox knows, in the order in which to read about them. */
export const testTokens: ReadonlyArray<TestToken> = [
  approved("pm_card_visa"),
  approved("pm_card_visa_debit"),
  approved("pm_card_mastercard"),
  approved("pm_card_amex"),
  declined("pm_card_chargeDeclined", "generic_decline", "Your card was declined."),
  declined("pm_card_chargeDeclinedInsufficientFunds", "insufficient_funds", "Your card has insufficient funds."),
  declined("pm_card_chargeDeclinedLostCard", "lost_card", "Your card was declined."),
  declined("pm_card_chargeDeclinedStolenCard", "stolen_card", "Your card was declined."),
  declinedBecause("pm_card_chargeDeclinedExpiredCard", "expired_card", "Your card has expired."),
  declinedBecause("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", "Your card's security code is incorrect."),
  declinedBecause(
    "pm_card_chargeDeclinedProcessingError",
    "processing_error",
    "An error occurred while processing your card. Try again in a little bit."
  ),
  {
    token: "pm_card_authenticationRequired",
    happens: "Asks the customer to prove who they are; authorized once they did.",
    authentication: true,
    faults: []
  },
  {
    token: "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds",
    happens: "Asks the customer to prove who they are; declined then (`insufficient_funds`).",
    authentication: true,
    decline: {
      code: "card_declined",
      decline_code: "insufficient_funds",
      message: "Your card has insufficient funds."
    },
    faults: []
  },

  faulty("pm_card_pendingRefund", "refund", "always", { _tag: "Pending", ms: refundTakes, as: "succeeded" }),
  faulty("pm_card_refundFail", "refund", "always", { _tag: "Returned", ms: refundTakes }),
  {
    token: "pm_card_createDispute",
    happens: "Authorized and captured; the customer disputes it at once (`fraudulent`). Closed by `/sandbox/disputes`.",
    dispute: "fraudulent",
    faults: []
  },

  faulty("pm_sandbox_create_503_twice", "create", 2, { _tag: "Unavailable" }),
  faulty("pm_sandbox_create_lost_answer", "create", 1, { _tag: "Reset", done: true }),
  faulty("pm_sandbox_create_silent", "create", 1, { _tag: "Silence", done: true }),

  faulty("pm_sandbox_slow_authorize_20s", "confirm", 1, { _tag: "Delay", ms: 20_000 }),
  faulty("pm_sandbox_authorize_503", "confirm", "always", { _tag: "Unavailable" }),
  faulty("pm_sandbox_authorize_503_twice", "confirm", 2, { _tag: "Unavailable" }),
  faulty("pm_sandbox_authorize_500_stored", "confirm", 1, { _tag: "ServerError", done: false }),
  faulty("pm_sandbox_authorize_500_but_done", "confirm", 1, { _tag: "ServerError", done: true }),
  faulty("pm_sandbox_authorize_lost_answer", "confirm", 1, { _tag: "Reset", done: true }),
  faulty("pm_sandbox_authorize_silent", "confirm", 1, { _tag: "Silence", done: true }),
  faulty("pm_sandbox_authorize_processing_30s", "confirm", 1, { _tag: "Processing", ms: 30_000 }),

  faulty("pm_sandbox_slow_capture_20s", "capture", 1, { _tag: "Delay", ms: 20_000 }),
  faulty("pm_sandbox_capture_503_twice", "capture", 2, { _tag: "Unavailable" }),
  faulty("pm_sandbox_capture_503_always", "capture", "always", { _tag: "Unavailable" }),
  faulty("pm_sandbox_capture_500_stored", "capture", 1, { _tag: "ServerError", done: false }),
  faulty("pm_sandbox_capture_500_but_done", "capture", 1, { _tag: "ServerError", done: true }),
  faulty("pm_sandbox_capture_lost_answer", "capture", 1, { _tag: "Reset", done: true }),
  faulty("pm_sandbox_capture_silent", "capture", 1, { _tag: "Silence", done: true }),
  faulty("pm_sandbox_capture_declined", "capture", "always", {
    _tag: "Refused",
    code: "charge_expired_for_capture",
    message: "The charge cannot be captured as the authorization has expired."
  }),

  faulty("pm_sandbox_void_fails_twice", "cancel", 2, { _tag: "Unavailable" }),
  faulty("pm_sandbox_void_fails_always", "cancel", "always", { _tag: "Unavailable" }),
  faulty("pm_sandbox_void_refused", "cancel", "always", {
    _tag: "Refused",
    code: "payment_intent_unexpected_state",
    message: "You cannot cancel this PaymentIntent now."
  }),
  faulty("pm_sandbox_void_lost_answer", "cancel", 1, { _tag: "Reset", done: true }),
  {
    token: "pm_sandbox_capture_and_void_fail_always",
    happens: "Authorized; no capture and no void ever goes through (503).",
    faults: [
      { operation: "capture", times: "always", fault: { _tag: "Unavailable" } },
      { operation: "cancel", times: "always", fault: { _tag: "Unavailable" } }
    ]
  },

  faulty("pm_sandbox_refund_503_twice", "refund", 2, { _tag: "Unavailable" }),
  faulty("pm_sandbox_refund_503_always", "refund", "always", { _tag: "Unavailable" }),
  faulty("pm_sandbox_refund_refused", "refund", "always", {
    _tag: "Refused",
    code: "charge_not_refundable",
    message: "This charge cannot be refunded."
  }),
  faulty("pm_sandbox_refund_pending_then_fails", "refund", "always", {
    _tag: "Pending",
    ms: refundTakes,
    as: "failed"
  }),
  faulty("pm_sandbox_refund_lost_answer", "refund", 1, { _tag: "Reset", done: true }),

  told("pm_sandbox_webhooks_twenty_times", "each comes 20 times at once", { copies: 20 }),
  told("pm_sandbox_webhooks_late_30s", "they come 30 s late", { delayMs: 30_000 }),
  told("pm_sandbox_webhooks_backwards", "those of 2 s come together, the last one first", { reorderWithinMs: 2_000 }),
  told("pm_sandbox_webhooks_never", "none comes", { copies: 0 }),
  told("pm_sandbox_webhooks_forged", "before each come forged ones, with its id and without", { forged: true })
]

/** Any number of failures: `pm_sandbox_void_503_times_7`, and so for each of these. */
const countable: Readonly<Record<string, Operation>> = {
  create: "create",
  authorize: "confirm",
  capture: "capture",
  void: "cancel",
  refund: "refund"
}

const findCounted = (token: string): TestToken | undefined => {
  const [, name = "", times] = /^pm_sandbox_([a-z]+)_503_times_(\d{1,3})$/.exec(token) ?? []
  const operation = countable[name]
  return operation === undefined ? undefined : faulty(token, operation, Number(times), { _tag: "Unavailable" })
}

/** What a token stands for; absent for one which neither the provider nor the sandbox has. */
export const findTestToken = (token: string): TestToken | undefined =>
  // The provider names some of its declining cards with their brand and some without.
  byToken.get(token) ?? byToken.get(token.replace("pm_card_visa_charge", "pm_card_charge")) ?? findCounted(token)

/** The tokens as a table in Markdown. */
export const testTokensAsMarkdown = (): string =>
  [
    "| Token | What happens |",
    "| --- | --- |",
    ...testTokens.map((row) => `| \`${row.token}\` | ${row.happens} |`),
    "| `pm_sandbox_void_503_times_7` | Void is answered with 503, 7 times; likewise `create`, `authorize`, `capture` and `refund`, and any number. |"
  ].join("\n")

const byToken = new Map(testTokens.map((row) => [row.token, row]))

function told(token: string, how: string, webhooks: Partial<WebhookPlan>): TestToken {
  return { token, happens: `Authorized and captured; of its webhooks ${how}.`, webhooks, faults: [] }
}

function approved(token: string): TestToken {
  return { token, happens: "Authorized, captured and refunded at once.", faults: [] }
}

function declined(token: string, decline_code: string, message: string): TestToken {
  return {
    token,
    happens: `Declined (\`${decline_code}\`).`,
    decline: { code: "card_declined", decline_code, message },
    faults: []
  }
}

function declinedBecause(token: string, code: string, message: string): TestToken {
  return { token, happens: `Declined (\`${code}\`).`, decline: { code, message }, faults: [] }
}

function faulty(token: string, operation: Operation, times: number | "always", fault: Fault): TestToken {
  return { token, happens: describe(operation, times, fault), faults: [{ operation, times, fault }] }
}

function describe(operation: Operation, times: number | "always", fault: Fault): string {
  const often = times === "always" ? "every time" : (["once", "twice"][times - 1] ?? `${times} times`)
  const work = nameOf(operation)
  switch (fault._tag) {
    case "Delay":
      return `${work} takes ${fault.ms / 1000} s, ${often}.`
    case "Unavailable":
      return `${work} is answered with 503 and a page of HTML, ${often}; nothing is done.`
    case "ServerError":
      return `${work} is answered with 500, stored under its key, ${often}; the work is ${fault.done ? "done" : "not done"}.`
    case "RateLimited":
      return `${work} is answered with 429, ${often}; nothing is done.`
    case "Reset":
      return `${work}: the connection is cut ${fault.done ? "after" : "before"} the work, ${often}.`
    case "Silence":
      return `${work} is not answered, ${often}; the work is ${fault.done ? "done" : "not done"}.`
    case "Refused":
      return `${work} is refused for good (\`${fault.code}\`), ${often}.`
    case "Processing":
      return `${work} stays \`processing\` for ${fault.ms / 1000} s, ${often}.`
    case "Pending":
      return `${work} stays \`pending\` for ${fault.ms / 1000} s and has ${fault.as} then, ${often}.`
    case "Returned":
      return `${work} succeeds, and has failed ${fault.ms / 1000} s later, ${often}.`
    case "Down":
      return `${work} finds nobody for ${fault.ms / 1000} s, ${often}.`
  }
}

function nameOf(operation: Operation): string {
  switch (operation) {
    case "create":
      return "Creation"
    case "confirm":
      return "Authorization"
    case "cancel":
      return "Void"
    case "capture":
      return "Capture"
    case "refund":
      return "Refund"
    default:
      return `A ${operation}`
  }
}
