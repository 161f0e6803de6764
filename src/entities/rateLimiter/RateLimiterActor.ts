/** Counts in memory on the node which has the customer: a sliding window of instants, bounded by its limit. */
import { Clock, Effect } from "effect"
import type { HandlersOf } from "../../runtime/Placement.ts"
import { LimitReached, type RateLimiter } from "./RateLimiter.ts"

/** Windows kept at the most; the one unused for longest goes first. */
const windowsMax = 100_000

export const handlers = (): HandlersOf<typeof RateLimiter> => {
  const windows = new Map<string, ReadonlyArray<number>>()
  return {
    Take: (id, { limit, operation, windowMs }) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const name = `${operation} ${id}`
        const recent = (windows.get(name) ?? []).filter((instant) => instant > now - windowMs)
        windows.delete(name)
        const full = recent.length >= limit
        windows.set(name, full ? recent : [...recent, now])
        if (windows.size > windowsMax) {
          const [oldest] = windows.keys()
          windows.delete(oldest!)
        }
        return full ? Effect.fail(new LimitReached({ retryAfterMs: recent[0]! + windowMs - now })) : Effect.void
      })
  }
}
