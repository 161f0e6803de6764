/** Tries the capture again on durable clocks; after the last try, or a refusal for good, the order is compensated. REQ-CAP-01 to 07. */
import { DateTime, Effect, Schema } from "effect"
import { Activity, DurableClock } from "effect/workflow"
import type { ReasonCode } from "../../entities/order/Order.ts"
import * as Conversation from "../../entities/payment/PaymentConversation.ts"
import { backoff } from "../../entities/payment/Backoff.ts"
import { holdEndOf } from "../../entities/payment/PaymentDecider.ts"
import { PaymentGateway } from "../../gateways/PaymentGateway.ts"
import { CheckoutContext } from "../checkout/CheckoutContext.ts"
import { attemptOf, untilDurable } from "../checkout/CheckoutSteps.ts"
import { PaymentCompensation } from "../compensation/Compensation.ts"
import { CapturePayment } from "./Capture.ts"
import { expiredCodes } from "./ReasonToGiveUp.ts"

const Try = Schema.Literals(["captured", "stock_gone", "failed", "refused", "expired", "superseded"])

const reasons = {
  stock_gone: "stock_confirmation_failed",
  failed: "payment_capture_exhausted",
  refused: "payment_failed",
  expired: "authorization_expired"
} as const satisfies Partial<Record<typeof Try.Type, ReasonCode>>

/** One retry: found done, it gives what came of it. */
const capture = Effect.fn("CapturePayment.capture")(function* (id: string, number: number, retry: number) {
  const { exclusively, limits, steps, withCurrent } = yield* CheckoutContext
  const gateway = yield* PaymentGateway
  return yield* exclusively(id)(
    withCurrent(
      id,
      Effect.fnUntraced(function* (group): Effect.fn.Return<
        typeof Try.Type,
        Effect.Error<ReturnType<typeof steps.captureAgain>>
      > {
        const session = group.session.state
        const before = group.payment.state
        if (session._tag === "Absent" || before._tag === "Absent" || before.attempt !== number) return "superseded"
        const attempt = attemptOf(session)
        // A deferred capture finds its order confirmed.
        const taken = (amount: bigint | undefined) =>
          session.status !== "confirmed"
            ? Effect.map(steps.finish(group, attempt, amount), (bound) => (bound ? "captured" : "stock_gone"))
            : amount === undefined
              ? Effect.succeed("captured" as const)
              : Effect.as(steps.captured(group, attempt, amount), "captured" as const)
        if (before.saga === "captured") return yield* taken(undefined)
        if (before.saga !== "capture_failed" && before.saga !== "capture_pending") return "superseded"
        if (before.captureRetryCount >= retry) return "failed"
        if (before.saga === "capture_failed") {
          const holdEnd = holdEndOf(before, limits)
          // The compensation asks the provider once more before it gives anything back. REQ-CAP-05.
          if (holdEnd !== undefined && DateTime.isGreaterThanOrEqualTo(yield* DateTime.now, holdEnd)) return "expired"
          yield* steps.captureAgain(group, attempt, retry)
        }
        const payment = group.payment.state
        if (payment._tag === "Absent") return "superseded"
        const answer = yield* Conversation.capture(gateway, id, payment, true)
        if (answer._tag === "Captured") return yield* taken(answer.amount)
        yield* steps.captureFailed(group, attempt, retry, answer)
        if (!answer.definite) return "failed"
        return expiredCodes.has(answer.code) ? "expired" : "refused"
      })
    )
  )
})

export const layer = CapturePayment.toLayer(
  Effect.fnUntraced(function* ({ attempt, orderId }) {
    const { limits } = yield* CheckoutContext
    let last: typeof Try.Type = "failed"
    for (let retry = 1; retry <= limits.captureRetriesMax && last === "failed"; retry++) {
      yield* DurableClock.sleep({
        name: `before-retry-${retry}`,
        duration: backoff(retry, limits.captureBackoff),
        inMemoryThreshold: 0
      })
      last = yield* Activity.make({
        name: `capture-retry-${retry}`,
        success: Try,
        execute: capture(orderId, attempt, retry).pipe(Effect.retry(untilDurable), Effect.orDie)
      })
    }
    if (last === "captured" || last === "superseded") return last
    yield* PaymentCompensation.execute({ orderId, attempt, reason: reasons[last] })
    return "compensated" as const
  })
)
