/** Requests to the provider's API: what they are for, and whether their parameters are as its manual wants them. */
import { Result } from "effect"
import type Stripe from "stripe"
import type { Operation } from "./Faults.ts"
import { recordOf, textOf, textsOf } from "./FormBody.ts"
import type { Params } from "./FormBody.ts"
import type { Intent, ProviderError, Terms } from "./IntentRules.ts"
import { invalid, missing, required } from "./ProviderErrors.ts"
import { findTestToken } from "./TestTokens.ts"

export interface Route {
  readonly operation: Operation
  /** Of the intent, refund or dispute, where the address names one. */
  readonly id: string | undefined
}

/** What an address is for; undefined if the provider has no such endpoint. */
export const routeOf = (method: "GET" | "POST", path: string): Route | undefined => {
  if (!path.startsWith("/v1/")) return undefined
  const [resource, id, action, ...rest] = path.slice(4).split("/")
  if (rest.length > 0) return undefined
  if (resource === "payment_intents") {
    if (method === "GET") {
      if (action !== undefined) return undefined
      if (id === undefined) return { operation: "list", id }
      return id === "search" ? { operation: "search", id: undefined } : { operation: "retrieve", id }
    }
    if (id === undefined) return { operation: "create", id }
    return action === "confirm" || action === "capture" || action === "cancel" ? { operation: action, id } : undefined
  }
  if (resource === "disputes") {
    if (method !== "GET" || action !== undefined) return undefined
    return { operation: id === undefined ? "list_disputes" : "retrieve_dispute", id }
  }
  if (resource === "transfers") {
    return id === undefined ? { operation: method === "POST" ? "transfer" : "list_transfers", id } : undefined
  }
  if (resource !== "refunds" || action !== undefined) return undefined
  if (method === "POST") return id === undefined ? { operation: "refund", id } : undefined
  return { operation: id === undefined ? "list_refunds" : "retrieve_refund", id }
}

/** A parameter which the write does not take is refused, so that a misspelt one shows. */
export const findUnknownParameter = (operation: Operation, params: Params): ProviderError | undefined => {
  const unknown = Object.keys(params).find((name) => parameters[operation]?.has(name) !== true)
  return unknown === undefined
    ? undefined
    : invalid(unknown, `Received unknown parameter: ${unknown}`, "parameter_unknown")
}

/** A whole number, or nothing where there is none. */
export const wholeNumber = (params: Params, name: string): Result.Result<number | undefined, ProviderError> => {
  const text = textOf(params[name])
  if (text === undefined) return Result.succeed(undefined)
  return /^\d{1,15}$/.test(text)
    ? Result.succeed(Number(text))
    : Result.fail(invalid(name, `Invalid integer: ${text}`, "parameter_invalid_integer"))
}

/** What a new intent is to be, without the names which the provider gives it. */
export const readTerms = (
  params: Params
): Result.Result<Omit<Terms, "id" | "clientSecret" | "createdAt">, ProviderError> => {
  const number = wholeNumber(params, "amount")
  if (Result.isFailure(number)) return Result.fail(number.failure)
  const amount = number.success
  const currency = textOf(params["currency"])?.toLowerCase()
  const customer = textOf(params["customer"]) ?? null
  const metadata = recordOf(params["metadata"])
  if (amount === undefined) return Result.fail(required("amount"))
  if (currency === undefined) return Result.fail(required("currency"))
  const problem =
    findAmountProblem(amount, currency) ??
    findCardProblem(params) ??
    (customer !== null && !customer.startsWith("cus_") ? missing("customer", customer) : undefined) ??
    findMetadataProblem(metadata)
  if (problem !== undefined) return Result.fail(problem)
  const captureMethod = textOf(params["capture_method"])
  return Result.succeed({
    amount,
    currency,
    captureMethod: captureMethod === "manual" || captureMethod === "automatic" ? captureMethod : "automatic_async",
    customer,
    description: textOf(params["description"]) ?? null,
    metadata: textsOf(metadata),
    automaticMethods:
      params["payment_method_types"] !== undefined || params["allowed_payment_method_types"] !== undefined
        ? null
        : {
            redirects:
              textOf(recordOf(params["automatic_payment_methods"])["allow_redirects"]) === "never" ? "never" : "always"
          }
  })
}

/** A card which neither the provider nor the sandbox has. */
export const findCardProblem = (params: Params): ProviderError | undefined => {
  const token = textOf(params["payment_method"])
  return token === undefined || findTestToken(token) !== undefined ? undefined : missing("PaymentMethod", token)
}

