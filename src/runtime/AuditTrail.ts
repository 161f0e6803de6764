/** Who did what, when, and what came of it: only ever added to. Written in the unit of the effect where there is one. REQ-ADM-03. */
import type { LogTable, Row } from "./Table.ts"

export const auditTable: LogTable = {
  name: "ops.audit",
  columns: {
    at: "timestamptz",
    actor: "text",
    role: "text",
    operation: "text",
    subject: "text",
    outcome: "text",
    details: "jsonb",
    request_id: "text"
  }
}

export interface AuditEntry {
  readonly at: unknown
  /** The subject of a verified token; `anonymous` where there was none. */
  readonly actor: string
  readonly role: "operator" | "customer" | "guest" | "anonymous"
  readonly operation: string
  /** The id of what it was done to. */
  readonly subject?: string | undefined
  /** `done`, or the code of the refusal. */
  readonly outcome: string
  readonly details?: unknown
  readonly requestId?: string | undefined
}

export const auditRow = ({ details, requestId, subject, ...entry }: AuditEntry): Row => ({
  ...entry,
  subject,
  details: details ?? {},
  request_id: requestId
})

/** What an operator's command has done, for the `rows` of the actor whose event it is. */
export const operatorDid = (entry: Pick<AuditEntry, "at" | "actor" | "operation" | "subject" | "details">) => ({
  table: auditTable,
  row: auditRow({ ...entry, role: "operator", outcome: "done" })
})
