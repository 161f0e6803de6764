/** What reconciliation has looked at and found, as operators read it. REQUIREMENTS C.23. */
import { Schema } from "effect"
import { HashedReference } from "./HashedReference.ts"
import { OrderId } from "./Ids.ts"
import { Amount, Currency } from "./Money.ts"

/** `stock`, `provider` and so on: docs/operations/reconciliation.md lists them. */
export const CheckName = Schema.String.check(Schema.isPattern(/^[a-z][a-z_]{2,50}$/))

/** E.g. `hourly:2026-01-01T10:00:00.000Z`, or `operator:` with the key it was asked for with. */
export const ReconciliationId = Schema.String.check(Schema.isPattern(/^[a-z]{3,20}:[\w.:/@|#~-]{1,200}$/)).pipe(
  Schema.brand("ReconciliationId")
)
export type ReconciliationId = typeof ReconciliationId.Type

/** `incomplete`: it has ended, and could not look through everything; its results say what. */
export const ReconciliationStatus = Schema.Literals(["queued", "running", "completed", "incomplete"])
export type ReconciliationStatus = typeof ReconciliationStatus.Type

export const CheckReport = Schema.Struct({
  check: CheckName,
  /** Rows of ours, or things of the provider's. */
  examined: Schema.Int,
  found: Schema.Int,
  /** Of these, put right. */
  corrected: Schema.Int,
  /** Of these, for somebody to look at: there is an alert. */
  raised: Schema.Int,
  /** Why it was not looked through to its end. */
  error: Schema.optionalKey(Schema.String)
})

export const ReconciliationReport = Schema.Struct({
  id: ReconciliationId,
  status: ReconciliationStatus,
  checks: Schema.Array(CheckName),
  /** The operator who asked for it; absent when it was due. */
  requestedBy: Schema.optionalKey(Schema.String),
  createdAt: Schema.DateTimeUtc,
  startedAt: Schema.optionalKey(Schema.DateTimeUtc),
  finishedAt: Schema.optionalKey(Schema.DateTimeUtc),
  /** In the order of `checks`, as far as it is. */
  results: Schema.Array(CheckReport)
})
export type ReconciliationReport = typeof ReconciliationReport.Type

export const ReconciliationFinding = Schema.Struct({
  check: CheckName,
  /** What it is about: an order's id, or a product and its warehouse. */
  subject: Schema.String,
  outcome: Schema.Literals(["corrected", "raised"]),
  /** What was met, and what should have been. */
  text: Schema.String,
  orderId: Schema.optionalKey(OrderId),
  amount: Schema.optionalKey(Amount),
  currency: Schema.optionalKey(Currency),
  authorization: Schema.optionalKey(HashedReference),
  at: Schema.DateTimeUtc
})
export type ReconciliationFinding = typeof ReconciliationFinding.Type
