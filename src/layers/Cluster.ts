/** The cluster on one node: which share of the work it has, and how it reaches the others. Postgres is where they meet. REQ-GW-07. */
import { networkInterfaces } from "node:os"
import { Duration, Effect, Layer, Option, Redacted, Schema } from "effect"
import * as MessageStorage from "effect/cluster/MessageStorage"
import { RunnerAddress } from "effect/cluster/RunnerAddress"
import * as RunnerHealth from "effect/cluster/RunnerHealth"
import * as Runners from "effect/cluster/Runners"
import * as RunnerServer from "effect/cluster/RunnerServer"
import { RunnerStorage } from "effect/cluster/RunnerStorage"
import type { Sharding } from "effect/cluster/Sharding"
import * as ShardingConfig from "effect/cluster/ShardingConfig"
import * as SqlRunnerStorage from "effect/cluster/SqlRunnerStorage"
import { RpcSerialization, RpcServer } from "effect/rpc"
import { SocketServer, type SocketServerError } from "effect/socket/SocketServer"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as DeathWatch from "./DeathWatch.ts"
import { detailsOf } from "./ErrorDetails.ts"
import * as Roster from "./Roster.ts"
import * as RunnerWire from "./RunnerWire.ts"
import type { Values } from "./Settings.ts"

export type ClusterSettings = Pick<
  Values,
  | "CLUSTER_BUCKETS"
  | "CLUSTER_NAME"
  | "CLUSTER_SECRET"
  | "CLUSTER_SECRET_OTHER"
  | "CLUSTER_SHARDS"
  | "DATABASE_URL"
  | "RUNNER_BIND_HOST"
  | "RUNNER_BIND_PORT"
  | "RUNNER_HEALTH_CHECK_INTERVAL"
  | "RUNNER_HOST"
  | "RUNNER_PORT"
  | "SHARD_ASSIGNMENT_REFRESH"
  | "SHARD_HANDOVER_WITHIN"
  | "SHARD_LOCK_EXPIRATION"
  | "SHARD_LOCK_REFRESH"
>

/**
 * Why this node may not join. `message` is for the person who starts it.
 *
 * - `OtherCluster`: the database belongs to a cluster of another name.
 * - `OtherLayout`: its work is cut into another number of shards or buckets.
 * - `OtherSecret`: a node which runs does not accept ours.
 * - `NotListening`: the port is taken, or the host is not ours.
 */
export class CannotJoin extends Schema.TaggedError<CannotJoin>()("CannotJoin", {
  reason: Schema.Literals(["OtherCluster", "OtherLayout", "OtherSecret", "NotListening"]),
  message: Schema.String
}) {}

/** Joins the cluster of the database, or founds it. The tables must be there. */
export const layer = (
  settings: ClusterSettings
): Layer.Layer<Roster.Roster | Sharding | Runners.Runners, CannotJoin | SqlError, SqlClient> => {
  const { advertised, listen } = addressesOf(settings)
  const membership = membershipOf(settings)
  const server = RpcServer.layerProtocolSocketServer.pipe(
    Layer.provide(
      Layer.effect(
        SocketServer,
        Effect.mapError(RunnerWire.listen(membership, listen), (error) => notListening(listen, error))
      )
    )
  )
  const config = ShardingConfig.layer({
    runnerAddress: Option.some(advertised),
    runnerListenAddress: Option.some(RunnerAddress.make(listen)),
    shardsPerGroup: settings.CLUSTER_SHARDS,
    shardLockExpiration: settings.SHARD_LOCK_EXPIRATION,
    shardLockRefreshInterval: settings.SHARD_LOCK_REFRESH,
    refreshAssignmentsInterval: settings.SHARD_ASSIGNMENT_REFRESH,
    runnerHealthCheckInterval: settings.RUNNER_HEALTH_CHECK_INTERVAL,
    // Until then nobody has the shard: its orders wait.
    entityTerminationTimeout: settings.SHARD_HANDOVER_WITHIN,
    // What is sent within a node is never changed by its receiver.
    simulateRemoteSerialization: false
  })
  const storage = Roster.layer({
    self: advertised,
    attemptFor: Duration.times(settings.SHARD_LOCK_REFRESH, 0.85)
  }).pipe(Layer.provide(SqlRunnerStorage.layerStorage({})))
  const deathWatch = Layer.effectDiscard(
    DeathWatch.make({
      membership,
      self: advertised,
      interval: settings.RUNNER_HEALTH_CHECK_INTERVAL
    })
  )
  return Layer.merge(RunnerServer.layerWithClients, deathWatch).pipe(
    Layer.provide(RunnerHealth.layerPing.pipe(Layer.provide(Runners.layerRpc))),
    Layer.provide(server),
    Layer.provide(Layer.effectDiscard(meet(membership, advertised))),
    // Nothing waits in a mailbox of the database: what must survive is in the journal.
    Layer.provide([RunnerWire.layerClient(membership), MessageStorage.layerNoop]),
    Layer.provideMerge(storage),
    Layer.provide([config, RpcSerialization.layerSchemaBinary()]),
    Layer.provide(Layer.effectDiscard(found(settings)))
  )
}

