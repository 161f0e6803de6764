import { Layer, ManagedRuntime } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { connect, guestToken, isRefusal, type Shop as Client } from "../../../src/client/OrdersClient.ts"
import { layer as allHandlers } from "../../../src/layers/Handlers.ts"
import { type EdgeNode, startEdgeOver, tokenFor } from "../../fixtures/Edge.ts"
import * as Shop from "../../fixtures/Shop.ts"

/** The real shop behind the real edge, and the real client before it. */
const runtime = ManagedRuntime.make(Shop.layer())
let node: EdgeNode
let ann: Client
let bob: Client
let olga: Client
beforeAll(async () => {
  const services = await runtime.context()
  node = await startEdgeOver(Layer.provide(allHandlers, Layer.succeedContext(services)))
  ann = connect({ urls: node.url, token: await tokenFor("ann") })
  bob = connect({ urls: node.url, token: await tokenFor("bob") })
  olga = connect({ urls: node.url, token: await tokenFor("olga", { role: "operator" }) })
  await runtime.runPromise(
    Shop.stock([
      { sku: "tea", price: 1250n, onHand: { berlin: 500 } },
      { sku: "pot", price: 3000n, onHand: { berlin: 1 } }
    ])
  )
})
afterAll(async () => {
  await Promise.all([ann, bob, olga].map((client) => client.close()))
  await node.stop()
  await runtime.dispose()
})

const buy = async (client: Client, lines: Readonly<Record<string, number>>) => {
  const cart = client.cart()
  for (const [sku, quantity] of Object.entries(lines)) await cart.add({ sku, quantity, currency: "EUR" })
  const checkout = await client.checkout.start({ cartId: cart.id, currency: "EUR" })
  await checkout.setAddress(Shop.address)
  await checkout.setPaymentMethod("pm_card_visa")
  return { cart, checkout }
}
const refusal = (promise: Promise<unknown>) =>
  promise.then(
    () => "accepted",
    (error: unknown) => (isRefusal(error) ? error.code : error)
  )

