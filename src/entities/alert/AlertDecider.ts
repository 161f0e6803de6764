/** When people are told, and when each sink is told again, pure. */
import { DateTime, Duration, Result, Schema } from "effect"
import { CustomerId } from "../../domain/Ids.ts"
import { Reason } from "../../domain/Reason.ts"
import { IllegalTransition, NotFound } from "../../domain/Refusals.ts"
import {
  AlertAction,
  AlertDetails,
  AlertId,
  AlertKind,
  type AlertRefusal,
  AlertSeverity,
  type AlertState,
  type AlertStatus,
  AlertTell,
  type AlertView,
  type RaisedAlert,
  SinkName,
  type SinkState
} from "./Alert.ts"

const content = { kind: AlertKind, severity: AlertSeverity, summary: Schema.String, details: AlertDetails }
const tell = Schema.optionalKey(AlertTell)
/** A delivery is of one page: what a sink says of an earlier one does not count any more. */
const delivery = { sink: SinkName, page: Schema.Int, action: AlertAction }

export const Command = Schema.TaggedUnion({
  Raise: { ...content, tell },
  Acknowledge: { by: CustomerId },
  Clear: { by: Schema.optionalKey(CustomerId), reason: Reason },
  Delivered: delivery,
  /** `notBefore` is when the sink wants to hear of it again. */
  DeliveryFailed: { ...delivery, error: Schema.String, notBefore: Schema.optionalKey(Schema.DateTimeUtc) },
  /** The sink is not set up any more. */
  Forget: { sink: SinkName }
})
export type Command = typeof Command.Type

const at = { at: Schema.DateTimeUtc }
export const Event = Schema.TaggedUnion({
  Opened: { ...content, tell, sinks: Schema.Array(SinkName), ...at },
  /** `paged`: people are told once more. */
  Repeated: { severity: AlertSeverity, summary: Schema.String, details: AlertDetails, paged: Schema.Boolean, ...at },
  Acknowledged: { by: CustomerId, ...at },
  Cleared: { by: Schema.optionalKey(CustomerId), reason: Schema.String, ...at },
  Delivered: { ...delivery, ...at },
  DeliveryFailed: { ...delivery, error: Schema.String, dueAt: Schema.DateTimeUtc },
  Forgotten: { sink: SinkName, ...at }
})
export type Event = typeof Event.Type

export interface AlertLimits {
  /** Raised again within this: no further page. N-069. */
  readonly dedupeFor: Duration.Duration
  /** Before attempt n + 1 at a sink: base x 2^(n-1), at most the cap. */
  readonly deliveryBackoff: { readonly base: Duration.Duration; readonly cap: Duration.Duration }
  /** How long an alert is kept once it is cleared. N-052. */
  readonly keepFor: Duration.Duration
}

type Decision = Result.Result<ReadonlyArray<Event>, AlertRefusal>

const urgency: Readonly<Record<AlertSeverity, number>> = { info: 0, warning: 1, critical: 2 }

/** What the sink has to be told next; undefined when it knows everything, or is not told of this alert. */
export const nextAction = (state: RaisedAlert, sink: string): AlertAction | undefined => {
  const heard = heardBy(state, sink)
  if (heard === undefined) return undefined
  // Also one that is over by now: a sink may have heard of it without our hearing so, and nobody is told only of the end.
  if (heard.page < state.page) return "trigger"
  if (state._tag === "Cleared") return heard.accepted === "resolve" ? undefined : "resolve"
  return state._tag === "Acknowledged" && heard.accepted === "trigger" ? "acknowledge" : undefined
}

const heardBy = (state: RaisedAlert, sink: string): SinkState | undefined =>
  state.sinks.find((one) => one.sink === sink)

const textMax = 500

/** Readable, and fit for a row. */
const tidy = (text: string): string => text.replaceAll(/[\p{Cc}\p{Cs}]+/gu, " ").slice(0, textMax)

