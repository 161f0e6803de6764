import { DateTime, Effect, Layer, ManagedRuntime } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { OperatorClient } from "../../src/client/OperatorClient.ts"
import { connect, printedReference, type Shop as Client } from "../../src/client/OrdersClient.ts"
import { layer as allHandlers } from "../../src/layers/Handlers.ts"
import { type EdgeNode, startEdgeOver, tokenFor } from "../fixtures/Edge.ts"
import * as Shop from "../fixtures/Shop.ts"

/** The real shop behind the real edge, with the real clients of a storefront and of its operators before it. */
const runtime = ManagedRuntime.make(Shop.layer())
let node: EdgeNode
let ann: Client
beforeAll(async () => {
  node = await startEdgeOver(Layer.provide(allHandlers, Layer.succeedContext(await runtime.context())))
  ann = connect({ urls: node.url, token: await tokenFor("ann") })
  await runtime.runPromise(Shop.stock([{ sku: "tea", price: 1250n, onHand: { berlin: 500 } }]))
})
afterAll(async () => {
  await ann.close()
  await node.stop()
  await runtime.dispose()
})

const begun = async (method: string) => {
  const cart = ann.cart()
  await cart.add({ sku: "tea", quantity: 1, currency: "EUR" })
  const checkout = await ann.checkout.start({ cartId: cart.id, currency: "EUR" })
  await checkout.setAddress(Shop.address)
  await checkout.setPaymentMethod(method)
  return checkout
}

const asOperator = async <A, E>(use: Effect.Effect<A, E, OperatorClient>) =>
  Effect.runPromise(
    use.pipe(
      Effect.provide(OperatorClient.layer({ urls: [node.url], token: await tokenFor("olga", { role: "operator" }) }))
    )
  )

describe("given a buyer who pays without a card (T-CHK-25)", () => {
  it("when a transfer is chosen, then the reference is told, and the order is watched until its money has come", async () => {
    const checkout = await begun("bank_transfer")
    const total = { amount: 1740n, currency: "EUR" }
    const confirmation = await checkout.confirmAndWait({ expectedTotal: total })
    if (confirmation._tag !== "Placed") throw new Error(`it is ${confirmation._tag}`)
    const { expiresAt, transferReference: reference } = confirmation
    expect(confirmation).toMatchObject({ orderId: checkout.id, method: "bank_transfer", total })
    const { placedAt } = await ann.orders.get(checkout.id)
    expect(expiresAt.getTime() - placedAt.getTime()).toBe(24 * 3_600_000)
    expect(await checkout.confirmStatus()).toEqual(confirmation)
    expect(await ann.orders.get(checkout.id)).toMatchObject({
      status: "pending",
      paymentMethod: "bank_transfer",
      transferReference: reference,
      expiresAt
    })
    const record = (amount: string, bankTransactionId: string) =>
      asOperator(
        Effect.gen(function* () {
          const client = yield* OperatorClient
          return yield* client.RecordBankTransfer({
            reference: printedReference(reference!),
            amount: { amount: BigInt(amount), currency: "EUR" },
            bankTransactionId,
            receivedAt: yield* DateTime.now
          })
        })
      )
    expect(await record("1000", Shop.fresh("bank"))).toMatchObject({ outcome: "short", status: "pending" })
    expect(await ann.orders.get(checkout.id)).toMatchObject({ status: "pending", received: 1000n })
    expect(await record("740", Shop.fresh("bank"))).toMatchObject({ outcome: "captured", status: "confirmed" })
    const seen: Array<string> = []
    for await (const change of ann.orders.watch(checkout.id)) {
      seen.push(`${change.event} ${change.status} ${change.paymentStatus}`)
      if (change.status === "confirmed") break
    }
    expect(seen).toEqual([
      "Placed pending pending",
      "MoneyReceived pending pending",
      "MoneyReceived pending pending",
      "Confirmed confirmed completed"
    ])
  })

  it("when cash on delivery is confirmed over plain HTTP, then the answer is the same as the client's, for the same key", async () => {
    const checkout = await begun("cash_on_delivery")
    const key = Shop.fresh("confirm")
    const answer = await fetch(`${node.url}/api/v1/checkout/confirm`, {
      method: "POST",
      headers: { authorization: `Bearer ${await tokenFor("ann")}`, "content-type": "application/json" },
      body: JSON.stringify({ checkoutId: checkout.id, key })
    })
    expect(answer.status).toBe(200)
    const body = (await answer.json()) as { expiresAt: string }
    expect(body).toMatchObject({
      _tag: "Placed",
      orderId: checkout.id,
      method: "cash_on_delivery",
      total: { amount: "1740", currency: "EUR" }
    })
    const again = await checkout.confirm({ key })
    if (again._tag !== "Placed") throw new Error(`it is ${again._tag}`)
    expect(again.expiresAt.toISOString()).toBe(body.expiresAt)
    expect((await ann.orders.list()).orders[0]).toMatchObject({ id: checkout.id, status: "pending" })
    await asOperator(Effect.flatMap(OperatorClient, (client) => client.ConfirmCashOnDelivery({ id: checkout.id })))
    expect(await ann.orders.get(checkout.id)).toMatchObject({ status: "confirmed", paymentStatus: "pending" })
  })

  it("when the way to pay is none there is, then it is refused by its field", async () => {
    await expect(begun("cheque")).rejects.toMatchObject({ code: "InvalidRequest", field: "paymentMethod" })
  })
})
