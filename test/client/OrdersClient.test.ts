import { DateTime, Effect, Stream } from "effect"
import { afterEach, describe, expect, it, vi } from "vitest"
import {
  type ClientOptions,
  connect,
  guestToken,
  InvalidRequest,
  isRefusal,
  OutOfStock,
  type Shop,
  StorefrontClient,
  Unreachable
} from "../../src/client/OrdersClient.ts"
import { CartId, type CheckoutId, OrderId, OrderNumber, Sku } from "../../src/domain/Ids.ts"
import { Currency } from "../../src/domain/Money.ts"
import { Unavailable } from "../../src/domain/Refusals.ts"
import { Caller } from "../../src/rpc/Auth.ts"
import type { OrderChange } from "../../src/rpc/orders/OrdersRpc.ts"
import { type EdgeNode, type Handlers, startEdge, tokenFor } from "../fixtures/Edge.ts"
import { startWall } from "../fixtures/Wall.ts"

const closing: Array<() => Promise<unknown>> = []
afterEach(async () => {
  vi.unstubAllGlobals()
  await Promise.all(closing.splice(0).map((close) => close()))
})

const node = async (handlers: Partial<Handlers>): Promise<EdgeNode> => {
  const started = await startEdge(handlers)
  closing.push(started.stop)
  return started
}
const shopAt = async (urls: ReadonlyArray<EdgeNode | string>, options: Partial<ClientOptions> = {}): Promise<Shop> => {
  const shop = connect({
    token: await tokenFor("ann"),
    ...options,
    urls: urls.map((url) => (typeof url === "string" ? url : url.url))
  })
  closing.push(shop.close)
  return shop
}

const eur = Currency.make("EUR")
const change = (seq: number, status: OrderChange["status"]): OrderChange => ({
  seq,
  at: DateTime.makeUnsafe("2026-11-20T12:00:00Z"),
  event: "Confirmed",
  status,
  paymentStatus: "completed"
})
const cartOf = ({ cartId, ...line }: Parameters<Handlers["AddItem"]>[0]) =>
  Effect.succeed({
    id: cartId,
    status: "active" as const,
    lines: [{ sku: line.sku, quantity: line.quantity }],
    revision: 1
  })
const confirmed = (checkoutId: string) =>
  ({
    _tag: "Confirmed",
    orderId: OrderId.make(checkoutId),
    number: OrderNumber.make("ABCDE-FGHJK"),
    total: { amount: 1234n, currency: eur }
  }) as const
const collected = async <A>(changes: AsyncIterable<A>): Promise<ReadonlyArray<A>> => {
  const all: Array<A> = []
  for await (const one of changes) all.push(one)
  return all
}
/** Nobody listens there. */
const nowhere = "http://127.0.0.1:9"

