/** A process which does as storefronts do: one customer, one connection and one call at a time each. */
import { type Context, Duration, Effect, Exit, Layer, Random, Redacted, Scope } from "effect"
import { newCheckoutId, newId } from "../src/client/NewId.ts"
import { StorefrontClient } from "../src/client/StorefrontClient.ts"
import { CustomerId } from "../src/domain/Ids.ts"
import { AuthTokens } from "../src/rpc/AuthTokens.ts"
import { type Checkout, customerName, type Order, type Report, type ReportTo } from "./LoadOrders.ts"

type Client = Context.Service.Shape<typeof StorefrontClient>

type To<Tag extends Order["_tag"]> = Extract<Order, { readonly _tag: Tag }>

const scope = Scope.makeUnsafe()
/** By where they go, since each has a connection of its own there. */
const customers = new Map<string, Array<Client>>()
let prepared = 0

/** The first so many customers of these nodes. */
const customersOf = Effect.fnUntraced(function* ({ secret, urls }: Pick<Order, "secret" | "urls">, count: number) {
  const place = urls.join(" ")
  const known = customers.get(place) ?? []
  customers.set(place, known)
  const { issue } = yield* AuthTokens.pipe(
    Effect.provide(
      AuthTokens.layer({
        issuer: "cartwright",
        audience: "cartwright",
        keys: { _tag: "Secret", secret: Redacted.make(secret) }
      })
    )
  )
  while (known.length < count) {
    const from = known.length % urls.length
    const { token } = yield* issue!({
      customerId: CustomerId.make(customerName(known.length)),
      role: "customer",
      timeToLive: Duration.days(1)
    })
    const context = yield* Layer.buildWithScope(
      StorefrontClient.layer({
        urls: [...urls.slice(from), ...urls.slice(0, from)],
        token: Redacted.value(token),
        transport: "websocket"
      }),
      scope
    )
    known.push(yield* Effect.provide(StorefrontClient, context))
  }
  return known
})

/** Fills a cart, starts its checkout, and says where to send it and how to pay. Ids are those which the client makes for a shop's pages. */
const prepareOne = Effect.fnUntraced(function* (customer: number, client: Client, basket: To<"Prepare">["basket"]) {
  const cartId = newId()
  const checkoutId = newCheckoutId(cartId)
  for (const sku of yield* skusOf(basket)) yield* client.AddItem({ cartId, currency: "EUR", sku, quantity: 1 })
  yield* client.StartCheckout({ checkoutId, cartId, currency: "EUR" })
  yield* client.SetAddress({ checkoutId, address })
  yield* client.SetPaymentMethod({ checkoutId, paymentMethod: "pm_card_visa" })
  return { customer, cartId, checkoutId } satisfies Checkout
})

const skusOf = Effect.fnUntraced(function* (basket: To<"Prepare">["basket"]) {
  if (basket._tag === "One") return [basket.sku]
  const first = yield* Random.nextIntBetween(0, basket.skus - 1)
  const second = (first + 1 + (yield* Random.nextIntBetween(0, basket.skus - 2))) % basket.skus
  return [`BENCH-${first}`, `BENCH-${second}`]
})

const address = {
  name: "Ada Lovelace",
  line1: "Rosenthaler Str. 40",
  city: "Berlin",
  postalCode: "10178",
  country: "DE"
}

const prepare = Effect.fnUntraced(function* (order: To<"Prepare">) {
  const all = (yield* customersOf(order, order.customers)).slice(0, order.customers)
  const checkouts = yield* Effect.forEach(
    all,
    (client, index) => {
      // The last ones take what does not divide.
      const share = Math.floor((order.checkouts + index) / all.length)
      return Effect.forEach(Array.from({ length: share }), () => prepareOne(index, client, order.basket))
    },
    { concurrency: 32 }
  ).pipe(Random.withSeed(order.seed + prepared))
  prepared += order.checkouts
  return { _tag: "Prepared", to: "Prepare", checkouts: checkouts.flat() } satisfies Report
})

const confirm = Effect.fnUntraced(function* (order: To<"Confirm">) {
  const clients = yield* customersOf(order, 1 + Math.max(...order.checkouts.map(({ customer }) => customer)))
  const milliseconds: Array<number> = []
  const sentAt: Array<number> = []
  const confirmed: Array<ReportTo<To<"Confirm">>["confirmed"][number]> = []
  const refusals: Record<string, number> = {}
  const from = performance.now()
  yield* Effect.forEach(
    Map.groupBy(order.checkouts, ({ customer }) => customer),
    Effect.fnUntraced(function* ([customer, theirs]) {
      for (const { checkoutId } of theirs) {
        const start = performance.now()
        const answer = yield* Effect.result(
          clients[customer]!.ConfirmCheckout({ checkoutId, key: `${checkoutId}:confirm` })
        )
        milliseconds.push(performance.now() - start)
        sentAt.push(performance.timeOrigin + start)
        if (answer._tag === "Success" && answer.success._tag === "Confirmed") {
          confirmed.push({ checkoutId, number: answer.success.number })
          continue
        }
        const outcome = answer._tag === "Failure" ? answer.failure._tag : answer.success._tag
        refusals[outcome] = (refusals[outcome] ?? 0) + 1
      }
    }),
    { concurrency: order.atOnce ?? "unbounded", discard: true }
  )
  const seconds = (performance.now() - from) / 1000
  return { _tag: "Confirmed", to: "Confirm", seconds, milliseconds, sentAt, confirmed, refusals } satisfies Report
})

/** Wrong answers which are told. */
const wrongMax = 10

const askStatus = Effect.fnUntraced(function* (order: To<"AskStatus">) {
  const clients = yield* customersOf(order, 1 + order.orders.reduce((most, one) => Math.max(most, one.customer), 0))
  const wrong: Array<string> = []
  let right = 0
  const from = performance.now()
  yield* Effect.forEach(
    order.orders,
    Effect.fnUntraced(function* ({ checkoutId, customer, number }) {
      const answer = yield* Effect.result(clients[customer]!.GetConfirmStatus({ checkoutId }))
      const said = answer._tag === "Failure" ? answer.failure : answer.success
      if (said._tag === "Confirmed" && said.orderId === checkoutId && said.number === number) right++
      else if (wrong.length < wrongMax) wrong.push(`${checkoutId}: ${JSON.stringify(said)}`)
    }),
    { concurrency: order.atOnce, discard: true }
  )
  return { _tag: "Status", to: "AskStatus", seconds: (performance.now() - from) / 1000, wrong, right } satisfies Report
})

const carryOut = (order: Order): Effect.Effect<Report, unknown> => {
  switch (order._tag) {
    case "Prepare":
      return prepare(order)
    case "Confirm":
      return confirm(order)
    case "AskStatus":
      return askStatus(order)
  }
}

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
