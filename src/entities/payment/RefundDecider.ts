/**
 * What may happen to the refunds and chargebacks of a payment, pure. Refunds under way count against what was captured like completed
 * ones, so that any number asked for at once never gives back more than was taken. REQ-PAY-06, REQ-RFD-01, REQ-RFD-03.
 */
import { DateTime, Duration, Result, Schema } from "effect"
import { IdempotencyConflict } from "../../domain/Refusals.ts"
import { Amount } from "../../domain/Money.ts"
import { type Backoff, backoff } from "./Backoff.ts"
import type { PresentPayment } from "./Payment.ts"
import { ChargebackStatus, providerRefund, type Refund, RefundId, RefundNotPossible, RefundTooLarge } from "./Refund.ts"

/** Commands, to be joined with those of the payment. */
export const refundCommands = {
  /** The intent to give back `amount`, or all that is left, before the provider hears of it. */
  RequestRefund: {
    refund: RefundId,
    amount: Schema.optionalKey(Amount),
    reason: Schema.String,
    by: Schema.optionalKey(Schema.String)
  },
  /** A call to the provider is about to be made, or to be made again. */
  StartRefund: { refund: RefundId },
  /** A try came to nothing. `definite`: refused for good. `answered`: the provider has stored this failure under its key. */
  RefundTryFailed: { refund: RefundId, code: Schema.String, definite: Schema.Boolean, answered: Schema.Boolean },
  /** What the provider says, in answer to us or by itself; `reference` is its own id of the refund, `refund` ours where it knows it. */
  RefundReported: {
    refund: Schema.optionalKey(RefundId),
    reference: Schema.String,
    status: Schema.Literals(["pending", "completed", "failed"]),
    amount: Amount,
    code: Schema.optionalKey(Schema.String)
  },
  /** Looked into, and still pending. */
  RefundAwaited: { refund: RefundId },
  /** What the provider says of a chargeback; `chargeback` is its id of it. */
  ChargebackReported: { chargeback: Schema.String, amount: Amount, reason: Schema.String, status: ChargebackStatus }
} as const

const at = { at: Schema.DateTimeUtc }
const refund = { refund: RefundId, ...at }
export const refundEvents = {
  RefundRequested: { ...refund, amount: Amount, reason: Schema.String, by: Schema.optionalKey(Schema.String) },
  RefundStarted: refund,
  RefundPending: { ...refund, reference: Schema.String, nextAttemptAt: Schema.DateTimeUtc },
  RefundCompleted: { ...refund, reference: Schema.String },
  RefundFailed: {
    ...refund,
    code: Schema.String,
    /** Nothing was given back, and nothing will be: the amount is free again. */
    refused: Schema.Boolean,
    answered: Schema.Boolean,
    /** A failure of what the provider had taken on. */
    reference: Schema.optionalKey(Schema.String),
    nextAttemptAt: Schema.optionalKey(Schema.DateTimeUtc)
  },
  RefundAwaited: { ...refund, nextAttemptAt: Schema.DateTimeUtc },
  ChargebackReported: {
    chargeback: Schema.String,
    amount: Amount,
    reason: Schema.String,
    status: ChargebackStatus,
    ...at
  }
} as const

const Command = Schema.TaggedUnion(refundCommands)
export type RefundCommand = typeof Command.Type
const Event = Schema.TaggedUnion(refundEvents)
export type RefundEvent = typeof Event.Type

export interface RefundLimits {
  /** Failed retries before a refund is left to an operator; the first try is not a retry. N-015. */
  readonly retriesMax: number
  /** Between the tries. N-016. */
  readonly backoff: Backoff
  /** When one under way is looked after, should the process which works on it have died. */
  readonly watchAfter: Duration.Duration
}

/** Refunds and chargebacks of one payment at the most. */
const refundsMax = 100

export type RefundRefusal = RefundTooLarge | RefundNotPossible | IdempotencyConflict
type Decision = Result.Result<ReadonlyArray<RefundEvent>, RefundRefusal | "misfit">

const refundsOf = ({ refunds = [] }: PresentPayment): ReadonlyArray<Refund> => refunds

