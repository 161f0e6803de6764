/**
 * Whether this process may write. One that was stopped (frozen, swapped out, its machine paused) has perhaps lost its work to another
 * since, and must find that out before it goes on: what it has decided before is not written any more.
 */
import { Duration, Effect, type Scope } from "effect"

export interface Fence {
  /** Asked right before a write. Closed from the moment at which a pause comes to light, until ownership has been asked for anew. */
  readonly isClosed: () => boolean
}

/** Real time, whatever clock a test has: it is the process that stops. */
export const make = (pauseMax: Duration.Duration): Effect.Effect<Fence, never, Scope.Scope> =>
  Effect.gen(function* () {
    const limit = Duration.toMillis(pauseMax)
    let seenAt = performance.now()
    let closedUntil = 0
    const look = () => {
      const now = performance.now()
      if (now - seenAt > limit) closedUntil = now + limit
      seenAt = now
      return now < closedUntil
    }
    yield* Effect.acquireRelease(
      Effect.sync(() => setInterval(look, limit / 8).unref()),
      (timer) => Effect.sync(() => clearInterval(timer))
    )
    return { isClosed: look }
  })

/** For a process which shares its work with nobody. */
export const open: Fence = { isClosed: () => false }
