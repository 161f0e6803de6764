/** When a failed compensation is tried again, and who may end it, pure. */
import { DateTime, Duration, Result, Schema } from "effect"
import { CustomerId } from "../../domain/Ids.ts"
import { Reason } from "../../domain/Reason.ts"
import { IllegalTransition, NotFound } from "../../domain/Refusals.ts"
import { hashedReference } from "../../domain/SecretHash.ts"
import {
  CompensationOperation,
  type CompensationStatus,
  type FailedCompensationRefusal,
  type FailedCompensationState,
  type FailedCompensationView,
  type RecordedCompensation,
  recorded
} from "./FailedCompensation.ts"

export const Command = Schema.TaggedUnion({
  /** Written with the outcome of the step that failed. */
  Record: { ...recorded, operation: CompensationOperation },
  /** Its time has come. */
  Start: {},
  Retry: { by: CustomerId },
  Succeeded: {},
  AttemptFailed: { error: Schema.String },
  /** The provider has taken it on, and will tell how it ends: asked again later, and no failure. */
  Awaited: {},
  /** Nobody here knows what the operation is. */
  Unhandled: {},
  Resolve: { by: CustomerId, reason: Reason },
  AlertSent: {}
})
export type Command = typeof Command.Type

const at = { at: Schema.DateTimeUtc }
export const Event = Schema.TaggedUnion({
  Recorded: {
    ...recorded,
    operation: CompensationOperation,
    maxRetries: Schema.Int,
    nextAttemptAt: Schema.DateTimeUtc,
    ...at
  },
  Started: { by: Schema.optionalKey(CustomerId), ...at },
  Succeeded: at,
  /** `nextAttemptAt` is absent when it is given up: an operator has to see to it. */
  AttemptFailed: {
    error: Schema.String,
    nextAttemptAt: Schema.optionalKey(Schema.DateTimeUtc)
  },
  Awaited: { nextAttemptAt: Schema.DateTimeUtc },
  /** `first`: nobody was told before. */
  Unhandled: { first: Schema.Boolean, nextAttemptAt: Schema.DateTimeUtc },
  Resolved: { by: CustomerId, reason: Schema.String, ...at },
  AlertSent: {}
})
export type Event = typeof Event.Type

export interface CompensationLimits {
  /** Retries by itself before an operator has to see to it. N-015. */
  readonly maxRetries: number
  /** Before retry n + 1: base x 2^n, at most the cap. N-016. */
  readonly backoff: { readonly base: Duration.Duration; readonly cap: Duration.Duration }
  /** How long a resolved record is kept; the others as long as they are open. N-052. */
  readonly keepFor: Duration.Duration
}

type Decision = Result.Result<ReadonlyArray<Event>, FailedCompensationRefusal>

/** After `retryCount` vain retries: 1, 2, 4, 8, 16, 30, 30 min. REQ-CMP-03. */
export const retryDelay = (retryCount: number, { base, cap }: CompensationLimits["backoff"]): Duration.Duration =>
  Duration.min(Duration.times(base, 2 ** Math.min(retryCount, 30)), cap)

const refused = (state: RecordedCompensation, command: Command): Decision =>
  Result.fail(new IllegalTransition({ status: statusOf(state), command: command._tag }))

const textMax = 500

/** What happens next; no events when it has happened already. */
export const decide =
  (limits: CompensationLimits) =>
  (
    state: FailedCompensationState,
    command: Command,
    { id, now }: { readonly id: string; readonly now: DateTime.Utc }
  ): Decision => {
    const next = (retryCount: number) => DateTime.addDuration(now, retryDelay(retryCount, limits.backoff))
    if (state._tag === "Absent") {
      switch (command._tag) {
        case "Record":
          return Result.succeed([
            { ...command, _tag: "Recorded", maxRetries: limits.maxRetries, nextAttemptAt: next(0), at: now }
          ])
        // Its record has gone since, after it was kept for long enough.
        case "AlertSent":
          return Result.succeed([])
        default:
          return Result.fail(new NotFound({ id }))
      }
    }
    switch (command._tag) {
      case "Record":
        return Result.succeed([])
      case "Start":
        if (state._tag === "Retrying") return Result.succeed([])
        return state._tag === "Pending" ? Result.succeed([{ _tag: "Started", at: now }]) : refused(state, command)
      case "Retry":
        return state._tag === "Pending" || state._tag === "Failed"
          ? Result.succeed([{ _tag: "Started", by: command.by, at: now }])
          : refused(state, command)
      case "Succeeded":
        return state._tag === "Retrying" ? Result.succeed([{ _tag: "Succeeded", at: now }]) : refused(state, command)
      case "AttemptFailed": {
        if (state._tag !== "Retrying") return refused(state, command)
        const count = state.retryCount + 1
        const error = command.error.replaceAll(/[\p{Cc}\p{Cs}]+/gu, " ").slice(0, textMax)
        const failed = { _tag: "AttemptFailed", error } as const
        return Result.succeed([count >= state.maxRetries ? failed : { ...failed, nextAttemptAt: next(count) }])
      }
      case "Awaited":
        return state._tag === "Retrying"
          ? Result.succeed([{ _tag: "Awaited", nextAttemptAt: DateTime.addDuration(now, limits.backoff.cap) }])
          : refused(state, command)
      case "Unhandled": {
        if (state._tag !== "Retrying") return refused(state, command)
        const nextAttemptAt = DateTime.addDuration(now, limits.backoff.cap)
        return Result.succeed([{ _tag: "Unhandled", first: !state.unhandled, nextAttemptAt }])
      }
      case "Resolve":
        return state._tag === "Pending" || state._tag === "Failed"
          ? Result.succeed([{ _tag: "Resolved", by: command.by, reason: command.reason, at: now }])
          : refused(state, command)
      case "AlertSent":
        return Result.succeed(state.alertSent ? [] : [{ _tag: "AlertSent" }])
    }
  }

