/** Lists which are read a page at a time from the tables themselves, newest first. REQ-GEN-16. */
import { Duration, Effect, Result, Schema } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import { InvalidRequest, Unavailable } from "../domain/Refusals.ts"

/** A fault passes, e.g. a database that restarts; anything else is a bug of ours and dies. */
const isFault = (error: SqlError): boolean => error.isRetryable || error.reason._tag === "UnknownError"

const timeLimit = Duration.seconds(5)
const unavailable = Effect.fail(new Unavailable({ retryAfterMs: 1000 }))

/** The rows of a query, or `Unavailable` when the database is away or slow. */
export const bounded = <A>(query: Effect.Effect<A, SqlError>): Effect.Effect<A, Unavailable> =>
  query.pipe(
    Effect.catchIf(
      isFault,
      () => unavailable,
      (bug) => Effect.die(bug)
    ),
    Effect.timeoutOrElse({ duration: timeLimit, orElse: () => unavailable })
  )

/** The whole of an instant, as text: the database knows microseconds, which a `DateTime` does not hold. */
export const utc = (column: string): string => `to_char(${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`

/** Reads rows whose instants are such text, and whose absent values are null. */
export const rowsOf = <A>(schema: Schema.Codec<A, unknown>) => {
  const decode = Schema.decodeUnknownEffect(schema)
  return Effect.forEach((row: object) =>
    Effect.orDie(decode(Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null))))
  )
}

/** An instant in a row, as `utc` gives it. */
export const Instant = Schema.DateTimeUtcFromString

/** Where a page ends. */
export interface Place {
  readonly at: string
  readonly id: string
}

/** One row more than the page holds tells whether there is a next one. */
export const pageOf = <A>(
  found: ReadonlyArray<A>,
  limit: number,
  placeOf: (last: A) => Place
): { readonly shown: ReadonlyArray<A>; readonly next?: string } => {
  const shown = found.slice(0, limit)
  const last = shown.at(-1)
  return { shown, ...(found.length > limit && last !== undefined ? { next: encode(placeOf(last)) } : {}) }
}

const encode = ({ at, id }: Place): string => Buffer.from(`${at} ${id}`).toString("base64url")

const cursor = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) ([\w.:@|~/#-]{1,200})$/

/** Where the next page begins: what a caller gives back is refused unless it is one of ours. */
export const placeAfter = (text: string): Result.Result<Place, InvalidRequest> => {
  const [, at, id] = cursor.exec(Buffer.from(text.slice(0, 400), "base64url").toString()) ?? []
  return at === undefined || id === undefined || Number.isNaN(Date.parse(at))
    ? Result.fail(new InvalidRequest({ field: "after", message: "Expected the `next` of the page before" }))
    : Result.succeed({ at, id })
}
