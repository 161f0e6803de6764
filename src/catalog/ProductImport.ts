/**
 * Products and their prices out of a file. A record names a sku and what is to be so: what it leaves out stays as it is, so that a
 * file of skus and prices alone is a price list.
 *
 * `{"sku": "MUG-01", "name": "Mug", "category": "kitchen", "active": true, "taxable": true, "sellerId": "potters-row", "prices": {"EUR": "12.50"}}`
 *
 * Prices are written in the currency's own decimals, neither more nor fewer: so nobody mistakes 12 euro for 12 cents.
 */
import { DateTime, Effect, Result, Schema } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { SellerId, Sku } from "../domain/Ids.ts"
import { Currency, format, maxAmount } from "../domain/Money.ts"
import {
  Flag,
  type ImportKind,
  type ImportRun,
  type Outcome,
  type Problem,
  checkWith,
  flagged,
  text
} from "./Import.ts"
import { initialiseStock } from "./StockImport.ts"

export interface ProductRow {
  readonly sku: Sku
  readonly name?: string
  readonly category?: string
  readonly active?: boolean
  readonly taxable?: boolean
  readonly sellerId?: SellerId | typeof shopItself
  /** Minor units by currency. */
  readonly prices: Readonly<Record<string, bigint>>
}

/** Written as the seller of what had one, it makes the shop the seller again. */
const shopItself = "-"

const ProductRecord = Schema.Struct({
  sku: Sku,
  name: Schema.optionalKey(text(200)),
  category: Schema.optionalKey(text(80)),
  active: Schema.optionalKey(Flag),
  taxable: Schema.optionalKey(Flag),
  sellerId: Schema.optionalKey(Schema.Union([SellerId, Schema.Literal(shopItself)])),
  prices: Schema.optionalKey(Schema.Record(Currency, Schema.String))
})

const checkRecord = checkWith(ProductRecord)

const check = (value: unknown): Result.Result<ProductRow, ReadonlyArray<Problem>> =>
  Result.flatMap(checkRecord(value), ({ active, category, name, prices, sellerId, sku, taxable }) => {
    const amounts: Record<string, bigint> = {}
    const problems: Array<Problem> = []
    for (const [code, written] of Object.entries(prices ?? {})) {
      const amount = minorUnits(Currency.make(code), written)
      if (typeof amount === "bigint") amounts[code] = amount
      else problems.push({ field: `prices.${code}`, reason: amount })
    }
    if (problems.length > 0) return Result.fail(problems)
    return Result.succeed({
      sku,
      ...(name === undefined ? {} : { name }),
      ...(category === undefined ? {} : { category }),
      ...(active === undefined ? {} : { active: flagged(active) }),
      ...(taxable === undefined ? {} : { taxable: flagged(taxable) }),
      ...(sellerId === undefined ? {} : { sellerId }),
      prices: amounts
    })
  })

/** The amount in minor units, or what is wrong with how it is written. */
const minorUnits = (currency: Currency, written: string): bigint | string => {
  const example = format({ amount: 1250n, currency }).slice(0, -" EUR".length)
  const decimals = example.split(".")[1]?.length ?? 0
  const parts = /^(\d{1,18})(?:\.(\d+))?$/.exec(written)
  if (parts === null || (parts[2] ?? "").length !== decimals) return `write ${currency} like ${example}, not ${written}`
  const amount = BigInt(`${parts[1]}${parts[2] ?? ""}`)
  return amount > maxAmount ? `at most ${format({ amount: maxAmount, currency })}` : amount
}

export const productImport: ImportKind<ProductRow> = {
  fields: ["sku", "name", "category", "active", "taxable", "sellerId", "prices"],
  check,
  keyOf: (row) => `product ${row.sku}`,
  apply: Effect.fnUntraced(function* (rows, run, at) {
    const stored = yield* storedProducts(rows.map((row) => row.sku))
    const wanted = rows.map((row) => wantedProduct(row, stored.get(row.sku), run))
    const good = wanted.filter((one) => "product" in one)
    const changedPrices = run.dryRun ? yield* differingPrices(good) : yield* writeAll(good, run, at)
    return wanted.map((one): Outcome => {
      if (!("product" in one)) return one
      if (one.change !== "unchanged") return one.change
      return changedPrices.has(one.product.sku) ? "changed" : "unchanged"
    })
  })
}

interface StoredProduct {
  readonly sku: string
  readonly name: string
  readonly category: string
  readonly active: boolean
  readonly taxable: boolean
  readonly sellerId?: string
}

interface WantedProduct {
  readonly product: StoredProduct
  readonly change: "created" | "changed" | "unchanged"
  readonly prices: ProductRow["prices"]
}

