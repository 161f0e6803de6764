/** A process which sends calls whether or not those before have been answered, as a crowd does; one connection a customer. */
import { Duration, Effect, Redacted } from "effect"
import { CustomerId } from "../src/domain/Ids.ts"
import { AuthTokens } from "../src/rpc/AuthTokens.ts"
import { customerName } from "./LoadOrders.ts"
import type { Storm, Weather } from "./StormOrders.ts"

interface Measuring {
  seconds: number
  readonly answered: Array<number>
  readonly refused: Array<number>
  readonly retryAfterMs: Array<number>
  readonly confirmed: Array<string>
  readonly other: Record<string, number>
  unanswered: number
}

const calm = (): Measuring => ({
  seconds: 0,
  answered: [],
  refused: [],
  retryAfterMs: [],
  confirmed: [],
  other: {},
  unanswered: 0
})

interface Call {
  readonly tag: "AddItem" | "ConfirmCheckout"
  readonly payload: Readonly<Record<string, unknown>>
  readonly token: string
}

/** The next one of a connection; nothing when there are no more. */
type NextCall = (connection: number) => Call | undefined

interface Waiting {
  readonly call: Call
  readonly from: number
  readonly done: () => void
}

interface Connection {
  readonly socket: WebSocket
  readonly waiting: Map<string, Waiting>
  /** Of the storm which is on. */
  weather: Measuring
}

const connections = new Map<string, Connection>()
let minted = 0

const tokensFor = (names: ReadonlyArray<string>, secret: string) =>
  Effect.gen(function* () {
    const { issue } = yield* AuthTokens
    return yield* Effect.forEach(names, (name) =>
      Effect.map(
        issue!({ customerId: CustomerId.make(name), role: "customer", timeToLive: Duration.days(1) }),
        ({ token }) => Redacted.value(token)
      )
    )
  }).pipe(
    Effect.provide(
      AuthTokens.layer({
        issuer: "cartwright",
        audience: "cartwright",
        keys: { _tag: "Secret", secret: Redacted.make(secret) }
      })
    ),
    Effect.runPromise
  )

const connectionsOf = ({ connections: count, name, url }: Storm): Promise<Array<Connection>> =>
  Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const id = `${url} ${name} ${index}`
      const known = connections.get(id)
      if (known !== undefined) return known
      const socket = new WebSocket(`${url.replace("http", "ws")}/rpc/ws`)
      await new Promise((resolve, reject) => {
        socket.addEventListener("open", resolve, { once: true })
        socket.addEventListener("error", reject, { once: true })
      })
      const made: Connection = { socket, waiting: new Map(), weather: calm() }
      listen(made)
      connections.set(id, made)
      return made
    })
  )

const cartsFilled = async (order: Storm): Promise<NextCall> => {
  const tokens = await tokensFor(
    Array.from({ length: order.customers }, (_, index) => `storm-${order.name}-${index}`),
    order.secret
  )
  return (connection) => {
    const nth = ++minted
    const cartId = order.cartId ?? `storm-cart-${process.pid}-${nth}`
    const key = order.key ?? `storm-key-${process.pid}-${nth}`
    const sku = order.sku ?? `BENCH-${nth % order.skus}`
    return {
      tag: "AddItem",
      // With a given key each call has other content under it.
      payload: { key, cartId, currency: "EUR", sku, quantity: order.key === undefined ? 1 : 1 + (nth % 50) },
      token: tokens[connection % order.customers]!
    }
  }
}

const checkoutsConfirmed = async (order: Storm, checkouts: NonNullable<Storm["checkouts"]>): Promise<NextCall> => {
  const tokens = await tokensFor(
    Array.from({ length: 1 + checkouts.reduce((most, one) => Math.max(most, one.customer), 0) }, (_, index) =>
      customerName(index)
    ),
    order.secret
  )
  let next = 0
  return () => {
    const checkout = checkouts[next++]
    if (checkout === undefined) return undefined
    const { checkoutId, customer } = checkout
    return {
      tag: "ConfirmCheckout",
      payload: { checkoutId, key: `${checkoutId}:confirm` },
      token: tokens[customer]!
    }
  }
}

const send = ({ socket, waiting }: Connection, call: Call, done: () => void) => {
  const id = String(++minted)
  waiting.set(id, { call, from: performance.now(), done })
  socket.send(
    JSON.stringify({
      _tag: "Request",
      id,
      tag: call.tag,
      payload: call.payload,
      headers: [["authorization", `Bearer ${call.token}`]]
    })
  )
}

const listen = (connection: Connection) => {
  connection.socket.addEventListener("message", ({ data }) => {
    const now = performance.now()
    const { weather } = connection
    const parsed: unknown = JSON.parse(String(data))
    for (const message of Array.isArray(parsed) ? parsed : [parsed]) {
      if (message._tag !== "Exit") continue
      const waiting = connection.waiting.get(message.requestId)
      if (waiting === undefined) continue
      connection.waiting.delete(message.requestId)
      const { call, done, from } = waiting
      const outcome = outcomeOf(call, message.exit)
      if (outcome === "Answered") {
        weather.answered.push(now - from)
        if (call.tag === "ConfirmCheckout") weather.confirmed.push(String(call.payload["checkoutId"]))
      } else if (outcome === "Unavailable") {
        weather.refused.push(now - from)
        weather.retryAfterMs.push(Number(message.exit.cause[0].error.retryAfterMs))
      } else weather.other[outcome] = (weather.other[outcome] ?? 0) + 1
      done()
    }
  })
}

/** What was to be heard, or the name of what was heard instead. */
const outcomeOf = (
  { tag }: Call,
  // oxlint-disable-next-line typescript/no-explicit-any -- as it came
  exit: any
): string => {
  if (exit._tag !== "Success") return exit.cause?.[0]?.error?._tag ?? "Interrupted"
  return tag === "AddItem" || exit.value._tag === "Confirmed" ? "Answered" : exit.value._tag
}

const rage = async (order: Storm): Promise<Weather> => {
  const all = await connectionsOf(order)
  const nextCall =
    order.checkouts === undefined ? await cartsFilled(order) : await checkoutsConfirmed(order, order.checkouts)
  const weather = calm()
  for (const connection of all) connection.weather = weather
  const from = performance.now()
  const until = from + order.seconds * 1000
  if (order.rate === undefined) {
    // Each asks again when it has its answer.
    await Promise.all(
      all.map(async (connection, index) => {
        while (performance.now() < until) {
          const call = nextCall(index)
          if (call === undefined) return
          await new Promise<void>((resolve) => send(connection, call, resolve))
        }
      })
    )
  } else {
    let sent = 0
    while (performance.now() < until) {
      const due = ((performance.now() - from) / 1000) * order.rate
      while (sent < due) {
        const index = sent++ % all.length
        const call = nextCall(index)
        if (call !== undefined) send(all[index]!, call, () => {})
      }
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  }
  weather.seconds = (performance.now() - from) / 1000
  const patience = performance.now() + 5000
  while (performance.now() < patience && all.some(({ waiting }) => waiting.size > 0)) {
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  for (const { waiting } of all) {
    weather.unanswered += waiting.size
    waiting.clear()
  }
  for (const times of [weather.answered, weather.refused]) times.sort((one, other) => one - other)
  return weather
}

process.on("message", (order: Storm) => {
  rage(order).then(
    (weather) => process.send!({ id: order.id, weather }),
    (error: unknown) => process.send!({ id: order.id, failure: String(error) })
  )
})
