/** The statements behind the catalog. They read products, prices and stock side by side, and nothing here writes. */
import { Effect, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { SellerId, type Sku } from "../domain/Ids.ts"
import { Currency, Money } from "../domain/Money.ts"
import { type Page, type PageRequest, Product, maxPageSize, wordsOf } from "./Product.ts"

export interface CatalogQueries {
  /** Any number of products, each in its own currency, in one statement. Unknown ones are absent. */
  readonly products: (asked: ReadonlyArray<Asked>) => Effect.Effect<ReadonlyArray<Found>, SqlError>
  readonly page: (request: PageRequest) => Effect.Effect<Page, SqlError>
  readonly currencies: Effect.Effect<ReadonlyArray<Currency>, SqlError>
}

export interface Asked {
  readonly sku: Sku
  readonly currency: Currency
}

export interface Found {
  readonly currency: Currency
  readonly product: Product
}

export const make: Effect.Effect<CatalogQueries, never, SqlClient> = Effect.gen(function* () {
  const sql = yield* SqlClient

  const columns = sql.literal(`
    p.sku, p.name, p.category, p.active, p.taxable, p.version, p.seller_id as "sellerId",
    r.amount, r.version as "priceVersion", coalesce(s.sellable, 0)::float8 as sellable`)
  const stock = sql.literal(`
    left join lateral (
      select sum(t.on_hand - t.reserved - t.committed - t.damaged) as sellable
      from warehouse.stock t
      join warehouse.warehouses w on w.id = t.warehouse_id and w.active
      where t.sku = p.sku
    ) s on true`)

  return {
    products: (asked) =>
      sql`
        select ${columns}, a.currency
        from unnest(${asked.map((one) => one.sku)}::text[], ${asked.map((one) => one.currency)}::text[]) a (sku, currency)
        join catalog.products p on p.sku = a.sku
        left join catalog.prices r on r.sku = a.sku and r.currency = a.currency
        ${stock}`.pipe(Effect.flatMap(decodeRows)),

    page: (request) => {
      const limit = request.limit ?? maxPageSize
      const words = wordsOf(request.search ?? "")
      const conditions = [
        sql`p.active`,
        ...(request.category === undefined ? [] : [sql`p.category = ${request.category}`]),
        ...(words.length === 0
          ? []
          : [sql`p.words @@ to_tsquery('simple', ${words.map((word) => `${word}:*`).join(" & ")})`]),
        ...(request.after === undefined ? [] : [sql`(p.name, p.sku) > (${request.after[0]}, ${request.after[1]})`])
      ]
      // One more than the page holds tells whether there is a next one.
      return sql`
        select ${columns}, r.currency
        from catalog.products p
        join catalog.prices r on r.sku = p.sku and r.currency = ${request.currency}
        ${stock}
        where ${sql.and(conditions)}
        order by p.name, p.sku
        limit ${limit + 1}`.pipe(
        Effect.flatMap(decodeRows),
        Effect.map((found) => {
          const products = found.slice(0, limit).map((one) => one.product)
          const last = products.at(-1)
          return found.length > limit && last !== undefined ? { products, next: [last.name, last.sku] } : { products }
        })
      )
    },

    // Jumps from one currency to the next in the index: a plain "distinct" reads every price there is.
    currencies: sql`
      with recursive known (currency) as (
        select min(currency) from catalog.prices
        union all
        select (select min(r.currency) from catalog.prices r where r.currency > k.currency) from known k where k.currency is not null
      )
      select currency from known where currency is not null`.pipe(
      Effect.flatMap((rows) => Effect.orDie(decodeCurrencies(rows))),
      Effect.map((rows) => rows.map((row) => row.currency))
    )
  }
})

const Row = Schema.Struct({
  sku: Product.fields.sku,
  name: Schema.String,
  category: Schema.String,
  active: Schema.Boolean,
  taxable: Schema.Boolean,
  version: Schema.Int,
  sellerId: Schema.NullOr(SellerId),
  currency: Currency,
  amount: Schema.NullOr(Money.fields.amount),
  priceVersion: Schema.NullOr(Schema.Int),
  sellable: Product.fields.sellable
})

const decode = Schema.decodeUnknownEffect(Schema.Array(Row))
const decodeCurrencies = Schema.decodeUnknownEffect(Schema.Array(Schema.Struct({ currency: Currency })))

const decodeRows = (rows: ReadonlyArray<unknown>): Effect.Effect<ReadonlyArray<Found>> =>
  decode(rows).pipe(
    Effect.orDie,
    Effect.map((decoded) => decoded.map(foundIn))
  )

const foundIn = ({ amount, currency, priceVersion, sellerId, ...product }: typeof Row.Type): Found => ({
  currency,
  product: {
    ...product,
    ...(sellerId === null ? {} : { sellerId }),
    ...(amount === null || priceVersion === null
      ? {}
      : { price: { unit: { amount, currency }, version: priceVersion } })
  }
})
