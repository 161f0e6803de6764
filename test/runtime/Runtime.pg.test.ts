import { assert, describe, it } from "@effect/vitest"
import { DateTime, Duration, Effect } from "effect"
import { eventually } from "../fixtures/Eventually.ts"
import { Account, accountHosting, Watcher } from "./Account.ts"
import { onPostgres } from "./Backends.ts"
import { quiet, range } from "./JournalScenarios.ts"
import { hostToys, type Node, type NodeOptions, startAlone } from "./Nodes.ts"

const quick: NodeOptions = {
  timers: { sweepInterval: Duration.millis(100) },
  notices: { backoff: Duration.millis(50), sweepInterval: Duration.millis(200) }
}

const deposit = (node: Node, id: string, amount: number, tell: ReadonlyArray<string> = []) =>
  node.placement
    .client(Account)(id)
    .Deposit({ key: `k${amount}`, amount: BigInt(amount), tell })

describe("given a node on Postgres", () => {
  it.live(
    "when it stops with notices and timers pending, then the next one delivers and fires them, in order and once",
    () =>
      Effect.gen(function* () {
        const backend = yield* onPostgres
        const before = yield* startAlone(yield* backend.open, { ...quick, hosting: false })
        before.actors.host(accountHosting)
        // It never hears, and so the node which tells it goes down with all of it undelivered.
        before.placement.serve(Watcher, { Hear: () => Effect.never })
        yield* Effect.forEach(range(20), (index) => deposit(before, "a", index, ["w"]))
        const wakeAt = DateTime.addDuration(yield* DateTime.now, "400 millis")
        yield* before.placement.client(Account)("a").SetWake({ key: "wake", wakeAt })
        yield* before.placement
          .client(Account)("b")
          .SetWake({
            key: "wake",
            wakeAt: DateTime.addDuration(wakeAt, "1 hours"),
            urgent: true
          })
        yield* before.stop
        assert.strictEqual((yield* backend.rows("runtime.notices")).length, 20)
        assert.strictEqual((yield* backend.rows("runtime.timers")).length, 2)

        const node = yield* startAlone(yield* backend.open, { ...quick, hosting: false })
        hostToys(node.actors)
        yield* deposit(node, "a", 20, ["w"])
        const [watcher] = yield* eventually(backend.rows("toy.watchers"), ([row]) => {
          const heard = row?.["heard"] as ReadonlyArray<unknown> | undefined
          return heard?.length === 21
        })
        assert.deepStrictEqual(
          (watcher!["heard"] as ReadonlyArray<{ readonly amount: string }>).map(({ amount }) => Number(amount)),
          range(21)
        )
        yield* eventually(backend.rows("runtime.notices"), (rows) => rows.length === 0)
        yield* eventually(backend.rows("runtime.timers"), (rows) => rows.length === 0)
        const firings = (yield* backend.rows("runtime.history")).filter((row) =>
          String(row["key"]).startsWith("timer:")
        )
        assert.deepStrictEqual(firings.map((row) => String(row["actor_id"])).toSorted(), ["a", "b"])
        const alarm = firings.find((row) => row["actor_id"] === "a")!
        const firedAt = DateTime.makeUnsafe(alarm["at"] as Date)
        assert.isAtLeast(firedAt.epochMilliseconds, wakeAt.epochMilliseconds)
      }).pipe(quiet)
  )

  it.live(
    "when all of its connections are cut again and again, then every notice is heard once, and every timer fires",
    () =>
      Effect.gen(function* () {
        const backend = yield* onPostgres
        const node = yield* startAlone(yield* backend.open, quick)
        const cut = backend.sql`
        select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'cartwright-journal'`
        yield* Effect.forkChild(Effect.forever(Effect.andThen(Effect.sleep("70 millis"), cut)))
        yield* Effect.forEach(
          range(150),
          (index) =>
            deposit(node, `a${index % 5}`, index, ["w", "v"]).pipe(
              Effect.retry({ while: ({ _tag }) => _tag === "Unavailable" })
            ),
          { concurrency: 3 }
        )
        for (const index of range(5)) {
          yield* node.placement
            .client(Account)(`a${index}`)
            .SetWake({ key: "wake", wakeAt: DateTime.addDuration(yield* DateTime.now, "100 millis") })
            .pipe(Effect.retry({ while: ({ _tag }) => _tag === "Unavailable" }))
        }
        const watchers = yield* eventually(
          backend.rows("toy.watchers"),
          (rows) => rows.length === 2 && rows.every((row) => (row["heard"] as ReadonlyArray<unknown>).length >= 150)
        )
        for (const row of watchers) {
          const heard = row["heard"] as ReadonlyArray<{ readonly from: string; readonly amount: string }>
          assert.strictEqual(heard.length, 150)
          for (const index of range(5)) {
            const amounts = heard.flatMap(({ amount, from }) => (from === `a${index}` ? [Number(amount)] : []))
            // Each account's own in its order.
            const [account] = [
              yield* backend.sql<{ amount: bigint }>`
            select (events -> 0 ->> 'amount')::bigint as amount from runtime.history where actor_id = ${`a${index}`} and actor_type = 'Account' and command = 'Deposit' order by seq`
            ]
            assert.deepStrictEqual(
              amounts,
              account.map(({ amount }) => Number(amount))
            )
          }
        }
        yield* eventually(backend.rows("runtime.timers"), (rows) => rows.length === 0)
        yield* eventually(backend.rows("runtime.notices"), (rows) => rows.length === 0)
      }).pipe(quiet)
  )
})
