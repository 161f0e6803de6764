/**
 * What a careful engineer would write by hand for the same call: a state machine in three commits, one statement each. It answers the
 * same contract behind the same server, token check and payment adapter, on the same tables. It has no actors, no log, no keys, no
 * timers and no notices, so a crash between two commits leaves an order which nobody looks after: that is what the difference buys.
 */
import { DateTime, Effect, Layer, Redacted, Result, Schema } from "effect"
import type { Rpc, RpcGroup } from "effect/rpc"
import { SqlClient } from "effect/sql/SqlClient"
import { allPriced } from "../src/catalog/InvalidLines.ts"
import { Product } from "../src/catalog/Product.ts"
import { ShippingQuotes } from "../src/catalog/ShippingQuotes.ts"
import { totalsOf } from "../src/catalog/Totals.ts"
import { Address } from "../src/domain/Address.ts"
import { CartId, type CheckoutId, CustomerId, OrderId, orderNumberOf, Sku } from "../src/domain/Ids.ts"
import { Amount, Currency, type Money, zero } from "../src/domain/Money.ts"
import { Quantity } from "../src/domain/Quantity.ts"
import { AccessDenied, ServiceTimeout, Unavailable } from "../src/domain/Refusals.ts"
import {
  CheckoutIncomplete,
  type CheckoutView,
  OutOfStock,
  PaymentDeclined,
  PaymentUnavailable,
  PaymentMethodToken,
  PriceChanged,
  ShippingMethod
} from "../src/entities/checkoutSession/CheckoutSession.ts"
import { providerKeys } from "../src/entities/payment/Payment.ts"
import { type Intent, PaymentGateway } from "../src/gateways/PaymentGateway.ts"
import { Api, type ApiRpc } from "../src/rpc/Api.ts"
import { Caller } from "../src/rpc/Auth.ts"
import * as Statements from "./FloorStatements.ts"

type Handlers = RpcGroup.HandlersFrom<ApiRpc>

/** What the benchmark calls; everything else is refused. */
export const layer: Layer.Layer<
  Rpc.ToHandler<ApiRpc>,
  never,
  SqlClient | PaymentGateway | ShippingQuotes
> = Layer.unwrap(
  Effect.gen(function* () {
    const answered = { ...(yield* preparing), ConfirmCheckout: yield* confirming }
    const absent = Object.fromEntries(
      Array.from(Api.requests.keys(), (tag) => [tag, () => Effect.fail(new Unavailable({ retryAfterMs: 60_000 }))])
    )
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- every tag has a handler, if only one that refuses
    return Api.toLayer({ ...absent, ...answered } as unknown as Handlers)
  })
)

/** The way to a checkout which can be confirmed; not measured, so it is as plain as can be. */
const preparing = Effect.gen(function* () {
  const sql = yield* SqlClient
  const run = (statement: string, parameters: ReadonlyArray<unknown>) =>
    Effect.orDie(sql.unsafe<Readonly<Record<string, unknown>>>(statement, parameters))
  const change = (id: CheckoutId, statement: string, parameters: ReadonlyArray<unknown>) =>
    Effect.map(run(statement, parameters), ([row]): CheckoutView => ({
      id,
      status: "open",
      cartId: CartId.make(String(row?.["cart_id"])),
      currency: Currency.make(String(row?.["currency"])),
      shippingMethod: "standard",
      paymentMethodSet: row?.["payment_method"] !== null,
      attempt: 0
    }))

  return {
    AddItem: ({ cartId, currency, quantity, sku }) =>
      Effect.gen(function* () {
        const { customerId } = yield* Caller
        yield* run(Statements.addItem, [cartId, customerId, currency, JSON.stringify([{ sku, quantity }])])
        return { id: cartId, status: "active" as const, currency, lines: [{ sku, quantity }], revision: 1 }
      }),
    StartCheckout: ({ cartId, checkoutId, currency }) =>
      Effect.flatMap(Caller, ({ customerId }) =>
        change(checkoutId, Statements.startCheckout, [checkoutId, customerId, cartId, currency])
      ),
    SetAddress: ({ address, checkoutId }) =>
      change(checkoutId, Statements.setAddress, [checkoutId, JSON.stringify(address)]),
    SetPaymentMethod: ({ checkoutId, paymentMethod }) =>
      change(checkoutId, Statements.setPaymentMethod, [checkoutId, paymentMethod])
  } satisfies Partial<Handlers>
})

