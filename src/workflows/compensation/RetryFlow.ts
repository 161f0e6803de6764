/**
 * Failed compensations, tried again: on their own durable timers, and when an operator says so. The attempt begins with a durable step
 * whose timer is urgent, so that whoever takes over from a node that died goes on with it at once. REQUIREMENTS B.12, C.22.
 */
import { Effect, Layer } from "effect"
import { type CustomerId, type IdempotencyKey, OrderId } from "../../domain/Ids.ts"
import { placementMark } from "../../domain/Placed.ts"
import type { IdempotencyConflict, Unavailable } from "../../domain/Refusals.ts"
import { type CompensationOperation, FailedCompensation } from "../../entities/failedCompensation/FailedCompensation.ts"
import { attemptTimer, retireTimer, retryTimer } from "../../entities/failedCompensation/FailedCompensationActor.ts"
import { view } from "../../entities/failedCompensation/FailedCompensationDecider.ts"
import { IntentReference, type PresentPayment } from "../../entities/payment/Payment.ts"
import * as Conversation from "../../entities/payment/PaymentConversation.ts"
import { compensationRefund } from "../../entities/payment/Refund.ts"
import { isGivenUp } from "../../entities/payment/RefundDecider.ts"
import { PaymentGateway } from "../../gateways/PaymentGateway.ts"
import { Actors } from "../../runtime/Actors.ts"
import { Journal } from "../../runtime/Journal.ts"
import { Placement } from "../../runtime/Placement.ts"
import { retire } from "../../runtime/Retirement.ts"
import { Timers } from "../../runtime/Timers.ts"
import { CheckoutActors, type Group } from "../checkout/CheckoutActors.ts"
import { CheckoutContext } from "../checkout/CheckoutContext.ts"
import { attemptOf, refusalText, stands, type StepConflict } from "../checkout/CheckoutSteps.ts"
import { tryRefund, tryRefundSoon } from "../refund/RefundTry.ts"
import type { FailedRecord } from "./FailedRecords.ts"
import { make as makeSteps, type Retrying } from "./RetrySteps.ts"

type Fault = StepConflict | IdempotencyConflict | Unavailable
interface Commanded {
  readonly key: IdempotencyKey
  readonly by: CustomerId
}

/** Ends the attempt: done, or failed with the error which an operator reads. */
type Handler = (
  group: Group,
  record: FailedRecord,
  attempt: Retrying
) => Effect.Effect<void, Fault, CheckoutContext | PaymentGateway>

