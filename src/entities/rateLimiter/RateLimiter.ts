/** How often one caller may do one thing, shared by all nodes. Entity id: the customer's id. REQ-GW-03. */
import { Schema } from "effect"
import { Entity } from "effect/cluster"
import { Rpc } from "effect/rpc"

/** Not before `retryAfterMs` from now. */
export class LimitReached extends Schema.TaggedError<LimitReached>()("LimitReached", { retryAfterMs: Schema.Int }) {}

/** Kept in memory alone: a node which takes over starts counting anew, and idempotency does not depend on it. */
export const RateLimiter = Entity.make("RateLimiter", [
  Rpc.make("Take", {
    payload: { operation: Schema.String, limit: Schema.Int, windowMs: Schema.Int },
    error: LimitReached
  })
])
