import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { Sku } from "../../../src/domain/Ids.ts"
import { maxQuantityPerLine, Quantity } from "../../../src/domain/Quantity.ts"
import { AccessDenied } from "../../../src/domain/Refusals.ts"
import {
  CartLocked,
  CartState,
  CurrencyMixed,
  maxLines,
  QuantityTooLarge,
  TooManyLines
} from "../../../src/entities/cart/Cart.ts"
import { Command, view } from "../../../src/entities/cart/CartDecider.ts"
import {
  ada,
  after,
  bob,
  cartId,
  checkoutId,
  EUR,
  guestCartId,
  line,
  mug,
  start,
  tee,
  USD
} from "../../fixtures/Builders.ts"
import { historyOf, play } from "../../fixtures/Histories.ts"
import { matrixOf, step } from "../../fixtures/Machine.ts"
import { cartMachine, contents } from "../../fixtures/machines/CartMachine.ts"
import { laws, table } from "../MachineLaws.ts"

const at = (state: CartState, command: Command) => step(cartMachine, state, { command, now: after("1 minute") })
type ActiveCart = Extract<CartState, { readonly _tag: "Active" }>
const active = (changes: Partial<Omit<ActiveCart, "_tag">> = {}): ActiveCart => ({
  ...contents,
  ...changes,
  _tag: "Active"
})
const many = (count: number) => Array.from({ length: count }, (_, index) => line(Sku.make(`SKU-${index}`), 1))

it("what each command does in each state (REQUIREMENTS B.20)", () => {
  assert.strictEqual(
    matrixOf(cartMachine),
    table(`
      |                          | Absent        | Active            | Locked      | Completed   | Merged      | Expired     |
      | ------------------------ | ------------- | ----------------- | ----------- | ----------- | ----------- | ----------- |
      | AddItem                  | Active        | changed           | !CartLocked | !CartClosed | !CartClosed | !CartClosed |
      | AddItem, other currency  | Active        | !CurrencyMixed    | !CartLocked | !CartClosed | !CartClosed | !CartClosed |
      | AddItem, above 999       | Active        | !QuantityTooLarge | !CartLocked | !CartClosed | !CartClosed | !CartClosed |
      | UpdateItem               | !LineNotFound | changed           | !CartLocked | !CartClosed | !CartClosed | !CartClosed |
      | UpdateItem, not in it    | !LineNotFound | !LineNotFound     | !CartLocked | !CartClosed | !CartClosed | !CartClosed |
      | RemoveItem               | -             | changed           | !CartLocked | !CartClosed | !CartClosed | !CartClosed |
      | RemoveItem, not in it    | -             | -                 | !CartLocked | !CartClosed | !CartClosed | !CartClosed |
      | ClearCart                | -             | changed           | !CartLocked | !CartClosed | !CartClosed | !CartClosed |
      | MergeInto                | -             | Merged            | !CartLocked | !CartClosed | -           | !CartClosed |
      | MergeInto, itself        | -             | -                 | -           | -           | -           | -           |
      | Merge                    | Active        | changed           | !CartLocked | !CartClosed | !CartClosed | !CartClosed |
      | Merge, other currency    | Active        | !CurrencyMixed    | !CartLocked | !CartClosed | !CartClosed | !CartClosed |
      | Lock                     | !AccessDenied | Locked            | -           | !CartClosed | !CartClosed | !CartClosed |
      | Lock, next attempt       | !AccessDenied | Locked            | changed     | !CartClosed | !CartClosed | !CartClosed |
      | Lock, earlier attempt    | !AccessDenied | Locked            | !CartLocked | !CartClosed | !CartClosed | !CartClosed |
      | Lock, other checkout     | !AccessDenied | Locked            | !CartLocked | !CartClosed | !CartClosed | !CartClosed |
      | Unlock                   | -             | -                 | Active      | -           | -           | -           |
      | Unlock, earlier attempt  | -             | -                 | -           | -           | -           | -           |
      | Complete                 | !AccessDenied | !AccessDenied     | Completed   | -           | !CartClosed | !CartClosed |
      | Complete, other checkout | !AccessDenied | !AccessDenied     | !CartLocked | !CartClosed | !CartClosed | !CartClosed |
      | Expire                   | -             | Expired           | -           | -           | -           | -           |
    `)
  )
})

