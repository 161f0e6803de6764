import { assert, describe, layer } from "@effect/vitest"
import { Duration, Effect, Layer, Random, Ref } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import * as Statement from "effect/sql/Statement"
import { Catalog, type CatalogEntry, CatalogLimits, CatalogUnavailable } from "../../src/catalog/Catalog.ts"
import { Sku } from "../../src/domain/Ids.ts"
import { layerMigrated } from "../fixtures/Postgres.ts"
import { EUR, JPY, conforms, entry } from "./CatalogConformance.ts"

/** Puts products where imports would, their stock into one warehouse. */
const store = (entries: ReadonlyArray<CatalogEntry>) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient
    yield* sql`insert into warehouse.warehouses values ('AMS-1', 'Amsterdam', 1, true) on conflict do nothing`
    for (const { active, category, name, prices, sellable, sellerId, sku, taxable, version } of entries) {
      yield* sql`
        insert into catalog.products (sku, name, category, active, taxable, seller_id, version, created_at, updated_at)
        values (${sku}, ${name}, ${category}, ${active}, ${taxable}, ${sellerId ?? null}, ${version}, now(), now())`
      yield* sql`insert into warehouse.stock (sku, warehouse_id, on_hand) values (${sku}, 'AMS-1', ${sellable})`
      for (const [currency, price] of Object.entries(prices)) {
        yield* sql`
          insert into catalog.prices (sku, currency, amount, version, valid_from)
          values (${sku}, ${currency}, ${price.amount}, ${price.version}, now())`
      }
    }
  })

const shopOf = (entries: ReadonlyArray<CatalogEntry>) =>
  Catalog.layer.pipe(
    Layer.provideMerge(Layer.effectDiscard(store(entries))),
    Layer.provideMerge(layerMigrated),
    Layer.orDie
  )

describe("given the catalog on Postgres", () => {
  conforms(shopOf)
})

const skuOf = (number: number) => Sku.make(`SKU-${number}`)
const many = Array.from({ length: 250 }, (_, number) => entry(skuOf(number), { sellable: number }))

/** The result of `effect`, and how many statements it cost. */
const counted = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const count = yield* Ref.make(0)
    const result = yield* Effect.provideService(effect, Statement.CurrentTransformer, (statement) =>
      Effect.as(
        Ref.update(count, (so) => so + 1),
        statement
      )
    )
    return { result, statements: yield* Ref.get(count) }
  })

layer(shopOf(many), { excludeTestServices: true })("given 250 products", (it) => {
  it.effect.each([
    { lines: 1, statements: 1 },
    { lines: 20, statements: 1 },
    { lines: 100, statements: 1 },
    { lines: 101, statements: 2 },
    { lines: 200, statements: 2 }
  ])("when a cart of $lines lines is read, then it costs $statements statements (T-CHK-15, REQ-CAT-01)", (cart) =>
    Effect.gen(function* () {
      const { products } = yield* Catalog
      const skus = many.slice(0, cart.lines).map(({ sku }) => sku)
      const { result, statements } = yield* counted(products(skus, EUR))
      assert.strictEqual(statements, cart.statements)
      assert.deepStrictEqual(
        skus.map((sku) => result.get(sku)?.sellable),
        skus.map((_, number) => number)
      )
    })
  )

  it.effect("when many ask at once, then they share statements and each gets what it asked for", () =>
    Effect.gen(function* () {
      const { products } = yield* Catalog
      const carts = Array.from({ length: 64 }, (_, cart) => ({
        skus: [cart, cart + 1, 200].map(skuOf),
        currency: cart % 2 === 0 ? EUR : JPY
      }))
      const { result, statements } = yield* counted(
        Effect.forEach(carts, ({ currency, skus }) => products(skus, currency), { concurrency: "unbounded" })
      )
      assert.isAtMost(statements, 3)
      for (const [index, { currency, skus }] of carts.entries()) {
        const found = result[index]!
        assert.deepStrictEqual(
          skus.map((sku) => found.get(sku)?.sku),
          skus
        )
        assert.strictEqual(found.size, 3)
        assert.isTrue([...found.values()].every(({ price }) => (price !== undefined) === (currency === EUR)))
      }
    })
  )

  it.effect("when 64 buyers go on checking out, then a read costs a small part of a statement (DESIGN 4)", () =>
    Effect.gen(function* () {
      const { products } = yield* Catalog
      const rounds = 15
      const buyer = Effect.gen(function* () {
        for (let round = 0; round < rounds; round++) {
          yield* Effect.sleep(Duration.millis(yield* Random.nextIntBetween(0, 120)))
          const first = yield* Random.nextIntBetween(0, 240)
          yield* products([first, first + 1].map(skuOf), EUR)
        }
      })
      const { statements } = yield* counted(
        Effect.all(
          Array.from({ length: 64 }, () => buyer),
          { concurrency: "unbounded" }
        )
      )
      const perRead = statements / (64 * rounds)
      yield* Effect.log(`${statements} statements for ${64 * rounds} reads: ${perRead.toFixed(3)} each`)
      assert.isBelow(perRead, 0.5)
    })
  )

  it.effect("when a caller is in a transaction, then the shared read is not part of it", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const { products } = yield* Catalog
      const sku = skuOf(0)
      yield* sql
        .withTransaction(
          Effect.gen(function* () {
            yield* sql`update catalog.products set name = 'not committed' where sku = ${sku}`
            assert.strictEqual((yield* products([sku], EUR)).get(sku)?.name, "Product SKU-0")
            return yield* Effect.fail("rolled back")
          })
        )
        .pipe(Effect.flip)
    })
  )

  it.effect("when a caller gives up, then the others still get their answers", () =>
    Effect.gen(function* () {
      const { products } = yield* Catalog
      const all = yield* Effect.all(
        Array.from({ length: 8 }, (_, number) =>
          number === 0
            ? Effect.as(Effect.timeoutOption(products([skuOf(0)], EUR), 0), 1)
            : Effect.map(products([skuOf(number)], EUR), (found) => found.size)
        ),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(
        all,
        all.map(() => 1)
      )
    })
  )

  it.effect("when stock lies in several warehouses, then what active ones can sell is added up", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient
      const { products } = yield* Catalog
      const sku = skuOf(249)
      yield* sql`insert into warehouse.warehouses values ('RNO-1', 'Reno', 2, true), ('OLD-1', 'Closed', 3, false)`
      yield* sql`
        insert into warehouse.stock (sku, warehouse_id, on_hand, reserved, committed, damaged)
        values (${sku}, 'RNO-1', 20, 5, 4, 1), (${sku}, 'OLD-1', 1000, 0, 0, 0)`
      assert.strictEqual((yield* products([sku], EUR)).get(sku)?.sellable, 249 + 20 - 10)
    })
  )
})