/** Where others reach this node, and where it listens for them. */
export const addressesOf = (
  settings: Pick<Values, "DATABASE_URL" | "RUNNER_BIND_HOST" | "RUNNER_BIND_PORT" | "RUNNER_HOST" | "RUNNER_PORT">
): { readonly advertised: RunnerAddress; readonly listen: { readonly host: string; readonly port: number } } => {
  const host = settings.RUNNER_HOST ?? (isLocal(databaseHost(settings.DATABASE_URL)) ? "127.0.0.1" : ownAddress())
  return {
    advertised: RunnerAddress.make({ host, port: settings.RUNNER_PORT }),
    listen: {
      host: settings.RUNNER_BIND_HOST ?? (isLocal(host) ? host : "0.0.0.0"),
      port: settings.RUNNER_BIND_PORT ?? settings.RUNNER_PORT
    }
  }
}

// ---- before joining

/** The first node founds the cluster; later ones must be of the same. */
const found = Effect.fn("Cluster.found")(function* (
  settings: Pick<ClusterSettings, "CLUSTER_BUCKETS" | "CLUSTER_NAME" | "CLUSTER_SHARDS">
): Effect.fn.Return<void, CannotJoin | SqlError, SqlClient> {
  const { CLUSTER_BUCKETS: buckets, CLUSTER_NAME: name, CLUSTER_SHARDS: shards } = settings
  const sql = yield* SqlClient
  yield* sql`insert into runtime.cluster (name, buckets, shards) values (${name}, ${buckets}, ${shards}) on conflict do nothing`
  const [row] = yield* Effect.flatMap(sql`select name, buckets, shards from runtime.cluster`, (rows) =>
    Effect.orDie(decodeRows(rows))
  )
  if (row === undefined) return yield* Effect.die("the row that was just made sure of is gone")
  if (row.name !== name) {
    return yield* new CannotJoin({
      reason: "OtherCluster",
      message: `This database belongs to the cluster "${row.name}", and CLUSTER_NAME is "${name}". Check DATABASE_URL.`
    })
  }
  if (row.buckets !== buckets || row.shards !== shards) {
    return yield* new CannotJoin({
      reason: "OtherLayout",
      message:
        `The work of this database is cut into ${row.shards} shards and ${row.buckets} buckets, for good: ` +
        `CLUSTER_SHARDS is ${shards} and CLUSTER_BUCKETS is ${buckets}.`
    })
  }
})

const decodeRows = Schema.decodeUnknownEffect(
  Schema.Array(Schema.Struct({ name: Schema.String, buckets: Schema.Int, shards: Schema.Int }))
)

/** Shakes hands with the nodes which run: with another secret this one would take its share of the work and be deaf to them. */
const meet = Effect.fn("Cluster.meet")(function* (membership: RunnerWire.Membership, self: RunnerAddress) {
  const storage = yield* RunnerStorage
  const runners = yield* Effect.orElseSucceed(storage.getRunners, () => [])
  const others = runners.filter(([{ address }]) => address.host !== self.host || address.port !== self.port)
  yield* Effect.forEach(
    others,
    ([{ address }]) =>
      RunnerWire.connect(membership, address).pipe(
        Effect.scoped,
        Effect.timeout("1 second"),
        Effect.catch((error) =>
          error._tag === "SocketError" && RunnerWire.isStranger(error)
            ? Effect.fail(
                new CannotJoin({
                  reason: "OtherSecret",
                  message: `The node at ${address.host}:${address.port} does not accept CLUSTER_SECRET. All nodes of a cluster share one.`
                })
              )
            : // Dead, or not reached from here: that is for the health checks to find out.
              Effect.void
        )
      ),
    { concurrency: "unbounded", discard: true }
  )
})

const notListening = (
  listen: { readonly host: string; readonly port: number },
  error: SocketServerError
): CannotJoin => {
  const { code, message } = detailsOf(error.reason.cause)
  return new CannotJoin({
    reason: "NotListening",
    message:
      code === "EADDRINUSE"
        ? `Port ${listen.port} is taken: this node needs another one for the others to reach it (--runner-port or RUNNER_PORT).`
        : `This node cannot listen for others on ${listen.host}:${listen.port}: ${message} (RUNNER_BIND_HOST, RUNNER_BIND_PORT).`
  })
}

const membershipOf = (settings: ClusterSettings): RunnerWire.Membership => ({
  cluster: settings.CLUSTER_NAME,
  secrets: [
    settings.CLUSTER_SECRET,
    ...(settings.CLUSTER_SECRET_OTHER === undefined ? [] : [settings.CLUSTER_SECRET_OTHER])
  ]
})

const isLocal = (host: string): boolean =>
  host === "" || host === "localhost" || host === "::1" || host === "[::1]" || host.startsWith("127.")

const databaseHost = (url: Redacted.Redacted<string>): string =>
  URL.canParse(Redacted.value(url)) ? new URL(Redacted.value(url)).hostname : ""

const ownAddress = (): string => {
  const addresses = Object.values(networkInterfaces()).flatMap((ofOne) => ofOne ?? [])
  const outward = addresses.filter(({ internal }) => !internal)
  return (outward.find(({ family }) => family === "IPv4") ?? outward[0])?.address ?? "127.0.0.1"
}