const wantedProduct = (
  row: ProductRow,
  stored: StoredProduct | undefined,
  run: ImportRun
): WantedProduct | ReadonlyArray<Problem> => {
  const { prices, sellerId, ...given } = row
  const { sellerId: before, ...known } = stored ?? {}
  const seller = sellerId === shopItself ? undefined : (sellerId ?? before)
  const product = { active: true, taxable: true, ...known, ...given }
  const { category, name } = product
  if (name === undefined || category === undefined) {
    return [
      ...(name === undefined ? [{ field: "name", reason: "is missing, and the product is new" }] : []),
      ...(category === undefined ? [{ field: "category", reason: "is missing, and the product is new" }] : [])
    ]
  }
  if (run.dryRun) run.planned.skus.add(row.sku)
  const same =
    stored !== undefined &&
    stored.name === name &&
    stored.category === category &&
    stored.active === product.active &&
    stored.taxable === product.taxable &&
    before === seller
  const change = stored === undefined ? "created" : same ? "unchanged" : "changed"
  return {
    product: { ...product, name, category, ...(seller === undefined ? {} : { sellerId: seller }) },
    change,
    prices
  }
}

const StoredRows = Schema.Array(
  Schema.Struct({
    sku: Sku,
    name: Schema.String,
    category: Schema.String,
    active: Schema.Boolean,
    taxable: Schema.Boolean,
    sellerId: Schema.NullOr(SellerId)
  })
)
const decodeStored = Schema.decodeUnknownEffect(StoredRows)

const storedProducts = Effect.fnUntraced(function* (skus: ReadonlyArray<Sku>) {
  const sql = yield* SqlClient
  const rows = yield* sql`
    select sku, name, category, active, taxable, seller_id as "sellerId" from catalog.products where sku = any(${skus}::text[])`
  const products = yield* Effect.orDie(decodeStored(rows))
  return new Map(
    products.map(({ sellerId, ...product }): [string, StoredProduct] => [
      product.sku,
      sellerId === null ? product : { ...product, sellerId }
    ])
  )
})

const priceRows = (wanted: ReadonlyArray<WantedProduct>) => {
  const rows = wanted.flatMap(({ prices, product }) =>
    Object.entries(prices).map(([currency, amount]) => ({ sku: product.sku, currency, amount: amount.toString() }))
  )
  return JSON.stringify(rows)
}

const decodeSkus = Schema.decodeUnknownEffect(Schema.Array(Schema.Struct({ sku: Schema.String })))

const differingPrices = Effect.fnUntraced(function* (wanted: ReadonlyArray<WantedProduct>) {
  const sql = yield* SqlClient
  const rows = yield* sql`
    select x.sku
    from jsonb_to_recordset(${priceRows(wanted)}::text::jsonb) as x (sku text, currency text, amount bigint)
    left join catalog.prices p on p.sku = x.sku and p.currency = x.currency
    where p.amount is distinct from x.amount`
  return new Set((yield* Effect.orDie(decodeSkus(rows))).map((row) => row.sku))
})

/** Gives the skus of which a price changed. */
const writeAll = Effect.fnUntraced(function* (wanted: ReadonlyArray<WantedProduct>, run: ImportRun, at: DateTime.Utc) {
  const sql = yield* SqlClient
  const now = DateTime.toDateUtc(at)
  const products = wanted.filter((one) => one.change !== "unchanged").map((one) => one.product)
  if (products.length > 0) {
    yield* sql`
      insert into catalog.products as p (sku, name, category, active, taxable, seller_id, version, created_at, updated_at)
      select x.sku, x.name, x.category, x.active, x.taxable, x."sellerId", 1, ${now}::timestamptz, ${now}::timestamptz
      from jsonb_to_recordset(${JSON.stringify(products)}::text::jsonb)
        as x (sku text, name text, category text, active boolean, taxable boolean, "sellerId" text)
      order by x.sku
      on conflict (sku) do update set
        name = excluded.name, category = excluded.category, active = excluded.active, taxable = excluded.taxable,
        seller_id = excluded.seller_id, version = p.version + 1, updated_at = excluded.updated_at`
  }
  const created = wanted.filter((one) => one.change === "created").map((one) => one.product.sku)
  if (created.length > 0) yield* initialiseStock(created)

  const changed = yield* sql`
    with changed as (
      insert into catalog.prices as p (sku, currency, amount, version, valid_from)
      select x.sku, x.currency, x.amount, 1, ${now}::timestamptz
      from jsonb_to_recordset(${priceRows(wanted)}::text::jsonb) as x (sku text, currency text, amount bigint)
      order by x.sku, x.currency
      on conflict (sku, currency) do update set
        amount = excluded.amount, version = p.version + 1, valid_from = excluded.valid_from
        where p.amount <> excluded.amount
      returning sku, currency, version, amount, valid_from
    )
    insert into catalog.price_history (sku, currency, version, amount, valid_from, actor, reference)
    select sku, currency, version, amount, valid_from, ${run.actor}, ${run.importId} from changed
    returning sku`
  return new Set((yield* Effect.orDie(decodeSkus(changed))).map((row) => row.sku))
})