/** Counts against what was captured without being given back yet: an unknown outcome does until it is known. */
const isOpen = ({ refused, status }: Refund): boolean => status !== "completed" && !refused

/** What refunds under way will give back. */
export const pendingOf = (payment: PresentPayment): bigint =>
  refundsOf(payment).reduce((sum, one) => (isOpen(one) ? sum + one.amount : sum), 0n)

/** What can still be given back. */
export const remainingOf = (payment: PresentPayment): bigint => payment.captured - payment.refunded - pendingOf(payment)

/** An issuer's claim on the money which is undecided, or decided against the shop. */
export const isCharged = ({ chargebacks = [] }: PresentPayment): boolean =>
  chargebacks.some(({ status }) => status !== "won")

/** Failed, and nobody but an operator tries again. */
export const isGivenUp = ({ nextAttemptAt, status }: Refund): boolean =>
  status === "failed" && nextAttemptAt === undefined

export const refundNamed = (payment: PresentPayment, id: RefundId): Refund | undefined =>
  refundsOf(payment).find((one) => one.id === id)

const tooLarge = (payment: PresentPayment): Decision =>
  Result.fail(new RefundTooLarge({ remaining: remainingOf(payment), currency: payment.currency }))

const wasCaptured = ({ saga }: PresentPayment): boolean => saga === "captured" || saga === "refunded"

/** The provider knows nothing of cash and transfers. */
const atProvider = (payment: PresentPayment): boolean => wasCaptured(payment) && payment.method === undefined

/** Pending ones are looked into ever more rarely, once a day in the end: the provider tells of their end by itself. */
const lookAgain = (now: DateTime.Utc, since: DateTime.Utc, { backoff: { cap } }: RefundLimits): DateTime.Utc =>
  DateTime.addDuration(now, Duration.clamp(DateTime.distance(since, now), { minimum: cap, maximum: Duration.days(1) }))

/** What happens next; no events when it has happened already. */
export const decideRefund = (
  limits: RefundLimits,
  payment: PresentPayment,
  command: RefundCommand,
  now: DateTime.Utc
): Decision => {
  switch (command._tag) {
    case "RequestRefund": {
      const { amount: asked, reason, by, refund: id } = command
      const known = refundNamed(payment, id)
      if (known !== undefined) {
        return known.reason === reason && (asked === undefined || asked === known.amount)
          ? Result.succeed([])
          : Result.fail(new IdempotencyConflict({ key: id }))
      }
      if (!wasCaptured(payment)) return Result.fail(new RefundNotPossible({ because: "not_captured" }))
      if (payment.method !== undefined) return Result.fail(new RefundNotPossible({ because: "paid_offline" }))
      if (isCharged(payment)) return Result.fail(new RefundNotPossible({ because: "chargeback" }))
      if (refundsOf(payment).length >= refundsMax) return Result.fail(new RefundNotPossible({ because: "too_many" }))
      const remaining = remainingOf(payment)
      const amount = asked ?? remaining
      if (amount <= 0n || amount > remaining) return tooLarge(payment)
      return Result.succeed([
        { _tag: "RefundRequested", refund: id, amount, reason, ...(by === undefined ? {} : { by }), at: now }
      ])
    }
    case "StartRefund": {
      const known = refundNamed(payment, command.refund)
      if (known === undefined || known.status === "completed") return Result.fail("misfit")
      if (known.status === "processing") return Result.succeed([])
      // One that may be done already is looked up all the same; none is asked for anew.
      const maybeDone = known.status === "failed" && !known.refused
      if (isCharged(payment) && !maybeDone) return Result.fail(new RefundNotPossible({ because: "chargeback" }))
      if (known.refused && known.amount > remainingOf(payment)) return tooLarge(payment)
      return Result.succeed([{ _tag: "RefundStarted", refund: known.id, at: now }])
    }
    case "RefundTryFailed": {
      const known = refundNamed(payment, command.refund)
      if (known === undefined || isGivenUp(known) || known.reference !== undefined) return Result.fail("misfit")
      if (known.status === "completed") return Result.fail("misfit")
      if (known.status === "failed") return Result.succeed([])
      const { answered, code, definite } = command
      const retry = known.tries + 1
      return Result.succeed([
        {
          _tag: "RefundFailed",
          refund: known.id,
          code,
          refused: definite,
          answered,
          at: now,
          ...(definite || retry > limits.retriesMax
            ? {}
            : { nextAttemptAt: DateTime.addDuration(now, backoff(retry, limits.backoff)) })
        }
      ])
    }
    case "RefundReported":
      return reported(limits, payment, command, now)
    case "RefundAwaited": {
      const known = refundNamed(payment, command.refund)
      if (known?.status !== "processing" || known.reference === undefined) return Result.fail("misfit")
      return Result.succeed([
        { _tag: "RefundAwaited", refund: known.id, nextAttemptAt: lookAgain(now, known.changedAt, limits), at: now }
      ])
    }
    case "ChargebackReported": {
      if (!atProvider(payment)) return Result.fail("misfit")
      const { chargebacks = [] } = payment
      const known = chargebacks.find(({ id }) => id === command.chargeback)
      // Order of arrival does not matter: once decided, it stays decided.
      if (known !== undefined && (known.status !== "opened" || command.status === "opened")) return Result.succeed([])
      if (known === undefined && chargebacks.length >= refundsMax) return Result.fail("misfit")
      return Result.succeed([{ ...command, at: now }])
    }
  }
}