describe("given a shop with tea and one pot", () => {
  it("when a buyer pays for what the preview said, then there is one order, which can be listed, read and watched", async () => {
    const { cart, checkout } = await buy(ann, { tea: 2 })
    const { currency, totals } = await checkout.preview()
    expect(totals.subtotal).toBe(2500n)
    expect(await checkout.validateInventory()).toEqual([{ _tag: "Available", sku: "tea" }])
    const [confirmation, again] = await Promise.all([
      checkout.confirmAndWait({ expectedTotal: { amount: totals.total, currency } }),
      checkout.confirmAndWait()
    ])
    expect(confirmation).toMatchObject({ _tag: "Confirmed", orderId: checkout.id })
    expect(again).toEqual(confirmation)
    expect(await checkout.confirmStatus()).toEqual(confirmation)
    await expect.poll(async () => (await cart.get()).status).toBe("completed")

    const order = await ann.orders.get(checkout.id)
    expect(order).toMatchObject({ status: "confirmed", paymentStatus: "completed", totals })
    const { orders } = await ann.orders.list()
    expect(orders.map(({ id }) => id)).toEqual([checkout.id])
    const history = await ann.orders.history(checkout.id)
    expect(history.at(-1)).toMatchObject({ event: expect.any(String), status: "confirmed" })
    const seen: Array<number> = []
    for await (const { seq, status } of ann.orders.watch(checkout.id)) {
      seen.push(seq)
      if (status === "confirmed") break
    }
    expect(seen).toEqual(history.slice(0, seen.length).map(({ seq }) => seq))
    expect((await checkout.steps()).length).toBeGreaterThan(3)
  })

  it("when somebody else asks for what is not theirs, then it is refused; an operator sees orders", async () => {
    const { checkout } = await buy(ann, { tea: 1 })
    await checkout.confirmAndWait()
    const foreign = bob.checkout(checkout.id)
    expect(await refusal(foreign.get())).toBe("AccessDenied")
    expect(await refusal(foreign.confirm())).toBe("AccessDenied")
    expect(await refusal(foreign.steps())).toBe("AccessDenied")
    expect(await refusal(bob.orders.get(checkout.id))).toBe("AccessDenied")
    expect(await refusal(bob.orders.history(checkout.id))).toBe("AccessDenied")
    expect(await refusal(bob.orders.get("order-nobody-has"))).toBe("AccessDenied")
    expect((await bob.orders.list()).orders).toEqual([])
    expect((await olga.orders.get(checkout.id)).id).toBe(checkout.id)
    expect((await olga.checkout(checkout.id).steps()).length).toBeGreaterThan(0)
  })

  it("when an item cannot be sold, then the cart refuses it and says why", async () => {
    const cart = ann.cart()
    const error = await cart.add({ sku: "gone", quantity: 1, currency: "EUR" }).catch((cause: unknown) => cause)
    expect(isRefusal(error, "ProductsUnavailable") && error.lines).toEqual([{ sku: "gone", problem: "unknown" }])
    const priced = await cart.add({ sku: "tea", quantity: 1, currency: "CHF" }).catch((cause: unknown) => cause)
    expect(isRefusal(priced, "ProductsUnavailable") && priced.lines).toEqual([
      { sku: "tea", problem: "not_sold_in_currency" }
    ])
    expect((await cart.get()).lines).toEqual([])
  })

  it("when the last pot is sold to somebody else, then the refusal says how many there are", async () => {
    const [first, second] = [await buy(ann, { pot: 1 }), await buy(bob, { pot: 1 })]
    expect(await first.checkout.confirmAndWait()).toMatchObject({ _tag: "Confirmed" })
    const error = await second.checkout.confirmAndWait().catch((cause: unknown) => cause)
    expect(isRefusal(error, "OutOfStock") && error.lines).toEqual([{ sku: "pot", wanted: 1, have: 0 }])
  })

  it("when a guest signs in, then the guest's cart is taken over once", async () => {
    const { token } = await guestToken(node.url)
    const guest = connect({ urls: node.url, token })
    const before = guest.cart()
    await before.add({ sku: "tea", quantity: 3, currency: "EUR" })
    const own = ann.cart()
    await own.add({ sku: "tea", quantity: 2, currency: "EUR" })

    const guests = { from: before.id, fromToken: token }
    expect(await refusal(own.merge({ ...guests, fromToken: await tokenFor("bob") }))).toBe("AccessDenied")
    expect(await refusal(own.merge({ ...guests, fromToken: "nonsense" }))).toBe("AccessDenied")
    const dollars = ann.cart()
    await dollars.add({ sku: "tea", quantity: 1, currency: "USD" })
    expect(await refusal(dollars.merge(guests))).toBe("CurrencyMixed")
    expect((await before.get()).status).toBe("active")

    const merged = [await own.merge(guests), await own.merge(guests), await own.get()]
    for (const { lines } of merged) expect(lines).toEqual([{ sku: "tea", quantity: 5 }])
    expect((await before.get()).status).toBe("merged")
    expect((await own.merge({ from: "cart-that-never-was", fromToken: token })).lines).toHaveLength(1)
    await guest.close()
  })

  it("when a key is used again for something else, then it is refused", async () => {
    const cart = ann.cart()
    const options = { key: Shop.key() }
    await cart.add({ sku: "tea", quantity: 1, currency: "EUR" }, options)
    await cart.add({ sku: "tea", quantity: 1, currency: "EUR" }, options)
    expect((await cart.get()).lines).toEqual([{ sku: "tea", quantity: 1 }])
    expect(await refusal(cart.add({ sku: "tea", quantity: 2, currency: "EUR" }, options))).toBe("IdempotencyConflict")
  })

  it("when all is done, then stock and money add up, and nothing failed in a way nobody planned for", async () => {
    expect(await runtime.runPromise(Shop.violations)).toEqual([])
    expect(node.errors).toEqual([])
  })
})
