/**
 * What came of an attempt at a failed compensation: each one durable unit over the record and what it is about, so that a record never says
 * otherwise than money, stock and order do. REQ-CMP-02, REQ-CMP-06.
 */
import { Effect, Result } from "effect"
import type { CustomerId, IdempotencyKey } from "../../domain/Ids.ts"
import type { IdempotencyConflict, Unavailable } from "../../domain/Refusals.ts"
import type {
  FailedCompensationRefusal,
  RecordedCompensation
} from "../../entities/failedCompensation/FailedCompensation.ts"
import type { Command } from "../../entities/failedCompensation/FailedCompensationDecider.ts"
import { compensationRefund } from "../../entities/payment/Refund.ts"
import type { Journal } from "../../runtime/Journal.ts"
import type { Transaction } from "../../runtime/Transaction.ts"
import type { Group } from "../checkout/CheckoutActors.ts"
import { followMoney } from "../checkout/FollowMoney.ts"
import { must, StepConflict } from "../checkout/CheckoutSteps.ts"
import type { FailedRecord } from "./FailedRecords.ts"

type Stepped<E> = Effect.Effect<void, E | IdempotencyConflict | Unavailable>

/** What the attempt has found or done at the provider. */
export type Voided =
  | { readonly _tag: "Voided" }
  /** It was captured after all: given back as a refund on the record, with tries of its own. */
  | { readonly _tag: "Taken"; readonly captured: bigint }

export type Ending = Extract<Command, { readonly _tag: "Succeeded" | "AttemptFailed" | "Awaited" | "Unhandled" }>

/** The attempt which is under way. */
export type Retrying = Extract<RecordedCompensation, { readonly _tag: "Retrying" }>

export const make = (journal: Journal["Service"]) => {
  /** Ends the attempt, unless somebody else has: then nothing of it is written. */
  const end = (
    group: Group,
    record: FailedRecord,
    attempt: Retrying,
    ending: Ending,
    options: { readonly stock?: boolean; readonly also?: (transaction: Transaction) => void } = {}
  ): Stepped<StepConflict> =>
    journal.unit<void, StepConflict>({
      cells: [record, group.payment, group.reservation, group.order],
      cause: `compensation ${attempt.operation}`,
      ...(options.stock === true ? { counters: () => skusOf(group) } : {}),
      body: (transaction) => {
        const state = transaction.state(record)
        if (state._tag !== "Retrying" || instantOf(state) !== instantOf(attempt)) return
        options.also?.(transaction)
        must(transaction, transaction.execute(record, `end:${instantOf(attempt)}`, ending))
      }
    })

  return {
    end,

    /** The hold is gone: payment and order say so. */
    voided: (group: Group, record: FailedRecord, attempt: Retrying, found: Voided) =>
      end(
        group,
        record,
        attempt,
        { _tag: "Succeeded" },
        {
          also: (transaction) => {
            const payment = transaction.state(group.payment)
            // Another attempt of the checkout has other money.
            if (payment._tag === "Absent" || payment.attempt !== attempt.attempt) return
            if (found._tag === "Voided" && payment.saga !== "voided" && payment.saga !== "refunded") {
              must(transaction, transaction.execute(group.payment, `voided:${attempt.attempt}`, { _tag: "Voided" }))
            }
            if (found._tag === "Taken") {
              if (payment.saga !== "captured" && payment.saga !== "refunded") {
                const captured = { _tag: "Captured", amount: found.captured } as const
                must(transaction, transaction.execute(group.payment, `captured:${attempt.attempt}`, captured))
              }
              const refund = compensationRefund(attempt.attempt)
              transaction.execute(group.payment, `refund:${refund}`, {
                _tag: "RequestRefund",
                refund,
                reason: attempt.reason
              })
            }
            followMoney(transaction, group, `end:${record.id}:${instantOf(attempt)}`)
          }
        }
      ),

    /** Gives back exactly the units of the lines that were recorded, as far as they are still held. REQ-CMP-08. */
    released: (group: Group, record: FailedRecord, attempt: Retrying) =>
      end(
        group,
        record,
        attempt,
        { _tag: "Succeeded" },
        {
          stock: true,
          also: (transaction) => {
            const reservation = transaction.state(group.reservation)
            if (reservation._tag !== "Active" && reservation._tag !== "Fulfilled") return
            const recorded = new Set(attempt.reservationIds)
            const held = reservation.lines.filter(({ id }) => recorded.has(id))
            if (held.length === 0) return
            const undo = reservation._tag === "Active" ? "Release" : "Reverse"
            const key = `${undo.toLowerCase()}:${reservation.attempt}`
            // All lines of a claim are given back together: it has no others than were recorded.
            if (held.length !== reservation.lines.length) {
              transaction.abort(new StepConflict({ refusal: `lines beside ${attempt.reservationIds.join()}` }))
            }
            must(transaction, transaction.execute(group.reservation, key, { _tag: undo }))
          }
        }
      ),

    /** Somebody has seen to it by hand. With `gone` the provider confirms that the hold is; otherwise only the order is closed. */
    resolved: (
      group: Group,
      record: FailedRecord,
      command: { readonly key: IdempotencyKey; readonly by: CustomerId; readonly reason: string },
      gone: boolean
    ): Stepped<FailedCompensationRefusal> =>
      journal
        .unit<Result.Result<unknown, FailedCompensationRefusal>>({
          cells: [record, group.payment, group.order],
          cause: `command ${command.key}`,
          body: (transaction) => {
            const { by, key, reason } = command
            const known = transaction.seqOf(record, key) !== undefined
            const decided = transaction.execute(record, key, { _tag: "Resolve", by, reason })
            if (known || Result.isFailure(decided) || decided.success._tag === "Absent") return decided
            const { attempt, operation } = decided.success
            const payment = transaction.state(group.payment)
            const order = transaction.state(group.order)
            if (gone && payment._tag === "Present" && payment.attempt === attempt && payment.saga !== "voided") {
              transaction.execute(group.payment, `voided:${attempt}`, { _tag: "Voided" })
              followMoney(transaction, group, `resolved:${record.id}`)
            } else if (operation !== "restock" && operation !== "release_reservations" && order._tag === "Placed") {
              // The operator's word closes the order; what the payment says stays what the provider said. REQ-CMP-06.
              const { paymentStatus } = order
              transaction.execute(group.order, `resolved:${record.id}`, { _tag: "Settle", paymentStatus })
            }
            return decided
          }
        })
        .pipe(
          Effect.flatMap((decided) => Effect.fromResult(decided)),
          Effect.asVoid
        )
  }
}

/** Names the attempt: a record is never tried twice at one instant. */
const instantOf = ({ startedAt }: Retrying): number => startedAt.epochMilliseconds

const skusOf = ({ reservation: { state } }: Group): ReadonlyArray<string> =>
  state._tag === "Active" || state._tag === "Fulfilled" ? state.lines.map(({ sku }) => sku) : []