const reported = (
  limits: RefundLimits,
  payment: PresentPayment,
  report: Extract<RefundCommand, { readonly _tag: "RefundReported" }>,
  now: DateTime.Utc
): Decision => {
  const { amount, reference, status } = report
  const known =
    (report.refund === undefined ? undefined : refundNamed(payment, report.refund)) ??
    refundsOf(payment).find((one) => [one.reference, one.failedReference].includes(reference))
  if (known === undefined) return seenElsewhere(limits, payment, report, now)
  // Of what had failed for good nothing new can come; and one refund is one piece of money.
  if (known.failedReference === reference) return Result.succeed([])
  if (known.amount !== amount) return Result.fail("misfit")
  if (known.reference !== undefined && known.reference !== reference) return Result.fail("misfit")
  const about = { refund: known.id, reference, at: now }
  switch (status) {
    case "failed":
      return known.refused
        ? Result.succeed([])
        : Result.succeed([
            { _tag: "RefundFailed", ...about, code: report.code ?? "failed", refused: true, answered: true }
          ])
    case "pending":
      if (known.status === "completed" || known.reference === reference) return Result.succeed([])
      if (known.refused && amount > remainingOf(payment)) return Result.fail("misfit")
      return Result.succeed([{ _tag: "RefundPending", ...about, nextAttemptAt: lookAgain(now, now, limits) }])
    case "completed":
      if (known.status === "completed") return Result.succeed([])
      if (known.refused && amount > remainingOf(payment)) return Result.fail("misfit")
      return Result.succeed([{ _tag: "RefundCompleted", ...about }])
  }
}

/** A refund which nobody here asked for: it is money all the same. */
const seenElsewhere = (
  limits: RefundLimits,
  payment: PresentPayment,
  { amount, reference, status }: Extract<RefundCommand, { readonly _tag: "RefundReported" }>,
  now: DateTime.Utc
): Decision => {
  if (!atProvider(payment)) return Result.fail("misfit")
  if (status === "failed") return Result.succeed([])
  if (amount <= 0n || amount > remainingOf(payment) || refundsOf(payment).length >= refundsMax) {
    return Result.fail("misfit")
  }
  const about = { refund: providerRefund(reference), at: now }
  return Result.succeed([
    { _tag: "RefundRequested", ...about, amount, reason: "made at the provider" },
    status === "completed"
      ? { _tag: "RefundCompleted", ...about, reference }
      : { _tag: "RefundPending", ...about, reference, nextAttemptAt: lookAgain(now, now, limits) }
  ])
}

