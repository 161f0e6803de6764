import { hashedReference } from "../../domain/SecretHash.ts"
import { OrderId } from "../../domain/Ids.ts"
import { Alert, type AlertDetails } from "../alert/Alert.ts"
import type { ActorDefinition, Notice } from "../../runtime/Actor.ts"
import {
  EventConflict,
  eventKeyOf,
  type PresentEvent,
  ProviderEvent,
  type ProviderEventState
} from "./ProviderEvent.ts"
import { type Command, decide, Event, evolve, type ProviderEventLimits, type Trouble } from "./ProviderEventDecider.ts"
import { providerEventTable } from "./ProviderEventTable.ts"

/** It is to be handled, or handled again. */
export const handleTimer = "handle"

export type ProviderEventDefinition = ActorDefinition<ProviderEventState, Command, Event, EventConflict>

export const make = (limits: ProviderEventLimits): ProviderEventDefinition => ({
  type: ProviderEvent.type,
  initial: { _tag: "Absent" },
  decide: decide(limits),
  evolve,
  event: Event,
  refusal: EventConflict,
  table: providerEventTable,
  timers: (state) =>
    state._tag === "Present" && state.nextAttemptAt !== undefined
      ? { [handleTimer]: { dueAt: state.nextAttemptAt, urgent: state.attempts === 0 } }
      : {},
  notices: (event, state): ReadonlyArray<Notice> => {
    const trouble = troubleOf(event)
    return trouble === undefined || state._tag === "Absent" ? [] : [alertOf(trouble, state)]
  }
})

const troubleOf = (event: Event): Trouble | undefined => {
  switch (event._tag) {
    case "Settled":
      return event.trouble
    case "Parked":
      return {
        kind: "webhook_parked",
        severity: "critical",
        summary: "A payment provider's event could not be handled and is set aside"
      }
    case "Contradicted":
      return {
        kind: contradiction,
        severity: "critical",
        summary: "A payment provider's event came again with another type or object; the second one was refused"
      }
    default:
      return undefined
  }
}

/** An event's own trouble is an alert of its own; money which is in the wrong place is one for each payment. */
const alertOf = ({ kind, severity, summary }: Trouble, event: PresentEvent): Notice => {
  const { error, news, payment, status } = event
  const own = status === "parked" || kind === contradiction
  const details: AlertDetails = {
    ...(payment === undefined ? {} : { orderId: OrderId.make(payment) }),
    ...("amount" in news.fact ? { amount: news.fact.amount, currency: news.fact.currency } : {}),
    ...(news.intent === undefined ? {} : { authorization: hashedReference(news.intent) }),
    ...(error === undefined ? {} : { error }),
    recorded: true
  }
  const message = { _tag: "Raise", kind, severity, summary: `${summary} (${news.provider}, ${news.type})`, details }
  return {
    receiver: { type: Alert.type, id: `${kind}:${own ? eventKeyOf(news) : (payment ?? news.provider)}`.slice(0, 140) },
    message
  }
}

const contradiction = "webhook_contradiction"
