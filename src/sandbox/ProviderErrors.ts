/** The provider's errors in its own words, as far as the rules of an intent do not word them. */
import type { ProviderError } from "./IntentRules.ts"

/** A parameter which does not pass validation: nothing was begun, and nothing is stored under the key. */
export const invalid = (param: string, message: string, code?: string): ProviderError => ({
  status: 400,
  type: "invalid_request_error",
  param,
  message,
  ...(code === undefined ? {} : { code })
})

export const required = (param: string): ProviderError =>
  invalid(param, `Missing required param: ${param}.`, "parameter_missing")

/** Of what is named by the address it is 404, of what a parameter names 400. */
export const missing = (
  kind: "payment_intent" | "refund" | "dispute" | "PaymentMethod" | "customer",
  id: string
): ProviderError => ({
  ...invalid(paramOf[kind], `No such ${kind}: '${id}'`, "resource_missing"),
  status: kind === "PaymentMethod" || kind === "customer" ? 400 : 404
})

const paramOf = {
  payment_intent: "intent",
  refund: "id",
  dispute: "dispute",
  PaymentMethod: "payment_method",
  customer: "customer"
}

export const unknownUrl = (method: string, path: string): ProviderError => ({
  status: 404,
  type: "invalid_request_error",
  message: `Unrecognized request URL (${method}: ${path}). The sandbox has payment intents, refunds, disputes and transfers only.`
})

export const serverError: ProviderError = { status: 500, type: "api_error", message: "An unknown error occurred." }

export const refused = (code: string, message: string): ProviderError => ({
  status: 400,
  type: "invalid_request_error",
  code,
  message
})

export const tooManyRequests: ProviderError = {
  status: 429,
  type: "invalid_request_error",
  code: "rate_limit",
  message: "Too many requests in too short a time."
}

export const locked: ProviderError = {
  status: 429,
  type: "invalid_request_error",
  code: "lock_timeout",
  message:
    "This object cannot be accessed right now because another API request or Stripe process is currently accessing it. If you " +
    "see this error intermittently, retry the request. If you see this error frequently and are making multiple concurrent " +
    "requests to a single object, make your requests serially or at a lower rate."
}

export const keyMisused = (key: string): ProviderError => ({
  status: 400,
  type: "idempotency_error",
  message:
    "Keys for idempotent requests can only be used with the same parameters they were first used with. Try using a key other " +
    `than '${key}' if you meant to execute a different request.`
})

export const keyInUse = (key: string): ProviderError => ({
  status: 409,
  type: "idempotency_error",
  code: "idempotency_key_in_use",
  message:
    "There is currently another in-progress request using this Idempotent Key (that probably means you submitted twice, and the " +
    `other request is still going through): ${key}. Please try again later.`
})
