/**
 * The steps of a refund, each one durable unit over the payment and its order, so that the order always shows what became of the money.
 * All are safe to repeat: a step which is found finished gives its first answer.
 */
import { Effect, Result } from "effect"
import { type IdempotencyKey, OrderId } from "../../domain/Ids.ts"
import type { IdempotencyConflict, Unavailable } from "../../domain/Refusals.ts"
import type { PresentPayment } from "../../entities/payment/Payment.ts"
import type { PaymentRefusal } from "../../entities/payment/PaymentActor.ts"
import type { Command } from "../../entities/payment/PaymentDecider.ts"
import type { Refund, RefundId } from "../../entities/payment/Refund.ts"
import type { RefundAnswer } from "../../entities/payment/RefundConversation.ts"
import { isGivenUp, refundNamed } from "../../entities/payment/RefundDecider.ts"
import type { Journal } from "../../runtime/Journal.ts"
import type { Transaction } from "../../runtime/Transaction.ts"
import type { Group } from "../checkout/CheckoutActors.ts"
import { followMoney } from "../checkout/FollowMoney.ts"
import { type FailedRecord, type FailedRecords, leave } from "../compensation/FailedRecords.ts"

export const make = (journal: Journal["Service"], records: FailedRecords) => {
  /**
   * One command to the payment; the order follows in the same unit. A refusal is the answer, remembered like any other, unless it is
   * `passing`: then nothing is written, and a later try is decided anew.
   */
  const unit = Effect.fnUntraced(function* (
    group: Group,
    key: string,
    command: Command,
    options: { readonly refund: RefundId | undefined; readonly passing?: boolean }
  ): Effect.fn.Return<Refund | undefined, PaymentRefusal | IdempotencyConflict | Unavailable> {
    const known = group.payment.state
    const position =
      known._tag === "Absent" || options.refund === undefined ? 0 : positionOf(known, { id: options.refund })
    // Only what has been asked for before can be given up.
    const record = position === 0 ? undefined : yield* records(group.id, "refund", position)
    const result = yield* journal.unit<Result.Result<Refund | undefined, PaymentRefusal>, PaymentRefusal>({
      cells: [group.payment, group.order, ...(record === undefined ? [] : [record])],
      cause: `refund ${command._tag}`,
      body: (transaction) => {
        const before = transaction.state(group.payment)
        const decided = transaction.execute(group.payment, key, command)
        if (Result.isFailure(decided)) {
          return options.passing === true ? transaction.abort(decided.failure) : Result.fail(decided.failure)
        }
        const payment = decided.success
        if (payment._tag === "Absent") return Result.succeed(undefined)
        // A key which was met before gives what the payment is now: the order has followed long ago.
        if (payment !== before) followMoney(transaction, group, key)
        const refund = options.refund === undefined ? undefined : refundNamed(payment, options.refund)
        const earlier = before._tag === "Absent" || refund === undefined ? undefined : refundNamed(before, refund.id)
        if (
          record !== undefined &&
          refund !== undefined &&
          isGivenUp(refund) &&
          earlier !== undefined &&
          !isGivenUp(earlier)
        ) {
          leaveToOperator(transaction, group, record, payment, refund)
        }
        return Result.succeed(refund)
      }
    })
    return yield* Effect.fromResult(result)
  })

  return {
    /** The intent to give money back. */
    request: (
      group: Group,
      asked: { readonly refund: RefundId; readonly amount?: bigint; readonly reason: string; readonly by?: string }
    ) => unit(group, `refund:${asked.refund}`, { _tag: "RequestRefund", ...asked }, { refund: asked.refund }),

    /** A call to the provider is about to be made. */
    start: (group: Group, { id, tries }: Refund) =>
      unit(group, `refund-start:${id}:${tries}`, { _tag: "StartRefund", refund: id }, { refund: id, passing: true }),

    /** What the provider said in answer to a try. */
    answered: (group: Group, { id, tries }: Refund, answer: RefundAnswer) =>
      answer._tag === "Failed"
        ? unit(
            group,
            `refund-failed:${id}:${tries}`,
            {
              _tag: "RefundTryFailed",
              refund: id,
              code: answer.code,
              definite: answer.definite,
              answered: answer.answered
            },
            { refund: id }
          )
        : unit(
            group,
            `refund-answer:${id}:${answer.reference}:${answer.status}`,
            {
              _tag: "RefundReported",
              refund: id,
              reference: answer.reference,
              status: answer.status,
              amount: answer.amount,
              ...(answer.code === undefined ? {} : { code: answer.code })
            },
            { refund: id }
          ),

    /** A pending one was looked into, and stays so. */
    awaited: (group: Group, { id, nextAttemptAt }: Refund) =>
      unit(
        group,
        `refund-awaited:${id}:${nextAttemptAt?.epochMilliseconds ?? 0}`,
        { _tag: "RefundAwaited", refund: id },
        { refund: id }
      ),

    /** What the provider says by itself. */
    reported: (
      group: Group,
      key: IdempotencyKey,
      command: Extract<Command, { readonly _tag: "RefundReported" | "ChargebackReported" }>
    ) => {
      const { state } = group.payment
      const known =
        command._tag === "RefundReported" && state._tag === "Present"
          ? (state.refunds ?? []).find(({ id, reference }) => id === command.refund || reference === command.reference)
          : undefined
      return unit(group, key, command, { refund: known?.id })
    }
  }
}

export type RefundSteps = ReturnType<typeof make>

/** Nobody tries it any more by itself: an operator has to see to it. REQ-RFD-03. */
const leaveToOperator = (
  transaction: Transaction,
  group: Group,
  record: FailedRecord,
  payment: PresentPayment,
  refund: Refund
): void => {
  leave(transaction, record, {
    orderId: OrderId.make(group.id),
    operation: "refund",
    attempt: positionOf(payment, refund),
    ...(payment.intent === undefined ? {} : { authorizationId: payment.intent }),
    reservationIds: [],
    customerId: payment.customerId,
    totalAmount: refund.amount,
    currency: payment.currency,
    reason: refund.reason,
    error: refund.failure ?? "outcome_unknown"
  })
}

/** Which one of its payment's refunds it is, counted from 1. */
const positionOf = (payment: PresentPayment, { id }: Pick<Refund, "id">): number =>
  (payment.refunds ?? []).findIndex((one) => one.id === id) + 1
