import { createServer, connect as connectTcp } from "node:net"
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Exit, Layer, Redacted, Schedule, Schema, Scope } from "effect"
import { Entity, Sharding } from "effect/cluster"
import { RunnerAddress } from "effect/cluster/RunnerAddress"
import { Rpc } from "effect/rpc"
import * as Cluster from "../../src/layers/Cluster.ts"
import * as RunnerWire from "../../src/layers/RunnerWire.ts"
import * as Sql from "../../src/layers/Sql.ts"
import { freshDatabase } from "../fixtures/Postgres.ts"

const Echo = Entity.make("Echo", [Rpc.make("WhoHasYou", { success: Schema.String })])
const ids = Array.from({ length: 40 }, (_, index) => `actor-${index}`)

const oneSecret = Redacted.make("0123456789abcdef0123456789abcdef")
const otherSecret = Redacted.make("fedcba9876543210fedcba9876543210")

const freePort = Effect.callback<number>((resume) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})

const settingsFor = (url: Redacted.Redacted<string>, port: number): Cluster.ClusterSettings & Sql.SqlSettings => ({
  DATABASE_URL: url,
  DATABASE_POOL_SIZE: 6,
  DATABASE_CONNECT_TIMEOUT: Duration.seconds(5),
  DATABASE_STARTUP_WAIT: Duration.seconds(5),
  DATABASE_STATEMENT_TIMEOUT: Duration.seconds(30),
  JOURNAL_IDLE_IN_TRANSACTION: Duration.seconds(4),
  CLUSTER_NAME: "test",
  CLUSTER_SECRET: oneSecret,
  CLUSTER_SECRET_OTHER: undefined,
  CLUSTER_SHARDS: 8,
  CLUSTER_BUCKETS: 16,
  RUNNER_HOST: "127.0.0.1",
  RUNNER_PORT: port,
  RUNNER_BIND_HOST: undefined,
  RUNNER_BIND_PORT: undefined,
  RUNNER_HEALTH_CHECK_INTERVAL: Duration.seconds(1),
  SHARD_ASSIGNMENT_REFRESH: Duration.millis(200),
  SHARD_HANDOVER_WITHIN: Duration.millis(500),
  SHARD_LOCK_EXPIRATION: Duration.seconds(3),
  SHARD_LOCK_REFRESH: Duration.millis(500)
})

type Settings = ReturnType<typeof settingsFor>

/** A node which runs until its scope ends: `ask` says who has the actor, wherever that is. */
const node = Effect.fnUntraced(function* (name: string, settings: Settings) {
  const echo = Echo.toLayer(Effect.succeed(Echo.of({ WhoHasYou: () => Effect.succeed(name) })))
  const services = yield* Layer.build(
    echo.pipe(Layer.provideMerge(Cluster.layer(settings)), Layer.provide(Sql.layer(settings)))
  )
  const sharding = Context.get(services, Sharding.Sharding)
  const client = yield* Echo.client.pipe(Effect.provide(services))
  return {
    shards: Effect.sync(
      () =>
        Array.from({ length: 8 }, (_, index) => index).filter((index) =>
          sharding.hasShardId(sharding.getShardId(`${index}` as never, "default"))
        ).length
    ),
    ask: (id: string) => client(id).WhoHasYou().pipe(Effect.timeout("4 seconds"))
  }
})

const owners = (asked: { readonly ask: (id: string) => Effect.Effect<string, unknown> }) =>
  Effect.map(Effect.forEach(ids, asked.ask, { concurrency: 8 }), (names) => [...new Set(names)].toSorted())

const eventually = <E, R>(condition: Effect.Effect<ReadonlyArray<string>, E, R>, wanted: ReadonlyArray<string>) =>
  condition.pipe(
    Effect.orElseSucceed((): ReadonlyArray<string> => []),
    Effect.repeat({
      until: (found) => found.join() === wanted.join(),
      schedule: Schedule.spaced("100 millis").pipe(Schedule.upTo({ duration: "15 seconds" }))
    }),
    Effect.tap((found) => Effect.sync(() => assert.deepStrictEqual(found, wanted)))
  )

/** A migrated database, and a node's settings on a port of its own. */
const cluster = Effect.gen(function* () {
  const url = yield* freshDatabase
  yield* Sql.migrate(settingsFor(url, 1))
  return Effect.map(freePort, (port) => settingsFor(url, port))
})

const refusal = (settings: Settings) =>
  Effect.map(Effect.flip(node("refused", settings).pipe(Effect.scoped)), (error) =>
    error._tag === "CannotJoin" ? error : assert.fail(String(error))
  )