const make = Effect.gen(function* () {
  const actors = yield* Actors
  const journal = yield* Journal
  const placement = yield* Placement
  const timers = yield* Timers
  const { failed } = yield* CheckoutActors
  const services = yield* Effect.context<CheckoutContext | PaymentGateway>()
  const gateway = yield* PaymentGateway
  const { exclusively, steps: checkoutSteps, withCurrent } = yield* CheckoutContext
  const steps = makeSteps(journal)

  const fail = (group: Group, record: FailedRecord, attempt: Retrying, error: string) =>
    steps.end(group, record, attempt, { _tag: "AttemptFailed", error })

  /** The payment as it was when the hold was to be dropped: another attempt of the checkout may have another one by now. */
  const heldBy = (payment: PresentPayment, { attempt, authorizationId }: Retrying): PresentPayment => {
    const { intent: _, ...rest } = payment
    const current = payment.attempt === attempt
    return {
      ...rest,
      attempt,
      saga: current ? payment.saga : "none",
      ...(authorizationId === undefined ? {} : { intent: IntentReference.make(authorizationId) })
    }
  }

  const dropHold = (group: Group, attempt: Retrying) =>
    exclusively(group.id)(
      Effect.suspend(() => {
        const payment = group.payment.state
        if (payment._tag === "Absent") return Effect.succeed<Conversation.Settlement>({ _tag: "Voided" })
        return Conversation.settle(gateway, group.id, heldBy(payment, attempt), attempt.retryCount + 1)
      })
    )

  const voidAuthorization: Handler = Effect.fnUntraced(function* (group, record, attempt) {
    const settlement = yield* dropHold(group, attempt)
    if (settlement._tag === "Unsettled") return yield* fail(group, record, attempt, settlement.error)
    yield* steps.voided(group, record, attempt, settlement)
    if (settlement._tag === "Taken") yield* tryRefundSoon(group, compensationRefund(attempt.attempt))
  })

  const release: Handler = (group, record, attempt) =>
    steps.released(group, record, attempt).pipe(
      // What the database refuses is this attempt's failure, and not the end of its timer.
      Effect.catchDefect((defect) => fail(group, record, attempt, refusalText(defect))),
      Effect.catchTag("StepConflict", ({ refusal }) => fail(group, record, attempt, refusalText(refusal)))
    )

  const refund: Handler = Effect.fnUntraced(function* (group, record, attempt) {
    const payment = group.payment.state
    const asked = payment._tag === "Absent" ? undefined : payment.refunds?.[attempt.attempt - 1]
    if (asked === undefined) return yield* fail(group, record, attempt, "there is no such refund")
    const tried = yield* tryRefund(group, asked.id, { again: true }).pipe(
      Effect.map((one) => ({ one, error: one?.failure })),
      Effect.catchTags({
        PaymentConflict: ({ saga }) => Effect.succeed({ one: undefined, error: `the payment is ${saga}` }),
        RefundNotPossible: ({ because }) => Effect.succeed({ one: undefined, error: because }),
        RefundTooLarge: ({ remaining }) => Effect.succeed({ one: undefined, error: `only ${remaining} are left` })
      })
    )
    if (tried.one?.status === "completed") return yield* steps.end(group, record, attempt, { _tag: "Succeeded" })
    if (tried.one !== undefined && !isGivenUp(tried.one) && tried.one.status !== "failed") {
      return yield* steps.end(group, record, attempt, { _tag: "Awaited" })
    }
    yield* fail(group, record, attempt, tried.error ?? "outcome_unknown")
  })

  /** All that is unfinished of a compensation: money, stock, and the order's own end. */
  const compensate: Handler = Effect.fnUntraced(function* (group, record, attempt) {
    const session = group.session.state
    const settlement = yield* dropHold(group, attempt)
    if (session._tag === "Absent" || session.attempt !== attempt.attempt) {
      return settlement._tag === "Unsettled"
        ? yield* fail(group, record, attempt, settlement.error)
        : yield* steps.voided(group, record, attempt, settlement)
    }
    const current = attemptOf(session)
    yield* checkoutSteps.restocked(group, current)
    const order = group.order.state
    const reason = order._tag === "Placed" ? (order.reason ?? "payment_capture_exhausted") : "payment_capture_exhausted"
    yield* checkoutSteps.compensated(group, current, reason)
    if (settlement._tag === "Unsettled") return yield* fail(group, record, attempt, settlement.error)
    yield* steps.voided(group, record, attempt, settlement)
    if (settlement._tag === "Taken") yield* tryRefundSoon(group, compensationRefund(attempt.attempt))
  })

  /** How each operation is done after all: a new one does not compile until somebody has said so. REQ-CMP-01. */
  const handlers: Readonly<Record<CompensationOperation, Handler>> = {
    void_authorization: voidAuthorization,
    release_reservations: release,
    restock: release,
    refund,
    order_compensation: compensate
  }
  const isKnown = (operation: string): operation is CompensationOperation => Object.hasOwn(handlers, operation)

  const withRecord = <A, E, R>(
    id: string,
    use: (record: FailedRecord, group: Group) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | Unavailable, R> =>
    Effect.flatMap(actors.cell(failed, id), (record) =>
      record.state._tag === "Absent"
        ? withCurrent(orderOf(id), (group) => use(record, group))
        : withCurrent(record.state.orderId, (group) => use(record, group))
    )

  /** Left behind by a node which did not know that its order was paid and confirmed: there is nothing to undo. */
  const isLiving = ({ order, payment }: Group, { attempt, authorizationId, operation }: Retrying): boolean =>
    operation !== "refund" &&
    payment.state._tag === "Present" &&
    payment.state.attempt === attempt &&
    payment.state.intent === authorizationId &&
    stands(order.state, payment.state, attempt)

  /** The attempt under way; found ended, there is nothing to do. */
  const attempt = (id: string) =>
    withRecord(id, (record, group) =>
      Effect.suspend((): ReturnType<Handler> => {
        const { state } = record
        if (state._tag !== "Retrying") return Effect.void
        if (isLiving(group, state)) return steps.end(group, record, state, { _tag: "Succeeded" })
        if (!isKnown(state.operation)) return steps.end(group, record, state, { _tag: "Unhandled" })
        return handlers[state.operation](group, record, state).pipe(
          Effect.catchTag("StepConflict", ({ refusal }) => fail(group, record, state, refusalText(refusal)))
        )
      })
    ).pipe(Effect.withSpan("compensation.retry", { attributes: { compensationId: id } }), Effect.provide(services))

  timers.onDue(
    FailedCompensation.type,
    (id, _, dueAt) =>
      Effect.flatMap(actors.cell(failed, id), (cell) => {
        const { state } = cell
        if (state._tag !== "Pending" || state.nextAttemptAt?.epochMilliseconds !== dueAt.epochMilliseconds) {
          return Effect.void
        }
        const key = `timer:${retryTimer}:${dueAt.epochMilliseconds}`
        return Effect.asVoid(journal.command({ cell, key, command: { _tag: "Start" }, cause: `timer ${retryTimer}` }))
      }),
    retryTimer
  )
  timers.onDue(FailedCompensation.type, attempt, attemptTimer)
  timers.onDue(
    FailedCompensation.type,
    (id) =>
      Effect.flatMap(actors.cell(failed, id), (cell) =>
        cell.state._tag === "Resolved" ? retire(journal, cell, retireTimer) : Effect.void
      ),
    retireTimer
  )

  const shown = ({ id, state, version }: FailedRecord) => Effect.fromResult(view(state, id, version))

  placement.serve(FailedCompensation, {
    GetFailedCompensation: (id: string) => Effect.flatMap(actors.cell(failed, id), shown),
    Retry: (id: string, { by, key }: Commanded) =>
      Effect.flatMap(actors.cell(failed, id), (cell) =>
        // Its timer is due at once: the attempt begins with this commit.
        Effect.flatMap(
          journal.command({ cell, key, command: { _tag: "Retry", by }, cause: `command ${key}` }),
          ({ state, version }) => Effect.fromResult(view(state, id, version))
        )
      ),
    Resolve: (id: string, command: Commanded & { readonly reason: string }) =>
      withRecord(id, (record, group) =>
        Effect.gen(function* () {
          yield* steps.resolved(group, record, command, yield* isGone(group, record))
          return yield* shown(record)
        })
      ),
    AlertSent: (id: string, { key }: Pick<Commanded, "key">) =>
      Effect.flatMap(actors.cell(failed, id), (cell) =>
        journal.command({ cell, key, command: { _tag: "AlertSent" }, cause: `command ${key}` })
      ).pipe(Effect.asVoid, Effect.catchTags({ IllegalTransition: () => Effect.void, NotFound: () => Effect.void }))
  })

  /** Whether the provider says that the hold is gone: asked when an operator says so, and believed where it answers. */
  const isGone = (group: Group, { state }: FailedRecord): Effect.Effect<boolean> => {
    if (state._tag === "Absent" || state.operation !== "void_authorization") return Effect.succeed(false)
    const { authorizationId } = state
    if (authorizationId === undefined || group.payment.state._tag === "Absent") return Effect.succeed(false)
    return Conversation.isVoided(gateway, IntentReference.make(authorizationId))
  }
})

const orderOf = (id: string): OrderId => OrderId.make(id.split(placementMark, 1)[0]!)

export const layer: Layer.Layer<
  never,
  never,
  Actors | CheckoutActors | CheckoutContext | Journal | PaymentGateway | Placement | Timers
> = Layer.effectDiscard(make)
