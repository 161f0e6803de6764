/** What a long process is about, so that it runs where that thing lives. */
import { Context } from "effect"

/**
 * An annotation on a workflow: from its payload to the id of the business object it is about (an order, a checkout). The execution
 * lives on the node which has that object's actors, and can share units with them. Without it the idempotency key is taken.
 */
export const PlacedBy: Context.Reference<((payload: never) => string) | undefined> = Context.Reference(
  "cartwright/domain/PlacedBy",
  { defaultValue: (): ((payload: never) => string) | undefined => undefined }
)
