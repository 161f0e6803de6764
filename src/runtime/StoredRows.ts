/** What the runtime's own tables say, however their rows came: from Postgres, from memory, or on their way into a table. */
import type { HistoryRow, LoadedActor, NoticeRow, TimerRow } from "./Store.ts"
import { instantOf, type Row } from "./Table.ts"

/** A key an actor remembers, with what it was answered. */
export const rememberedOf = (row: Row): LoadedActor["keys"][number] => ({
  key: String(row["key"]),
  fingerprint: String(row["fingerprint"]),
  seq: Number(row["seq"]),
  refusal: row["refusal"] ?? undefined
})

/** Its `refused` is asked for as such: the refusal itself stays where it is. */
export const historyRowOf = (row: Row): HistoryRow => ({
  seq: Number(row["seq"]),
  command: String(row["command"]),
  events: row["events"] as ReadonlyArray<unknown>,
  refused: row["refused"] === true,
  cause: typeof row["cause"] === "string" ? row["cause"] : undefined,
  at: instantOf(row["at"])
})

export const timerRowOf = (row: Row): TimerRow => ({
  actorType: String(row["actor_type"]),
  actorId: String(row["actor_id"]),
  name: String(row["name"]),
  bucket: Number(row["bucket"]),
  dueAt: instantOf(row["due_at"])
})

export const noticeRowOf = (row: Row): NoticeRow => ({
  bucket: Number(row["bucket"]),
  sourceType: String(row["source_type"]),
  sourceId: String(row["source_id"]),
  seq: Number(row["seq"]),
  ordinal: Number(row["ordinal"]),
  receiverType: String(row["receiver_type"]),
  receiverId: String(row["receiver_id"]),
  message: row["message"],
  attempts: Number(row["attempts"]),
  dueAt: instantOf(row["due_at"])
})
