import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { layerMigrated } from "../fixtures/Postgres.ts"

const refusalOf = <A, R>(effect: Effect.Effect<A, SqlError, R>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason._tag)

layer(layerMigrated)("given 5 on hand, of which 2 are reserved, 1 is committed and 1 damaged", (it) => {
  const stock = Effect.gen(function* () {
    const sql = yield* SqlClient
    yield* sql`insert into warehouse.warehouses values ('AMS-1', 'Amsterdam', 1, true) on conflict do nothing`
    yield* sql`delete from warehouse.stock`
    yield* sql`insert into warehouse.stock values ('MUG-01', 'AMS-1', 5, 2, 1, 1)`
    return sql
  })

  it.effect.each(["on_hand", "reserved", "committed", "damaged"])(
    "when %s is set to -1, then the database refuses it (T-INV-02, REQ-INV-01)",
    (counter) =>
      Effect.gen(function* () {
        const sql = yield* stock
        assert.strictEqual(yield* refusalOf(sql`update warehouse.stock set ${sql(counter)} = -1`), "ConstraintError")
      })
  )

  it.effect.each([
    { on_hand: 3, reserved: 2, committed: 1, damaged: 1 },
    { on_hand: 5, reserved: 4, committed: 1, damaged: 1 },
    { on_hand: 5, reserved: 2, committed: 3, damaged: 1 },
    { on_hand: 5, reserved: 2, committed: 1, damaged: 3 },
    { on_hand: 2147483647, reserved: 2147483647, committed: 1, damaged: 0 }
  ])("when more is promised than there is (%j), then the database refuses it (REQ-INV-01)", (counters) =>
    Effect.gen(function* () {
      const sql = yield* stock
      assert.strictEqual(yield* refusalOf(sql`update warehouse.stock set ${sql.update(counters)}`), "ConstraintError")
    })
  )

  it.effect("when the last one is reserved, then that is allowed", () =>
    Effect.gen(function* () {
      const sql = yield* stock
      yield* sql`update warehouse.stock set reserved = 3`
    })
  )

  it.effect("when a ledger row is written twice, changed or deleted, then it is refused (REQ-INV-02)", () =>
    Effect.gen(function* () {
      const sql = yield* stock
      const reserve = sql`
        insert into warehouse.stock_ledger (op, reference, sku, warehouse_id, reserved, actor, at)
        values ('reserve', 'line-1', 'MUG-01', 'AMS-1', 2, 'checkout', now())`
      yield* reserve
      assert.strictEqual(yield* refusalOf(reserve), "UniqueViolation")
      assert.strictEqual(yield* refusalOf(sql`update warehouse.stock_ledger set reserved = 1`), "ConstraintError")
      assert.strictEqual(yield* refusalOf(sql`delete from warehouse.stock_ledger`), "ConstraintError")
    })
  )

  it.effect(
    "when stock names a warehouse that is not there, or two warehouses share a priority, then it is refused",
    () =>
      Effect.gen(function* () {
        const sql = yield* stock
        assert.strictEqual(
          yield* refusalOf(sql`insert into warehouse.stock values ('MUG-01', 'NO-WHERE', 1)`),
          "ConstraintError"
        )
        assert.strictEqual(
          yield* refusalOf(sql`insert into warehouse.warehouses values ('RNO-1', 'Reno', 1, true)`),
          "UniqueViolation"
        )
      })
  )

  it.effect("when counters change, then no index is written", () =>
    Effect.gen(function* () {
      const sql = yield* stock
      const hot = Effect.gen(function* () {
        yield* sql`select pg_stat_force_next_flush()`
        const [row] = yield* sql<{ updates: bigint; hot: bigint }>`
          select n_tup_upd as updates, n_tup_hot_upd as hot from pg_stat_user_tables where relname = 'stock'`
        return row!
      })
      const before = yield* hot
      for (let count = 0; count < 20; count++) {
        yield* sql`update warehouse.stock set reserved = ${count % 3}, version = version + 1`
      }
      const after = yield* hot
      assert.strictEqual(after.updates - before.updates, 20n)
      assert.strictEqual(after.hot - before.hot, 20n)
    })
  )
})

layer(layerMigrated)("given a price in the catalog", (it) => {
  it.effect("when it is below zero or above the bound, then the database refuses it (REQ-PRC-03)", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      yield* sql`insert into catalog.products values ('MUG-01', 'Mug', 'kitchen', true, true, 1, now(), now())`
      for (const amount of [-1n, 10n ** 15n + 1n]) {
        assert.strictEqual(
          yield* refusalOf(sql`insert into catalog.prices values ('MUG-01', 'EUR', ${amount}, 1, now())`),
          "ConstraintError"
        )
      }
      yield* sql`insert into catalog.prices values ('MUG-01', 'EUR', ${10n ** 15n}, 1, now())`
    })
  )

  it.effect("when its history is changed or deleted, then it is refused (REQ-PRC-04)", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      yield* sql`insert into catalog.price_history values ('MUG-01', 'EUR', 1, 100, now(), 'me', 'import')`
      assert.strictEqual(yield* refusalOf(sql`update catalog.price_history set amount = 1`), "ConstraintError")
      assert.strictEqual(yield* refusalOf(sql`delete from catalog.price_history`), "ConstraintError")
    })
  )
})