describe.each(["websocket", "http"] as const)("given a shop over %s", (transport) => {
  it("when a buyer goes from cart to order, then every answer is plain values", async () => {
    const calls: Array<string> = []
    const view = (id: CheckoutId, paymentMethodSet = false) =>
      ({
        id,
        status: "open",
        cartId: CartId.make("cart-00000001"),
        currency: eur,
        shippingMethod: "standard",
        paymentMethodSet,
        attempt: 0
      }) as const
    const edge = await node({
      AddItem: cartOf,
      StartCheckout: ({ checkoutId }) => Effect.sync(() => (calls.push("start"), view(checkoutId))),
      SetAddress: ({ address, checkoutId }) => Effect.sync(() => (calls.push(address.city), view(checkoutId))),
      SetPaymentMethod: ({ checkoutId }) => Effect.succeed(view(checkoutId, true)),
      PreviewTotals: () =>
        Effect.succeed({
          currency: eur,
          lines: [],
          totals: { subtotal: 1000n, discount: 0n, shipping: 234n, total: 1234n }
        }),
      ConfirmCheckout: ({ checkoutId, expectedTotal }) =>
        Effect.sync(() => (calls.push(`expects ${expectedTotal?.amount}`), confirmed(checkoutId))),
      ListOrders: () =>
        Effect.succeed({
          orders: [
            {
              id: OrderId.make("order-00000001"),
              number: OrderNumber.make("ABCDE-FGHJK"),
              status: "confirmed",
              paymentStatus: "completed",
              currency: eur,
              total: 1234n,
              placedAt: DateTime.makeUnsafe("2026-11-20T12:00:00Z")
            }
          ]
        })
    })
    const shop = await shopAt([edge], { transport })
    const cart = shop.cart()
    expect((await cart.add({ sku: "TEA", quantity: 2, currency: "EUR" })).lines).toEqual([{ sku: "TEA", quantity: 2 }])
    const checkout = await shop.checkout.start({ cartId: cart.id, currency: "EUR" })
    await checkout.setAddress({ name: "Ann", line1: "Street 1", city: "Berlin", postalCode: "10115", country: "DE" })
    expect((await checkout.setPaymentMethod("pm_card_visa")).paymentMethodSet).toBe(true)
    const { currency, totals } = await checkout.preview()
    const confirmation = await checkout.confirm({ expectedTotal: { amount: totals.total, currency } })
    expect(confirmation).toMatchObject({ _tag: "Confirmed", orderId: checkout.id, total: { amount: 1234n } })
    const { orders } = await shop.orders.list({ limit: 10 })
    expect(orders[0]!.placedAt).toBeInstanceOf(Date)
    expect(orders[0]!.placedAt.toISOString()).toBe("2026-11-20T12:00:00.000Z")
    expect(calls).toEqual(["start", "Berlin", "expects 1234"])
  })

  it("when the answer is no, then the error says which no", async () => {
    const edge = await node({
      ConfirmCheckout: () => Effect.fail(new OutOfStock({ lines: [{ sku: Sku.make("TEA"), wanted: 3, have: 1 }] })),
      ClearCart: () => Effect.die(new Error("a secret"))
    })
    const shop = await shopAt([edge], { transport })
    const error = await shop
      .checkout("checkout-1")
      .confirm()
      .catch((cause: unknown) => cause)
    expect(error).toBeInstanceOf(OutOfStock)
    expect(error).toBeInstanceOf(Error)
    expect(error).toMatchObject({
      _tag: "OutOfStock",
      code: "OutOfStock",
      message: "Some items are not available in the quantity asked for.",
      retryable: false,
      requestId: expect.stringMatching(/^[\w-]{32,36}$/)
    })
    expect(isRefusal(error, "OutOfStock") && error.lines[0]?.have).toBe(1)
    expect(isRefusal(error) && error.stack).toContain("OrdersClient.test.ts")
    expect(isRefusal(error, "PaymentDeclined")).toBe(false)
    expect(isRefusal(new Error("mine"))).toBe(false)

    const broken = await shop
      .cart("cart-00000001")
      .clear()
      .catch((cause: unknown) => cause)
    expect(isRefusal(broken, "InternalError")).toBe(true)
    const { requestId } = broken as { requestId: string }
    expect(edge.errors.some((line) => line.includes(requestId) && line.includes("a secret"))).toBe(true)
  })

  it("when an argument is wrong, then it is refused as the node would, without asking it", async () => {
    let asked = 0
    const edge = await node({ AddItem: (item) => (asked++, cartOf(item)), SetAddress: () => (asked++, Effect.never) })
    const shop = await shopAt([edge], { transport })
    const wrong = await shop
      .cart()
      .add({ sku: "TEA", quantity: 0, currency: "EUR" })
      .catch((cause: unknown) => cause)
    expect(wrong).toBeInstanceOf(InvalidRequest)
    expect(wrong).toMatchObject({ field: "quantity", code: "InvalidRequest", retryable: false })
    const extra = { sku: "TEA", quantity: 1, currency: "EUR", price: 1 }
    await expect(shop.cart().add(extra)).rejects.toMatchObject({ field: "price" })
    const address = { name: "Ann", line1: "Street 1", city: "Berlin", country: "Germany" }
    await expect(shop.checkout("checkout-1").setAddress(address)).rejects.toMatchObject({ field: "address.country" })
    expect(asked).toBe(0)
  })

  it("when a node is overloaded for a while, then the same key is sent until the answer comes", async () => {
    const keys: Array<string> = []
    const edge = await node({
      AddItem: (item) =>
        Effect.suspend(() => {
          keys.push(item.key)
          return keys.length < 3 ? Effect.fail(new Unavailable({ retryAfterMs: 20 })) : cartOf(item)
        })
    })
    const shop = await shopAt([edge], { transport })
    await shop.cart().add({ sku: "TEA", quantity: 1, currency: "EUR" })
    expect(keys).toHaveLength(3)
    expect(new Set(keys).size).toBe(1)
    await shop.cart().add({ sku: "TEA", quantity: 1, currency: "EUR" }, { key: "my-own-key-1" })
    expect(keys.at(-1)).toBe("my-own-key-1")
  })

  it("when a node says when to come back, then no other is asked before that either", async () => {
    const asked: Array<number> = []
    const refuseOnce = (item: Parameters<Handlers["AddItem"]>[0]) =>
      Effect.suspend(() => {
        asked.push(performance.now())
        return asked.length < 3 ? Effect.fail(new Unavailable({ retryAfterMs: 300 })) : cartOf(item)
      })
    const shop = await shopAt([await node({ AddItem: refuseOnce }), await node({ AddItem: refuseOnce })], { transport })
    await shop.cart().add({ sku: "TEA", quantity: 1, currency: "EUR" })
    expect(asked).toHaveLength(3)
    for (const [index, at] of asked.slice(1).entries()) expect(at - asked[index]!).toBeGreaterThanOrEqual(299)
  })

  it("when the first node is down, then the second answers", async () => {
    const edge = await node({ AddItem: cartOf })
    const shop = await shopAt([nowhere, edge], { transport })
    const start = performance.now()
    await shop.cart().add({ sku: "TEA", quantity: 1, currency: "EUR" })
    expect(performance.now() - start).toBeLessThan(2000)
  })

  it("when a node stops under a call, then the call goes on at the other, with its key", async () => {
    const keys: Array<string> = []
    const taken = Promise.withResolvers<void>()
    const first = await node({
      AddItem: ({ key }) => Effect.suspend(() => (keys.push(key), taken.resolve(), Effect.never))
    })
    const second = await node({ AddItem: (item) => Effect.suspend(() => (keys.push(item.key), cartOf(item))) })
    const shop = await shopAt([first, second], { transport })
    const adding = shop.cart().add({ sku: "TEA", quantity: 1, currency: "EUR" })
    await taken.promise
    await first.stop()
    expect((await adding).lines).toHaveLength(1)
    expect(keys).toHaveLength(2)
    expect(keys[0]).toBe(keys[1])
  })

  it("when a node drains, then commands go to the other without delay", async () => {
    const first = await node({ AddItem: cartOf })
    const second = await node({ AddItem: cartOf })
    const shop = await shopAt([first, second], { transport })
    await shop.cart().add({ sku: "TEA", quantity: 1, currency: "EUR" })
    await first.drain()
    const start = performance.now()
    await shop.cart().add({ sku: "TEA", quantity: 1, currency: "EUR" })
    expect(performance.now() - start).toBeLessThan(500)
  })

  it("when nobody answers until the deadline, then the error has the key to ask with again", async () => {
    const shop = await shopAt([nowhere], { transport, deadline: 300 })
    const error = await shop
      .cart()
      .add({ sku: "TEA", quantity: 1, currency: "EUR" }, { key: "my-own-key-1" })
      .catch((cause: unknown) => cause)
    expect(error).toBeInstanceOf(Unreachable)
    expect(isRefusal(error, "Unreachable") && [error.key, error.code, error.retryable]).toEqual([
      "my-own-key-1",
      "Unreachable",
      true
    ])
  })

  it(
    "when a node freezes, then the other has answered within 15 s, even a confirmation",
    { timeout: 20_000 },
    async () => {
      const taken = Promise.withResolvers<void>()
      const first = await node({
        GetCart: ({ cartId }) => Effect.succeed({ id: cartId, status: "active", lines: [], revision: 0 }),
        ConfirmCheckout: () => Effect.suspend(() => (taken.resolve(), Effect.never)),
        WatchOrder: () => Stream.concat(Stream.make(change(1, "pending")), Stream.never)
      })
      const second = await node({
        ConfirmCheckout: ({ checkoutId }) => Effect.succeed(confirmed(checkoutId)),
        WatchOrder: ({ afterSeq }) => Stream.make(change((afterSeq ?? 0) + 1, "cancelled"))
      })
      const wall = await startWall(first)
      closing.push(wall.stop)
      const shop = await shopAt([wall.url, second], { transport })
      const watching = collected(shop.orders.watch("order-00000001"))
      await shop.cart("cart-00000001").get()
      const confirming = shop.checkout("checkout-1").confirm()
      await taken.promise
      await new Promise((resolve) => setTimeout(resolve, 100))
      wall.freeze()
      const start = performance.now()
      expect(await confirming).toMatchObject({ _tag: "Confirmed" })
      expect((await watching).map(({ seq }) => seq)).toEqual([1, 2])
      expect(performance.now() - start).toBeLessThan(15_000)
    }
  )

  it("when an order is watched over nodes that stop, then each change comes once, and the end is the order's", async () => {
    const asked: Array<number> = []
    const first = await node({
      WatchOrder: () => Stream.concat(Stream.make(change(1, "pending"), change(2, "confirmed")), Stream.never)
    })
    const second = await node({
      WatchOrder: ({ afterSeq }) =>
        Stream.suspend(() => {
          asked.push(afterSeq ?? 0)
          return Stream.concat(Stream.make(change(2, "confirmed"), change(3, "processing")), Stream.never)
        })
    })
    const third = await node({
      WatchOrder: ({ afterSeq }) =>
        Stream.suspend(() => {
          asked.push(afterSeq ?? 0)
          return Stream.make(change(4, "delivered"))
        })
    })
    const shop = await shopAt([first, second, third], { transport })
    const seen: Array<number> = []
    for await (const { at, seq } of shop.orders.watch("order-00000001")) {
      expect(at).toBeInstanceOf(Date)
      seen.push(seq)
      if (seq === 2) await first.drain()
      if (seq === 3) await second.stop()
    }
    expect(seen).toEqual([1, 2, 3, 4])
    expect(asked).toEqual([2, 3])
  })

  it("when a watch is left, or aborted, then the node stops sending", async () => {
    let listening = 0
    const edge = await node({
      WatchOrder: () =>
        Stream.concat(Stream.make(change(1, "pending")), Stream.never).pipe(
          Stream.onStart(Effect.sync(() => listening++)),
          Stream.ensuring(Effect.sync(() => listening--))
        )
    })
    const shop = await shopAt([edge], { transport })
    for await (const _ of shop.orders.watch("order-00000001")) break
    await expect.poll(() => listening).toBe(0)
    const abort = new AbortController()
    for await (const _ of shop.orders.watch("order-00000001", { signal: abort.signal })) {
      expect(listening).toBe(1)
      abort.abort()
    }
    await expect.poll(() => listening).toBe(0)
  })

  it("when a watch is refused, then that is thrown", async () => {
    const edge = await node({ WatchOrder: () => Stream.fail(new OutOfStock({ lines: [] }) as never) })
    const shop = await shopAt([edge], { transport, token: "nonsense" })
    await expect(collected(shop.orders.watch("order-00000001"))).rejects.toMatchObject({
      code: "Unauthenticated"
    })
    await expect(collected(shop.orders.watch("x"))).rejects.toMatchObject({
      code: "InvalidRequest",
      field: "orderId"
    })
  })

  it("when tokens are refreshed, then the next call has the new one, and a refused one is asked for again", async () => {
    const callers: Array<string> = []
    const edge = await node({
      GetCart: ({ cartId }) =>
        Effect.map(Caller, ({ customerId }) => {
          callers.push(customerId)
          return { id: cartId, status: "active", lines: [], revision: 0 } as const
        })
    })
    const tokens = ["expired", await tokenFor("ann"), await tokenFor("ann-2")]
    const shop = await shopAt([edge], { transport, token: async () => tokens[Math.min(asked++, 2)]! })
    let asked = 0
    await shop.cart("cart-00000001").get()
    await shop.cart("cart-00000001").get()
    expect(callers).toEqual(["ann-2", "ann-2"])
    const failing = await shopAt([edge], { transport, token: () => Promise.reject(new Error("signed out")) })
    await expect(failing.cart("cart-00000001").get()).rejects.toMatchObject({ code: "TokenUnavailable" })
  })

  it("when there is no token, then the shop makes a guest, once", async () => {
    const callers = new Set<string>()
    const edge = await node({
      GetCart: ({ cartId }) =>
        Effect.map(Caller, ({ customerId, role }) => {
          callers.add(`${role} ${customerId}`)
          return { id: cartId, status: "active", lines: [], revision: 0 } as const
        })
    })
    const shop = await shopAt([edge], { transport, token: undefined })
    await Promise.all([shop.cart().get(), shop.cart().get(), shop.cart().get()])
    expect([...callers]).toEqual([expect.stringMatching(/^guest guest-/)])
    expect(await shop.token()).toMatch(/^ey/)
    const { customerId, expiresAt } = await guestToken([nowhere, edge.url])
    expect(customerId).toMatch(/^guest-/)
    expect(expiresAt.getTime()).toBeGreaterThan(performance.timeOrigin)
  })

  it("when a confirmation is pending, then waiting asks until it is not", async () => {
    let asked = 0
    const edge = await node({
      ConfirmCheckout: () => Effect.succeed({ _tag: "Pending" }),
      GetConfirmStatus: ({ checkoutId }) =>
        Effect.sync(() => (++asked < 3 ? ({ _tag: "Pending" } as const) : confirmed(checkoutId)))
    })
    const shop = await shopAt([edge], { transport })
    expect(await shop.checkout("checkout-1").confirmAndWait()).toMatchObject({ _tag: "Confirmed" })
    expect(asked).toBe(3)
    asked = -1000
    expect(await shop.checkout("checkout-1").confirmAndWait({ waitAtMost: 300 })).toEqual({ _tag: "Pending" })
  })

  it("when a caller stops waiting, or the client is closed, then the promise is rejected", async () => {
    const edge = await node({ GetCart: () => Effect.never })
    const shop = await shopAt([edge], { transport })
    const reason = new Error("the buyer left the page")
    const abort = new AbortController()
    setTimeout(() => {
      abort.abort(reason)
    }, 50)
    await expect(shop.cart().get({ signal: abort.signal })).rejects.toBe(reason)
    const waiting = shop.cart().get()
    setTimeout(() => void shop.close(), 50)
    await expect(waiting).rejects.toMatchObject({ name: "AbortError" })
  })
})