const impatient = (entries: ReadonlyArray<CatalogEntry>) =>
  shopOf(entries).pipe(
    Layer.provide(
      Layer.succeed(CatalogLimits, {
        timeLimit: Duration.millis(300),
        currenciesFor: Duration.millis(50),
        retryAfter: Duration.seconds(2)
      })
    )
  )

layer(impatient([entry("MUG-350", { sellable: 3 })]), { excludeTestServices: true })(
  "given a database which does not answer",
  (it) => {
    it.effect(
      "when the time limit passes, then the catalog is unavailable, and well again afterwards (REQ-CHK-06)",
      () =>
        Effect.gen(function* () {
          const sql = yield* SqlClient
          const { currencies, page, products } = yield* Catalog
          const sku = Sku.make("MUG-350")
          const unavailable = new CatalogUnavailable({ retryAfter: Duration.seconds(2) })
          yield* sql.withTransaction(
            Effect.gen(function* () {
              yield* sql`lock table catalog.prices in access exclusive mode`
              const refusals = yield* Effect.all(
                [Effect.flip(products([sku], EUR)), Effect.flip(page({ currency: EUR })), Effect.flip(currencies)],
                { concurrency: "unbounded" }
              )
              assert.deepStrictEqual(refusals, [unavailable, unavailable, unavailable])
            })
          )
          assert.strictEqual((yield* products([sku], EUR)).get(sku)?.sellable, 3)
          assert.deepStrictEqual(yield* currencies, [EUR])
        })
    )

    it.effect("when a currency is added, then it is known once the list has aged", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        const { currencies } = yield* Catalog
        const { statements } = yield* counted(Effect.all([currencies, currencies, currencies]))
        assert.isAtMost(statements, 1)
        yield* sql`insert into catalog.prices values ('MUG-350', 'JPY', 1, 1, now())`
        yield* Effect.sleep("60 millis")
        assert.deepStrictEqual(yield* currencies, [EUR, JPY])
      })
    )

    it.effect("when the connection is cut in the middle, then the read is repeated and answered", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        const { products } = yield* Catalog
        const sku = Sku.make("MUG-350")
        yield* Effect.all(
          [
            products([sku], EUR).pipe(Effect.repeat({ times: 50 })),
            Effect.delay(
              sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
              "5 millis"
            ).pipe(Effect.repeat({ times: 2 }), Effect.ignore)
          ],
          { concurrency: "unbounded" }
        )
      })
    )
  }
)
