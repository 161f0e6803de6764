/** Money which people or the bank record, pure: what it pays for, and what of it is to be given back. REQUIREMENTS B.14, B.15. */
import { type DateTime, Result, Schema } from "effect"
import { IdempotencyKey } from "../../domain/Ids.ts"
import { Amount } from "../../domain/Money.ts"
import { IdempotencyConflict } from "../../domain/Refusals.ts"
import type { PresentPayment } from "./Payment.ts"
import { type Receipt, ReceiptId } from "./Receipt.ts"
import { RefundNotPossible, RefundTooLarge } from "./Refund.ts"

const receipt = { receipt: ReceiptId, amount: Amount, receivedAt: Schema.DateTimeUtc, by: Schema.String }
const givenBack = { id: IdempotencyKey, amount: Amount, reason: Schema.String, by: Schema.String }

export const receiptCommands = {
  /** Money has come in for this payment, in its currency. */
  RecordReceipt: receipt,
  /** An operator has given money back by hand: first what nobody is owed goods for, then what was captured. */
  RecordGivenBack: givenBack
} as const

const at = { at: Schema.DateTimeUtc }
export const receiptEvents = {
  Received: { ...receipt, disputed: Schema.optionalKey(Schema.Boolean), ...at },
  /** `owed` of it had paid for nothing; the rest had, and is a refund. */
  GivenBack: { owed: Amount, ...givenBack, ...at }
} as const

const Command = Schema.TaggedUnion(receiptCommands)
export type ReceiptCommand = typeof Command.Type
const Event = Schema.TaggedUnion(receiptEvents)
export type ReceiptEvent = typeof Event.Type
/** The whole amount is there. */
interface Paid {
  readonly _tag: "Captured"
  readonly amount: bigint
  readonly at: DateTime.Utc
}

/** Receipts of one payment, and times it was given back, at the most. */
const entriesMax = 100

type Refusal = IdempotencyConflict | RefundNotPossible | RefundTooLarge
type Decision = Result.Result<ReadonlyArray<ReceiptEvent | Paid>, Refusal | "misfit">

const receiptsOf = ({ receipts = [] }: PresentPayment): ReadonlyArray<Receipt> => receipts

export const receiptNamed = (payment: PresentPayment, id: ReceiptId): Receipt | undefined =>
  receiptsOf(payment).find((one) => one.id === id)

/** All that has come in, but for what is disputed. */
export const receivedOf = (payment: PresentPayment): bigint =>
  receiptsOf(payment).reduce((sum, { amount, disputed }) => (disputed === true ? sum : sum + amount), 0n)

/** What was given back of money which had paid for nothing. */
export const returnedOf = ({ givenBack: all = [] }: PresentPayment): bigint =>
  all.reduce((sum, { owed }) => sum + owed, 0n)

/** Nothing has been decided yet: what has come in may still pay for the order. */
const isAwaited = ({ saga, status }: PresentPayment): boolean => saga === "none" && status === "pending"

/** What has come in and pays for nothing, and was not given back yet. */
export const owedOf = (payment: PresentPayment): bigint =>
  payment.method === undefined || isAwaited(payment) ? 0n : receivedOf(payment) - payment.captured - returnedOf(payment)

/** What happens next; no events when it has happened already. */
export const decideReceipt = (payment: PresentPayment, command: ReceiptCommand, now: DateTime.Utc): Decision => {
  switch (command._tag) {
    case "RecordReceipt": {
      const known = receiptNamed(payment, command.receipt)
      if (known !== undefined) {
        return known.amount === command.amount
          ? Result.succeed([])
          : Result.fail(new IdempotencyConflict({ key: command.receipt }))
      }
      if (payment.method === undefined || command.amount <= 0n || receiptsOf(payment).length >= entriesMax) {
        return Result.fail("misfit")
      }
      const received = { ...command, _tag: "Received", at: now } as const
      if (!isAwaited(payment)) return Result.succeed([received])
      const paid = { _tag: "Captured", amount: payment.amount, at: now } as const
      if (payment.method === "cash_on_delivery") {
        // Coins do not add up over days as transfers do: what a courier hands in is right, or somebody has to look.
        return Result.succeed(command.amount === payment.amount ? [received, paid] : [{ ...received, disputed: true }])
      }
      return Result.succeed(receivedOf(payment) + command.amount < payment.amount ? [received] : [received, paid])
    }
    case "RecordGivenBack": {
      if (payment.method === undefined) return Result.fail(new RefundNotPossible({ because: "paid_at_provider" }))
      const { amount, id } = command
      const all = payment.givenBack ?? []
      const known = all.find((one) => one.id === id)
      if (known !== undefined) {
        return known.amount === amount && known.reason === command.reason
          ? Result.succeed([])
          : Result.fail(new IdempotencyConflict({ key: id }))
      }
      if (all.length >= entriesMax) return Result.fail("misfit")
      const owed = owedOf(payment)
      const remaining = owed + payment.captured - payment.refunded
      if (amount <= 0n || amount > remaining) {
        return Result.fail(new RefundTooLarge({ remaining, currency: payment.currency }))
      }
      return Result.succeed([{ ...command, _tag: "GivenBack", owed: amount < owed ? amount : owed, at: now }])
    }
  }
}

/** Total: events are facts, so replay cannot fail. */
export const evolveReceipt = (payment: PresentPayment, event: ReceiptEvent): PresentPayment => {
  switch (event._tag) {
    case "Received": {
      const { amount, at: recordedAt, by, disputed, receipt: id, receivedAt } = event
      const made = { id, amount, receivedAt, recordedAt, by, ...(disputed === undefined ? {} : { disputed }) }
      return { ...payment, receipts: [...receiptsOf(payment), made] }
    }
    case "GivenBack": {
      const { _tag: _, ...made } = event
      const recorded = { ...payment, givenBack: [...(payment.givenBack ?? []), made] }
      if (event.owed === event.amount) return recorded
      const refunded = payment.refunded + event.amount - event.owed
      const all = refunded === payment.captured
      return {
        ...recorded,
        refunded,
        status: all ? "refunded" : "partially_refunded",
        saga: all ? "refunded" : "captured"
      }
    }
  }
}
