/** Money given back, and money taken back by an issuer, as a payment keeps them. REQUIREMENTS B.11. */
import { Schema } from "effect"
import { type IdempotencyKey, OrderId } from "../../domain/Ids.ts"
import { Amount, Currency, format } from "../../domain/Money.ts"

/** Names one refund for good, and its key at the provider. Who asks for it comes first: `operator:...`, `compensation:1`, `return:...`. */
export const RefundId = Schema.String.check(Schema.isPattern(/^[\w.:/@|#-]{1,160}$/)).pipe(Schema.brand("RefundId"))
export type RefundId = typeof RefundId.Type

/** The refund which an operator's key stands for. */
export const operatorRefund = (key: IdempotencyKey): RefundId => RefundId.make(`operator:${key}`)

/** What gives the money of an attempt back when its order could not stand. */
export const compensationRefund = (attempt: number): RefundId => RefundId.make(`compensation:${attempt}`)

/** Made at the provider by somebody else, e.g. on its own pages. */
export const providerRefund = (reference: string): RefundId => RefundId.make(`provider:${reference}`)

/** More than nothing. The upper bound that matters is what was captured, which the payment knows. */
export const RefundAmount = Amount.check(Schema.isGreaterThanBigInt(0n))

/** `requested`: durable, the provider has not heard of it. `processing`: it may have. `failed`: see `refused` and `nextAttemptAt`. */
export const RefundStatus = Schema.Literals(["requested", "processing", "completed", "failed"])
export type RefundStatus = typeof RefundStatus.Type

export const Refund = Schema.Struct({
  id: RefundId,
  amount: Amount,
  reason: Schema.String,
  /** Who asked for it; absent for the shop itself. */
  by: Schema.optionalKey(Schema.String),
  status: RefundStatus,
  /** Names the key at the provider; it changes only after a failure which the provider has stored. */
  suffix: Schema.Int,
  /** Failed tries. */
  tries: Schema.Int,
  /** The provider's id of it, once it has said so: with `processing` it holds the refund pending. */
  reference: Schema.optionalKey(Schema.String),
  /** What failed at the provider for good: whatever is said of it later is old. */
  failedReference: Schema.optionalKey(Schema.String),
  /** The provider's code of the last failure. */
  failure: Schema.optionalKey(Schema.String),
  /** Failed for good: nothing was given back, and the amount is free again. */
  refused: Schema.Boolean,
  /** When it is tried, or looked into, next; absent when nobody but an operator or the provider moves it. */
  nextAttemptAt: Schema.optionalKey(Schema.DateTimeUtc),
  requestedAt: Schema.DateTimeUtc,
  changedAt: Schema.DateTimeUtc
})
export type Refund = typeof Refund.Type

export const ChargebackStatus = Schema.Literals(["opened", "won", "lost"])
export type ChargebackStatus = typeof ChargebackStatus.Type

/** The issuer has taken money back for its customer. Won, it is the shop's again. */
export const Chargeback = Schema.Struct({
  /** The provider's id of it. */
  id: Schema.String,
  amount: Amount,
  reason: Schema.String,
  status: ChargebackStatus,
  openedAt: Schema.DateTimeUtc,
  closedAt: Schema.optionalKey(Schema.DateTimeUtc)
})
export type Chargeback = typeof Chargeback.Type

/** What others may know of a refund. */
export const RefundView = Schema.Struct({
  id: RefundId,
  amount: Amount,
  reason: Schema.String,
  by: Schema.optionalKey(Schema.String),
  status: RefundStatus,
  tries: Schema.Int,
  failure: Schema.optionalKey(Schema.String),
  nextAttemptAt: Schema.optionalKey(Schema.DateTimeUtc),
  requestedAt: Schema.DateTimeUtc,
  changedAt: Schema.DateTimeUtc
})
export type RefundView = typeof RefundView.Type

export const refundView = ({
  amount,
  by,
  changedAt,
  failure,
  id,
  nextAttemptAt,
  reason,
  requestedAt,
  status,
  tries
}: Refund): RefundView => ({
  id,
  amount,
  reason,
  ...(by === undefined ? {} : { by }),
  status,
  tries,
  ...(failure === undefined ? {} : { failure }),
  ...(nextAttemptAt === undefined ? {} : { nextAttemptAt }),
  requestedAt,
  changedAt
})

/** A refund, and whose it is. */
export const ListedRefund = Schema.Struct({ orderId: OrderId, currency: Currency, refund: RefundView })
export type ListedRefund = typeof ListedRefund.Type

/** More than is left of what was captured, with all other refunds counted, those under way too. */
export class RefundTooLarge extends Schema.TaggedError<RefundTooLarge>()(
  "RefundTooLarge",
  { remaining: Amount, currency: Currency },
  { httpApiStatus: 422 }
) {
  override get message(): string {
    return `At most ${format({ amount: this.remaining, currency: this.currency })} can be given back.`
  }
}

/**
 * Nothing was captured yet; a chargeback is open or lost; there were too many refunds of this payment; it was paid in cash or by transfer, so
 * that only people can give it back; or the other way round.
 */
export class RefundNotPossible extends Schema.TaggedError<RefundNotPossible>()(
  "RefundNotPossible",
  { because: Schema.Literals(["not_captured", "chargeback", "too_many", "paid_offline", "paid_at_provider"]) },
  { httpApiStatus: 409 }
) {}