/** The measured call. */
const confirming = Effect.gen(function* () {
  const sql = yield* SqlClient
  const gateway = yield* PaymentGateway
  const shipping = yield* ShippingQuotes
  const query = (statement: string, parameters: ReadonlyArray<unknown>) =>
    Effect.orDie(sql.unsafe<Readonly<Record<string, unknown>>>(statement, parameters))

  /** Prices and totals as the shop computes them, from the rows of one statement. */
  const termsOf = Effect.fnUntraced(function* (found: typeof Found.Type) {
    const { currency, products, shippingAddress: address, shippingMethod: method } = found
    if (address === null) return yield* incomplete("shippingAddress")
    const skus = products.map(({ sku }) => sku)
    const known = new Map(
      products.map(({ amount, quantity: _, ...product }): readonly [Sku, Product] => [
        product.sku,
        amount === null ? product : { ...product, price: { unit: { amount, currency }, version: 1 } }
      ])
    )
    const priced = allPriced(skus, currency, known)
    if (Result.isFailure(priced)) return yield* incomplete("cart")
    const lines = priced.success.map(({ price, sku }, index) => ({
      sku,
      quantity: products[index]!.quantity,
      unitPrice: price.unit
    }))
    const quoted = yield* shipping
      .quote({ address, currency, lines, method })
      .pipe(Effect.catchTag("NoShippingQuote", () => incomplete("shippingMethod")))
    const totals = yield* Effect.mapError(
      Effect.fromResult(totalsOf({ currency, lines, discount: zero(currency), shipping: quoted })),
      () => new CheckoutIncomplete({ problems: [{ field: "cart", message: "comes to too much" }] })
    )
    return {
      total: totals.total,
      terms: {
        lines: lines.map(({ quantity, sku, unitPrice }, index) => ({
          sku,
          name: products[index]!.name,
          quantity,
          unitPrice: String(unitPrice.amount),
          total: String(unitPrice.amount * BigInt(quantity))
        })),
        totals: {
          subtotal: String(totals.subtotal.amount),
          discount: "0",
          shipping: String(totals.shipping.amount),
          total: String(totals.total.amount)
        }
      }
    }
  })

  const charge = (id: string, attempt: number, amount: Money, customerId: string, card: string) =>
    Effect.gen(function* () {
      const created = yield* gateway.createIntent({
        key: providerKeys.create(id, attempt),
        amount,
        checkoutId: id,
        customerId,
        paymentMethod: Redacted.make(card)
      })
      return yield* gateway.confirmIntent({ key: providerKeys.confirm(id, attempt), id: created.id })
    })

  return Effect.fnUntraced(function* ({
    checkoutId: id,
    expectedTotal
  }: {
    readonly checkoutId: string
    readonly expectedTotal?: Money
  }) {
    const { customerId } = yield* Caller
    const [row] = yield* query(Statements.read, [id])
    const found = row === undefined ? undefined : yield* Effect.orDie(decode(row))
    if (found === undefined || found.owner !== customerId) return yield* new AccessDenied()
    const { cartId, currency, paymentMethod } = found
    if (paymentMethod === null) return yield* incomplete("paymentMethod")
    const { terms, total } = yield* termsOf(found)
    if (expectedTotal !== undefined && expectedTotal.amount !== total.amount) {
      return yield* new PriceChanged({ expected: expectedTotal, now: total, lines: [] })
    }
    const attempt = found.attempt + 1
    const now = DateTime.formatIso(yield* DateTime.now)
    const json = JSON.stringify(terms)

    // 1: stock claimed, the intent to charge.
    const [reserved] = yield* query(Statements.reserve, [
      id,
      cartId,
      attempt,
      json,
      customerId,
      total.amount,
      currency,
      now
    ])
    if (reserved?.["enough"] !== true) return yield* new OutOfStock({ lines: [] })

    const held: Intent = yield* charge(id, attempt, total, customerId, paymentMethod).pipe(
      Effect.catchTags({
        Declined: ({ code, message }) => Effect.fail(new PaymentDeclined({ code, message })),
        NotPossible: ({ code }) =>
          Effect.fail(new PaymentDeclined({ code, message: "This payment method cannot be used." })),
        ProviderUnavailable: () => Effect.fail(new PaymentUnavailable({ retryAfterMs: 5000 })),
        OutcomeUnknown: () => Effect.fail(new ServiceTimeout({ service: "payment", afterMs: 15_000 }))
      })
    )

    // 2: the order is placed, the intent to capture.
    const orderId = OrderId.make(id)
    const number = orderNumberOf(orderId)
    yield* query(Statements.place, [id, Redacted.value(held.id), number, customerId, currency, total.amount, json, now])

    yield* Effect.mapError(
      gateway.capture({ key: providerKeys.capture(id, attempt, 1), id: held.id, amount: total }),
      () => new ServiceTimeout({ service: "payment", afterMs: 15_000 })
    )

    // 3: paid, stock bound, confirmed.
    yield* query(Statements.finish, [id, cartId, number, total.amount, now])
    return { _tag: "Confirmed" as const, orderId, number, total }
  }) satisfies Handlers["ConfirmCheckout"]
})

const incomplete = (field: string) =>
  Effect.fail(new CheckoutIncomplete({ problems: [{ field, message: "is missing or wrong" }] }))

/** Columns of `Statements.read`. */
const Found = Schema.Struct({
  owner: CustomerId,
  cartId: Schema.String,
  currency: Currency,
  attempt: Schema.Int,
  shippingMethod: ShippingMethod,
  shippingAddress: Schema.NullOr(Address),
  paymentMethod: Schema.NullOr(PaymentMethodToken),
  products: Schema.Array(
    Schema.Struct({
      sku: Sku,
      quantity: Quantity,
      name: Schema.String,
      category: Schema.String,
      active: Schema.Boolean,
      taxable: Schema.Boolean,
      version: Schema.Int,
      amount: Schema.NullOr(Amount),
      sellable: Schema.Int
    })
  )
})
const decode = Schema.decodeUnknownEffect(Schema.toCodecJson(Found))
