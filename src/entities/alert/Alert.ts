/**
 * Something an operator has to know. Entity id: what it is about, so that the same trouble met again is the same alert. REQ-ALR-01.
 *
 * Anybody raises one, by a notice or by a call; it tells its sinks (log, webhook, pager) by itself, until each has accepted it.
 */
import { Schema } from "effect"
import { Entity } from "effect/cluster"
import { Rpc } from "effect/rpc"
import { HashedReference } from "../../domain/HashedReference.ts"
import { CustomerId, IdempotencyKey, OrderId } from "../../domain/Ids.ts"
import { Amount, Currency } from "../../domain/Money.ts"
import { Reason } from "../../domain/Reason.ts"
import { IllegalTransition, NotFound } from "../../domain/Refusals.ts"

/** E.g. `failed_compensation:<id of the record>`. */
export const AlertId = Schema.String.check(Schema.isPattern(/^[\w.:@|~/#-]{3,140}$/)).pipe(Schema.brand("AlertId"))
export type AlertId = typeof AlertId.Type

export const AlertSeverity = Schema.Literals(["critical", "warning", "info"])
export type AlertSeverity = typeof AlertSeverity.Type

/** What kind of trouble, e.g. `failed_compensation`: what rules and dashboards go by. */
export const AlertKind = Schema.String.check(Schema.isPattern(/^[a-z][a-z0-9_]{2,63}$/))

/** REQ-CPN-03. An authorization is named by its hash alone. REQ-SEC-02. */
export const AlertDetails = Schema.Struct({
  orderId: Schema.optionalKey(OrderId),
  customerId: Schema.optionalKey(CustomerId),
  /** Minor units. */
  amount: Schema.optionalKey(Amount),
  currency: Schema.optionalKey(Currency),
  authorization: Schema.optionalKey(HashedReference),
  error: Schema.optionalKey(Schema.String),
  /** Whether it stands somewhere to be repaired, e.g. as a failed compensation. */
  recorded: Schema.optionalKey(Schema.Boolean)
})
export type AlertDetails = typeof AlertDetails.Type

/** What a sink is told of an alert, in this order. */
export const AlertAction = Schema.Literals(["trigger", "acknowledge", "resolve"])
export type AlertAction = typeof AlertAction.Type

/** E.g. `pagerduty`. */
export const SinkName = Schema.String.check(Schema.isPattern(/^[a-z]{2,20}$/))

/** Where one sink stands with one alert. */
export const SinkState = Schema.Struct({
  sink: SinkName,
  /** The page which it heard of last; zero before the first. */
  page: Schema.Int,
  /** What it accepted last. */
  accepted: Schema.optionalKey(AlertAction),
  /** Vain attempts since. */
  attempts: Schema.Int,
  /** When it is to be told more; absent when it knows everything. */
  dueAt: Schema.optionalKey(Schema.DateTimeUtc),
  error: Schema.optionalKey(Schema.String)
})
export type SinkState = typeof SinkState.Type

/** An actor that wants to hear, as its command `AlertSent`, that all sinks have accepted the alert. */
export const AlertTell = Schema.Struct({ type: Schema.Literals(["FailedCompensation"]), id: Schema.String })

const told = { kind: AlertKind, severity: AlertSeverity, summary: Schema.String, details: AlertDetails }

const tell = { tell: Schema.optionalKey(AlertTell) }

const content = {
  ...told,
  ...tell,
  /** How often it was raised since it was opened. */
  raises: Schema.Int,
  /** How often people were told. */
  page: Schema.Int,
  pagedAt: Schema.DateTimeUtc,
  raisedAt: Schema.DateTimeUtc,
  lastRaisedAt: Schema.DateTimeUtc,
  sinks: Schema.Array(SinkState),
  /** Since when all sinks have accepted the last page. */
  sentAt: Schema.optionalKey(Schema.DateTimeUtc)
}

export const AlertState = Schema.TaggedUnion({
  Absent: {},
  Open: content,
  /** Somebody looks after it: it pages nobody until it gets worse. */
  Acknowledged: { ...content, acknowledgedBy: CustomerId, acknowledgedAt: Schema.DateTimeUtc },
  /** `clearedBy` is absent when the trouble went away by itself. */
  Cleared: {
    ...content,
    clearedBy: Schema.optionalKey(CustomerId),
    clearedAt: Schema.DateTimeUtc,
    reason: Schema.String
  }
})
export type AlertState = typeof AlertState.Type
export type RaisedAlert = Exclude<AlertState, { readonly _tag: "Absent" }>

export const AlertStatus = Schema.Literals(["open", "acknowledged", "cleared"])
export type AlertStatus = typeof AlertStatus.Type

export const AlertView = Schema.Struct({
  id: AlertId,
  status: AlertStatus,
  ...told,
  raises: Schema.Int,
  raisedAt: Schema.DateTimeUtc,
  lastRaisedAt: Schema.DateTimeUtc,
  sinks: Schema.Array(SinkState),
  sentAt: Schema.optionalKey(Schema.DateTimeUtc),
  acknowledgedBy: Schema.optionalKey(CustomerId),
  clearedBy: Schema.optionalKey(CustomerId),
  reason: Schema.optionalKey(Schema.String)
})
export type AlertView = typeof AlertView.Type

export const AlertRefusal = Schema.Union([NotFound, IllegalTransition])
export type AlertRefusal = typeof AlertRefusal.Type

const reply = { success: AlertView, error: AlertRefusal }
const key = { key: IdempotencyKey }

export const Alert = Entity.make("Alert", [
  Rpc.make("GetAlert", reply),
  /** Once more within a quarter of an hour: one page. N-069. */
  Rpc.make("Raise", { payload: { ...key, ...told, ...tell }, ...reply }),
  Rpc.make("Acknowledge", { payload: { ...key, by: CustomerId }, ...reply }),
  /** The trouble is over; `by` is absent when that was not a person's finding. Repeating it is harmless. */
  Rpc.make("Clear", { payload: { ...key, by: Schema.optionalKey(CustomerId), reason: Reason }, ...reply })
])
