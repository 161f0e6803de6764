/** What the catalog tells about a product; read together with its price in one currency and what can be sold of it. */
import { Schema } from "effect"
import { SellerId, Sku } from "../domain/Ids.ts"
import { Money } from "../domain/Money.ts"

/** One version of a product's price: the version says whether a buyer has seen this one. REQ-PRC-01. */
export const Price = Schema.Struct({
  unit: Money,
  version: Schema.Int.check(Schema.isGreaterThan(0))
})
export type Price = typeof Price.Type

export const Product = Schema.Struct({
  sku: Sku,
  name: Schema.String,
  category: Schema.String,
  /** Whether it may be sold at all. */
  active: Schema.Boolean,
  taxable: Schema.Boolean,
  version: Schema.Int,
  /** Who gets the money for it; absent for the shop itself. */
  sellerId: Schema.optionalKey(SellerId),
  /** Absent where it is not sold in the currency that was asked for. */
  price: Schema.optionalKey(Price),
  /** On hand and neither reserved, committed nor damaged, over all active warehouses: what was so when it was read. */
  sellable: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
})
export type Product = typeof Product.Type

/** Where the next page begins: after this name and sku. Opaque text to clients; anything made up fails to decode. */
export const Cursor = Schema.StringFromBase64Url.pipe(
  Schema.decodeTo(Schema.fromJsonString(Schema.Tuple([Schema.String, Sku])))
)
export type Cursor = typeof Cursor.Type

/** The most products in one page, and in one statement. N-030, N-057. */
export const maxPageSize = 100

/** What a storefront browses: active products with a price in `currency`, by name. */
export const PageRequest = Schema.Struct({
  currency: Money.fields.currency,
  category: Schema.optionalKey(Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(80))),
  /** Words or beginnings of words of name, category and sku, all of which must occur. */
  search: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(200))),
  after: Schema.optionalKey(Cursor),
  limit: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: maxPageSize })))
})
export type PageRequest = typeof PageRequest.Type

export const Page = Schema.Struct({
  products: Schema.Array(Product),
  /** Absent on the last page. */
  next: Schema.optionalKey(Cursor)
})
export type Page = typeof Page.Type

/** The words of a search: letters and digits, lower case. The column `words` of the products table is cut alike. */
export const wordsOf = (text: string): ReadonlyArray<string> => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []
