/**
 * The steps of a checkout, each one durable unit over the actors of one id, with its undo beside it. All are safe to repeat: their
 * commands carry the attempt's keys, so that a step which is found finished gives its first answer.
 */
import { Data, DateTime, Effect, Predicate, Result, Schedule } from "effect"
import type { Money } from "../../domain/Money.ts"
import type { IdempotencyConflict, Unavailable } from "../../domain/Refusals.ts"
import { checkoutIdOf, IdempotencyKey, OrderId, orderNumberOf } from "../../domain/Ids.ts"
import {
  type AttemptOutcome,
  type AttemptTerms,
  OutOfStock,
  type PresentCheckout,
  type Rejection
} from "../../entities/checkoutSession/CheckoutSession.ts"
import { checkoutSteps } from "../../entities/checkoutSession/CheckoutSessionTable.ts"
import type { OrderPaymentStatus, OrderState, ReasonCode, Terms } from "../../entities/order/Order.ts"
import { canMove } from "../../entities/order/OrderDecider.ts"
import type { CaptureMode, IntentReference, PaymentState, PresentPayment } from "../../entities/payment/Payment.ts"
import type { Authorization, Capture, Settlement } from "../../entities/payment/PaymentConversation.ts"
import { orderPaymentStatus } from "../../entities/payment/PaymentDecider.ts"
import type { ReservationState } from "../../entities/reservation/Reservation.ts"
import { compensationRefund } from "../../entities/payment/Refund.ts"
import { partsOf } from "../../entities/payment/SellerParts.ts"
import type { Journal } from "../../runtime/Journal.ts"
import type { Row } from "../../runtime/Table.ts"
import type { Transaction } from "../../runtime/Transaction.ts"
import { type FailedRecord, type FailedRecords, leave } from "../compensation/FailedRecords.ts"
import { cellsOf, type Group } from "./CheckoutActors.ts"
import { observed } from "./CheckoutMetrics.ts"
import type { Freezing } from "./FrozenCart.ts"

/** The actors are not where the step thought they were: nothing was written, and the process looks again. */
export class StepConflict extends Data.TaggedError("StepConflict")<{ readonly refusal: unknown }> {}

/** What a refusal, or a defect, is called in a record. */
export const refusalText = (refusal: unknown): string =>
  Predicate.hasProperty(refusal, "_tag") ? String(refusal._tag) : String(refusal)

type Stepped<A> = Effect.Effect<A, StepConflict | Unavailable | IdempotencyConflict>

/** The attempt under way, or the latest one. */
export interface Attempt {
  readonly number: number
  readonly confirmKey: IdempotencyKey
  /** The total the buyer had seen, when there was one. */
  readonly expectedTotal?: Money
}

/** Fails the unit on a refusal. */
export const must = <A, E>(transaction: Transaction, result: Result.Result<A, E>): A =>
  Result.isSuccess(result) ? result.success : transaction.abort(new StepConflict({ refusal: result.failure }))

/** The order was, or is to be, confirmed by its hold. REQ-CAP-08. */
export const isDeferred = ({ captureMode, saga }: PresentPayment): boolean =>
  captureMode === "deferred" && saga !== "none"

const moneyStatus = (payment: PresentPayment): OrderPaymentStatus => orderPaymentStatus[payment.status]

/** The payment as this unit has left it. */
const paid = (transaction: Transaction, group: Group): PresentPayment => {
  const state = transaction.state(group.payment)
  if (state._tag === "Absent") throw new Error("a checkout under way has no payment")
  return state
}

const opened = (transaction: Transaction, group: Group): PresentCheckout => {
  const state = transaction.state(group.session)
  if (state._tag === "Absent") throw new Error("a checkout under way has no session")
  return state
}

export interface StepOptions {
  readonly captureMode: CaptureMode
  /** The shop's usual fee. */
  readonly feeBasisPoints: number
}

