/** A process which sends calls whether or not those before have been answered, as a crowd does; one connection a customer. */
import { Duration, Effect, Redacted } from "effect"
import { CustomerId } from "../src/domain/Ids.ts"
import { AuthTokens } from "../src/rpc/AuthTokens.ts"
import type { Storm, Weather } from "./StormOrders.ts"

interface Measuring {
  seconds: number
  readonly answered: Array<number>
  readonly refused: Array<number>
  readonly retryAfterMs: Array<number>
  readonly other: Record<string, number>
  unanswered: number
}

const calm = (): Measuring => ({ seconds: 0, answered: [], refused: [], retryAfterMs: [], other: {}, unanswered: 0 })

interface Connection {
  readonly socket: WebSocket
  readonly token: string
  readonly waiting: Map<string, { readonly from: number; readonly done: () => void }>
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

const connectionsOf = async ({
  connections: count,
  customers,
  name,
  secret,
  url
}: Storm): Promise<Array<Connection>> => {
  const tokens = await tokensFor(
    Array.from({ length: customers }, (_, index) => `storm-${name}-${index}`),
    secret
  )
  return Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const id = `${url} ${name} ${index}`
      const known = connections.get(id)
      if (known !== undefined) return known
      const socket = new WebSocket(`${url.replace("http", "ws")}/rpc/ws`)
      await new Promise((resolve, reject) => {
        socket.addEventListener("open", resolve, { once: true })
        socket.addEventListener("error", reject, { once: true })
      })
      const made: Connection = { socket, token: tokens[index % customers]!, waiting: new Map(), weather: calm() }
      listen(made)
      connections.set(id, made)
      return made
    })
  )
}

const send = ({ socket, token, waiting }: Connection, order: Storm, done: () => void) => {
  const id = String(++minted)
  const cartId = order.cartId ?? `storm-cart-${process.pid}-${minted}`
  const key = order.key ?? `storm-key-${process.pid}-${minted}`
  const sku = order.sku ?? `BENCH-${minted % order.skus}`
  waiting.set(id, { from: performance.now(), done })
  socket.send(
    JSON.stringify({
      _tag: "Request",
      id,
      tag: "AddItem",
      // With a given key each call has other content under it.
      payload: { key, cartId, currency: "EUR", sku, quantity: order.key === undefined ? 1 : 1 + (minted % 50) },
      headers: [["authorization", `Bearer ${token}`]]
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
      const call = connection.waiting.get(message.requestId)
      if (call === undefined) continue
      connection.waiting.delete(message.requestId)
      const error =
        message.exit._tag === "Success" ? undefined : (message.exit.cause?.[0]?.error?._tag ?? "Interrupted")
      if (error === undefined) weather.answered.push(now - call.from)
      else if (error === "Unavailable") {
        weather.refused.push(now - call.from)
        weather.retryAfterMs.push(Number(message.exit.cause[0].error.retryAfterMs))
      } else weather.other[error] = (weather.other[error] ?? 0) + 1
      call.done()
    }
  })
}

const rage = async (order: Storm): Promise<Weather> => {
  const all = await connectionsOf(order)
  const weather = calm()
  for (const connection of all) connection.weather = weather
  const from = performance.now()
  const until = from + order.seconds * 1000
  if (order.rate === undefined) {
    // Each asks again when it has its answer.
    await Promise.all(
      all.map(async (connection) => {
        while (performance.now() < until) await new Promise<void>((resolve) => send(connection, order, resolve))
      })
    )
  } else {
    let sent = 0
    while (performance.now() < until) {
      const due = ((performance.now() - from) / 1000) * order.rate
      while (sent < due) send(all[sent++ % all.length]!, order, () => {})
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
