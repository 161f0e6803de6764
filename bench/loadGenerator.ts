/** A process which prepares checkouts and confirms them, as storefronts do: one customer, one connection and one call at a time each. */
import { type Context, Duration, Effect, Exit, Layer, Random, Redacted, Scope } from "effect"
import { StorefrontClient } from "../src/client/StorefrontClient.ts"
import { CustomerId } from "../src/domain/Ids.ts"
import { AuthTokens } from "../src/rpc/AuthTokens.ts"
import type { Order, Report } from "./LoadOrders.ts"

interface Customer {
  readonly client: Context.Service.Shape<typeof StorefrontClient>
  /** Checkouts that wait for their confirmation. */
  ready: Array<string>
}

const scope = Scope.makeUnsafe()
/** By node, since each has its own. */
const customers = new Map<string, Array<Customer>>()
let minted = 0

const customersOf = Effect.fnUntraced(function* (order: Extract<Order, { _tag: "Prepare" }>) {
  const known = customers.get(order.url) ?? []
  customers.set(order.url, known)
  const { issue } = yield* AuthTokens
  while (known.length < order.customers) {
    const { token } = yield* issue!({
      customerId: CustomerId.make(`bench-customer-${known.length}`),
      role: "customer",
      timeToLive: Duration.days(1)
    })
    const context = yield* Layer.buildWithScope(
      StorefrontClient.layer({ urls: order.url, token: Redacted.value(token), transport: "websocket" }),
      scope
    )
    known.push({ client: yield* Effect.provide(StorefrontClient, context), ready: [] })
  }
  return known.slice(0, order.customers)
})

/** Fills a cart with two lines, starts its checkout, and says where to send it and how to pay. */
const prepareOne = Effect.fnUntraced(function* ({ client, ready }: Customer, skus: number) {
  const name = `${process.pid}-${++minted}`
  const cartId = `bench-cart-${name}`
  const checkoutId = `bench-checkout-${name}`
  const first = yield* Random.nextIntBetween(0, skus - 1)
  const second = (first + 1 + (yield* Random.nextIntBetween(0, skus - 2))) % skus
  for (const line of [first, second]) {
    yield* client.AddItem({ cartId, currency: "EUR", sku: skuOf(line), quantity: 1 })
  }
  yield* client.StartCheckout({ checkoutId, cartId, currency: "EUR" })
  yield* client.SetAddress({ checkoutId, address })
  yield* client.SetPaymentMethod({ checkoutId, paymentMethod: "pm_card_visa" })
  ready.push(checkoutId)
})

const skuOf = (index: number) => `BENCH-${index}`

const address = {
  name: "Ada Lovelace",
  line1: "Rosenthaler Str. 40",
  city: "Berlin",
  postalCode: "10178",
  country: "DE"
}

const prepare = Effect.fnUntraced(function* (order: Extract<Order, { _tag: "Prepare" }>) {
  const all = yield* customersOf(order)
  yield* Effect.forEach(
    all,
    (customer, index) => {
      // The last ones take what does not divide.
      const share = Math.floor((order.checkouts + index) / all.length)
      return Effect.forEach(Array.from({ length: share }), () => prepareOne(customer, order.skus), { discard: true })
    },
    { concurrency: 32, discard: true }
  ).pipe(Random.withSeed(order.seed + minted))
  return { _tag: "Prepared" } satisfies Report
})

const confirm = Effect.fnUntraced(function* (order: Extract<Order, { _tag: "Confirm" }>) {
  const all = (customers.get(order.url) ?? []).filter(({ ready }) => ready.length > 0)
  const milliseconds: Array<number> = []
  const refusals: Record<string, number> = {}
  const from = performance.now()
  yield* Effect.forEach(
    all,
    Effect.fnUntraced(function* (customer) {
      const { client, ready } = customer
      customer.ready = []
      for (const checkoutId of ready) {
        const start = performance.now()
        const exit = yield* Effect.result(client.ConfirmCheckout({ checkoutId }))
        milliseconds.push(performance.now() - start)
        const outcome = exit._tag === "Failure" ? exit.failure._tag : exit.success._tag
        if (outcome !== "Confirmed") refusals[outcome] = (refusals[outcome] ?? 0) + 1
      }
    }),
    { concurrency: "unbounded", discard: true }
  )
  return { _tag: "Confirmed", seconds: (performance.now() - from) / 1000, milliseconds, refusals } satisfies Report
})

const carryOut = (order: Order): Effect.Effect<Report, unknown> =>
  order._tag === "Confirm"
    ? confirm(order)
    : Effect.provide(
        prepare(order),
        AuthTokens.layer({
          issuer: "cartwright",
          audience: "cartwright",
          keys: { _tag: "Secret", secret: Redacted.make(order.secret) }
        })
      )

process.on("message", (order: Order) => {
  Effect.runCallback(carryOut(order), {
    onExit: (exit) => {
      process.send!(
        Exit.isSuccess(exit) ? exit.value : ({ _tag: "Failed", cause: String(exit.cause) } satisfies Report)
      )
    }
  })
})
process.once("SIGTERM", () => process.exit(0))