export const make = (
  journal: Journal["Service"],
  records: FailedRecords,
  { captureMode, feeBasisPoints }: StepOptions
) => {
  const unit = <A>(
    group: Group,
    attempt: Attempt,
    step: string,
    options: {
      readonly stock: boolean
      /** Where it is written down when the step has failed for good. */
      readonly record?: FailedRecord | undefined
      readonly body: (transaction: Transaction) => readonly [outcome: string, value: A]
    }
  ): Stepped<A> =>
    Effect.gen(function* () {
      const startedAt = yield* DateTime.now
      return yield* journal.unit<A, StepConflict>({
        cells: options.record === undefined ? cellsOf(group) : [...cellsOf(group), options.record],
        cause: `checkout ${step}`,
        ...(options.stock ? { counters: () => skusOf(group) } : {}),
        body: (transaction) => {
          const [outcome, value] = options.body(transaction)
          transaction.write(checkoutSteps, {
            checkout_id: group.id,
            attempt: attempt.number,
            step,
            outcome,
            started_at: startedAt,
            ended_at: transaction.now
          } satisfies Row)
          return value
        }
      })
    }).pipe(
      (made) => observed(group, made),
      Effect.withSpan(`checkout.${step}`, { attributes: { checkoutId: group.id } }, { captureStackTrace: false })
    )

  /** A step of a compensation, unless there is nothing to undo after all. */
  const undoing = (group: Group, attempt: Attempt, step: string, options: Parameters<typeof unit<undefined>>[3]) => {
    const made = unit<undefined>(group, attempt, step, {
      ...options,
      body: (transaction) =>
        stands(transaction.state(group.order), transaction.state(group.payment), attempt.number)
          ? ["superseded", undefined]
          : options.body(transaction)
    })
    // A record alone does not meet what another node has written to the others.
    return options.record === undefined ? made : Effect.andThen(journal.reread(cellsOf(group)), made)
  }

  const end = (transaction: Transaction, group: Group, { number, ...asked }: Attempt, outcome: AttemptOutcome) =>
    transaction.execute(group.session, `end:${number}`, { _tag: "End", attempt: number, ...asked, outcome })

  const release = (transaction: Transaction, group: Group, attempt: Attempt) => {
    if (transaction.state(group.reservation)._tag === "Active") {
      must(transaction, transaction.execute(group.reservation, `release:${attempt.number}`, { _tag: "Release" }))
    }
  }

  return {
    /** Freezes the cart unless it is, claims all lines or none, and makes the intent to charge durable. Undone by `reject`. */
    reserve: (
      group: Group,
      attempt: Attempt,
      session: PresentCheckout,
      terms: AttemptTerms,
      freezing: Freezing | undefined
    ): Stepped<AttemptOutcome | undefined> => {
      const { number } = attempt
      const skus = terms.lines.map(({ sku }) => sku)
      const parts = partsOf(terms.lines, terms.totals)
      return Effect.gen(function* () {
        const startedAt = yield* DateTime.now
        return yield* journal.unit<AttemptOutcome | undefined, StepConflict>({
          cells: freezing === undefined ? cellsOf(group) : [...cellsOf(group), freezing.cell],
          cause: "checkout reserve",
          counters: () => skus,
          body: (transaction) => {
            if (freezing !== undefined) must(transaction, freezing.freeze(transaction))
            const begun = transaction.execute(group.session, `begin:${number}`, {
              _tag: "Begin",
              attempt: number,
              confirmKey: attempt.confirmKey,
              ...(attempt.expectedTotal === undefined ? {} : { expectedTotal: attempt.expectedTotal }),
              terms
            })
            must(transaction, begun)
            const reserved = must(
              transaction,
              transaction.execute(group.reservation, `reserve:${number}`, {
                _tag: "Reserve",
                attempt: number,
                lines: terms.lines.map(({ quantity, sku }) => ({ sku, quantity }))
              })
            )
            const refused = reserved._tag === "Refused" ? reserved.shortages : undefined
            transaction.write(checkoutSteps, {
              checkout_id: group.id,
              attempt: number,
              step: "reserve",
              outcome: refused === undefined ? "reserved" : "out_of_stock",
              started_at: startedAt,
              ended_at: transaction.now
            })
            if (refused !== undefined) {
              const outcome: AttemptOutcome = { _tag: "Rejected", rejection: new OutOfStock({ lines: refused }) }
              must(transaction, end(transaction, group, attempt, outcome))
              return outcome
            }
            must(
              transaction,
              transaction.execute(group.payment, `begin:${number}`, {
                _tag: "Begin",
                attempt: number,
                customerId: session.owner,
                amount: terms.totals.total,
                currency: session.currency,
                ...(captureMode === "immediate" ? {} : { captureMode }),
                ...(parts.length === 0 ? {} : { sellers: { parts, feeBasisPoints } })
              })
            )
            return undefined
          }
        })
      }).pipe(
        (made) => observed(group, made),
        Effect.withSpan("stock.reserve", { attributes: { checkoutId: group.id } }, { captureStackTrace: false })
      )
    },

    /** A refusal before anything was claimed: prices, products, address. */
    refuse: (group: Group, attempt: Attempt, rejection: Rejection) =>
      unit(group, attempt, "validate", {
        stock: false,
        body: (transaction) => {
          must(transaction, end(transaction, group, attempt, { _tag: "Rejected", rejection }))
          return [rejection._tag, undefined]
        }
      }),

    /** The provider knows the charge: from here on an unknown outcome can be looked up at any age. */
    intent: (group: Group, attempt: Attempt, intent: IntentReference) =>
      unit(group, attempt, "intent", {
        stock: false,
        body: (transaction) => {
          must(
            transaction,
            transaction.execute(group.payment, `intent:${attempt.number}`, { _tag: "IntentCreated", intent })
          )
          return ["created", undefined]
        }
      }),

    actionRequired: (group: Group, attempt: Attempt) =>
      unit(group, attempt, "action", {
        stock: false,
        body: (transaction) => {
          must(transaction, transaction.execute(group.payment, `action:${attempt.number}`, { _tag: "ActionRequired" }))
          return ["requires_action", undefined]
        }
      }),

    /**
     * Places the pending order and makes the intent to capture durable, behind a claim that outlives all retries. A deferred capture is not
     * begun: the hold alone confirms the order.
     */
    place: (
      group: Group,
      attempt: Attempt,
      authorization: Extract<Authorization, { readonly _tag: "Authorized" }> | undefined
    ) =>
      unit(group, attempt, "place", {
        stock: false,
        body: (transaction) => {
          const { number } = attempt
          const session = opened(transaction, group)
          if (authorization !== undefined) {
            must(
              transaction,
              transaction.execute(group.payment, `authorized:${number}`, {
                _tag: "Authorized",
                amount: authorization.amount,
                ...(authorization.holdUntil === undefined ? {} : { holdUntil: authorization.holdUntil })
              })
            )
          }
          must(transaction, transaction.execute(group.reservation, `extend:${number}`, { _tag: "Extend" }))
          if (paid(transaction, group).saga !== "none" && !isDeferred(paid(transaction, group))) {
            must(transaction, transaction.execute(group.payment, `capture:${number}`, { _tag: "StartCapture" }))
          }
          must(
            transaction,
            transaction.execute(group.order, "place", {
              _tag: "Place",
              terms: orderTerms(group.id, number, session),
              paymentStatus: moneyStatus(paid(transaction, group))
            })
          )
          return ["placed", undefined]
        }
      }),

    /** Another capture attempt, or with zero the first of a deferred capture, is about to be made. */
    captureAgain: (group: Group, attempt: Attempt, retry: number) =>
      unit(group, attempt, retry === 0 ? "capture_begun" : `capture_retry_${retry}`, {
        stock: false,
        body: (transaction) => {
          must(
            transaction,
            transaction.execute(group.payment, `capture:${attempt.number}:${retry}`, { _tag: "StartCapture" })
          )
          return ["started", undefined]
        }
      }),

    /** A deferred capture has taken the money of an order that was confirmed before. */
    captured: (group: Group, attempt: Attempt, amount: bigint) =>
      unit(group, attempt, "captured", {
        stock: false,
        body: (transaction) => {
          const { number } = attempt
          must(transaction, transaction.execute(group.payment, `captured:${number}`, { _tag: "Captured", amount }))
          must(
            transaction,
            transaction.execute(group.order, `money:${number}:captured`, {
              _tag: "PaymentMoved",
              paymentStatus: moneyStatus(paid(transaction, group))
            })
          )
          return ["captured", undefined]
        }
      }),

    captureFailed: (
      group: Group,
      attempt: Attempt,
      retry: number,
      failure: Extract<Capture, { readonly _tag: "Failed" }>
    ) =>
      unit(group, attempt, retry === 0 ? "capture" : `capture_failed_${retry}`, {
        stock: false,
        body: (transaction) => {
          const { answered, code, definite } = failure
          must(
            transaction,
            transaction.execute(group.payment, `capture-failed:${attempt.number}:${retry}`, {
              _tag: "CaptureFailed",
              code,
              definite,
              answered,
              retry: retry > 0
            })
          )
          return [code, undefined]
        }
      }),

    /**
     * Money taken, stock bound, order confirmed, cart told: together. `false` when the claim on the stock was gone, or a compensation was
     * faster.
     */
    finish: (group: Group, attempt: Attempt, captured: bigint | undefined): Stepped<boolean> =>
      unit(group, attempt, "confirm", {
        stock: true,
        body: (transaction) => {
          const { number } = attempt
          // A compensation which has begun to give the money back goes on to its end.
          if (isGivenBack(paid(transaction, group), number)) return ["given_back", false]
          if (captured !== undefined) {
            must(
              transaction,
              transaction.execute(group.payment, `captured:${number}`, { _tag: "Captured", amount: captured })
            )
          }
          const payment = paid(transaction, group)
          const committed = transaction.execute(group.reservation, `commit:${number}`, { _tag: "Commit" })
          if (Result.isFailure(committed)) {
            must(
              transaction,
              transaction.execute(group.order, `money:${number}:captured`, {
                _tag: "PaymentMoved",
                paymentStatus: moneyStatus(payment)
              })
            )
            return ["stock_gone", false]
          }
          // Nothing to pay is paid for.
          const status: OrderPaymentStatus = payment.amount === 0n ? "completed" : moneyStatus(payment)
          must(
            transaction,
            transaction.execute(group.order, `confirm:${number}`, { _tag: "Confirm", paymentStatus: status })
          )
          const orderId = OrderId.make(group.id)
          const total = { amount: payment.amount, currency: payment.currency }
          must(
            transaction,
            end(transaction, group, attempt, { _tag: "Confirmed", orderId, number: orderNumberOf(orderId), total })
          )
          return ["confirmed", true]
        }
      }),

    /** Undoes `reserve` before an order was placed: the claim is given back, and the payment closed with `payment`. */
    reject: (
      group: Group,
      attempt: Attempt,
      rejection: Rejection,
      payment:
        /** What was said of this intent, or before there was one. */
        | { readonly _tag: "Declined"; readonly code: string; readonly intent: IntentReference | undefined }
        | { readonly _tag: "Unknown" }
        | { readonly _tag: "Voided" }
    ) =>
      unit(group, attempt, "reject", {
        stock: true,
        body: (transaction) => {
          const { number } = attempt
          const unknown = () =>
            must(
              transaction,
              transaction.execute(group.payment, `unknown:${number}:0`, { _tag: "AuthorizationUnknown" })
            )
          switch (payment._tag) {
            case "Declined":
              // Another node has made one meanwhile, and may be using it.
              if (paid(transaction, group).intent !== payment.intent) unknown()
              else {
                must(
                  transaction,
                  transaction.execute(group.payment, `declined:${number}`, { _tag: "Declined", code: payment.code })
                )
              }
              break
            case "Unknown":
              unknown()
              break
            case "Voided":
              must(transaction, transaction.execute(group.payment, `voided:${number}`, { _tag: "Voided" }))
              break
          }
          release(transaction, group, attempt)
          must(transaction, end(transaction, group, attempt, { _tag: "Rejected", rejection }))
          return [rejection._tag, undefined]
        }
      }),

    /** What became of an authorization whose outcome was unknown. */
    resolved: (group: Group, attempt: Attempt, settlement: Settlement) =>
      journal.unit<void, StepConflict>({
        cells: cellsOf(group),
        cause: "checkout resolve",
        body: (transaction) => {
          const { number } = attempt
          const payment = paid(transaction, group)
          if (payment.attempt !== number || payment.saga !== "none") return
          if (settlement._tag === "Voided") {
            must(transaction, transaction.execute(group.payment, `voided:${number}`, { _tag: "Voided" }))
          } else {
            must(
              transaction,
              transaction.execute(group.payment, `unknown:${number}:${payment.resolutions}`, {
                _tag: "AuthorizationUnknown"
              })
            )
          }
        }
      }),

    /** Looked into often enough in vain: an operator has to see to what it may hold, and the looks end. */
    unresolved: Effect.fnUntraced(function* (
      group: Group,
      attempt: Attempt,
      error: string
    ): Effect.fn.Return<void, Effect.Error<Stepped<void>>> {
      const operation = "void_authorization"
      const record = yield* records(group.id, operation, attempt.number)
      yield* journal.unit<void, StepConflict>({
        cells: [...cellsOf(group), record],
        cause: "checkout resolve",
        body: (transaction) => {
          const { number } = attempt
          const payment = paid(transaction, group)
          if (payment.attempt !== number || payment.saga !== "none" || payment.nextAttemptAt === undefined) return
          must(transaction, transaction.execute(group.payment, `left:${number}`, { _tag: "LeaveToOperator" }))
          leave(transaction, record, {
            ...unfinished(transaction, group, attempt, "authorization_unknown", error),
            operation
          })
        }
      })
    }),

    /** Compensation, money: nothing is held any more, what was taken is to be given back, or an operator has to see to it. */
    settled: Effect.fnUntraced(function* (
      group: Group,
      attempt: Attempt,
      settlement: Settlement,
      reason: ReasonCode
    ): Effect.fn.Return<void, Effect.Error<Stepped<void>>> {
      const { number } = attempt
      const record =
        settlement._tag === "Unsettled" ? yield* records(group.id, "void_authorization", number) : undefined
      return yield* undoing(group, attempt, "settle", {
        stock: false,
        record,
        body: (transaction) => {
          let payment = paid(transaction, group)
          if (settlement._tag === "Voided" && payment.saga !== "voided") {
            must(transaction, transaction.execute(group.payment, `voided:${number}`, { _tag: "Voided" }))
          }
          if (settlement._tag === "Taken") {
            if (payment.saga !== "captured" && payment.saga !== "refunded") {
              must(
                transaction,
                transaction.execute(group.payment, `captured:${number}`, {
                  _tag: "Captured",
                  amount: settlement.captured
                })
              )
              payment = paid(transaction, group)
            }
            // All that others do not give back already. Refused when there is nothing, or an issuer has taken it back.
            const refund = compensationRefund(number)
            transaction.execute(group.payment, `refund:${refund}`, { _tag: "RequestRefund", refund, reason })
          }
          if (settlement._tag === "Unsettled" && record !== undefined) {
            leave(transaction, record, {
              ...unfinished(transaction, group, attempt, reason, settlement.error),
              operation: "void_authorization"
            })
          }
          return [settlement._tag, undefined]
        }
      })
    }),

    /** Compensation, stock: claimed units are released, committed ones reversed. */
    restocked: (group: Group, attempt: Attempt) =>
      undoing(group, attempt, "restock", {
        stock: true,
        body: (transaction) => {
          const state = transaction.state(group.reservation)
          if (state._tag === "Fulfilled") {
            must(transaction, transaction.execute(group.reservation, `reverse:${attempt.number}`, { _tag: "Reverse" }))
          }
          release(transaction, group, attempt)
          return ["released", undefined]
        }
      }),

    /** The stock could not be given back: left to an operator, and the compensation goes on. */
    restockFailed: Effect.fnUntraced(function* (
      group: Group,
      attempt: Attempt,
      reason: ReasonCode,
      error: string
    ): Effect.fn.Return<void, Effect.Error<Stepped<void>>> {
      const operation = group.reservation.state._tag === "Fulfilled" ? "restock" : "release_reservations"
      const record = yield* records(group.id, operation, attempt.number)
      return yield* undoing(group, attempt, "restock", {
        stock: false,
        record,
        body: (transaction) => {
          const held = heldLines(transaction.state(group.reservation))
          leave(transaction, record, { ...unfinished(transaction, group, attempt, reason, error, held), operation })
          return ["failed", undefined]
        }
      })
    }),

    /** Not even the end of the compensation could be written: all of it is tried again. */
    compensationFailed: Effect.fnUntraced(function* (
      group: Group,
      attempt: Attempt,
      reason: ReasonCode,
      error: string
    ): Effect.fn.Return<void, Effect.Error<Stepped<void>>> {
      const operation = "order_compensation"
      const record = yield* records(group.id, operation, attempt.number)
      return yield* undoing(group, attempt, "cancel", {
        stock: false,
        record,
        body: (transaction) => {
          const held = heldLines(transaction.state(group.reservation))
          leave(transaction, record, { ...unfinished(transaction, group, attempt, reason, error, held), operation })
          return ["failed", undefined]
        }
      })
    }),

    /** Compensation, end: the order says why, the checkout is closed, the cart is free again. */
    compensated: (group: Group, attempt: Attempt, reason: ReasonCode) =>
      undoing(group, attempt, "cancel", {
        stock: false,
        body: (transaction) => {
          const payment = paid(transaction, group)
          const settlementOpen = payment.saga !== "voided" && payment.saga !== "refunded" && payment.amount > 0n
          const status: OrderPaymentStatus =
            settlementOpen && payment.saga !== "captured" ? "authorized" : moneyStatus(payment)
          const order = transaction.state(group.order)
          if (order._tag === "Placed" && canMove(order.status, "cancelled")) {
            const ended = { reason, paymentStatus: status, settlementOpen }
            must(
              transaction,
              transaction.execute(
                group.order,
                `end:${attempt.number}`,
                reason === "stock_confirmation_failed" && canMove(order.status, "failed")
                  ? { _tag: "Fail", ...ended }
                  : { _tag: "Cancel", ...ended }
              )
            )
          }
          if (opened(transaction, group).status === "confirming") {
            must(
              transaction,
              end(transaction, group, attempt, { _tag: "Compensated", orderId: OrderId.make(group.id), reason })
            )
          }
          return [reason, undefined]
        }
      })
  }
}

