import { Schema } from "effect"
import { isoOf, present, type StateTable } from "../../runtime/Table.ts"
import { AlertState } from "./Alert.ts"
import { statusOf } from "./AlertDecider.ts"

const decode = Schema.decodeUnknownSync(Schema.toCodecJson(AlertState))

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
      pagedAt: isoOf(row["paged_at"]),
      raisedAt: isoOf(row["raised_at"]),
      lastRaisedAt: isoOf(row["last_raised_at"]),
      sinks: row["sinks"],
      ...present({
        tell: row["tell"],
        sentAt: isoOf(row["sent_at"]),
        acknowledgedBy: row["acknowledged_by"],
        acknowledgedAt: isoOf(row["acknowledged_at"]),
        clearedBy: row["cleared_by"],
        clearedAt: isoOf(row["cleared_at"]),
        reason: row["clear_reason"]
      })
    })
}
