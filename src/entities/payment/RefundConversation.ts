/**
 * What is said to the provider about refunds, and what its answers mean. As with all conversations the intent is durable before a call and
 * the outcome after it; a try whose outcome is unknown is looked up among the intent's refunds, by its key, before it is made again.
 */
import { Effect, Redacted } from "effect"
import type { PaymentGateway, ProviderRefund } from "../../gateways/PaymentGateway.ts"
import { type PresentPayment, providerKeys } from "./Payment.ts"
import type { Refund } from "./Refund.ts"
import { isCharged } from "./RefundDecider.ts"

type Gateway = PaymentGateway["Service"]

export type RefundAnswer =
  /** The provider has the refund, and says how it stands. */
  | {
      readonly _tag: "Reported"
      readonly reference: string
      readonly status: ProviderRefund["status"]
      readonly amount: bigint
      readonly code?: string
    }
  /** `definite`: nothing was given back, and trying again is of no use. `answered`: stored under the key, so the next try takes another. */
  | { readonly _tag: "Failed"; readonly code: string; readonly definite: boolean; readonly answered: boolean }

type Report = Extract<RefundAnswer, { readonly _tag: "Reported" }>

const reportOf = ({ amount, failure, id, status }: ProviderRefund): Report => ({
  _tag: "Reported",
  reference: Redacted.value(id),
  status,
  amount,
  ...(failure === undefined ? {} : { code: failure })
})

const unknown: RefundAnswer = { _tag: "Failed", code: "outcome_unknown", definite: false, answered: false }

/**
 * Asks for the refund. With `again` it may have been asked for before, so the provider is asked what it knows first; while an issuer has
 * the money nothing more is done than that.
 */
export const giveBack = (
  gateway: Gateway,
  id: string,
  payment: PresentPayment,
  refund: Refund,
  again: boolean
): Effect.Effect<RefundAnswer> => {
  const { currency, intent } = payment
  if (intent === undefined) return Effect.die(new Error("a refund without an authorization"))
  const key = providerKeys.refund(id, refund.id, refund.suffix)
  const at = Redacted.make(intent, { label: "authorization" })
  /** How the provider has it; `otherwise` when it surely has not. */
  const look = (otherwise: Effect.Effect<RefundAnswer>): Effect.Effect<RefundAnswer> =>
    gateway.refunds(at).pipe(
      Effect.matchEffect({
        onFailure: () => Effect.succeed(unknown),
        onSuccess: (all) => {
          const found = all.find((one) => one.key === key)
          return found === undefined ? otherwise : Effect.succeed(reportOf(found))
        }
      })
    )
  const send = gateway
    .refund({ key, id: at, amount: { amount: refund.amount, currency }, checkoutId: id, refund: refund.id })
    .pipe(
      Effect.map((made): RefundAnswer => reportOf(made)),
      Effect.catchTags({
        NotPossible: ({ code }) =>
          look(Effect.succeed<RefundAnswer>({ _tag: "Failed", code, definite: true, answered: true })),
        ProviderUnavailable: () =>
          Effect.succeed<RefundAnswer>({
            _tag: "Failed",
            code: "provider_unavailable",
            definite: false,
            answered: false
          }),
        OutcomeUnknown: ({ answered }) => look(Effect.succeed({ ...unknown, answered: answered === true }))
      })
    )
  const charged: RefundAnswer = { _tag: "Failed", code: "chargeback", definite: true, answered: false }
  const ask = isCharged(payment) ? Effect.succeed(charged) : send
  return (again ? look(ask) : ask).pipe(Effect.withSpan("payment.refund"))
}

/** How the provider has a refund which it holds pending; undefined when it cannot be told now. */
export const lookInto = (
  gateway: Gateway,
  payment: PresentPayment,
  refund: Refund
): Effect.Effect<Report | undefined> => {
  if (payment.intent === undefined) return Effect.die(new Error("a refund without an authorization"))
  return gateway.refunds(Redacted.make(payment.intent, { label: "authorization" })).pipe(
    Effect.map((all) => {
      const found = all.find(({ id }) => Redacted.value(id) === refund.reference)
      return found === undefined ? undefined : reportOf(found)
    }),
    Effect.orElseSucceed(() => undefined),
    Effect.withSpan("payment.refund")
  )
}