export type CheckoutSteps = ReturnType<typeof make>

/** Whether a compensation of the attempt has asked for its money back: from then on it cannot be confirmed any more. */
const isGivenBack = (payment: PresentPayment, attempt: number): boolean =>
  payment.refunds?.some(({ id }) => id === compensationRefund(attempt)) === true

/** Whether the attempt was paid and confirmed before its compensation had begun: then there is nothing to undo. */
export const stands = (order: OrderState, payment: PaymentState, attempt: number): boolean =>
  order._tag === "Placed" &&
  order.status !== "pending" &&
  payment._tag === "Present" &&
  payment.saga === "captured" &&
  !isGivenBack(payment, attempt)

/** The journal being away is waited out: the node which loses the order stops waiting. */
export const untilDurable = Schedule.min([Schedule.exponential("50 millis", 2), Schedule.spaced("5 seconds")]).pipe(
  Schedule.jittered
)

/** The attempt which the session is at, with the key it was confirmed with. */
export const attemptOf = (session: PresentCheckout): Attempt => {
  const latest = session.attempts.at(-1)
  return { number: session.attempt, confirmKey: latest?.key ?? IdempotencyKey.make(`attempt:${session.attempt}`) }
}

const skusOf = ({ reservation: { state } }: Group): ReadonlyArray<string> =>
  state._tag === "Active" || state._tag === "Fulfilled" ? state.lines.map(({ sku }) => sku) : []

