/** What tests and developers may ask of the sandbox's webhooks and of its customers' banks. */
import { Result, Schema } from "effect"
import { forgeryKinds } from "./Forgeries.ts"
import type { PaymentProvider } from "./PaymentProvider.ts"
import { WebhookPlan } from "./WebhookPlan.ts"
import type { Webhooks } from "./Webhooks.ts"

export interface ControlAnswer {
  readonly status: number
  readonly value: unknown
}

/** Answers what is asked of `/sandbox/webhooks` and `/sandbox/disputes`; undefined for any other address. */
export const answerControl = (
  request: { readonly method: string; readonly path: string; readonly body: string },
  provider: PaymentProvider["Service"],
  webhooks: Webhooks | undefined
): ControlAnswer | undefined => {
  const [, root, resource, id, action] = request.path.split("/")
  if (root !== "sandbox") return undefined
  if (resource === "disputes" && request.method === "POST") {
    return id === undefined ? openDispute(request.body, provider) : closeDispute(id, request.body, provider)
  }
  if (resource !== "webhooks") return undefined
  if (webhooks === undefined) return refuse(409, "This sandbox was started without an address for webhooks.")
  if (id === undefined) {
    if (request.method === "GET") return { status: 200, value: { plan: webhooks.plan(), sent: webhooks.sent() } }
    if (request.method !== "POST") return undefined
    return read(decodePlan, request.body, (plan) => {
      webhooks.setPlan(plan)
      return { status: 200, value: webhooks.plan() }
    })
  }
  if (request.method !== "POST") return undefined
  const done = (found: boolean): ControlAnswer =>
    found ? { status: 200, value: { status: "sent" } } : refuse(404, "No such webhook was sent of late.")
  if (action === "resend") {
    return read(decodeResend, request.body === "" ? "{}" : request.body, ({ times = 1 }) =>
      done(webhooks.resend(id, times))
    )
  }
  if (action === "forge") return read(decodeForge, request.body, ({ kind }) => done(webhooks.forge(id, kind)))
  return undefined
}

const openDispute = (body: string, provider: PaymentProvider["Service"]): ControlAnswer =>
  read(decodeDispute, body, ({ payment_intent: intent, ...options }) => {
    const made = provider.dispute(intent, options)
    return made === undefined
      ? refuse(400, "There is nothing to dispute: the payment must be captured, and not disputed before.")
      : { status: 200, value: made }
  })

const closeDispute = (id: string, body: string, provider: PaymentProvider["Service"]): ControlAnswer =>
  read(decodeOutcome, body, ({ outcome }) => {
    const closed = provider.closeDispute(id, outcome)
    return closed === undefined ? refuse(404, "No such dispute is open.") : { status: 200, value: closed }
  })

const read = <A>(
  decode: (text: string) => Result.Result<A, unknown>,
  body: string,
  then: (value: A) => ControlAnswer
): ControlAnswer => {
  const decoded = decode(body)
  return Result.isSuccess(decoded) ? then(decoded.success) : refuse(400, String(decoded.failure))
}

const refuse = (status: number, message: string): ControlAnswer => ({
  status,
  value: { error: { type: "invalid_request_error", message } }
})

const Positive = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 99_999_999 }))
const { copies, delayMs, forged, reorderWithinMs } = WebhookPlan.fields

const decodePlan = Schema.decodeUnknownResult(
  Schema.fromJsonString(
    Schema.Struct({
      copies: Schema.optionalKey(copies),
      delayMs: Schema.optionalKey(delayMs),
      reorderWithinMs: Schema.optionalKey(reorderWithinMs),
      forged: Schema.optionalKey(forged)
    })
  )
)
const decodeResend = Schema.decodeUnknownResult(
  Schema.fromJsonString(
    Schema.Struct({ times: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000 }))) })
  )
)
const decodeForge = Schema.decodeUnknownResult(
  Schema.fromJsonString(Schema.Struct({ kind: Schema.Literals(forgeryKinds) }))
)
const decodeDispute = Schema.decodeUnknownResult(
  Schema.fromJsonString(
    Schema.Struct({
      payment_intent: Schema.String,
      amount: Schema.optionalKey(Positive),
      reason: Schema.optionalKey(Schema.String)
    })
  )
)
const decodeOutcome = Schema.decodeUnknownResult(
  Schema.fromJsonString(Schema.Struct({ outcome: Schema.Literals(["won", "lost"]) }))
)