laws(cartMachine, {
  state: CartState,
  command: Command,
  final: ["Completed", "Merged", "Expired"],
  counted: ["AddItem"],
  rare: ["Expire", "MergeInto"]
})

const history = historyOf(Command, { rare: ["Expire", "MergeInto"] })

it.prop("lines are one a sku, of 1 to 999 units, at most 200 (REQ-CART-01)", [history], ([past]) => {
  for (const { state } of play(cartMachine, past)) {
    if (state._tag === "Absent") continue
    assert.strictEqual(new Set(state.lines.map(({ sku }) => sku)).size, state.lines.length)
    assert.isTrue(state.lines.every(({ quantity }) => quantity >= 1 && quantity <= maxQuantityPerLine))
    assert.isTrue(state.lines.length <= maxLines)
  }
})

it.prop("the revision goes up with each change of the lines, and never down (REQ-CART-01)", [history], ([past]) => {
  for (const { before, state } of play(cartMachine, past)) {
    if (before._tag === "Absent" || state._tag === "Absent") continue
    assert.isTrue(state.revision >= before.revision)
    if (state.revision === before.revision) assert.deepStrictEqual(state.lines, before.lines)
  }
})

it.prop("lines change only while the cart is active, and never by another customer", [history], ([past]) => {
  for (const { before, command, refusal, state } of play(cartMachine, past)) {
    if (before._tag === "Absent" || state._tag === "Absent") continue
    if (before._tag !== "Active") assert.deepStrictEqual(state.lines, before.lines)
    if ("by" in command && command.by !== before.owner && refusal === undefined) assert.strictEqual(state, before)
  }
})

it("whoever is not the owner hears the same, whatever the cart is", () => {
  const asked: ReadonlyArray<Command> = [
    { _tag: "AddItem", by: bob, currency: EUR, sku: mug, quantity: Quantity.make(1) },
    { _tag: "UpdateItem", by: bob, sku: mug, quantity: Quantity.make(1) },
    { _tag: "RemoveItem", by: bob, sku: mug },
    { _tag: "ClearCart", by: bob },
    { _tag: "MergeInto", by: bob, into: guestCartId, owner: bob },
    { _tag: "Lock", by: bob, checkoutId, attempt: 1 }
  ]
  for (const [name, state] of Object.entries(cartMachine.states)) {
    if (state._tag === "Absent") continue
    for (const command of asked) {
      assert.deepStrictEqual(at(state, command).refusal, new AccessDenied(), `${command._tag} in ${name}`)
    }
    assert.deepStrictEqual(view(state, cartId, bob), Result.fail(new AccessDenied()))
  }
})

describe("given a cart of two mugs", () => {
  it("when one more is added, then it is one line of three (T-CART-01)", () => {
    const { state } = at(active(), { _tag: "AddItem", by: ada, currency: EUR, sku: mug, quantity: Quantity.make(1) })
    assert.deepStrictEqual(state, { ...active(), lines: [line(mug, 3)], revision: 2, changedAt: after("1 minute") })
  })

  it("when the sum would be 999, then it is taken; at 1000 it is refused with the most there may be (T-CART-01)", () => {
    const add = (quantity: number): Command => ({
      _tag: "AddItem",
      by: ada,
      currency: EUR,
      sku: mug,
      quantity: Quantity.make(quantity)
    })
    assert.strictEqual(at(active(), add(997)).refusal, undefined)
    assert.deepStrictEqual(at(active(), add(998)).refusal, new QuantityTooLarge({ sku: mug, maximum: 999 }))
  })

  it("when something in another currency is added, then it is refused with the cart's own", () => {
    const { refusal } = at(active(), { _tag: "AddItem", by: ada, currency: USD, sku: tee, quantity: Quantity.make(1) })
    assert.deepStrictEqual(refusal, new CurrencyMixed({ currency: EUR }))
  })

  it("when a guest's cart is merged, then quantities are summed up to 999, and new lines follow (REQ-CART-02)", () => {
    const merge: Command = {
      _tag: "Merge",
      by: ada,
      from: guestCartId,
      currency: EUR,
      lines: [line(tee, 3), line(mug, 998)]
    }
    const { events, state } = at(active(), merge)
    assert.deepStrictEqual(
      events.map(({ _tag }) => _tag),
      ["LinesChanged", "MergedFrom"]
    )
    assert.deepStrictEqual(state._tag === "Active" ? state.lines : [], [line(mug, 999), line(tee, 3)])
    assert.deepStrictEqual(at(state, merge).events, [], "and once only")
  })
})

