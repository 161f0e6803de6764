/** Why lines cannot be sold as they were asked for. Each refusal names all skus it is about, so that one answer is enough. */
import { Array, Result, Schema } from "effect"
import { Sku } from "../domain/Ids.ts"
import { Currency } from "../domain/Money.ts"
import type { Price, Product } from "./Product.ts"

const Skus = Schema.NonEmptyArray(Sku)

/** The catalog has no such products. */
export class UnknownSku extends Schema.TaggedError<UnknownSku>()(
  "UnknownSku",
  { skus: Skus },
  { httpApiStatus: 422 }
) {}

/** The products exist and are withdrawn from sale. */
export class NotForSale extends Schema.TaggedError<NotForSale>()(
  "NotForSale",
  { skus: Skus },
  { httpApiStatus: 422 }
) {}

/** The shop sells in `currency`, but not these. */
export class NotSoldIn extends Schema.TaggedError<NotSoldIn>()(
  "NotSoldIn",
  { currency: Currency, skus: Skus },
  { httpApiStatus: 422 }
) {}

/** The shop sells nothing in `currency`; it sells in the `known` ones. */
export class UnknownCurrency extends Schema.TaggedError<UnknownCurrency>()(
  "UnknownCurrency",
  { currency: Currency, known: Schema.Array(Currency) },
  { httpApiStatus: 422 }
) {}

export const InvalidLines = Schema.Union([UnknownSku, NotForSale, NotSoldIn])
export type InvalidLines = typeof InvalidLines.Type

export type PricedProduct = Product & { readonly price: Price }

/** The products of `skus` with their prices in `currency`, in the order asked for; or the first reason why some of them have none. */
export const allPriced = (
  skus: ReadonlyArray<Sku>,
  currency: Currency,
  found: ReadonlyMap<Sku, Product>
): Result.Result<ReadonlyArray<PricedProduct>, InvalidLines> => {
  const unknown = skus.filter((sku) => !found.has(sku))
  if (Array.isReadonlyArrayNonEmpty(unknown)) return Result.fail(new UnknownSku({ skus: unknown }))
  const products = skus.flatMap((sku) => found.get(sku) ?? [])
  const withdrawn = products.filter((product) => !product.active).map((product) => product.sku)
  if (Array.isReadonlyArrayNonEmpty(withdrawn)) return Result.fail(new NotForSale({ skus: withdrawn }))
  const priced = products.filter(isPriced)
  const priceless = products.filter((product) => !isPriced(product)).map((product) => product.sku)
  if (Array.isReadonlyArrayNonEmpty(priceless)) return Result.fail(new NotSoldIn({ currency, skus: priceless }))
  return Result.succeed(priced)
}

/** Whether the shop sells anything in `currency`. */
export const sellsIn = (currency: Currency, known: ReadonlyArray<Currency>): Result.Result<Currency, UnknownCurrency> =>
  known.includes(currency) ? Result.succeed(currency) : Result.fail(new UnknownCurrency({ currency, known }))

const isPriced = (product: Product): product is PricedProduct => product.price !== undefined