/** What the order is about, from what its attempt is about. */
export const orderTerms = (id: string, attempt: number, session: PresentCheckout): Terms => {
  const { currency, owner, shippingAddress, shippingMethod, terms } = session
  if (terms === undefined) throw new Error("an order is placed from the terms of its attempt")
  return {
    checkoutId: checkoutIdOf(OrderId.make(id)),
    attempt,
    customerId: owner,
    currency,
    lines: terms.lines,
    totals: terms.totals,
    ...(shippingAddress === undefined ? {} : { shippingAddress }),
    shippingMethod
  }
}

/** What an operator, or a later attempt, needs to do it after all. */
const unfinished = (
  transaction: Transaction,
  group: Group,
  attempt: Attempt,
  reason: string,
  error: string,
  reservationIds: ReadonlyArray<string> = []
) => {
  const payment = paid(transaction, group)
  return {
    orderId: OrderId.make(group.id),
    attempt: attempt.number,
    ...(payment.intent === undefined ? {} : { authorizationId: payment.intent }),
    reservationIds,
    customerId: payment.customerId,
    totalAmount: payment.amount,
    currency: payment.currency,
    reason,
    error
  }
}

/** The lines which are still claimed, or bound. */
const heldLines = (state: ReservationState): ReadonlyArray<string> =>
  state._tag === "Active" || state._tag === "Fulfilled" ? state.lines.map(({ id }) => id) : []