/** Total: events are facts, so replay cannot fail. */
export const evolveRefund = (payment: PresentPayment, event: RefundEvent): PresentPayment => {
  if (event._tag === "ChargebackReported") {
    const { at: now, amount, chargeback: id, reason, status } = event
    const { chargebacks = [] } = payment
    const openedAt = chargebacks.find((one) => one.id === id)?.openedAt ?? now
    const closed = status === "opened" ? {} : { closedAt: now }
    return {
      ...payment,
      chargebacks: [...chargebacks.filter((one) => one.id !== id), { id, amount, reason, status, openedAt, ...closed }]
    }
  }
  const { at: changedAt, refund: id } = event
  if (event._tag === "RefundRequested") {
    const { amount, by, reason } = event
    const made: Refund = {
      id,
      amount,
      reason,
      ...(by === undefined ? {} : { by }),
      status: "requested",
      suffix: 1,
      tries: 0,
      refused: false,
      requestedAt: changedAt,
      changedAt
    }
    return { ...payment, refunds: [...refundsOf(payment), made] }
  }
  const before = refundNamed(payment, id)
  if (before === undefined) return payment
  const { nextAttemptAt: _, reference, ...rest } = before
  const kept = reference === undefined ? {} : { reference }
  const changed = (after: Refund, refunded: bigint): PresentPayment => {
    const all = refunded === payment.captured
    return {
      ...payment,
      refunds: refundsOf(payment).map((one) => (one.id === id ? after : one)),
      refunded,
      ...(refunded === payment.refunded
        ? {}
        : {
            status: all ? "refunded" : refunded === 0n ? "captured" : "partially_refunded",
            saga: all ? "refunded" : "captured"
          })
    }
  }
  switch (event._tag) {
    case "RefundStarted":
      return changed({ ...rest, status: "processing", refused: false, changedAt }, payment.refunded)
    case "RefundPending": {
      const { nextAttemptAt, reference: held } = event
      return changed(
        { ...rest, status: "processing", refused: false, reference: held, nextAttemptAt, changedAt },
        payment.refunded
      )
    }
    case "RefundAwaited":
      return changed({ ...rest, ...kept, nextAttemptAt: event.nextAttemptAt }, payment.refunded)
    case "RefundCompleted":
      return changed(
        { ...rest, status: "completed", refused: false, reference: event.reference, changedAt },
        payment.refunded + before.amount
      )
    case "RefundFailed": {
      const { answered, code, nextAttemptAt, reference: failedReference, refused } = event
      return changed(
        {
          ...rest,
          status: "failed",
          failure: code,
          refused,
          suffix: before.suffix + (answered ? 1 : 0),
          tries: before.tries + 1,
          ...(failedReference === undefined ? {} : { failedReference }),
          ...(nextAttemptAt === undefined ? {} : { nextAttemptAt }),
          changedAt
        },
        payment.refunded - (before.status === "completed" ? before.amount : 0n)
      )
    }
  }
}

/** When the refunds of a payment want somebody to see to them; `urgent` when one of them may be with the provider right now. */
export const refundTimerOf = (
  payment: PresentPayment,
  { watchAfter }: RefundLimits
): { readonly dueAt: DateTime.Utc; readonly urgent: boolean } | undefined => {
  let due: { readonly dueAt: DateTime.Utc; readonly urgent: boolean } | undefined
  for (const one of refundsOf(payment)) {
    const underWay = one.status === "requested" || (one.status === "processing" && one.reference === undefined)
    const dueAt = underWay ? DateTime.addDuration(one.changedAt, watchAfter) : one.nextAttemptAt
    if (dueAt === undefined) continue
    due = {
      dueAt: due === undefined || DateTime.isLessThan(dueAt, due.dueAt) ? dueAt : due.dueAt,
      urgent: underWay || due?.urgent === true
    }
  }
  return due
}

/** Those which are to be worked on now. */
export const dueRefunds = (payment: PresentPayment, now: DateTime.Utc): ReadonlyArray<Refund> =>
  refundsOf(payment).filter(
    ({ nextAttemptAt, reference, status }) =>
      status === "requested" ||
      (status === "processing" && reference === undefined) ||
      (nextAttemptAt !== undefined && DateTime.isLessThanOrEqualTo(nextAttemptAt, now))
  )
