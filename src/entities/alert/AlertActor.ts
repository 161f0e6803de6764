/** The alert as the runtime hosts it. Its sinks are told by the delivery which stands in workflows/alerts. */
import { DateTime, Result } from "effect"
import type { ActorDefinition, Notice, Timer } from "../../runtime/Actor.ts"
import type { ActorOptions } from "../../runtime/Actors.ts"
import { operatorDid } from "../../runtime/AuditTrail.ts"
import { Alert, AlertRefusal, type AlertState, type RaisedAlert } from "./Alert.ts"
import { type AlertLimits, type Command, decide, Event, evolve, view } from "./AlertDecider.ts"
import { alertTable } from "./AlertTable.ts"

/** Followed by the sink's name: it is to be told more. */
export const deliverTimer = "deliver:"
/** A cleared alert has been kept for long enough. */
export const retireTimer = "retire"

export type AlertDefinition = ActorDefinition<AlertState, Command, Event, AlertRefusal>

/** `sinks` are the names of those which are set up: an alert remembers those there were when it was opened. */
export const make = (limits: AlertLimits, sinks: ReadonlyArray<string>): AlertDefinition => ({
  type: Alert.type,
  initial: { _tag: "Absent" },
  decide: decide(limits, sinks),
  evolve,
  event: Event,
  refusal: AlertRefusal,
  table: alertTable,
  timers: (state): Readonly<Record<string, Timer>> => {
    if (state._tag === "Absent") return {}
    const deliveries = state.sinks.flatMap(({ dueAt, sink }): ReadonlyArray<[string, Timer]> =>
      dueAt === undefined ? [] : [[`${deliverTimer}${sink}`, { dueAt }]]
    )
    return Object.fromEntries(
      state._tag === "Cleared" && deliveries.length === 0
        ? [[retireTimer, { dueAt: DateTime.addDuration(state.clearedAt, limits.keepFor) }]]
        : deliveries
    )
  },
  notices: (event, state): ReadonlyArray<Notice> =>
    state._tag !== "Absent" && state.tell !== undefined && completesPage(event, state)
      ? [{ receiver: state.tell, message: { _tag: "AlertSent" } }]
      : [],
  rows: (event, _, id) => {
    if (event._tag === "Acknowledged") {
      return [operatorDid({ at: event.at, actor: event.by, operation: "AcknowledgeAlert", subject: id })]
    }
    return event._tag === "Cleared" && event.by !== undefined
      ? [
          operatorDid({
            at: event.at,
            actor: event.by,
            operation: "ClearAlert",
            subject: id,
            details: { reason: event.reason }
          })
        ]
      : []
  }
})

/** The last sink has accepted the page just now. */
const completesPage = (event: Event, { sentAt }: RaisedAlert): boolean =>
  event._tag === "Delivered" &&
  event.action === "trigger" &&
  sentAt !== undefined &&
  DateTime.Equivalence(sentAt, event.at)

export const hosting = (definition: AlertDefinition): ActorOptions<AlertDefinition, typeof Alert> => ({
  definition,
  contract: Alert,
  reply: (state, id) => Result.getOrThrow(view(state, id)),
  questions: { GetAlert: (state, _, id) => view(state, id) }
})
