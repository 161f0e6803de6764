/**
 * One operation which was to give money or stock back, and could not. Tries again by itself, then waits for an operator. Entity id: the
 * order's id, the operation and its attempt, so that it lives with the order and is written with what failed. REQUIREMENTS B.12, C.22.
 */
import { Schema } from "effect"
import { Entity } from "effect/cluster"
import { Rpc } from "effect/rpc"
import { HashedReference } from "../../domain/HashedReference.ts"
import { CustomerId, IdempotencyKey, OrderId } from "../../domain/Ids.ts"
import { Amount, Currency } from "../../domain/Money.ts"
import { placedId } from "../../domain/Placed.ts"
import { Reason } from "../../domain/Reason.ts"
import { IllegalTransition, NotFound } from "../../domain/Refusals.ts"

/** All that may be recorded. REQ-CMP-01. */
export const CompensationOperation = Schema.Literals([
  "void_authorization",
  "release_reservations",
  "refund",
  "restock",
  "order_compensation"
])
export type CompensationOperation = typeof CompensationOperation.Type

/**
 * Which record an operation of one attempt of a checkout has: a second failure of the same is the same record. Only one that fails again
 * after its record was resolved, such as a refund which the provider takes back, has another `generation`.
 */
export const failedCompensationId = (
  orderId: OrderId,
  operation: CompensationOperation,
  attempt: number,
  generation = 0
): string => placedId(orderId, `${operation}:${attempt}${generation === 0 ? "" : `.${generation}`}`)

export const FailedCompensationId = Schema.String.check(
  Schema.isPattern(/^[A-Za-z0-9_-]{8,64}~[a-z_]{1,50}:\d{1,6}(\.\d{1,2})?$/)
).pipe(Schema.brand("FailedCompensationId"))
export type FailedCompensationId = typeof FailedCompensationId.Type

export const CompensationStatus = Schema.Literals(["pending", "retrying", "failed", "resolved"])
export type CompensationStatus = typeof CompensationStatus.Type

/** REQUIREMENTS B.12: each status with those it may become. */
export const compensationTransitions: Readonly<Record<CompensationStatus, ReadonlyArray<CompensationStatus>>> = {
  pending: ["retrying", "resolved"],
  retrying: ["pending", "resolved", "failed"],
  failed: ["retrying", "resolved"],
  resolved: []
}

/** What is needed to do it after all. REQ-CPN-02. */
export const recorded = {
  orderId: OrderId,
  /** The checkout's attempt which it belongs to; of a refund, which one of its payment it is, counted from 1. */
  attempt: Schema.Int,
  /** The authorization, in clear: it stands in this record and is shown nowhere. */
  authorizationId: Schema.optionalKey(Schema.String),
  /** Exactly those which are not given back. REQ-CMP-08. */
  reservationIds: Schema.Array(Schema.String),
  customerId: CustomerId,
  totalAmount: Amount,
  currency: Currency,
  /** Why it was to be done, e.g. why the order was cancelled. */
  reason: Schema.String,
  /** Why it could not be done, the last time. */
  error: Schema.String
}

const content = {
  ...recorded,
  /** Any text, since a later version may have written it: what is not a `CompensationOperation` is tried by nobody. */
  operation: Schema.String,
  retryCount: Schema.Int,
  maxRetries: Schema.Int,
  /** All sinks have accepted its alert. REQ-CPN-03. */
  alertSent: Schema.Boolean,
  /** It was met by a version which does not know its operation. */
  unhandled: Schema.Boolean,
  recordedAt: Schema.DateTimeUtc
}

export const FailedCompensationState = Schema.TaggedUnion({
  Absent: {},
  /** `nextAttemptAt` is absent for what a version before has written: an operator's to begin. */
  Pending: { ...content, nextAttemptAt: Schema.optionalKey(Schema.DateTimeUtc) },
  /** `startedBy` is absent when it tries by itself. */
  Retrying: { ...content, startedAt: Schema.DateTimeUtc, startedBy: Schema.optionalKey(CustomerId) },
  Failed: content,
  /** By its own retry, or an operator's, or by hand with the reason in `note`. */
  Resolved: {
    ...content,
    resolvedAt: Schema.DateTimeUtc,
    resolvedBy: Schema.optionalKey(CustomerId),
    resolution: Schema.Literals(["retried", "by_hand"]),
    note: Schema.optionalKey(Schema.String)
  }
})
export type FailedCompensationState = typeof FailedCompensationState.Type
export type RecordedCompensation = Exclude<FailedCompensationState, { readonly _tag: "Absent" }>

/** The record as operators see it. */
export const FailedCompensationView = Schema.Struct({
  id: Schema.String,
  orderId: OrderId,
  operation: Schema.String,
  status: CompensationStatus,
  authorization: Schema.optionalKey(HashedReference),
  reservationIds: Schema.Array(Schema.String),
  customerId: CustomerId,
  totalAmount: Amount,
  currency: Currency,
  reason: Schema.String,
  error: Schema.String,
  retryCount: Schema.Int,
  maxRetries: Schema.Int,
  alertSent: Schema.Boolean,
  recordedAt: Schema.DateTimeUtc,
  nextAttemptAt: Schema.optionalKey(Schema.DateTimeUtc),
  startedBy: Schema.optionalKey(CustomerId),
  resolvedAt: Schema.optionalKey(Schema.DateTimeUtc),
  resolvedBy: Schema.optionalKey(CustomerId),
  resolution: Schema.optionalKey(Schema.Literals(["retried", "by_hand"])),
  note: Schema.optionalKey(Schema.String),
  /** Goes up with each change. */
  seq: Schema.Int
})
export type FailedCompensationView = typeof FailedCompensationView.Type

export const FailedCompensationRefusal = Schema.Union([NotFound, IllegalTransition])
export type FailedCompensationRefusal = typeof FailedCompensationRefusal.Type

const reply = { success: FailedCompensationView, error: FailedCompensationRefusal }
const operators = { key: IdempotencyKey, by: CustomerId }

export const FailedCompensation = Entity.make("FailedCompensation", [
  Rpc.make("GetFailedCompensation", reply),
  /** Begins an attempt now, also once it was given up; not while one is under way. The attempt itself is not waited for. */
  Rpc.make("Retry", { payload: operators, ...reply }),
  /** Somebody has seen to it by hand. */
  Rpc.make("Resolve", { payload: { ...operators, reason: Reason }, ...reply }),
  Rpc.make("AlertSent", { payload: { key: IdempotencyKey } })
])