describe("given a node which runs", () => {
  it.live(
    "when a second one joins and leaves, then they share the actors, reach each other's, and the first takes all back",
    () =>
      Effect.gen(function* () {
        const settings = yield* cluster
        const first = yield* node("first", yield* settings)
        yield* eventually(owners(first), ["first"])
        const scope = yield* Scope.make()
        const second = yield* node("second", yield* settings).pipe(Scope.provide(scope))
        yield* eventually(owners(first), ["first", "second"])
        yield* eventually(owners(second), ["first", "second"])
        yield* Scope.close(scope, Exit.void)
        yield* eventually(owners(first), ["first"])
      }).pipe(Effect.scoped)
  )

  it.live("when another cluster's node comes, or one that cuts the work otherwise, then it is refused by name", () =>
    Effect.gen(function* () {
      const settings = yield* cluster
      yield* node("first", yield* settings)
      const stranger = yield* refusal({ ...(yield* settings), CLUSTER_NAME: "other" })
      assert.strictEqual(stranger.reason, "OtherCluster")
      assert.include(stranger.message, `belongs to the cluster "test", and CLUSTER_NAME is "other"`)
      const layout = yield* refusal({ ...(yield* settings), CLUSTER_BUCKETS: 32 })
      assert.strictEqual(layout.reason, "OtherLayout")
      assert.include(layout.message, "8 shards and 16 buckets")
    }).pipe(Effect.scoped)
  )

  it.live("when the port is taken, then the refusal says so in a line", () =>
    Effect.gen(function* () {
      const settings = yield* cluster
      const taken = yield* settings
      yield* node("first", taken)
      const { message, reason } = yield* refusal(taken)
      assert.strictEqual(reason, "NotListening")
      assert.strictEqual(
        message,
        `Port ${taken.RUNNER_PORT} is taken: this node needs another one for the others to reach it (--runner-port or RUNNER_PORT).`
      )
    }).pipe(Effect.scoped)
  )

  it.live("when a node with another secret comes, then it is refused before it has any of the work (REQ-SEC-04)", () =>
    Effect.gen(function* () {
      const settings = yield* cluster
      const first = yield* node("first", yield* settings)
      yield* eventually(owners(first), ["first"])
      const { message, reason } = yield* refusal({ ...(yield* settings), CLUSTER_SECRET: otherSecret })
      assert.strictEqual(reason, "OtherSecret")
      assert.notInclude(message, Redacted.value(otherSecret))
      yield* eventually(owners(first), ["first"])
    }).pipe(Effect.scoped)
  )

  it.live("when the secret is changed one node after another, then they never lose each other", () =>
    Effect.gen(function* () {
      const settings = yield* cluster
      const both = { CLUSTER_SECRET: oneSecret, CLUSTER_SECRET_OTHER: otherSecret }
      const first = yield* node("first", { ...(yield* settings), ...both })
      const second = yield* node("second", {
        ...(yield* settings),
        CLUSTER_SECRET: otherSecret,
        CLUSTER_SECRET_OTHER: oneSecret
      })
      yield* eventually(owners(first), ["first", "second"])
      yield* eventually(owners(second), ["first", "second"])
    }).pipe(Effect.scoped)
  )
})

describe("given the port on which a node listens for others", () => {
  const membership: RunnerWire.Membership = { cluster: "test", secrets: [oneSecret] }
  const attempt = (port: number, as: RunnerWire.Membership) =>
    RunnerWire.connect(as, RunnerAddress.make({ host: "127.0.0.1", port })).pipe(Effect.scoped)

  it.live("when somebody without the secret calls, then nothing is heard", () =>
    Effect.gen(function* () {
      const settings = yield* cluster
      const taken = yield* settings
      yield* node("first", taken)
      const port = taken.RUNNER_PORT
      yield* attempt(port, membership)
      for (const stranger of [
        { ...membership, secrets: [otherSecret] },
        { ...membership, cluster: "other" }
      ] as const) {
        assert.isTrue(RunnerWire.isStranger(yield* Effect.flip(attempt(port, stranger))))
      }
      const answer = yield* Effect.callback<string>((resume) => {
        let heard = ""
        const socket = connectTcp(port, "127.0.0.1", () => socket.write("GET / HTTP/1.1\r\n\r\n"))
        socket.on("data", (bytes) => (heard += bytes.toString("latin1")))
        socket.on("error", () => undefined)
        socket.on("close", () => resume(Effect.succeed(heard)))
      })
      assert.strictEqual(answer, "")
    }).pipe(Effect.scoped)
  )

  it.live("when who listens there does not have the secret, then a node does not talk to it either", () =>
    Effect.gen(function* () {
      const port = yield* freePort
      yield* RunnerWire.listen({ ...membership, secrets: [otherSecret] }, { host: "127.0.0.1", port })
      assert.isTrue(RunnerWire.isStranger(yield* Effect.flip(attempt(port, membership))))
    }).pipe(Effect.scoped)
  )

  it.live("when nobody listens there, then that is not taken for another secret", () =>
    Effect.gen(function* () {
      assert.isFalse(RunnerWire.isStranger(yield* Effect.flip(attempt(yield* freePort, membership))))
    })
  )
})

it.live("given a database of its own migrations only, a node's own tables are pending", () =>
  Effect.gen(function* () {
    const url = yield* freshDatabase
    const settings = settingsFor(url, 1)
    const pending = yield* Sql.pendingMigrations(settings)
    assert.strictEqual(pending.at(-1), "cluster_runners")
    assert.deepStrictEqual(yield* Sql.migrate(settings), pending)
    assert.deepStrictEqual(yield* Sql.migrate(settings), [])
    yield* Sql.awaitMigrations(settings).pipe(Effect.provide(PgClient.layer({ url })))
  }).pipe(Effect.scoped)
)
