import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import createCatalog from "../../src/migrations/0001_create_catalog.ts"
import createStock from "../../src/migrations/0002_create_stock.ts"
import createRuntime from "../../src/migrations/0003_create_runtime.ts"
import createOrders from "../../src/migrations/0004_create_orders.ts"
import createOperations from "../../src/migrations/0006_create_operations.ts"
import { bucketOf } from "../../src/runtime/Placement.ts"
import { layerEmpty } from "../fixtures/Postgres.ts"

describe("given failed compensations which an earlier version has recorded", () => {
  it.effect(
    "when they are migrated, then each is an actor beside its order, and the pending ones wake up at once",
    () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        yield* createCatalog
        yield* createStock
        yield* createRuntime
        yield* createOrders
        yield* sql`insert into runtime.cluster (name, buckets, shards) values ('test', 128, 32)`
        const orders = ["checkout-1", "018f4e2c-7d1a-7b3c-9e55-1f2a3b4c5d6e", "order_of-somebody-else"]
        for (const [index, order] of orders.entries()) {
          const id = `void_authorization:${order}:${index + 1}`
          yield* sql`
          insert into payment.failed_compensations (id, order_id, operation_type, customer_id, total_amount, currency, reason, error_message,
            status, created_at, updated_at)
          values (${id}, ${order}, 'void_authorization', 'ada', 100, 'EUR', 'payment_failed', 'OutcomeUnknown',
            ${index === 2 ? "failed" : "pending"}, now(), now())`
        }
        yield* createOperations
        const rows = yield* sql<{ id: string; attempt: number; version: number; waits: boolean }>`
        select id, attempt, version, next_attempt_at is not null as waits from payment.failed_compensations order by attempt`
        assert.deepStrictEqual(
          rows.map((row) => ({ ...row })),
          orders.map((order, index) => ({
            id: `${order}~void_authorization:${index + 1}`,
            attempt: index + 1,
            version: 1,
            waits: index < 2
          }))
        )
        const timers = yield* sql<{ actor_id: string; bucket: number; name: string }>`
        select actor_id, bucket, name from runtime.timers where due_at <= now() order by actor_id`
        assert.deepStrictEqual(
          timers.map((timer) => ({ ...timer })),
          rows
            .slice(0, 2)
            .map(({ id }) => ({ actor_id: id, bucket: bucketOf(id, 128), name: "retry" }))
            .toSorted((left, right) => (left.actor_id < right.actor_id ? -1 : 1))
        )
      }).pipe(Effect.provide(layerEmpty))
  )
})
