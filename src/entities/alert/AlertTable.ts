import { DateTime, Schema } from "effect"
import type { StateTable } from "../../runtime/Table.ts"
import { AlertState } from "./Alert.ts"
import { statusOf } from "./AlertDecider.ts"

const decode = Schema.decodeUnknownSync(Schema.toCodecJson(AlertState))

const iso = (value: unknown) => (typeof value === "string" ? DateTime.formatIso(DateTime.makeUnsafe(value)) : undefined)

/** Null in the row stands for absent. */
const present = (fields: Readonly<Record<string, unknown>>) =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== null))

const tags: Readonly<Record<string, AlertState["_tag"]>> = {
  open: "Open",
  acknowledged: "Acknowledged",
  cleared: "Cleared"
}

export const alertTable: StateTable<AlertState> = {
  name: "ops.alerts",
  columns: {
    kind: "text",
    severity: "text",
    summary: "text",
    details: "jsonb",
    tell: "jsonb",
    status: "text",
    raises: "int",
    page: "int",
    paged_at: "timestamptz",
    raised_at: "timestamptz",
    last_raised_at: "timestamptz",
    sinks: "jsonb",
    sent_at: "timestamptz",
    acknowledged_by: "text",
    acknowledged_at: "timestamptz",
    cleared_by: "text",
    cleared_at: "timestamptz",
    clear_reason: "text"
  },
  immutable: [],
  toRow: (state) => {
    if (state._tag === "Absent") throw new Error("an absent alert has no row")
    return {
      kind: state.kind,
      severity: state.severity,
      summary: state.summary,
      details: state.details,
      tell: state.tell,
      status: statusOf(state),
      raises: state.raises,
      page: state.page,
      paged_at: state.pagedAt,
      raised_at: state.raisedAt,
      last_raised_at: state.lastRaisedAt,
      sinks: state.sinks,
      sent_at: state.sentAt,
      acknowledged_by: state._tag === "Acknowledged" ? state.acknowledgedBy : undefined,
      acknowledged_at: state._tag === "Acknowledged" ? state.acknowledgedAt : undefined,
      cleared_by: state._tag === "Cleared" ? state.clearedBy : undefined,
      cleared_at: state._tag === "Cleared" ? state.clearedAt : undefined,
      clear_reason: state._tag === "Cleared" ? state.reason : undefined
    }
  },
  fromRow: (row) =>
    decode({
      _tag: tags[String(row["status"])],
      kind: row["kind"],
      severity: row["severity"],
      summary: row["summary"],
      details: row["details"],
      raises: row["raises"],
      page: row["page"],
      pagedAt: iso(row["paged_at"]),
      raisedAt: iso(row["raised_at"]),
      lastRaisedAt: iso(row["last_raised_at"]),
      sinks: row["sinks"],
      ...present({
        tell: row["tell"],
        sentAt: iso(row["sent_at"]),
        acknowledgedBy: row["acknowledged_by"],
        acknowledgedAt: iso(row["acknowledged_at"]),
        clearedBy: row["cleared_by"],
        clearedAt: iso(row["cleared_at"]),
        reason: row["clear_reason"]
      })
    })
}
