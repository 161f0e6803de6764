import { assert, describe, layer } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { CartId, CustomerId, Sku } from "../../../src/domain/Ids.ts"
import { Currency } from "../../../src/domain/Money.ts"
import { Quantity } from "../../../src/domain/Quantity.ts"
import { Cart } from "../../../src/entities/cart/Cart.ts"
import { Placement } from "../../../src/runtime/Placement.ts"
import { eventually } from "../../fixtures/Eventually.ts"
import * as Shop from "../../fixtures/Shop.ts"

const currency = Currency.make("EUR")
const tea = { currency, sku: Sku.make("tea"), quantity: Quantity.make(2) }

const cartOf = (id: string) => Effect.map(Placement, (placement) => placement.client(Cart)(id))

describe("given carts on a node", () => {
  layer(Shop.layer(), { excludeTestServices: true })((it) => {
    it.effect("when a cart that was never made is cleared, then nothing happens, to it or to its neighbours", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        const id = Shop.fresh("cart")
        const by = CustomerId.make("ada")
        const cart = yield* cartOf(id)
        const neighbour = yield* cartOf(Shop.fresh("cart"))
        const [cleared] = yield* Effect.all(
          [cart.ClearCart({ key: Shop.key(), by }), neighbour.AddItem({ key: Shop.key(), by, ...tea })],
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual([...cleared.lines], [])
        assert.deepStrictEqual([...(yield* sql`select from runtime.history where actor_id = ${id}`)], [])
      })
    )

    it.effect("when a command is repeated by its key, then it has one effect and its first answer (T-CART-01)", () =>
      Effect.gen(function* () {
        const by = CustomerId.make("ada")
        const cart = yield* cartOf(Shop.fresh("cart"))
        const key = Shop.key()
        const first = yield* cart.AddItem({ key, by, ...tea })
        yield* cart.AddItem({ key: Shop.key(), by, ...tea })
        assert.deepStrictEqual(yield* cart.AddItem({ key, by, ...tea }), first)
        assert.deepInclude((yield* cart.GetCart({ by })).lines[0] as object, { sku: "tea", quantity: 4 })
        const other = yield* Effect.flip(cart.AddItem({ key, by, ...tea, quantity: Quantity.make(3) }))
        assert.strictEqual(other._tag, "IdempotencyConflict")
      })
    )

    it.effect("when a guest's cart is merged, then the customer's hears of its lines once, also from the notice", () =>
      Effect.gen(function* () {
        const [guest, owner] = [CustomerId.make("guest-1"), CustomerId.make("ada")]
        const from = CartId.make(Shop.fresh("cart"))
        const into = CartId.make(Shop.fresh("cart"))
        const source = yield* cartOf(from)
        const target = yield* cartOf(into)
        yield* source.AddItem({ key: Shop.key(), by: guest, ...tea })
        yield* target.AddItem({ key: Shop.key(), by: owner, ...tea })
        const merged = yield* source.MergeInto({ key: Shop.key(), by: guest, into, owner })
        yield* target.Merge({ key: Shop.key(), by: owner, from, currency, lines: merged.lines })
        const sql = yield* SqlClient
        yield* eventually(
          sql<{ left: bigint }>`select count(*) as left from runtime.notices where source_id = ${from}`,
          ([row]) => Number(row!.left) === 0
        )
        assert.deepInclude((yield* target.GetCart({ by: owner })).lines[0] as object, { sku: "tea", quantity: 4 })
        const closed = yield* Effect.flip(source.AddItem({ key: Shop.key(), by: guest, ...tea }))
        assert.deepInclude(closed as object, { _tag: "CartClosed", status: "merged" })
      })
    )
  })
})