const tidied = <A extends { readonly summary: string; readonly details: AlertDetails }>(raised: A): A => ({
  ...raised,
  summary: tidy(raised.summary),
  details:
    raised.details.error === undefined ? raised.details : { ...raised.details, error: tidy(raised.details.error) }
})

const backoff = (attempts: number, { base, cap }: AlertLimits["deliveryBackoff"]) =>
  Duration.min(Duration.times(base, 2 ** Math.min(attempts, 30)), cap)

/** A sink that asks for more patience than this is asked all the same. */
const patience = Duration.hours(1)

/** What happens next; no events when it has happened already. */
export const decide =
  (limits: AlertLimits, sinks: ReadonlyArray<string>) =>
  (state: AlertState, command: Command, { id, now }: { readonly id: string; readonly now: DateTime.Utc }): Decision => {
    if (state._tag === "Absent") {
      return command._tag === "Raise"
        ? Result.succeed([{ ...tidied(command), _tag: "Opened", sinks, at: now }])
        : Result.fail(new NotFound({ id }))
    }
    switch (command._tag) {
      case "Raise": {
        if (state._tag === "Cleared") return Result.succeed([{ ...tidied(command), _tag: "Opened", sinks, at: now }])
        const { details, severity, summary } = tidied(command)
        const worse = urgency[severity] > urgency[state.severity]
        const late = DateTime.isGreaterThanOrEqualTo(now, DateTime.addDuration(state.pagedAt, limits.dedupeFor))
        const paged = worse || (state._tag === "Open" && late)
        return Result.succeed([{ _tag: "Repeated", severity, summary, details, paged, at: now }])
      }
      case "Acknowledge":
        if (state._tag === "Acknowledged") return Result.succeed([])
        return state._tag === "Open"
          ? Result.succeed([{ _tag: "Acknowledged", by: command.by, at: now }])
          : Result.fail(new IllegalTransition({ status: statusOf(state), command: command._tag }))
      case "Clear": {
        if (state._tag === "Cleared") return Result.succeed([])
        const { _tag: _, ...cleared } = command
        return Result.succeed([{ _tag: "Cleared", ...cleared, at: now }])
      }
      case "Delivered":
        return Result.succeed(awaited(state, command) ? [{ ...command, at: now }] : [])
      case "DeliveryFailed": {
        if (!awaited(state, command)) return Result.succeed([])
        const { notBefore, ...failed } = command
        const attempts = heardBy(state, command.sink)?.attempts ?? 0
        const next = DateTime.addDuration(now, backoff(attempts, limits.deliveryBackoff))
        const asked = DateTime.min(notBefore ?? now, DateTime.addDuration(now, patience))
        return Result.succeed([{ ...failed, error: tidy(failed.error), dueAt: DateTime.max(next, asked) }])
      }
      case "Forget":
        return Result.succeed(
          heardBy(state, command.sink) === undefined ? [] : [{ _tag: "Forgotten", sink: command.sink, at: now }]
        )
    }
  }

const awaited = (
  state: RaisedAlert,
  { action, page, sink }: { readonly sink: string; readonly page: number; readonly action: AlertAction }
) => page === state.page && nextAction(state, sink) === action

