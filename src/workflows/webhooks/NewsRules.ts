/**
 * What a provider's news mean for a payment, pure. News are a hint: what says no more than is known changes nothing, everything else has
 * the provider asked, and what it answers decides. So their order does not matter, and a forged one could not move money. REQ-WHK-04.
 */
import type { PaymentState, PresentPayment } from "../../entities/payment/Payment.ts"
import { isUnknown } from "../../entities/payment/PaymentDecider.ts"
import type { PaymentFact, ProviderNews } from "../../entities/providerEvent/ProviderEvent.ts"
import type { Intent } from "../../gateways/PaymentGateway.ts"

/** What to do about news before the provider is asked. */
export type Weight =
  /** No payment of ours. */
  | "unmatched"
  /** Of our checkout, but not the authorization which its payment stands on now. */
  | "elsewhere"
  | "known"
  | "ask"
  | "refund"
  | "chargeback"

export const weigh = ({ fact, intent }: Pick<ProviderNews, "fact" | "intent">, payment: PaymentState): Weight => {
  if (payment._tag === "Absent") return "unmatched"
  if (intent === undefined || payment.intent === undefined || String(payment.intent) !== String(intent))
    return "elsewhere"
  if (fact._tag === "Refund") return isKnownRefund(fact, payment) ? "known" : "refund"
  if (fact._tag === "Chargeback") return isKnownChargeback(fact, payment) ? "known" : "chargeback"
  return isKnown(fact, payment) ? "known" : "ask"
}

type IntentFact = Exclude<PaymentFact, { readonly _tag: "Refund" | "Chargeback" }>

const isKnown = (fact: IntentFact, payment: PresentPayment): boolean => {
  const { captured, saga, status } = payment
  const closed = status === "failed" || status === "voided"
  switch (fact._tag) {
    case "Authorized":
      return saga !== "none" && isFor(fact, payment, payment.amount)
    case "Captured":
      return (saga === "captured" || saga === "refunded") && isFor(fact, payment, captured)
    case "Voided":
      return closed
    case "Failed":
      return status === "failed"
    case "RequiresAction":
      return saga !== "none" || closed || payment.actionUntil !== undefined
    case "Processing":
      return saga !== "none" || closed
  }
}

const isKnownRefund = (
  { amount, refund, status }: Extract<PaymentFact, { readonly _tag: "Refund" }>,
  { refunds = [] }: PresentPayment
): boolean => {
  const known = refunds.find(({ failedReference, reference }) => reference === refund || failedReference === refund)
  if (known === undefined || known.amount !== amount) return false
  // Of what had failed for good, and of what is over, nothing new can come.
  if (known.failedReference === refund) return true
  if (status === "failed") return false
  return known.status === "completed" || (known.status === "processing" && status === "pending")
}

const isKnownChargeback = (
  { chargeback, status }: Extract<PaymentFact, { readonly _tag: "Chargeback" }>,
  { chargebacks = [] }: PresentPayment
): boolean => chargebacks.some((one) => one.id === chargeback && (one.status !== "opened" || status === "opened"))

const isFor = (
  fact: Extract<PaymentFact, { readonly amount: bigint }>,
  { currency }: PresentPayment,
  amount: bigint
): boolean => fact.amount === amount && fact.currency === currency

/** What is wrong, for an operator. */
export interface Discrepancy {
  readonly kind: "webhook_money_without_order" | "webhook_disagrees" | "webhook_late_capture" | "chargeback"
  readonly severity: "critical" | "warning"
  readonly summary: string
}

/** Whether what the provider says of refunds and chargebacks can be true yet: of news, a later one may have come first. */
export const wasTaken = ({ saga }: PresentPayment): "yes" | "no" | "not_yet" => {
  if (saga === "captured" || saga === "refunded") return "yes"
  return saga === "voided" ? "no" : "not_yet"
}

/** What is done, now that the provider has said what is true. */
export type Conclusion =
  /** Nothing: we know it, or its own process is at work on it. */
  | { readonly _tag: "Nothing"; readonly outcome: string }
  /** The process which is at it has to take its next step: the checkout's, or that of a deferred capture. */
  | { readonly _tag: "GoOn" }
  | { readonly _tag: "Place"; readonly intent: Extract<Intent, { readonly _tag: "Authorized" }> }
  | { readonly _tag: "Decline"; readonly code: string; readonly message: string }
  /** An authorization of unknown outcome is known now: what it may hold is given back. */
  | { readonly _tag: "Resolve" }
  | { readonly _tag: "Finish"; readonly amount: bigint }
  /** Nothing can be captured any more. */
  | { readonly _tag: "HoldGone" }
  /** Nothing is changed, and somebody has to look at it. */
  | { readonly _tag: "Discrepancy"; readonly discrepancy: Discrepancy }

