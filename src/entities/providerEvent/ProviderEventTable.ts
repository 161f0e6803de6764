import { DateTime, Schema } from "effect"
import type { StateTable } from "../../runtime/Table.ts"
import { ProviderEventState } from "./ProviderEvent.ts"

const decode = Schema.decodeUnknownSync(Schema.toCodecJson(ProviderEventState))

const iso = (value: unknown) => (typeof value === "string" ? DateTime.formatIso(DateTime.makeUnsafe(value)) : undefined)

/** Null in the row stands for absent. */
const present = (fields: Readonly<Record<string, unknown>>) =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== null))

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
        occurredAt: iso(row["occurred_at"]),
        fact: row["fact"],
        ...present({ intent: row["intent"] })
      },
      status: row["status"],
      attempts: row["attempts"],
      receivedAt: iso(row["received_at"]),
      contradictions: row["contradictions"],
      ...present({
        payment: row["payment_id"],
        nextAttemptAt: iso(row["next_attempt_at"]),
        outcome: row["outcome"],
        error: row["error"],
        settledAt: iso(row["settled_at"])
      })
    })
}
