/** Money that came in without a payment provider, and what is to be given back of it by hand. REQUIREMENTS B.14, B.15. */
import { Schema } from "effect"
import { IdempotencyKey } from "../../domain/Ids.ts"
import { Amount } from "../../domain/Money.ts"

/** Names one piece of money for good: `bank:` and the bank's id of a transfer, or `cash:` and the key with which it was recorded. */
export const ReceiptId = Schema.String.check(Schema.isPattern(/^[\w.:/@|#~+-]{1,220}$/)).pipe(Schema.brand("ReceiptId"))
export type ReceiptId = typeof ReceiptId.Type

/** The bank's own id of a transfer. */
export const BankTransactionId = Schema.String.check(Schema.isPattern(/^[\w.:/@|#~+-]{1,140}$/)).pipe(
  Schema.brand("BankTransactionId")
)
export type BankTransactionId = typeof BankTransactionId.Type

export const Receipt = Schema.Struct({
  id: ReceiptId,
  amount: Amount,
  /** When it came in, as the bank or the courier says. */
  receivedAt: Schema.DateTimeUtc,
  recordedAt: Schema.DateTimeUtc,
  /** Who recorded it. */
  by: Schema.String,
  /** Cash which is not what was to be paid: it counts for nothing until somebody has found out what happened. */
  disputed: Schema.optionalKey(Schema.Boolean)
})
export type Receipt = typeof Receipt.Type

/** Money which an operator has given back by hand. */
export const GivenBack = Schema.Struct({
  /** The key it was recorded with. */
  id: IdempotencyKey,
  amount: Amount,
  /** The part of it which had paid for nothing; the rest is a refund. */
  owed: Amount,
  reason: Schema.String,
  by: Schema.String,
  at: Schema.DateTimeUtc
})
export type GivenBack = typeof GivenBack.Type

/** The cash is not what was to be paid; it is recorded, and an alert tells of it, but the order is not paid by it. */
export class CashMismatch extends Schema.TaggedError<CashMismatch>()(
  "CashMismatch",
  { due: Amount, recorded: Amount },
  { httpApiStatus: 422 }
) {}
