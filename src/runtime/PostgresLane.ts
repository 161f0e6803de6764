/** Connections of our own: for statements which are planned once, and are sent one behind the other without waiting for answers. */
import * as PgConnection from "@effect/sql-pg/PgConnection"
import { Effect, Exit, type Redacted, Scope, Semaphore } from "effect"

/**
 * How their statements are planned: once for each text, and by the keys of the rows they name. Tables may be empty when a plan is
 * made and full later, when reading them through would cost every one as much as there are rows.
 */
export const planning = {
  plan_cache_mode: "force_generic_plan",
  jit: "off",
  enable_seqscan: "off",
  enable_bitmapscan: "off",
  enable_hashjoin: "off",
  enable_mergejoin: "off"
} as const

/** Statements which are kept prepared. */
export const preparedStatements = 512

export interface PostgresLaneOptions {
  readonly url: Redacted.Redacted
  readonly applicationName: string
  /** Of its session, besides how it plans. */
  readonly parameters: Readonly<Record<string, string>>
}

export interface Lane {
  readonly connection: PgConnection.PgConnection
  readonly scope: Scope.Closeable
}

/** A connection that is made when first needed, given up when it failed, and made again for the next statement. */
export const make = Effect.fnUntraced(function* (options: PostgresLaneOptions) {
  const parent = yield* Effect.scope
  let current: Lane | undefined
  const mutex = Semaphore.makeUnsafe(1)
  const connect = Effect.gen(function* () {
    const scope = yield* Scope.fork(parent)
    const made = yield* Effect.exit(
      PgConnection.make({
        url: options.url,
        multiplex: true,
        applicationName: options.applicationName,
        preparedStatementCacheSize: preparedStatements,
        keepAlive: "5 seconds",
        startupParameters: { ...options.parameters, ...planning }
      }).pipe(Effect.provideService(Scope.Scope, scope))
    )
    if (Exit.isFailure(made)) {
      yield* Scope.close(scope, Exit.void)
      return yield* Effect.failCause(made.cause)
    }
    current = { connection: made.value, scope }
    return current
  })
  const acquire = mutex.withPermits(1)(
    Effect.suspend(() => (current === undefined ? connect : Effect.succeed(current)))
  )
  const release = (lane: Lane) =>
    Effect.suspend(() => {
      if (current === lane) current = undefined
      return Scope.close(lane.scope, Exit.void)
    })
  return { acquire, release }
})
