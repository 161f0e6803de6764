/**
 * Notices at once that the process of another node has ended: its connection breaks, and nobody listens at its address any more. Without
 * it the others wait until its heartbeat is too old. A node whose machine vanished, or which is frozen, breaks no connection: that is
 * still for the heartbeat to tell.
 */
import { Duration, Effect, Fiber, type Scope } from "effect"
import { RunnerAddress } from "effect/cluster/RunnerAddress"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as RunnerWire from "./RunnerWire.ts"

export interface DeathWatchOptions {
  readonly membership: RunnerWire.Membership
  readonly self: RunnerAddress
  /** How often it is looked who else is there, and how long it is waited before a node is tried again that could not be reached. */
  readonly interval: Duration.Duration
  /** A node whose heartbeat is older is not there. */
  readonly expiration: Duration.Duration
}

/** Keeps a connection to each other node and watches it, while the scope is open. */
export const make = Effect.fnUntraced(function* (
  options: DeathWatchOptions
): Effect.fn.Return<void, never, Scope.Scope | SqlClient> {
  const sql = yield* SqlClient
  const scope = yield* Effect.scope
  const watched = new Map<string, Fiber.Fiber<void>>()
  const self = nameOf(options.self)

  const others = sql<{
    readonly address: string
  }>`select address from cluster_runners where healthy and address <> ${self}
    and last_heartbeat > now() - make_interval(secs => ${Duration.toSeconds(options.expiration)})`

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
        const names = new Set(found.map(({ address }) => address))
        for (const [name, fiber] of watched) if (!names.has(name)) yield* Fiber.interrupt(fiber)
        for (const name of names) {
          if (watched.has(name)) continue
          watched.set(name, yield* Effect.forkIn(watch(addressOf(name)), scope))
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

const addressOf = (name: string): RunnerAddress => {
  const colon = name.lastIndexOf(":")
  return RunnerAddress.make({ host: name.slice(0, colon), port: Number(name.slice(colon + 1)) })
}

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
