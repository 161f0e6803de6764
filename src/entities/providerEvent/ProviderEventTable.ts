import { Schema } from "effect"
import { isoOf, present, type StateTable } from "../../runtime/Table.ts"
import { ProviderEventState } from "./ProviderEvent.ts"

const decode = Schema.decodeUnknownSync(Schema.toCodecJson(ProviderEventState))

export const providerEventTable: StateTable<ProviderEventState> = {
  name: "payment.provider_events",
  columns: {
    payment_id: "text",
    provider: "text",
    event_id: "text",
    type: "text",
    object: "text",
    intent: "text",
    occurred_at: "timestamptz",
    fact: "jsonb",
    status: "text",
    attempts: "int",
    next_attempt_at: "timestamptz",
    outcome: "text",
    error: "text",
    received_at: "timestamptz",
    settled_at: "timestamptz",
    contradictions: "int"
  },
  immutable: ["payment_id", "provider", "event_id", "type", "object", "intent", "occurred_at", "fact", "received_at"],
  toRow: (state) => {
    if (state._tag === "Absent") throw new Error("an absent event has no row")
    const { news } = state
    return {
      payment_id: state.payment,
      provider: news.provider,
      event_id: news.eventId,
      type: news.type,
      object: news.object,
      intent: news.intent,
      occurred_at: news.occurredAt,
      fact: news.fact,
      status: state.status,
      attempts: state.attempts,
      next_attempt_at: state.nextAttemptAt,
      outcome: state.outcome,
      error: state.error,
      received_at: state.receivedAt,
      settled_at: state.settledAt,
      contradictions: state.contradictions
    }
  },
  fromRow: (row) =>
    decode({
      _tag: "Present",
      news: {
        provider: row["provider"],
        eventId: row["event_id"],
        type: row["type"],
        object: row["object"],
        occurredAt: isoOf(row["occurred_at"]),
        fact: row["fact"],
        ...present({ intent: row["intent"] })
      },
      status: row["status"],
      attempts: row["attempts"],
      receivedAt: isoOf(row["received_at"]),
      contradictions: row["contradictions"],
      ...present({
        payment: row["payment_id"],
        nextAttemptAt: isoOf(row["next_attempt_at"]),
        outcome: row["outcome"],
        error: row["error"],
        settledAt: isoOf(row["settled_at"])
      })
    })
}
