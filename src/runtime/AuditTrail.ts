/** Who did what, when, and what came of it: only ever added to. Written in the unit of the effect where there is one. REQ-ADM-03. */
import { Context, Effect, Layer } from "effect"
import type { Unavailable } from "../domain/Refusals.ts"
import { Journal } from "./Journal.ts"
import { appendRows, type LogTable, type Row } from "./Table.ts"

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

/** For units which have no actor's event to hang it on. */
export const auditPart = appendRows(auditTable)

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

export class AuditTrail extends Context.Service<
  AuditTrail,
  {
    /** Resolves when the entry is durable. */
    readonly record: (entry: Omit<AuditEntry, "at">) => Effect.Effect<void, Unavailable>
  }
>()("cartwright/runtime/AuditTrail") {
  static readonly layer: Layer.Layer<AuditTrail, never, Journal> = Layer.effect(
    AuditTrail,
    Effect.map(Journal, (journal) =>
      AuditTrail.of({
        record: (entry) =>
          journal
            .unit<void>({
              cells: [],
              cause: `audit ${entry.operation}`,
              body: ({ now, write }) => write(auditPart, auditRow({ ...entry, at: now }))
            })
            .pipe(Effect.catchTag("IdempotencyConflict", (conflict) => Effect.die(conflict)))
      })
    )
  )
}
