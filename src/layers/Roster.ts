/**
 * Who is in the cluster, without asking the database more often than it helps. The nodes of a cluster look several times a second, so that
 * the shards of one that has ended are taken over soon. One that is alone has nobody to take over from, and whoever joins can wait a
 * moment, since it serves all the while.
 */
import { Clock, Duration, Effect, Layer } from "effect"
import type { RunnerAddress } from "effect/cluster/RunnerAddress"
import { RunnerStorage } from "effect/cluster/RunnerStorage"

/** How long a node which was alone takes it that it still is. */
const aloneFor = Duration.seconds(2)

/** Around the storage of runners: `self` knows for a while that it is alone. */
export const layer = (self: RunnerAddress): Layer.Layer<RunnerStorage, never, RunnerStorage> =>
  Layer.effect(RunnerStorage, Effect.map(RunnerStorage, around(self)))

const around =
  (self: RunnerAddress) =>
  (storage: RunnerStorage["Service"]): RunnerStorage["Service"] => {
    let alone: { readonly since: number; readonly runners: ReadonlyArray<Entry> } | undefined
    /** What this node writes itself it must find at once. */
    const afterwards = <A, E>(change: Effect.Effect<A, E>) =>
      Effect.ensuring(
        change,
        Effect.sync(() => {
          alone = undefined
        })
      )
    return RunnerStorage.of({
      ...storage,
      register: (runner, healthy) => afterwards(storage.register(runner, healthy)),
      unregister: (address) => afterwards(storage.unregister(address)),
      setRunnerHealth: (address, healthy) => afterwards(storage.setRunnerHealth(address, healthy)),
      getRunners: Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        if (alone !== undefined && now - alone.since < Duration.toMillis(aloneFor)) return [...alone.runners]
        const runners = yield* storage.getRunners
        alone = isAlone(self, runners) ? { since: now, runners } : undefined
        return runners
      })
    })
  }

type Entry = Effect.Success<RunnerStorage["Service"]["getRunners"]>[number]

/** Not when it is ill or missing: then it has to be put right. */
const isAlone = (self: RunnerAddress, runners: ReadonlyArray<Entry>): boolean => {
  const [first, ...others] = runners
  if (first === undefined || others.length > 0) return false
  const [{ address }, healthy] = first
  return healthy && address.host === self.host && address.port === self.port
}