export const conclude = (fact: PaymentFact, payment: PresentPayment, found: Intent): Conclusion => {
  const conclusion = meaningOf(payment, found)
  if (conclusion._tag !== "Nothing") return conclusion
  if (fact._tag === "Captured" && payment.saga === "voided") {
    return discrepancy("webhook_late_capture", "warning", "A capture was reported of a hold which has been dropped")
  }
  if ((fact._tag === "Authorized" || fact._tag === "Captured") && !isFor(fact, payment, payment.amount)) {
    return discrepancy("webhook_disagrees", "warning", "An event names another amount than the payment has")
  }
  return conclusion
}

const meaningOf = (payment: PresentPayment, found: Intent): Conclusion => {
  switch (payment.saga) {
    case "none":
      return beforeHold(payment, found)
    case "authorized":
      // Whoever captures finds it so, and goes on from there.
      return found._tag === "Captured" || found._tag === "Voided" ? { _tag: "GoOn" } : nothing("up to date")
    case "capture_pending":
    case "capture_failed":
      if (found._tag === "Captured") {
        return found.amount === payment.amount && found.refunded === 0n
          ? { _tag: "Finish", amount: found.amount }
          : discrepancy(
              "webhook_disagrees",
              "critical",
              "Another amount was captured than the order's, or it was given back"
            )
      }
      return found._tag === "Voided" ? { _tag: "HoldGone" } : nothing("still to be captured")
    case "captured":
    case "refunded":
      return found._tag === "Captured" && found.amount === payment.captured
        ? nothing("up to date")
        : discrepancy("webhook_disagrees", "critical", "The provider does not have what we take for captured")
    case "voided":
      return holds(found) ? unowned : nothing("up to date")
  }
}

const beforeHold = (payment: PresentPayment, found: Intent): Conclusion => {
  if (payment.status === "failed" || payment.status === "voided") return holds(found) ? unowned : nothing("up to date")
  if (isUnknown(payment)) {
    return found._tag === "Processing" || found._tag === "RequiresAction"
      ? nothing("not decided yet")
      : { _tag: "Resolve" }
  }
  if (payment.actionUntil === undefined) return { _tag: "GoOn" }
  switch (found._tag) {
    case "Authorized":
      return found.amount === payment.amount ? { _tag: "Place", intent: found } : { _tag: "GoOn" }
    case "Unconfirmed": {
      const { code, message } = found.declined ?? unproven
      return { _tag: "Decline", code, message }
    }
    case "Voided":
      return { _tag: "Decline", code: "canceled", message: "The payment was cancelled." }
    case "Captured":
      return holds(found) ? unowned : nothing("given back at the provider")
    case "RequiresAction":
    case "Processing":
      return nothing("not decided yet")
  }
}

/** Whether it has money of the customer's, or could take it. */
export const holds = (found: Intent): boolean =>
  found._tag === "Authorized" || (found._tag === "Captured" && found.amount > found.refunded)

const unproven = { code: "authentication_failed", message: "The payment was not authenticated." }

const nothing = (outcome: string): Conclusion => ({ _tag: "Nothing", outcome })

const discrepancy = (kind: Discrepancy["kind"], severity: Discrepancy["severity"], summary: string): Conclusion => ({
  _tag: "Discrepancy",
  discrepancy: { kind, severity, summary }
})

/** Of a refund or chargeback which cannot be of this payment. */
export const impossible: Discrepancy = {
  kind: "webhook_disagrees",
  severity: "critical",
  summary: "A refund or a chargeback was reported which does not fit its payment"
}

/** Of money which no live order of ours stands behind. */
export const moneyWithoutOrder: Discrepancy = {
  kind: "webhook_money_without_order",
  severity: "critical",
  summary: "The provider has money of a customer which no live order stands behind"
}

/** Of an issuer's claim: there is a time within which the shop may answer it. */
export const chargedBack: Discrepancy = {
  kind: "chargeback",
  severity: "critical",
  summary: "An issuer has taken money back for its customer"
}

const unowned: Conclusion = { _tag: "Discrepancy", discrepancy: moneyWithoutOrder }
