/**
 * The first try of a deferred capture: asked for by an operator or by whoever ships, or made shortly before the hold runs out. What fails
 * is retried by the capture process, and compensated in the end, like any other capture. REQ-CAP-08.
 */
import { DateTime, Effect, Layer } from "effect"
import { WorkflowEngine } from "effect/workflow"
import { OrderId } from "../../domain/Ids.ts"
import { NotFound, type IdempotencyConflict, Unavailable } from "../../domain/Refusals.ts"
import { Payment, PaymentConflict } from "../../entities/payment/Payment.ts"
import { captureTimer } from "../../entities/payment/PaymentActor.ts"
import * as Conversation from "../../entities/payment/PaymentConversation.ts"
import { holdEndOf, view } from "../../entities/payment/PaymentDecider.ts"
import { PaymentGateway } from "../../gateways/PaymentGateway.ts"
import { Placement } from "../../runtime/Placement.ts"
import { Timers } from "../../runtime/Timers.ts"
import type { Group } from "../checkout/CheckoutActors.ts"
import { CheckoutContext } from "../checkout/CheckoutContext.ts"
import { attemptOf, isDeferred, type StepConflict } from "../checkout/CheckoutSteps.ts"
import { PaymentCompensation } from "../compensation/Compensation.ts"
import { CapturePayment } from "./Capture.ts"
import { Captures } from "./Captures.ts"
import { reasonToGiveUp } from "./ReasonToGiveUp.ts"

type Fault = NotFound | PaymentConflict | StepConflict | IdempotencyConflict | Unavailable

const make = Effect.gen(function* () {
  const { exclusively, limits, steps, withGroup } = yield* CheckoutContext
  const gateway = yield* PaymentGateway
  const placement = yield* Placement
  const timers = yield* Timers
  const engine = yield* WorkflowEngine.WorkflowEngine

  const begin = <E>(started: Effect.Effect<unknown, E, WorkflowEngine.WorkflowEngine>): Effect.Effect<void, E> =>
    Effect.asVoid(Effect.provideService(started, WorkflowEngine.WorkflowEngine, engine))

  /** One step further; `false` when it is over, or somebody else goes on. `begun`: this call made the intent, nobody else can have asked. */
  const advance = Effect.fnUntraced(function* (group: Group, begun: boolean): Effect.fn.Return<boolean, Fault> {
    const session = group.session.state
    const payment = group.payment.state
    if (session._tag === "Absent" || payment._tag === "Absent") return yield* new NotFound({ id: group.id })
    const attempt = attemptOf(session)
    const orderId = OrderId.make(group.id)
    const conflict = new PaymentConflict({ saga: payment.saga, status: payment.status, command: "Capture" })
    if (payment.saga === "captured" || payment.saga === "refunded") return false
    // While its checkout is under way the hold is not there to be taken by others. REQ-CAP-10.
    if (!isDeferred(payment) || session.status !== "confirmed") return yield* conflict
    switch (payment.saga) {
      case "authorized": {
        const holdEnd = holdEndOf(payment, limits)
        if (holdEnd !== undefined && DateTime.isGreaterThanOrEqualTo(yield* DateTime.now, holdEnd)) {
          const failure = { _tag: "Failed", code: "authorization_expired", definite: true, answered: true } as const
          yield* steps.captureFailed(group, attempt, 0, failure)
        } else {
          yield* steps.captureAgain(group, attempt, 0)
        }
        return true
      }
      case "capture_pending": {
        if (payment.failure === undefined) {
          const answer = yield* Conversation.capture(gateway, group.id, payment, !begun)
          yield* answer._tag === "Captured"
            ? steps.captured(group, attempt, answer.amount)
            : steps.captureFailed(group, attempt, 0, answer)
          return true
        }
        yield* begin(CapturePayment.execute({ orderId, attempt: attempt.number }, { discard: true }))
        return false
      }
      case "capture_failed": {
        const about = { orderId, attempt: attempt.number }
        yield* payment.captureRefused
          ? begin(PaymentCompensation.execute({ ...about, reason: reasonToGiveUp(payment) }, { discard: true }))
          : begin(CapturePayment.execute(about, { discard: true }))
        return false
      }
      case "none":
      case "voided":
        return yield* conflict
    }
  })

  const capture = (group: Group): Effect.Effect<void, Fault> =>
    exclusively(group.id)(
      Effect.gen(function* () {
        let begun = false
        while (true) {
          const before = group.payment.state
          if (!(yield* advance(group, begun))) return
          begun = before._tag === "Present" && before.saga === "authorized"
        }
      })
    )

  timers.onDue(
    Payment.type,
    (id) =>
      withGroup(id, (group) =>
        capture(group).pipe(Effect.catchTags({ PaymentConflict: () => Effect.void, NotFound: () => Effect.void }))
      ),
    captureTimer
  )

  placement.serve(Captures, {
    Capture: (id: string) =>
      withGroup(id, (group) =>
        capture(group).pipe(
          Effect.catchTags({
            StepConflict: () => Effect.fail(new Unavailable({ retryAfterMs: 500 })),
            IdempotencyConflict: () => Effect.fail(new Unavailable({ retryAfterMs: 500 }))
          }),
          Effect.flatMap(() => {
            const seen = view(group.payment.state)
            return seen === null ? Effect.fail(new NotFound({ id })) : Effect.succeed(seen)
          })
        )
      )
  })
})

export const layer: Layer.Layer<
  never,
  never,
  CheckoutContext | PaymentGateway | Placement | Timers | WorkflowEngine.WorkflowEngine
> = Layer.effectDiscard(make)