describe("given a program on Effect", () => {
  it("when it calls, then refusals are typed and fields are checked", async () => {
    const edge = await node({ AddItem: cartOf, WatchOrder: () => Stream.make(change(1, "cancelled")) })
    const token = await tokenFor("ann")
    const program = Effect.gen(function* () {
      const shop = yield* StorefrontClient
      const cart = yield* shop.AddItem({ cartId: "cart-00000001", sku: "TEA", quantity: 2, currency: "EUR" })
      const refused = yield* shop
        .AddItem({ cartId: "cart-00000001", sku: "TEA", quantity: 0, currency: "EUR" })
        .pipe(Effect.catchTag("InvalidRequest", ({ field }) => Effect.succeed(field)))
      const changes = yield* Stream.runCollect(shop.WatchOrder({ orderId: "order-00000001" }))
      return [cart.revision, refused, changes.length]
    }).pipe(Effect.provide(StorefrontClient.layer({ urls: edge.url, token })))
    expect(await Effect.runPromise(program)).toEqual([1, "quantity", 1])
  })
})

describe("given a program without a WebSocket of its own", () => {
  it("when it connects, then HTTP is used", async () => {
    vi.stubGlobal("WebSocket", undefined)
    const edge = await node({ AddItem: cartOf })
    const shop = await shopAt([edge])
    expect((await shop.cart().add({ sku: "TEA", quantity: 1, currency: "EUR" })).revision).toBe(1)
  })
})
