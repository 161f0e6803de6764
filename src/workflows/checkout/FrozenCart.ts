/**
 * The cart of an attempt, as it will be bought. One that lives on this node is frozen in the very unit which claims its lines, so that
 * nothing of the attempt stands before that; any other one is frozen first, by a call to its node. REQ-CART-03.
 */
import { randomUUID } from "node:crypto"
import { DateTime, Effect, Result } from "effect"
import { type CheckoutId, checkoutIdOf, IdempotencyKey, OrderId } from "../../domain/Ids.ts"
import { type IdempotencyConflict, Unavailable } from "../../domain/Refusals.ts"
import { Cart, type CartClosed, type CartLocked, type CartRefusal, type CartView } from "../../entities/cart/Cart.ts"
import { view } from "../../entities/cart/CartDecider.ts"
import { CheckoutIncomplete, type PresentCheckout } from "../../entities/checkoutSession/CheckoutSession.ts"
import type { Cell } from "../../runtime/Actor.ts"
import { Actors } from "../../runtime/Actors.ts"
import { Placement } from "../../runtime/Placement.ts"
import type { Transaction } from "../../runtime/Transaction.ts"
import { CheckoutActors } from "./CheckoutActors.ts"

export interface FrozenCart {
  readonly view: CartView
  /** What the unit has to do that claims its lines; absent where it is frozen already. */
  readonly within?: Freezing
}

export interface Freezing {
  /** To be among the unit's cells. */
  readonly cell: Cell
  /** Freezes it; the refusal when it is not what it was any more, and has to be looked at again. */
  readonly freeze: (transaction: Transaction) => Result.Result<unknown, CartMoved | CartRefusal>
}

/** The cart has been changed between being looked at and being frozen. */
export interface CartMoved {
  readonly _tag: "CartMoved"
}

type Refused = CartClosed | CartLocked | CheckoutIncomplete | IdempotencyConflict | Unavailable

const busy = new Unavailable({ retryAfterMs: 500 })

/** What keeps the cart from being bought, as the buyer hears it. */
const heard = (refusal: CartRefusal | IdempotencyConflict | Unavailable): Refused => {
  switch (refusal._tag) {
    // Of one's own cart only when there is none.
    case "AccessDenied":
      return new CheckoutIncomplete({ problems: [{ field: "cart", message: "is empty" }] })
    case "CartClosed":
    case "CartLocked":
    case "IdempotencyConflict":
    case "Unavailable":
      return refusal
    default:
      return busy
  }
}

export const make = Effect.gen(function* () {
  const actors = yield* Actors
  const { cart: definition } = yield* CheckoutActors
  const placement = yield* Placement
  const carts = placement.client(Cart)

  const here = Effect.fnUntraced(function* (
    { cartId, owner }: PresentCheckout,
    checkoutId: CheckoutId,
    attempt: number
  ): Effect.fn.Return<FrozenCart, Refused> {
    const cell = yield* actors.cell(definition, cartId)
    const lock = { _tag: "Lock", by: owner, checkoutId, attempt } as const
    const allowed = definition.decide(cell.state, lock, { id: cartId, now: yield* DateTime.now, counters: () => [] })
    if (Result.isFailure(allowed)) return yield* heard(allowed.failure)
    const seen = Result.getOrThrow(view(cell.state, cartId))
    return {
      view: seen,
      within: {
        cell,
        freeze: (transaction) => {
          const state = transaction.state(cell)
          return state._tag !== "Absent" && state.revision === seen.revision
            ? transaction.execute(cell, `lock:${checkoutId}:${attempt}`, lock)
            : Result.fail({ _tag: "CartMoved" })
        }
      }
    }
  })

  const elsewhere = ({ cartId, owner }: PresentCheckout, checkoutId: CheckoutId, attempt: number) =>
    carts(cartId)
      .Lock({ key: IdempotencyKey.make(`lock:${randomUUID()}`), by: owner, checkoutId, attempt })
      .pipe(Effect.mapBoth({ onFailure: heard, onSuccess: (frozen): FrozenCart => ({ view: frozen }) }))

  return {
    of: (session: PresentCheckout, id: string, attempt: number): Effect.Effect<FrozenCart, Refused> =>
      (placement.isLocal(placement.bucketOf(session.cartId)) ? here : elsewhere)(
        session,
        checkoutIdOf(OrderId.make(id)),
        attempt
      ),
    /** Gives up an attempt which nothing is known of: the cart is free again. */
    release: (cartId: string, id: string, attempt: number): Effect.Effect<void> =>
      carts(cartId)
        .Unlock({
          key: IdempotencyKey.make(`unlock:${randomUUID()}`),
          checkoutId: checkoutIdOf(OrderId.make(id)),
          attempt
        })
        .pipe(Effect.ignore)
  }
})
