import { createServer } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Layer, Redacted, Schedule } from "effect"
import * as Cluster from "../../src/layers/Cluster.ts"
import * as Sql from "../../src/layers/Sql.ts"
import { Unavailable } from "../../src/domain/Refusals.ts"
import { Account, NotOpen, Overdrawn } from "./Account.ts"
import { onPostgres } from "./Backends.ts"
import { quiet, range } from "./JournalScenarios.ts"
import { buckets, type Node, startNode } from "./Nodes.ts"
import { eventually } from "../fixtures/Eventually.ts"

const freePort = Effect.callback<number>((resume) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})

const settingsFor = (url: Redacted.Redacted, port: number): Cluster.ClusterSettings & Sql.SqlSettings => ({
  DATABASE_URL: url,
  DATABASE_POOL_SIZE: 4,
  DATABASE_CONNECT_TIMEOUT: Duration.seconds(5),
  DATABASE_STARTUP_WAIT: Duration.seconds(5),
  DATABASE_STATEMENT_TIMEOUT: Duration.seconds(30),
  JOURNAL_IDLE_IN_TRANSACTION: Duration.seconds(4),
  CLUSTER_NAME: "test",
  CLUSTER_SECRET: Redacted.make("0123456789abcdef0123456789abcdef"),
  CLUSTER_SECRET_OTHER: undefined,
  CLUSTER_SHARDS: 8,
  CLUSTER_BUCKETS: buckets,
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

describe("given two nodes in a real cluster", () => {
  it.live(
    "when actors are called from either, then answers, refusals and defects arrive; when one stops, the other has them all",
    () =>
      Effect.gen(function* () {
        const backend = yield* onPostgres
        yield* Sql.migrate(settingsFor(backend.url, 1))
        const start = Effect.gen(function* () {
          const settings = settingsFor(backend.url, yield* freePort)
          const sharding = Cluster.layer(settings).pipe(Layer.provide(Sql.layer(settings)), Layer.orDie)
          return yield* startNode(yield* backend.open, sharding)
        })
        const [one, other] = [yield* start, yield* start]
        const shared = yield* eventually(
          Effect.all([one.placement.owned, other.placement.owned]),
          ([mine, theirs]) => mine.length > 0 && theirs.length > 0 && mine.length + theirs.length === buckets
        )
        assert.strictEqual(new Set(shared.flat()).size, buckets)

        const ids = range(40).map((index) => `a${index}`)
        const patiently = <A, E>(call: Effect.Effect<A, E>) =>
          call.pipe(
            Effect.retry({
              schedule: Schedule.max([Schedule.spaced("100 millis"), Schedule.recurs(100)]),
              while: (error) => error instanceof Unavailable
            })
          )
        const depositAll = (node: Node, key: string) =>
          Effect.forEach(
            ids,
            (id) =>
              patiently(
                node.placement
                  .client(Account)(id)
                  .Deposit({ key, amount: 5n, tell: ["w"] })
              ),
            { concurrency: 8 }
          )
        const first = yield* depositAll(one, "k1")
        // The same key from the other node has the same answer, wherever the actor lives.
        assert.deepStrictEqual(yield* depositAll(other, "k1"), first)
        assert.isTrue(first.every(({ balance, version }) => balance === 5n && version === 1))
        for (const node of [one, other]) {
          for (const id of ids.slice(0, 10)) {
            const account = node.placement.client(Account)(id)
            assert.deepStrictEqual(
              yield* Effect.flip(account.Withdraw({ key: "w", amount: 6n })),
              new Overdrawn({ balance: 5n })
            )
            assert.isTrue(Exit.isFailure(yield* Effect.exit(account.Explode({ key: "e" }))))
          }
          const nobody = node.placement.client(Account)
          assert.deepStrictEqual(yield* Effect.flip(nobody("x").GetBalance(undefined as never)), new NotOpen())
        }

        yield* one.stop
        yield* eventually(other.placement.owned, (owned) => owned.length === buckets)
        const last = yield* depositAll(other, "k2")
        assert.isTrue(last.every(({ balance }) => balance === 10n))
        const watchers = yield* eventually(backend.rows("toy.watchers"), (rows) => {
          const [watcher] = rows
          return (watcher?.["heard"] as ReadonlyArray<unknown> | undefined)?.length === 80
        })
        assert.strictEqual(watchers.length, 1)
      }).pipe(quiet),
    60_000
  )
})
