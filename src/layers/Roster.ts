/**
 * Who is in the cluster and who has which shard, as one node sees and changes it; the tables and locks are Effect's.
 *
 * - The nodes of a cluster look several times a second, so that the shards of one that has ended are taken over soon. One that is alone has
 *   nobody to take over from, and whoever joins can wait a moment, since it serves all the while.
 * - A node that stops leaves while it still answers: others take its shards one after another as it lets them go.
 * - Effect tries once a second for shards it should have and which another still holds. That is as long as nobody answers for them.
 */
import { Clock, Context, Duration, Effect, Layer, Schedule } from "effect"
import type { Runner } from "effect/cluster/Runner"
import type { RunnerAddress } from "effect/cluster/RunnerAddress"
import { RunnerStorage } from "effect/cluster/RunnerStorage"
import type { ShardId } from "effect/cluster/ShardId"

/** How long a node which was alone takes it that it still is. */
const aloneFor = Duration.seconds(2)

export class Roster extends Context.Service<
  Roster,
  {
    /** Gives all shards to the others, if there are any, and comes back when they are given, or after `atMost`. There is no way back. */
    readonly leave: (atMost: Duration.Duration) => Effect.Effect<void>
  }
>()("cartwright/layers/Roster") {}

export interface RosterOptions {
  readonly self: RunnerAddress
  /**
   * How long one attempt for shards goes on: better longer than a node which hands them over holds on to them. Effect gives an attempt up
   * after the time between two signs of life.
   */
  readonly attemptFor: Duration.Duration
}

/** Around the storage of runners. */
export const layer = (options: RosterOptions): Layer.Layer<Roster | RunnerStorage, never, RunnerStorage> =>
  Layer.effectContext(
    Effect.map(RunnerStorage, (storage) => {
      const { leave, storage: own } = around(storage, options)
      return Context.make(RunnerStorage, own).pipe(Context.add(Roster, Roster.of({ leave })))
    })
  )

type Storage = RunnerStorage["Service"]

const keyOf = ({ group, id }: ShardId) => `${group}:${id}`

const around = (storage: Storage, { attemptFor, self }: RosterOptions) => {
  let alone: { readonly since: number; readonly runners: ReadonlyArray<Entry> } | undefined
  /** As this node has registered itself. */
  let registered: Runner | undefined
  let left = false
  /** Whether this node's own part of the cluster has seen that, and lets its shards go. */
  let leftSeen = false
  const held = new Set<string>()
  /** What this node writes itself it must find at once. */
  const afterwards = <A, E>(change: Effect.Effect<A, E>) =>
    Effect.ensuring(
      change,
      Effect.sync(() => {
        alone = undefined
      })
    )
  const isSelf = (address: RunnerAddress) => address.host === self.host && address.port === self.port

  const own = RunnerStorage.of({
    ...storage,
    register: (runner, healthy) => {
      if (isSelf(runner.address)) registered = runner
      return afterwards(storage.register(runner, healthy))
    },
    unregister: (address) => afterwards(storage.unregister(address)),
    setRunnerHealth: (address, healthy) =>
      left && isSelf(address) ? Effect.void : afterwards(storage.setRunnerHealth(address, healthy)),
    getRunners: Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      if (alone !== undefined && now - alone.since < Duration.toMillis(aloneFor)) return [...alone.runners]
      const runners = yield* storage.getRunners
      if (left && registered !== undefined) {
        leftSeen = true
        // Found as one that is ill, it is given nothing any more; not found, it would join again.
        return [...runners.filter(([{ address }]) => !isSelf(address)), [registered, false] as const]
      }
      alone = isAlone(isSelf, runners) ? { since: now, runners } : undefined
      return runners
    }),
    acquire: Effect.fnUntraced(function* (address, shardIds) {
      const wanted = [...shardIds]
      const got = yield* storage.acquire(address, wanted).pipe(
        Effect.repeat({
          until: (found) => found.length === wanted.length,
          schedule: Schedule.spaced("50 millis").pipe(Schedule.upTo({ duration: attemptFor }))
        })
      )
      for (const shard of got) held.add(keyOf(shard))
      return got
    }),
    release: (address, shardId) =>
      Effect.tap(storage.release(address, shardId), () => Effect.sync(() => held.delete(keyOf(shardId)))),
    releaseAll: (address) => Effect.tap(storage.releaseAll(address), () => Effect.sync(() => held.clear()))
  })

  const leave = (atMost: Duration.Duration): Effect.Effect<void> =>
    Effect.gen(function* () {
      const runners = yield* storage.getRunners
      if (!runners.some(([{ address }, healthy]) => healthy && !isSelf(address))) return
      left = true
      yield* until(() => leftSeen)
      // The others try for its shards from when they miss it, for a while: it must be on its way to let them go by then.
      yield* own.unregister(self)
      yield* until(() => held.size === 0)
    }).pipe(Effect.timeoutOption(atMost), Effect.ignore, Effect.withSpan("Roster.leave"))
  return { storage: own, leave }
}

const until = (condition: () => boolean) =>
  Effect.repeat(Effect.sync(condition), { until: (holds) => holds, schedule: Schedule.spaced("20 millis") })

type Entry = Effect.Success<Storage["getRunners"]>[number]

/** Not when it is ill or missing: then it has to be put right. */
const isAlone = (isSelf: (address: RunnerAddress) => boolean, runners: ReadonlyArray<Entry>): boolean => {
  const [first, ...others] = runners
  if (first === undefined || others.length > 0) return false
  const [{ address }, healthy] = first
  return healthy && isSelf(address)
}
