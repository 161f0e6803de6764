/**
 * Gives everything back, last step first. Each step has its tries, then leaves a record for an operator, and the next goes on: a failure
 * of one neither hides nor stops the others. REQ-CPN-01, REQ-CHK-16.
 */
import { Duration, Effect, Schedule } from "effect"
import { Activity } from "effect/workflow"
import { Promotions } from "../../catalog/Promotions.ts"
import type { ReasonCode } from "../../entities/order/Order.ts"
import * as Conversation from "../../entities/payment/PaymentConversation.ts"
import { compensationRefund } from "../../entities/payment/Refund.ts"
import { PaymentGateway } from "../../gateways/PaymentGateway.ts"
import type { Group } from "../checkout/CheckoutActors.ts"
import { CheckoutContext } from "../checkout/CheckoutContext.ts"
import { type Attempt, attemptOf, refusalText, StepConflict, stands, untilDurable } from "../checkout/CheckoutSteps.ts"
import { promotionUse } from "../checkout/CheckoutTerms.ts"
import { tryRefundSoon } from "../refund/RefundTry.ts"
import { PaymentCompensation } from "./Compensation.ts"

/** The hold is dropped, or what was taken is given back: tried once here, and on the refund's own timer until it is done. */
const settle = Effect.fnUntraced(function* (group: Group, attempt: Attempt, reason: ReasonCode) {
  const { exclusively, limits, steps } = yield* CheckoutContext
  const gateway = yield* PaymentGateway
  yield* exclusively(group.id)(
    Effect.gen(function* () {
      const payment = group.payment.state
      if (payment._tag === "Absent" || payment.saga === "voided" || payment.saga === "refunded") return
      let settlement = yield* Conversation.settle(gateway, group.id, payment)
      for (let tried = 1; settlement._tag === "Unsettled" && tried < limits.compensationAttempts; tried++) {
        yield* Effect.sleep(Duration.times(limits.compensationBackoff, 2 ** (tried - 1)))
        settlement = yield* Conversation.settle(gateway, group.id, payment)
      }
      if (settlement._tag === "Unsettled") {
        yield* Effect.logError("Money of a cancelled order is left to an operator", {
          orderId: group.id,
          error: settlement.error
        })
      }
      yield* steps.settled(group, attempt, settlement, reason)
    })
  )
  yield* tryRefundSoon(group, compensationRefund(attempt.number))
})

/** A step that is refused again and again, by an actor or by the database, is left to its record; what passes is waited out elsewhere. */
const tried = Effect.fnUntraced(function* <E extends { readonly _tag: string }, R1, E2, R2>(
  step: Effect.Effect<void, E | StepConflict, R1>,
  otherwise: (error: string) => Effect.Effect<void, E2, R2>
) {
  const { limits } = yield* CheckoutContext
  yield* step.pipe(
    Effect.catchDefect((defect) => Effect.fail(new StepConflict({ refusal: defect }))),
    Effect.retry({
      while: (error) => error._tag === "StepConflict",
      schedule: Schedule.exponential(limits.compensationBackoff, 2).pipe(
        Schedule.upTo({ times: limits.compensationAttempts - 1 })
      )
    }),
    Effect.catchIf(
      (error) => error instanceof StepConflict,
      ({ refusal }) => otherwise(refusalText(refusal))
    )
  )
})

/** Claimed units are released, committed ones reversed. */
const restock = Effect.fnUntraced(function* (group: Group, attempt: Attempt, reason: ReasonCode) {
  const { steps } = yield* CheckoutContext
  yield* tried(steps.restocked(group, attempt), (error) => steps.restockFailed(group, attempt, reason, error))
})

const cancel = Effect.fnUntraced(function* (group: Group, attempt: Attempt, reason: ReasonCode) {
  const { steps } = yield* CheckoutContext
  yield* tried(steps.compensated(group, attempt, reason), (error) =>
    steps.compensationFailed(group, attempt, reason, error)
  )
})

export const layer = PaymentCompensation.toLayer(
  Effect.fnUntraced(function* ({ attempt: number, orderId, reason }) {
    const { withCurrent } = yield* CheckoutContext
    const promotions = yield* Promotions
    const step = <R>(name: string, run: (group: Group, attempt: Attempt) => Effect.Effect<void, unknown, R>) =>
      Activity.make({
        name,
        execute: withCurrent(orderId, (group) => {
          const session = group.session.state
          return session._tag === "Absent" ||
            session.attempt !== number ||
            stands(group.order.state, group.payment.state, number)
            ? Effect.void
            : run(group, attemptOf(session))
        }).pipe(Effect.retry(untilDurable), Effect.orDie)
      })
    yield* step("settle", (group, attempt) => settle(group, attempt, reason))
    yield* step("restock", (group, attempt) => restock(group, attempt, reason))
    yield* step("promotion", (group, attempt) => {
      const session = group.session.state
      return session._tag === "Present" && session.promotionCode !== undefined
        ? promotions.release(promotionUse(group.id, attempt.number, session.promotionCode))
        : Effect.void
    })
    yield* step("cancel", (group, attempt) => cancel(group, attempt, reason))
  })
)