/** Whether a list asks for this intent, by customer or by time. */
export const matchesList = (intent: Intent, params: Params): boolean => {
  const customer = textOf(params["customer"])
  if (customer !== undefined && customer !== intent.terms.customer) return false
  const created = Math.floor(intent.terms.createdAt / 1000)
  const at = textOf(params["created"])
  if (at !== undefined) return created === Number(at)
  return Object.entries(recordOf(params["created"])).every(([comparison, bound]) => {
    const limit = Number(bound)
    if (comparison === "gt") return created > limit
    if (comparison === "gte") return created >= limit
    if (comparison === "lt") return created < limit
    return comparison === "lte" && created <= limit
  })
}

/** The page which `limit` and one of `starting_after` and `ending_before` ask for; ten to a page unless told otherwise. */
export const pageOf = <A>(
  newestFirst: ReadonlyArray<A>,
  idOf: (item: A) => string,
  params: Params
): { readonly items: ReadonlyArray<A>; readonly more: boolean } => {
  const limit = Math.min(100, Math.max(1, Number(textOf(params["limit"]) ?? "10")))
  const before = textOf(params["ending_before"])
  if (before !== undefined) {
    const end = newestFirst.findIndex((item) => idOf(item) === before)
    return { items: newestFirst.slice(Math.max(0, end - limit), Math.max(0, end)), more: end > limit }
  }
  const after = textOf(params["starting_after"])
  const start = after === undefined ? 0 : newestFirst.findIndex((item) => idOf(item) === after) + 1
  return { items: newestFirst.slice(start, start + limit), more: newestFirst.length > start + limit }
}

const findAmountProblem = (amount: number, currency: string): ProviderError | undefined => {
  if (!/^[a-z]{3}$/.test(currency)) return invalid("currency", `Invalid currency: ${currency}.`)
  if (amount === 0) {
    return invalid("amount", "This value must be greater than or equal to 1.", "parameter_invalid_integer")
  }
  if (amount > (currency === "idr" ? 999_999_999_999 : 99_999_999)) {
    return invalid("amount", "Amount must be no more than 8 digits.", "amount_too_large")
  }
  return wholeOnly.has(currency) && amount % 100 !== 0
    ? invalid(
        "amount",
        `Invalid amount. Currency ${currency.toUpperCase()} has become effectively zero-decimal.`,
        "invalid_charge_amount_no_decimal_compatible"
      )
    : undefined
}

/** Whole units only, written with two decimals all the same. Source: the provider's manual on currencies, special cases. */
const wholeOnly: ReadonlySet<string> = new Set(["isk", "ugx"])

const findMetadataProblem = (metadata: Params): ProviderError | undefined => {
  if (Object.keys(metadata).length > 50) return invalid("metadata", "Metadata can have up to 50 keys.")
  return Object.values(metadata).some((value) => typeof value !== "string" || value.length > 500)
    ? invalid("metadata", "Metadata values can have up to 500 characters.")
    : undefined
}

/** What each write takes. The SDK's types check the names; those it has no more are from older versions, or for browsers. */
const parameters: Readonly<Partial<Record<Operation, ReadonlySet<string>>>> = {
  create: new Set<keyof Stripe.PaymentIntentCreateParams | "payment_method_types">([
    "allowed_payment_method_types",
    "amount",
    "automatic_payment_methods",
    "capture_method",
    "confirm",
    "confirmation_method",
    "currency",
    "customer",
    "description",
    "error_on_requires_action",
    "excluded_payment_method_types",
    "expand",
    "metadata",
    "off_session",
    "payment_method",
    "payment_method_options",
    "payment_method_types",
    "receipt_email",
    "return_url",
    "setup_future_usage",
    "shipping",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_group",
    "use_stripe_sdk"
  ]),
  confirm: new Set<keyof Stripe.PaymentIntentConfirmParams | "payment_method_types" | "client_secret" | "key">([
    "allowed_payment_method_types",
    "capture_method",
    "client_secret",
    "error_on_requires_action",
    "expand",
    "key",
    "off_session",
    "payment_method",
    "payment_method_options",
    "payment_method_types",
    "receipt_email",
    "return_url",
    "setup_future_usage",
    "shipping",
    "use_stripe_sdk"
  ]),
  capture: new Set<keyof Stripe.PaymentIntentCaptureParams>([
    "amount_to_capture",
    "expand",
    "metadata",
    "statement_descriptor",
    "statement_descriptor_suffix"
  ]),
  cancel: new Set<keyof Stripe.PaymentIntentCancelParams>(["cancellation_reason", "expand"]),
  refund: new Set<keyof Stripe.RefundCreateParams>([
    "amount",
    "charge",
    "expand",
    "metadata",
    "payment_intent",
    "reason"
  ]),
  transfer: new Set<keyof Stripe.TransferCreateParams>([
    "amount",
    "currency",
    "description",
    "destination",
    "expand",
    "metadata",
    "source_transaction",
    "source_type",
    "transfer_group"
  ])
}
