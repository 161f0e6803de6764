/** How an event is kept, tried again, set aside and closed, pure. */
import { DateTime, Duration, Result, Schema } from "effect"
import { CheckoutId } from "../../domain/Ids.ts"
import { AlertKind, AlertSeverity } from "../alert/Alert.ts"
import { EventConflict, type PresentEvent, type ProviderEventState, ProviderNews } from "./ProviderEvent.ts"

/** Something about it that a person has to know. */
export const Trouble = Schema.Struct({
  kind: AlertKind,
  severity: AlertSeverity,
  summary: Schema.String
})
export type Trouble = typeof Trouble.Type

const Settled = Schema.Literals(["applied", "ignored", "unmatched"])

export const Command = Schema.TaggedUnion({
  Receive: { news: ProviderNews, payment: Schema.optionalKey(CheckoutId) },
  /** It has had its effect, or has none. */
  Settle: { as: Settled, outcome: Schema.String, trouble: Schema.optionalKey(Trouble) },
  /** It could not be handled this time. */
  Fail: { error: Schema.String },
  /** The same event id came with another type or object. */
  Contradict: { type: Schema.String },
  Replay: {}
})
export type Command = typeof Command.Type

const at = { at: Schema.DateTimeUtc }
export const Event = Schema.TaggedUnion({
  Received: {
    news: ProviderNews,
    payment: Schema.optionalKey(CheckoutId),
    nextAttemptAt: Schema.DateTimeUtc,
    ...at
  },
  Settled: { as: Settled, outcome: Schema.String, trouble: Schema.optionalKey(Trouble), ...at },
  Failed: { error: Schema.String, nextAttemptAt: Schema.DateTimeUtc },
  Parked: { error: Schema.String, ...at },
  Contradicted: { type: Schema.String, ...at },
  Replayed: { nextAttemptAt: Schema.DateTimeUtc }
})
export type Event = typeof Event.Type

export interface ProviderEventLimits {
  /** Tries before an event is set aside. N-047. */
  readonly attemptsMax: number
  /** Between them. N-073. */
  readonly backoff: { readonly base: Duration.Duration; readonly cap: Duration.Duration }
  /** A received event is handled at once; after this somebody looks whether it was. */
  readonly watchAfter: Duration.Duration
}

type Decision = Result.Result<ReadonlyArray<Event>, EventConflict>

const conflict = (state: ProviderEventState, command: Command): Decision =>
  Result.fail(new EventConflict({ status: state._tag === "Absent" ? "absent" : state.status, command: command._tag }))

/** Whether both are the same event: providers repeat one with its id, type and object. */
export const isSame = (one: ProviderNews, other: ProviderNews): boolean =>
  one.type === other.type && one.object === other.object

/** What happens next; no events when it has happened already. */
export const decide =
  (limits: ProviderEventLimits) =>
  (state: ProviderEventState, command: Command, { now }: { readonly now: DateTime.Utc }): Decision => {
    if (command._tag === "Receive") {
      if (state._tag === "Present")
        return isSame(state.news, command.news) ? Result.succeed([]) : conflict(state, command)
      const { news, payment } = command
      return Result.succeed([
        {
          _tag: "Received",
          news,
          ...(payment === undefined ? {} : { payment }),
          nextAttemptAt: DateTime.addDuration(now, limits.watchAfter),
          at: now
        }
      ])
    }
    if (state._tag === "Absent") return conflict(state, command)
    switch (command._tag) {
      case "Settle":
        // The first end counts: a late one comes from a node which had lost it.
        return Result.succeed(
          state.status === "received" || state.status === "parked" ? [{ ...command, _tag: "Settled", at: now }] : []
        )
      case "Fail": {
        if (state.status !== "received") return Result.succeed([])
        const failed = state.attempts + 1
        const { base, cap } = limits.backoff
        return Result.succeed([
          failed >= limits.attemptsMax
            ? { _tag: "Parked", error: command.error, at: now }
            : {
                _tag: "Failed",
                error: command.error,
                nextAttemptAt: DateTime.addDuration(
                  now,
                  Duration.min(Duration.times(base, 2 ** Math.min(failed - 1, 30)), cap)
                )
              }
        ])
      }
      case "Contradict":
        return Result.succeed([{ _tag: "Contradicted", type: command.type, at: now }])
      case "Replay":
        return state.status === "parked"
          ? Result.succeed([{ _tag: "Replayed", nextAttemptAt: now }])
          : conflict(state, command)
    }
  }

/** Total: events are facts, so replay cannot fail. */
export const evolve = (state: ProviderEventState, event: Event): ProviderEventState => {
  if (event._tag === "Received") {
    const { at: receivedAt, news, nextAttemptAt, payment } = event
    return {
      _tag: "Present",
      news,
      ...(payment === undefined ? {} : { payment }),
      status: "received",
      attempts: 0,
      nextAttemptAt,
      receivedAt,
      contradictions: 0
    }
  }
  if (state._tag === "Absent") return state
  switch (event._tag) {
    case "Settled":
      return { ...still(state), status: event.as, outcome: event.outcome, settledAt: event.at }
    case "Failed":
      return { ...state, attempts: state.attempts + 1, error: event.error, nextAttemptAt: event.nextAttemptAt }
    case "Parked":
      return {
        ...still(state),
        status: "parked",
        attempts: state.attempts + 1,
        error: event.error,
        settledAt: event.at
      }
    case "Contradicted":
      return { ...state, contradictions: state.contradictions + 1 }
    case "Replayed": {
      const { settledAt: _, ...open } = state
      return { ...open, status: "received", attempts: 0, nextAttemptAt: event.nextAttemptAt }
    }
  }
}

const still = ({ nextAttemptAt: _, ...state }: PresentEvent): Omit<PresentEvent, "nextAttemptAt"> => state
