/** Where the journal keeps things: Postgres in service, memory in tests. One conformance suite runs against both. */
import { Context, Data, type DateTime, type Duration, type Effect } from "effect"
import type { Counters, Part, Row } from "./Table.ts"
import type { AnyDefinition } from "./Actor.ts"

/** Something else was written than the flush was decided on: reload, then decide again. Nothing of this flush was written. */
export class Conflict extends Data.TaggedError("Conflict")<{
  /** The unique constraint that was met; absent when a version had moved on. */
  readonly constraint?: string
}> {
  override get message() {
    return this.constraint ?? "version"
  }
}

/** The database refuses the content, and will again. Nothing of this flush was written. */
export class Rejected extends Data.TaggedError("Rejected")<{ readonly constraint: string; readonly detail: string }> {
  override get message() {
    return `${this.constraint}: ${this.detail}`
  }
}

/** The connection was lost, or the database is away or too slow: whether the flush was written is unknown. */
export class Lost extends Data.TaggedError("Lost")<{ readonly detail: string }> {
  override get message() {
    return this.detail
  }
}

/** This process was stopped for so long that others may have its work by now. Nothing of this flush was written, nor shall it be. */
export class Fenced extends Data.TaggedError("Fenced")<{}> {
  override get message() {
    return "this process was stopped for too long"
  }
}

export type StoreError = Conflict | Rejected | Lost | Fenced

/** What one flush writes, by part. `guarded` is how many of the guarded parts' rows must be written. */
export interface Batch {
  readonly guarded: number
  readonly parts: ReadonlyArray<{ readonly part: Part; readonly rows: ReadonlyArray<Row> }>
}

export interface LoadedActor {
  /** The row as JSON, `version` among it; absent when there is none. */
  readonly row: Row | undefined
  readonly keys: ReadonlyArray<{
    readonly key: string
    readonly fingerprint: string
    readonly seq: number
    readonly refusal: unknown
  }>
  readonly keysComplete: boolean
}

export interface TimerRow {
  readonly actorType: string
  readonly actorId: string
  readonly name: string
  /** Where it fires; not always that of `actorId`: a workflow's execution is placed by its business key. */
  readonly bucket: number
  readonly dueAt: DateTime.Utc
}

export interface NoticeRow {
  /** Whose node delivers it: the source's. */
  readonly bucket: number
  readonly sourceType: string
  readonly sourceId: string
  readonly seq: number
  readonly ordinal: number
  readonly receiverType: string
  readonly receiverId: string
  readonly message: unknown
  readonly attempts: number
  /** Not to be tried again before. */
  readonly dueAt: DateTime.Utc
}

export interface HistoryRow {
  readonly seq: number
  readonly command: string
  readonly events: ReadonlyArray<unknown>
  readonly refused: boolean
  readonly cause: string | undefined
  readonly at: DateTime.Utc
}

export class Store extends Context.Service<
  Store,
  {
    /**
     * Locks the counters of `keys` in order, lets `body` decide on them, writes what it gives, commits. What `body` throws is a defect, and
     * nothing is written then.
     */
    readonly transact: (
      keys: ReadonlyArray<string>,
      body: (counters: ReadonlyArray<Counters>) => Batch
    ) => Effect.Effect<void, StoreError>
    /** Rows and keys as they were at one instant: never a row whose last key is missing. */
    readonly load: (
      actors: ReadonlyArray<{ readonly definition: AnyDefinition; readonly id: string }>
    ) => Effect.Effect<ReadonlyArray<LoadedActor>, Lost>
    /** One remembered key of an actor which has more of them than are loaded. */
    readonly findKey: (
      definition: AnyDefinition,
      id: string,
      key: string
    ) => Effect.Effect<LoadedActor["keys"][number] | undefined, Lost>
    /** A page of an actor's history, oldest first, from behind `afterSeq`. */
    readonly history: (
      type: string,
      id: string,
      afterSeq: number,
      limit: number
    ) => Effect.Effect<ReadonlyArray<HistoryRow>, Lost>
    /** Timers of the buckets which are due before `before`, earliest first; with `urgent`, only the urgent ones. */
    readonly timers: (options: {
      readonly buckets: ReadonlyArray<number>
      readonly before: DateTime.Utc
      readonly urgent: boolean
      /** The last one of the page before. */
      readonly after?: TimerRow | undefined
      readonly limit: number
    }) => Effect.Effect<ReadonlyArray<TimerRow>, Lost>
    /**
     * Notices of the buckets which are not acknowledged, by source and in its order; the parked ones, or the others. Those behind a parked
     * one, from the same source to the same receiver, are left out.
     */
    readonly notices: (options: {
      readonly buckets: ReadonlyArray<number>
      readonly parked: boolean
      /** The last one of the page before. */
      readonly after?: NoticeRow | undefined
      readonly limit: number
    }) => Effect.Effect<ReadonlyArray<NoticeRow>, Lost>
    /** Stores a failed delivery; with `parked` it is set aside for an operator. */
    readonly noticeFailed: (
      notice: NoticeRow,
      outcome: { readonly error: string; readonly dueAt: DateTime.Utc; readonly parked: boolean }
    ) => Effect.Effect<void, Lost>
    /** How long ago the way that flushes take has answered last. It is tried whenever there is nothing to flush. */
    readonly silentFor: Effect.Effect<Duration.Duration>
    /** Reads on behalf of the runtime's own records (workflow executions, steps). */
    readonly query: (sql: string, parameters: ReadonlyArray<unknown>) => Effect.Effect<ReadonlyArray<Row>, Lost>
  }
>()("cartwright/runtime/Store") {}
