/** The cart as the runtime hosts it: decider, table, wake-ups and notices joined. */
import { DateTime, Duration, Result } from "effect"
import type { CartId } from "../../domain/Ids.ts"
import type { ActorDefinition, Notice } from "../../runtime/Actor.ts"
import type { ActorOptions } from "../../runtime/Actors.ts"
import { Cart, CartRefusal, type CartState } from "./Cart.ts"
import { type Command, decide, Event, evolve, view } from "./CartDecider.ts"
import { cartTable } from "./CartTable.ts"

export interface CartLimits {
  /** How long an untouched cart is kept. N-052. */
  readonly idleFor: Duration.Duration
  /** After this the cart asks whether the checkout which locked it has begun at all. */
  readonly lockCheckAfter: Duration.Duration
}

/** Set while the cart is locked; the checkout process answers it. */
export const lockTimer = "lock"

export const make = (limits: CartLimits): ActorDefinition<CartState, Command, Event, CartRefusal> => ({
  type: Cart.type,
  initial: { _tag: "Absent" },
  decide,
  evolve,
  event: Event,
  refusal: CartRefusal,
  table: cartTable,
  over: ({ _tag }) => _tag === "Completed" || _tag === "Merged" || _tag === "Expired",
  timers: (state) => {
    switch (state._tag) {
      case "Active":
        return { idle: { dueAt: DateTime.addDuration(state.changedAt, limits.idleFor) } }
      case "Locked":
        return { [lockTimer]: { dueAt: DateTime.addDuration(state.lockedAt, limits.lockCheckAfter) } }
      default:
        return {}
    }
  },
  notices: (event, state, id): ReadonlyArray<Notice> =>
    event._tag === "MergedInto" && state._tag === "Merged"
      ? [
          {
            receiver: { type: Cart.type, id: event.into },
            message: {
              _tag: "Merge",
              by: event.owner,
              from: id as CartId,
              currency: state.currency,
              lines: state.lines
            } as Notice["message"]
          }
        ]
      : []
})

/** How the cart's contract is answered. */
export const hosting = (definition: ReturnType<typeof make>): ActorOptions<ReturnType<typeof make>, typeof Cart> => ({
  definition,
  contract: Cart,
  reply: (state, id) => Result.getOrThrow(view(state, id)),
  questions: { GetCart: (state, { by }, id) => view(state, id, by) },
  wake: (name) => (name === "idle" ? { _tag: "Expire" } : undefined)
})
