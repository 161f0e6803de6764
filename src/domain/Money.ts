/** Exact money: whole minor units with an ISO 4217 currency; never a floating point number. REQ-GEN-14. */
import { Result, Schema } from "effect"

/** Three upper-case letters; whether the shop sells in it is the catalog's to say. */
export const Currency = Schema.String.check(Schema.isPattern(/^[A-Z]{3}$/)).pipe(Schema.brand("Currency"))
export type Currency = typeof Currency.Type

/** Above this many minor units a sum is refused. REQ-PRC-03, N-070. */
export const maxAmount = 1_000_000_000_000_000n

/** Minor units, as decimal text in JSON and `bigint` in Postgres. Zero up to `maxAmount`. */
export const Amount = Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: 0n, maximum: maxAmount }))
export type Amount = typeof Amount.Type

export const Money = Schema.Struct({ amount: Amount, currency: Currency })
export type Money = typeof Money.Type

/** Two amounts of different currencies were to be added. */
export class CurrencyMismatch extends Schema.TaggedError<CurrencyMismatch>()(
  "CurrencyMismatch",
  { left: Currency, right: Currency },
  { httpApiStatus: 422 }
) {}

/** A sum above `maxAmount`, or below zero. */
export class AmountOutOfRange extends Schema.TaggedError<AmountOutOfRange>()(
  "AmountOutOfRange",
  { amount: Schema.BigInt },
  { httpApiStatus: 422 }
) {}

const checked = (amount: bigint, currency: Currency): Result.Result<Money, AmountOutOfRange> =>
  amount < 0n || amount > maxAmount
    ? Result.fail(new AmountOutOfRange({ amount }))
    : Result.succeed({ amount, currency })

export const zero = (currency: Currency): Money => ({ amount: 0n, currency })

/** The sum of two amounts of one currency. */
export const add = (left: Money, right: Money): Result.Result<Money, CurrencyMismatch | AmountOutOfRange> =>
  left.currency === right.currency
    ? checked(left.amount + right.amount, left.currency)
    : Result.fail(new CurrencyMismatch({ left: left.currency, right: right.currency }))

/** What is left of `left`; below zero is refused. */
export const subtract = (left: Money, right: Money): Result.Result<Money, CurrencyMismatch | AmountOutOfRange> =>
  left.currency === right.currency
    ? checked(left.amount - right.amount, left.currency)
    : Result.fail(new CurrencyMismatch({ left: left.currency, right: right.currency }))

/** A whole number of times the price. */
export const times = (price: Money, factor: number): Result.Result<Money, AmountOutOfRange> =>
  checked(price.amount * BigInt(factor), price.currency)

/** Minor units per major unit where it is not a hundred. Source: ISO 4217, table A.1. */
const decimals: Readonly<Record<string, number>> = {
  BIF: 0,
  CLP: 0,
  DJF: 0,
  GNF: 0,
  ISK: 0,
  JPY: 0,
  KMF: 0,
  KRW: 0,
  PYG: 0,
  RWF: 0,
  UGX: 0,
  VND: 0,
  VUV: 0,
  XAF: 0,
  XOF: 0,
  XPF: 0,
  BHD: 3,
  IQD: 3,
  JOD: 3,
  KWD: 3,
  LYD: 3,
  OMR: 3,
  TND: 3
}

/** For people, e.g. `12.34 EUR`; never parsed back. */
export const format = ({ amount, currency }: Money): string => {
  const places = decimals[currency] ?? 2
  if (places === 0) return `${amount} ${currency}`
  const digits = amount.toString().padStart(places + 1, "0")
  return `${digits.slice(0, -places)}.${digits.slice(-places)} ${currency}`
}

/** An amount as others write it, e.g. `12.34`, in minor units; undefined for one with a sign, an exponent, or more places than there are. */
export const minorUnitsOf = (text: string, currency: Currency): bigint | undefined => {
  const [, whole = "", fraction = ""] = /^(\d{1,15})(?:\.(\d{1,4}))?$/.exec(text) ?? []
  const places = decimals[currency] ?? 2
  const significant = fraction.replace(/0+$/, "")
  if (whole === "" || significant.length > places) return undefined
  const amount = BigInt(whole + significant.padEnd(places, "0"))
  return amount > maxAmount ? undefined : amount
}
