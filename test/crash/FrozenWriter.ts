/**
 * A process which is frozen in the middle of a flush, with stock rows locked, and says how the flush ended once it is thawed. Started by
 * the test of frozen nodes; the database's address is its argument.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Duration, Effect, Layer, Redacted } from "effect"
import { stockCounters } from "../../src/entities/reservation/StockCounters.ts"
import * as PostgresStore from "../../src/runtime/PostgresStore.ts"
import { Store } from "../../src/runtime/Store.ts"
import { setTimers } from "../../src/runtime/Table.ts"

const url = Redacted.make(process.argv[2]!)

const write = (store: Store["Service"], actor: string, before: () => void) =>
  store.transact(["tea"], () => {
    before()
    const row = {
      actor_id: actor,
      actor_type: "Frozen",
      name: "t",
      bucket: 0,
      due_at: "2026-01-01T00:00:00Z",
      urgent: false
    }
    return { guarded: 0, parts: [{ part: setTimers, rows: [row] }] }
  })

NodeRuntime.runMain(
  Effect.gen(function* () {
    const store = yield* Store
    yield* write(store, "before", () => {})
    const frozen = yield* Effect.flip(write(store, "within", () => process.kill(process.pid, "SIGSTOP")))
    const after = yield* Effect.flip(write(store, "after", () => {}))
    yield* Effect.sleep("3 seconds")
    yield* write(store, "later", () => {})
    process.stdout.write(`${frozen._tag} ${after._tag}\n`)
  }).pipe(
    Effect.provide(
      PostgresStore.layer({
        url,
        counters: stockCounters,
        flushTimeout: Duration.seconds(5),
        idleInTransaction: Duration.seconds(4),
        pauseMax: Duration.seconds(2)
      }).pipe(Layer.provide(PgClient.layer({ url })))
    ),
    Effect.orDie
  )
)