describe("given a cart of 200 lines", () => {
  const full = active({ lines: many(maxLines) })

  it("when a 201st sku is added, then it is refused; one more unit of a line is taken (T-CART-01)", () => {
    const add = (sku: Sku): Command => ({ _tag: "AddItem", by: ada, currency: EUR, sku, quantity: Quantity.make(1) })
    assert.deepStrictEqual(at(full, add(mug)).refusal, new TooManyLines({ maximum: 200 }))
    assert.strictEqual(at(full, add(Sku.make("SKU-0"))).refusal, undefined)
  })

  it("when a guest's cart with a new sku is merged, then nothing of it is taken", () => {
    const merge: Command = {
      _tag: "Merge",
      by: ada,
      from: guestCartId,
      currency: EUR,
      lines: [line(Sku.make("SKU-1"), 1), line(mug, 1)]
    }
    assert.deepStrictEqual(at(full, merge).refusal, new TooManyLines({ maximum: 200 }))
  })
})

describe("given a cart which the second attempt of a checkout has frozen (T-CART-02)", () => {
  const locked = cartMachine.states["Locked"]!

  it("when it is changed, then it is refused with the checkout which holds it", () => {
    const { refusal } = at(locked, { _tag: "ClearCart", by: ada })
    assert.deepStrictEqual(refusal, new CartLocked({ checkoutId }))
  })

  it("when that attempt has failed, then it can be changed again, and its idle time starts anew", () => {
    const { state } = at(locked, { _tag: "Unlock", checkoutId, attempt: 2 })
    assert.deepStrictEqual(state, active({ changedAt: after("1 minute") }))
  })
})

it("a cart which nobody has filled looks empty to everybody", () => {
  assert.deepStrictEqual(
    view({ _tag: "Absent" }, cartId, bob),
    Result.succeed({ id: cartId, status: "active", lines: [], revision: 0 })
  )
})

describe("wake-ups and notices", () => {
  const { notices, timers } = cartMachine.definition

  it("an active cart expires 30 days after its last change (REQ-CART-05, N-052)", () => {
    assert.deepStrictEqual(timers!(active()), { idle: { dueAt: after("30 days") } })
  })

  it("a frozen cart asks after its checkout two minutes after it was frozen", () => {
    assert.deepStrictEqual(timers!(cartMachine.states["Locked"]!), { lock: { dueAt: after("2 minutes") } })
  })

  it("no other cart wakes up", () => {
    for (const name of ["Absent", "Completed", "Merged", "Expired"]) {
      assert.deepStrictEqual(timers!(cartMachine.states[name]!), {})
    }
  })

  it("a cart which is merged into another tells it its lines, in the name of the new owner", () => {
    const { state } = at(active({ owner: bob }), { _tag: "MergeInto", by: bob, into: guestCartId, owner: ada })
    const told = notices!(
      { _tag: "MergedInto", into: guestCartId, owner: ada, at: start },
      state,
      cartId,
      active({ owner: bob })
    )
    assert.deepStrictEqual(told, [
      {
        receiver: { type: "Cart", id: guestCartId },
        message: { _tag: "Merge", by: ada, from: cartId, currency: EUR, lines: [line(mug, 2)] } as { _tag: string }
      }
    ])
  })
})