/** Total: events are facts, so replay cannot fail. */
export const evolve = (state: AlertState, event: Event): AlertState => {
  if (event._tag === "Opened") {
    const { _tag: _, at: now, sinks, ...raised } = event
    const page = state._tag === "Absent" ? 1 : state.page + 1
    return refreshed(
      {
        ...raised,
        _tag: "Open",
        raises: 1,
        page,
        pagedAt: now,
        raisedAt: now,
        lastRaisedAt: now,
        sinks: sinks.map(
          (sink) => (state._tag === "Absent" ? undefined : heardBy(state, sink)) ?? { sink, page: 0, attempts: 0 }
        )
      },
      now
    )
  }
  if (state._tag === "Absent") return state
  switch (event._tag) {
    case "Repeated": {
      const { at: now, details, paged, severity, summary } = event
      const repeated = { ...state, severity, summary, details, raises: state.raises + 1, lastRaisedAt: now }
      return paged ? refreshed({ ...opened(repeated), page: state.page + 1, pagedAt: now }, now) : repeated
    }
    case "Acknowledged":
      return state._tag === "Open"
        ? refreshed({ ...state, _tag: "Acknowledged", acknowledgedBy: event.by, acknowledgedAt: event.at }, event.at)
        : state
    case "Cleared": {
      const { at: clearedAt, by, reason } = event
      return refreshed(
        { ...opened(state), _tag: "Cleared", clearedAt, reason, ...(by === undefined ? {} : { clearedBy: by }) },
        clearedAt
      )
    }
    case "Delivered": {
      const { action, at: now, page, sink } = event
      return refreshed(told(state, { sink, page, accepted: action, attempts: 0 }), now)
    }
    case "DeliveryFailed": {
      const { dueAt, error, sink } = event
      const heard = heardBy(state, sink)
      return heard === undefined ? state : told(state, { ...heard, attempts: heard.attempts + 1, dueAt, error })
    }
    case "Forgotten":
      return refreshed({ ...state, sinks: state.sinks.filter(({ sink }) => sink !== event.sink) }, event.at)
  }
}

/** Whether every sink has accepted the last page. */
const isSent = (state: RaisedAlert): boolean => state.sinks.every(({ page }) => page === state.page)

/** The same but for one sink. */
const told = (state: RaisedAlert, heard: SinkState): RaisedAlert => ({
  ...state,
  sinks: state.sinks.map((other) => (other.sink === heard.sink ? heard : other))
})

/** As open as at first: without what an acknowledgement or an end has added. */
const opened = (state: RaisedAlert): Extract<AlertState, { readonly _tag: "Open" }> => {
  const { details, kind, lastRaisedAt, page, pagedAt, raisedAt, raises, sentAt, severity, sinks, summary } = state
  return {
    _tag: "Open",
    kind,
    severity,
    summary,
    details,
    raises,
    page,
    pagedAt,
    raisedAt,
    lastRaisedAt,
    sinks,
    ...(state.tell === undefined ? {} : { tell: state.tell }),
    ...(sentAt === undefined ? {} : { sentAt })
  }
}

/** Who is to be told more is due from now on; who knows everything is not due. */
const refreshed = (state: RaisedAlert, now: DateTime.Utc): RaisedAlert => {
  const { sentAt, ...rest } = state
  const sinks = state.sinks.map(({ dueAt, ...known }): SinkState =>
    nextAction(state, known.sink) === undefined ? known : { ...known, dueAt: dueAt ?? now }
  )
  return { ...rest, sinks, ...(isSent(state) ? { sentAt: sentAt ?? now } : {}) }
}

const statuses = { Open: "open", Acknowledged: "acknowledged", Cleared: "cleared" } as const

export const statusOf = (state: RaisedAlert): AlertStatus => statuses[state._tag]

/** The alert as operators see it. */
export const view = (state: AlertState, id: string): Result.Result<AlertView, NotFound> => {
  if (state._tag === "Absent") return Result.fail(new NotFound({ id }))
  const { details, kind, lastRaisedAt, raisedAt, raises, sentAt, severity, sinks, summary } = state
  return Result.succeed({
    id: AlertId.make(id),
    status: statusOf(state),
    kind,
    severity,
    summary,
    details,
    raises,
    raisedAt,
    lastRaisedAt,
    sinks,
    ...(sentAt === undefined ? {} : { sentAt }),
    ...(state._tag === "Acknowledged" ? { acknowledgedBy: state.acknowledgedBy } : {}),
    ...(state._tag === "Cleared" ? { reason: state.reason } : {}),
    ...(state._tag === "Cleared" && state.clearedBy !== undefined ? { clearedBy: state.clearedBy } : {})
  })
}
