/**
 * Notices at once that the process of another node has ended: its connection breaks, and nobody listens at its address any more. Without
 * it the others wait until its heartbeat is too old. A node whose machine vanished, or which is frozen, breaks no connection: that is
 * still for the heartbeat to tell.
 */
import { Duration, Effect, Fiber, type Scope } from "effect"
import type { RunnerAddress } from "effect/cluster/RunnerAddress"
import { RunnerStorage } from "effect/cluster/RunnerStorage"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as RunnerWire from "./RunnerWire.ts"

export interface DeathWatchOptions {
  readonly membership: RunnerWire.Membership
  readonly self: RunnerAddress
  /** How often it is looked who else is there, and how long it is waited before a node is tried again that could not be reached. */
  readonly interval: Duration.Duration
}

/** Keeps a connection to each other node and watches it, while the scope is open. */
export const make = Effect.fnUntraced(function* (
  options: DeathWatchOptions
): Effect.fn.Return<void, never, RunnerStorage | Scope.Scope | SqlClient> {
  const sql = yield* SqlClient
  const storage = yield* RunnerStorage
  const scope = yield* Effect.scope
  const watched = new Map<string, Fiber.Fiber<void>>()
  const self = nameOf(options.self)

  const others = Effect.map(storage.getRunners, (runners) =>
    runners.flatMap(([{ address }, healthy]) => (healthy && nameOf(address) !== self ? [address] : []))
  )

  /**
   * Guarded by the heartbeat which was read before nobody answered: a node that has come back meanwhile is left alone. Who is marked by
   * mistake loses its shards in order and is healthy again at the next health check.
   */
  const buryIfDead = (address: RunnerAddress): Effect.Effect<boolean, SqlError> =>
    Effect.gen(function* () {
      const name = nameOf(address)
      const [row] = yield* sql<{ readonly beat: string }>`select last_heartbeat::text as beat from cluster_runners
        where address = ${name} and healthy`
      if (row === undefined) return true
      if (!(yield* isRefused(options.membership, address))) return false
      const marked = yield* sql`update cluster_runners set healthy = false
        where address = ${name} and last_heartbeat = ${row.beat}::timestamp and healthy returning address`
      if (marked.length > 0) yield* Effect.logWarning(`The node at ${name} has ended: its work is taken over`)
      return true
    })

  const watch = (address: RunnerAddress) =>
    Effect.gen(function* () {
      yield* RunnerWire.connect(options.membership, address).pipe(
        Effect.flatMap(RunnerWire.ended),
        Effect.scoped,
        Effect.ignore
      )
      const gone = yield* Effect.orElseSucceed(buryIfDead(address), () => false)
      if (!gone) yield* Effect.sleep(options.interval)
      return gone
    }).pipe(
      Effect.repeat({ until: (gone) => gone }),
      Effect.ensuring(Effect.sync(() => watched.delete(nameOf(address)))),
      Effect.asVoid
    )

  yield* others.pipe(
    Effect.flatMap(
      Effect.fnUntraced(function* (found) {
        const names = new Set(found.map(nameOf))
        for (const [name, fiber] of watched) if (!names.has(name)) yield* Fiber.interrupt(fiber)
        for (const address of found) {
          if (watched.has(nameOf(address))) continue
          watched.set(nameOf(address), yield* Effect.forkIn(watch(address), scope))
        }
      })
    ),
    // The database is away: then there is nothing to take over either.
    Effect.ignore,
    Effect.andThen(Effect.sleep(options.interval)),
    Effect.forever,
    Effect.forkScoped
  )
})

/** As Effect's tables have it. */
const nameOf = ({ host, port }: RunnerAddress): string => `${host}:${port}`

/** Whether its machine says that no process listens there, twice: a node which starts may not listen yet. */
const isRefused = (membership: RunnerWire.Membership, address: RunnerAddress): Effect.Effect<boolean> => {
  const once = RunnerWire.connect(membership, address).pipe(
    Effect.scoped,
    Effect.timeout("1 second"),
    Effect.as(false),
    Effect.catch((error) => Effect.succeed(error._tag === "SocketError" && RunnerWire.isRefused(error)))
  )
  return Effect.flatMap(once, (refused) => (refused ? Effect.delay(once, "50 millis") : Effect.succeed(false)))
}
