/** The failed compensation as the runtime hosts it. What an attempt does stands in workflows/compensation. */
import { DateTime } from "effect"
import type { ActorDefinition, Notice, Timer } from "../../runtime/Actor.ts"
import { operatorDid } from "../../runtime/AuditTrail.ts"
import { hashedReference } from "../../domain/SecretHash.ts"
import { Alert, type AlertDetails } from "../alert/Alert.ts"
import {
  FailedCompensation,
  FailedCompensationRefusal,
  type FailedCompensationState,
  type RecordedCompensation
} from "./FailedCompensation.ts"
import { type Command, type CompensationLimits, decide, Event, evolve } from "./FailedCompensationDecider.ts"
import { failedCompensationTable } from "./FailedCompensationTable.ts"

/** Its next attempt is due. */
export const retryTimer = "retry"
/** An attempt is under way: whoever takes the record over goes on with it at once. */
export const attemptTimer = "attempt"
/** A resolved record has been kept for long enough. */
export const retireTimer = "retire"

export type FailedCompensationDefinition = ActorDefinition<
  FailedCompensationState,
  Command,
  Event,
  FailedCompensationRefusal
>

export const make = (limits: CompensationLimits): FailedCompensationDefinition => ({
  type: FailedCompensation.type,
  initial: { _tag: "Absent" },
  decide: decide(limits),
  evolve,
  event: Event,
  refusal: FailedCompensationRefusal,
  table: failedCompensationTable,
  timers: (state): Readonly<Record<string, Timer>> => {
    switch (state._tag) {
      case "Pending":
        return state.nextAttemptAt === undefined ? {} : { [retryTimer]: { dueAt: state.nextAttemptAt } }
      case "Retrying":
        return { [attemptTimer]: { dueAt: state.startedAt, urgent: true } }
      case "Resolved":
        return { [retireTimer]: { dueAt: DateTime.addDuration(state.resolvedAt, limits.keepFor) } }
      case "Absent":
      case "Failed":
        return {}
    }
  },
  notices: (event, state, id): ReadonlyArray<Notice> =>
    state._tag === "Absent" ? [] : alertOf(event, state, id).map((message) => ({ receiver: alertOn(id), message })),
  rows: (event, _, id) => {
    if (event._tag === "Started" && event.by !== undefined) {
      return [operatorDid({ at: event.at, actor: event.by, operation: "RetryCompensation", subject: id })]
    }
    if (event._tag !== "Resolved") return []
    const { at, by: actor, reason } = event
    return [operatorDid({ at, actor, operation: "ResolveCompensation", subject: id, details: { reason } })]
  }
})

const alertOn = (id: string) => ({ type: Alert.type, id: `failed_compensation:${id}` })

/** One alert a record: raised when it is written and when it is given up, cleared when it is resolved. ALR-01, ALR-06. */
const alertOf = (event: Event, state: RecordedCompensation, id: string): ReadonlyArray<Notice["message"]> => {
  const raise = (summary: string) => [
    {
      _tag: "Raise",
      kind: "failed_compensation",
      severity: "critical",
      summary,
      details: detailsOf(state),
      tell: { type: FailedCompensation.type, id }
    }
  ]
  const clear = (reason: string) => [{ _tag: "Clear", reason }]
  switch (event._tag) {
    case "Recorded":
      return raise(`${state.operation} of a cancelled order failed and will be tried again`)
    case "AttemptFailed":
      return state._tag === "Failed"
        ? raise(`${state.operation} of a cancelled order failed ${state.retryCount} more times and needs an operator`)
        : []
    case "Unhandled":
      return event.first ? raise(`${state.operation} is an operation which no node knows how to repeat`) : []
    case "Succeeded":
      return clear("It was retried and succeeded")
    case "Resolved":
      return clear("An operator resolved it by hand")
    case "Started":
    case "Awaited":
    case "AlertSent":
      return []
  }
}

/** REQ-CPN-03. */
const detailsOf = ({
  authorizationId,
  currency,
  customerId,
  error,
  orderId,
  totalAmount
}: RecordedCompensation): AlertDetails => ({
  orderId,
  customerId,
  amount: totalAmount,
  currency,
  ...(authorizationId === undefined ? {} : { authorization: hashedReference(authorizationId) }),
  error,
  recorded: true
})
