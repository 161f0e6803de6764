/** Branded ids: an `OrderId` does not fit where a `CartId` is wanted. The client chooses the id of what it creates. */
import { Schema } from "effect"

/** What every id of ours may look like: 8 to 64 url-safe characters. Anything else is refused before it reaches an actor. */
const Id = Schema.String.check(Schema.isPattern(/^[A-Za-z0-9_-]{8,64}$/))

export const CartId = Id.pipe(Schema.brand("CartId"))
export type CartId = typeof CartId.Type

/** Names one checkout from its start to its end. Reservation, Payment and Order of this checkout live under the same id. */
export const CheckoutId = Id.pipe(Schema.brand("CheckoutId"))
export type CheckoutId = typeof CheckoutId.Type

export const OrderId = Id.pipe(Schema.brand("OrderId"))
export type OrderId = typeof OrderId.Type

/** The order, if any, which a checkout becomes: both have one id, so that their actors share a node. */
export const orderIdOf = (checkout: CheckoutId): OrderId => OrderId.make(checkout)

/** The checkout which an order came from. */
export const checkoutIdOf = (order: OrderId): CheckoutId => CheckoutId.make(order)

/** The subject of a verified token: 1 to 128 characters. */
export const CustomerId = Schema.String.check(Schema.isPattern(/^[\w.:@|-]{1,128}$/)).pipe(Schema.brand("CustomerId"))
export type CustomerId = typeof CustomerId.Type

/** Stock keeping unit: what is counted, priced and sold. */
export const Sku = Schema.String.check(Schema.isPattern(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/)).pipe(Schema.brand("Sku"))
export type Sku = typeof Sku.Type

/** Somebody who sells through the shop; what names no seller the shop sells itself. */
export const SellerId = Schema.String.check(Schema.isPattern(/^[A-Za-z0-9][A-Za-z0-9_-]{2,63}$/)).pipe(
  Schema.brand("SellerId")
)
export type SellerId = typeof SellerId.Type

export const WarehouseId = Schema.String.check(Schema.isPattern(/^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$/)).pipe(
  Schema.brand("WarehouseId")
)
export type WarehouseId = typeof WarehouseId.Type

/** The caller's name for one intent, 8 to 200 characters. The same key with the same content gets its first answer. */
export const IdempotencyKey = Schema.String.check(Schema.isPattern(/^[\w.:/@|#~-]{8,200}$/)).pipe(
  Schema.brand("IdempotencyKey")
)
export type IdempotencyKey = typeof IdempotencyKey.Type

/** The number people read, print and say on the phone; derived from the id, so that it needs no counter. */
export const OrderNumber = Schema.String.pipe(Schema.brand("OrderNumber"))
export type OrderNumber = typeof OrderNumber.Type

const alphabet = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"

/** Ten characters without look-alikes from 50 bits of the id's hash; the orders table keeps it unique. */
export const orderNumberOf = (id: OrderId): OrderNumber => {
  let hash = 0xcbf29ce484222325n
  for (const character of id) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(character.codePointAt(0)!)) * 0x100000001b3n)
  }
  // Counted ids differ in their last characters alone, which so far have reached few of the bits. Source: MurmurHash3, fmix64.
  for (const factor of [0xff51afd7ed558ccdn, 0xc4ceb9fe1a85ec53n]) {
    hash = BigInt.asUintN(64, (hash ^ (hash >> 33n)) * factor)
  }
  hash ^= hash >> 33n
  let text = ""
  for (let position = 0n; position < 10n; position++) text += alphabet[Number((hash >> (position * 5n)) & 31n)]
  return OrderNumber.make(`${text.slice(0, 5)}-${text.slice(5)}`)
}
