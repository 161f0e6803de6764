/**
 * Notices which were set aside after their attempts: listed, sent again, or given up, each of the latter together with who did it. What is
 * given up stays in the audit trail with all it said. REQ-GEN-09, REQ-ADM-03.
 */
import { Context, DateTime, Duration, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { NotFound, Unavailable } from "../domain/Refusals.ts"
import { hashedReference } from "../domain/SecretHash.ts"
import type { NoticeAddress } from "./Notices.ts"

/** E.g. `CheckoutSession:checkout-1:7:0`: its source, and its place in what that has said. */
export const parkedIdOf = ({ ordinal, seq, sourceId, sourceType }: NoticeAddress): string =>
  `${sourceType}:${sourceId}:${seq}:${ordinal}`

/** The alert about one: a long id is told by its hash. */
export const parkedAlertOf = (id: string): string => {
  const alert = `parked_notice:${id}`
  return alert.length <= 140 ? alert : `${alert.slice(0, 110)}:${hashedReference(id)}`
}

const Row = Schema.Struct({
  id: Schema.String,
  at: Schema.String,
  sourceType: Schema.String,
  sourceId: Schema.String,
  receiverType: Schema.String,
  receiverId: Schema.String,
  message: Schema.Json,
  attempts: Schema.Int,
  error: Schema.optionalKey(Schema.String)
})
export type ParkedNotice = Omit<typeof Row.Type, "at"> & { readonly parkedAt: DateTime.Utc; readonly at: string }

/** Where a page ended. */
export interface ParkedPlace {
  readonly at: string
  readonly id: string
}

export interface ParkedAction {
  readonly id: string
  readonly key: string
  readonly by: string
  readonly reason?: string
}

export class ParkedNotices extends Context.Service<
  ParkedNotices,
  {
    /** Newest first; one more than `limit` where there are more. */
    readonly list: (
      after: ParkedPlace | undefined,
      limit: number
    ) => Effect.Effect<ReadonlyArray<ParkedNotice>, Unavailable>
    /** Gives it all of its attempts again: those behind it go on once it is delivered. */
    readonly replay: (action: ParkedAction) => Effect.Effect<void, NotFound | Unavailable>
    /** Gives it up: those behind it go on at once. */
    readonly close: (action: ParkedAction) => Effect.Effect<void, NotFound | Unavailable>
  }
>()("cartwright/runtime/ParkedNotices") {
  static readonly layer: Layer.Layer<ParkedNotices, never, SqlClient> = Layer.effect(
    ParkedNotices,
    Effect.suspend(() => make)
  )
}

const idOf = `source_type || ':' || source_id || ':' || seq || ':' || ordinal`
const utc = `to_char(parked_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`

const decode = Schema.decodeUnknownEffect(Schema.Array(Row))
const instant = Schema.decodeSync(Schema.DateTimeUtcFromString)
const timeLimit = Duration.seconds(5)

const bounded = <A>(query: Effect.Effect<A, SqlError>): Effect.Effect<A, Unavailable> =>
  query.pipe(
    Effect.timeout(timeLimit),
    Effect.tapError((error) => Effect.logWarning("Parked notices cannot be reached", error)),
    Effect.mapError(() => new Unavailable({ retryAfterMs: 1000 }))
  )

const make = Effect.gen(function* () {
  const sql = yield* SqlClient

  const list = Effect.fn("ParkedNotices.list")(function* (after: ParkedPlace | undefined, limit: number) {
    const rows = yield* bounded(sql`
      select ${sql.literal(idOf)} as id, ${sql.literal(utc)} as at, source_type as "sourceType", source_id as "sourceId",
        receiver_type as "receiverType", receiver_id as "receiverId", message, attempts, coalesce(error, '') as error
      from runtime.notices
      where parked_at is not null
        ${after === undefined ? sql.literal("") : sql`and (parked_at, ${sql.literal(idOf)}) < (${after.at}::timestamptz, ${after.id})`}
      order by parked_at desc, ${sql.literal(idOf)} desc
      limit ${limit + 1}`)
    const found = yield* Effect.orDie(decode(rows))
    return found.map((row) => ({ ...row, parkedAt: instant(row.at) }))
  })

  /** Change and audit in one statement: of two operators at once, one finds it parked. */
  const act = Effect.fnUntraced(function* (operation: "ReplayParked" | "CloseParked", action: ParkedAction) {
    const { by, id, key, reason } = action
    const [, sourceType, sourceId, seq, ordinal] = /^([A-Za-z]+):(.+):(\d{1,9}):(\d{1,9})$/.exec(id) ?? []
    if (sourceType === undefined) return yield* new NotFound({ id })
    const which = sql`source_type = ${sourceType} and source_id = ${sourceId!} and seq = ${Number(seq)} and ordinal = ${Number(ordinal)} and parked_at is not null`
    const told = JSON.stringify({ key, ...(reason === undefined ? {} : { reason }) })
    const changed =
      operation === "ReplayParked"
        ? sql`update runtime.notices set attempts = 0, parked_at = null, due_at = now() where ${which} returning message, receiver_type, receiver_id, error`
        : sql`delete from runtime.notices where ${which} returning message, receiver_type, receiver_id, error`
    const done = yield* bounded(sql`
      with changed as (${changed})
      insert into ops.audit (at, actor, role, operation, subject, outcome, details)
      select now(), ${by}, 'operator', ${operation}, ${id}, 'done', ${told}::text::jsonb || jsonb_build_object('message', message,
        'receiver', receiver_type || '/' || receiver_id, 'error', error)
      from changed returning id`)
    if (done.length > 0) return
    // The same request again, whose answer was lost.
    const before = yield* bounded(sql`
      select 1 from ops.audit where subject = ${id} and actor = ${by} and operation = ${operation} and outcome = 'done'
        and details ->> 'key' = ${key} limit 1`)
    if (before.length === 0) return yield* new NotFound({ id })
  })

  return ParkedNotices.of({
    list,
    replay: (action) => act("ReplayParked", action),
    close: (action) => act("CloseParked", action)
  })
})