/** Total: events are facts, so replay cannot fail. */
export const evolve = (state: FailedCompensationState, event: Event): FailedCompensationState => {
  if (event._tag === "Recorded") {
    const { _tag: _, at: recordedAt, ...known } = event
    return { ...known, _tag: "Pending", retryCount: 0, alertSent: false, unhandled: false, recordedAt }
  }
  if (state._tag === "Absent") return state
  switch (event._tag) {
    case "Started": {
      const { at: startedAt, by } = event
      return { ...contentOf(state), _tag: "Retrying", startedAt, ...(by === undefined ? {} : { startedBy: by }) }
    }
    case "Succeeded": {
      const by = state._tag === "Retrying" ? state.startedBy : undefined
      return {
        ...contentOf(state),
        _tag: "Resolved",
        resolution: "retried",
        resolvedAt: event.at,
        ...(by === undefined ? {} : { resolvedBy: by })
      }
    }
    case "AttemptFailed": {
      const content = {
        ...contentOf(state),
        error: event.error,
        retryCount: state.retryCount + 1
      }
      return event.nextAttemptAt === undefined
        ? { ...content, _tag: "Failed" }
        : { ...content, _tag: "Pending", nextAttemptAt: event.nextAttemptAt }
    }
    case "Awaited":
      return { ...contentOf(state), _tag: "Pending", nextAttemptAt: event.nextAttemptAt }
    case "Unhandled":
      return { ...contentOf(state), _tag: "Pending", unhandled: true, nextAttemptAt: event.nextAttemptAt }
    case "Resolved":
      return {
        ...contentOf(state),
        _tag: "Resolved",
        resolution: "by_hand",
        resolvedAt: event.at,
        resolvedBy: event.by,
        note: event.reason
      }
    case "AlertSent":
      return { ...state, alertSent: true }
  }
}

/** What all statuses have. */
const contentOf = (state: RecordedCompensation): Omit<Extract<FailedCompensationState, { _tag: "Failed" }>, "_tag"> => {
  const {
    alertSent,
    attempt,
    authorizationId,
    currency,
    customerId,
    error,
    maxRetries,
    operation,
    orderId,
    reason,
    recordedAt,
    reservationIds,
    retryCount,
    totalAmount,
    unhandled
  } = state
  return {
    orderId,
    attempt,
    operation,
    ...(authorizationId === undefined ? {} : { authorizationId }),
    reservationIds,
    customerId,
    totalAmount,
    currency,
    reason,
    error,
    retryCount,
    maxRetries,
    alertSent,
    unhandled,
    recordedAt
  }
}

const statuses = { Pending: "pending", Retrying: "retrying", Failed: "failed", Resolved: "resolved" } as const

export const statusOf = (state: RecordedCompensation): CompensationStatus => statuses[state._tag]

/** The record as operators see it: without the authorization, of which they get the hash. */
export const view = (
  state: FailedCompensationState,
  id: string,
  seq: number
): Result.Result<FailedCompensationView, NotFound> => {
  if (state._tag === "Absent") return Result.fail(new NotFound({ id }))
  const { attempt: _, authorizationId, unhandled: __, ...shown } = contentOf(state)
  return Result.succeed({
    ...shown,
    id,
    status: statusOf(state),
    ...(authorizationId === undefined ? {} : { authorization: hashedReference(authorizationId) }),
    ...(state._tag === "Pending" && state.nextAttemptAt !== undefined ? { nextAttemptAt: state.nextAttemptAt } : {}),
    ...(state._tag === "Retrying" && state.startedBy !== undefined ? { startedBy: state.startedBy } : {}),
    ...(state._tag === "Resolved" ? { resolvedAt: state.resolvedAt, resolution: state.resolution } : {}),
    ...(state._tag === "Resolved" && state.resolvedBy !== undefined ? { resolvedBy: state.resolvedBy } : {}),
    ...(state._tag === "Resolved" && state.note !== undefined ? { note: state.note } : {}),
    seq
  })
}
