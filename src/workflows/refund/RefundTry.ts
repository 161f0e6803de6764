import { DateTime, Effect } from "effect"
import { PaymentGateway } from "../../gateways/PaymentGateway.ts"
import type { IdempotencyConflict, Unavailable } from "../../domain/Refusals.ts"
import type { PaymentRefusal } from "../../entities/payment/PaymentActor.ts"
import type { Refund, RefundId } from "../../entities/payment/Refund.ts"
import { giveBack, lookInto } from "../../entities/payment/RefundConversation.ts"
import { refundNamed } from "../../entities/payment/RefundDecider.ts"
import type { Group } from "../checkout/CheckoutActors.ts"
import { CheckoutContext } from "../checkout/CheckoutContext.ts"

type Fault = PaymentRefusal | IdempotencyConflict | Unavailable

/**
 * One try of a refund, whatever was left of an earlier one; gives the refund as it is then, or nothing when there is no such refund. It
 * ends completed, pending with the provider, or failed with its next try set or without. With `again` one that was given up is tried too.
 */
export const tryRefund = Effect.fn("Refund.try")(function* (
  group: Group,
  id: RefundId,
  options: { readonly again: boolean }
): Effect.fn.Return<Refund | undefined, Fault, CheckoutContext | PaymentGateway> {
  const { exclusively, refunds } = yield* CheckoutContext
  const gateway = yield* PaymentGateway
  return yield* exclusively(group.id)(
    Effect.gen(function* (): Effect.fn.Return<Refund | undefined, Fault> {
      const payment = group.payment.state
      const refund = payment._tag === "Absent" ? undefined : refundNamed(payment, id)
      if (payment._tag === "Absent" || refund === undefined || refund.status === "completed") return refund
      if (refund.status === "failed" && !options.again && !(yield* isDue(refund))) return refund
      if (refund.status === "processing" && refund.reference !== undefined) {
        if (!(yield* isDue(refund))) return refund
        const report = yield* lookInto(gateway, payment, refund)
        return report === undefined || report.status === "pending"
          ? yield* refunds.awaited(group, refund)
          : yield* refunds.answered(group, refund, report)
      }
      // The provider may have heard of it unless it was only asked for; a failure may have been one of our own.
      const before = refund.status !== "requested"
      const started = yield* refunds.start(group, refund).pipe(
        Effect.catchTag("RefundNotPossible", (refusal) =>
          // An issuer has taken the money back meanwhile.
          refund.status === "requested"
            ? refunds.answered(group, refund, {
                _tag: "Failed",
                code: refusal.because,
                definite: true,
                answered: false
              })
            : Effect.fail(refusal)
        )
      )
      if (started === undefined || started.status !== "processing") return started
      const now = group.payment.state
      if (now._tag === "Absent") return undefined
      return yield* refunds.answered(group, started, yield* giveBack(gateway, group.id, now, started, before))
    })
  )
})

/** The same where nobody waits for the outcome: should it fail, the payment's timer looks after what is left. */
export const tryRefundSoon = (
  group: Group,
  id: RefundId
): Effect.Effect<void, never, CheckoutContext | PaymentGateway> =>
  tryRefund(group, id, { again: false }).pipe(
    Effect.catch((error) =>
      Effect.logWarning("A refund is tried again later", { orderId: group.id, error: error._tag })
    ),
    Effect.asVoid
  )

/** Its next try or look is due. */
const isDue = ({ nextAttemptAt }: Refund): Effect.Effect<boolean> =>
  Effect.map(DateTime.now, (now) => nextAttemptAt !== undefined && DateTime.isLessThanOrEqualTo(nextAttemptAt, now))
